"""Which published numbers can be what they are said to be: shares of the released items, means of their own columns.

Every number of a benchmark gets a verdict. A share is tested at the number of results that the benchmark was released
with (its card); where that is not known the row says so and is not tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Literal

from minchange_eval.core.grim import Attainability, by_one_rule, grim, grim_mean
from minchange_eval.data.benchmark_card import benchmark_card, card_names
from minchange_eval.data.published_results import PublishedRow, published_rows

Verdict = Literal["attainable", "not attainable", "no power", "not tested"]
VERDICTS: tuple[Verdict, ...] = ("attainable", "not attainable", "no power", "not tested")
Follows = Literal["follows", "follows if truncated", "does not follow"]

_OF_QUERIES = ("i2t_accuracy", "t2i_accuracy", "cls_accuracy")  # K results a set; the others one
_MEANS = ("macro", "pair_mean")
# Number of items where there is no card. Sources: VSR's repository (2022 counts), VSRE's data table, BLINK, MMVP,
# RealWorldQA, ScienceQA and Winoground as the papers that print the numbers say.
_ELSEWHERE = {
    ("vsr_2022", "random test"): 2024,
    ("vsr_2022", "zeroshot test"): 731,
    ("vsre", "Test-G"): 1222,
    ("vsre", "Test-S"): 1222,
    ("blink", "Visual_Similarity"): 135,
    ("blink", "Visual_Correspondence"): 172,
    ("blink", "Counting"): 120,
    ("realworldqa", ""): 765,
    ("scienceqa", ""): 4241,
    ("winoground", ""): 400,
}
_MMVP_PAIRS = 150
# MED's Table 1 mixes two labellings: one question moved from Object to Action Relation before the release.
OLDER_COUNTS = {("med", "Object"): 14, ("med", "Action Relation"): 15}

# An average that stands apart from its columns: where those are, and what the same model is called there.
_COLUMNS_IN = {
    "SPEC paper Table 3": "SPEC paper Table 2 (arXiv 2312.00081)",
    "arXiv 2506.07227 sec 5.2": "arXiv 2506.07227 Table 1",
}
_CALLED_THERE = {
    "SPEC-CLIP ViT-B/32 (L_hn + L_clip, ours)": "SPEC-CLIP ViT-B/32 (ours)",
    "Qwen2.5-VL-7B base (prose)": "Qwen2.5-VL-7B",
    "LLaVA-V1.6-7B base (prose)": "LLaVA-V1.6-7B",
    "LLaVA-V1.6-7B ours (prose)": "LLaVA-V1.6-7B (ours)",
}
_AVERAGED_ELSEWHERE = ("pope", "mmstar", "blink", "mmvp")
_IMPROVED_IN = "arXiv 2502.13928"
_IMPROVED = (
    *("mmhal", "cv_bench", "mmvp", "realworldqa", "mm_vet"),
    *("llava_bench_wild", "textvqa", "scienceqa"),
)


@dataclass(frozen=True)
class Checked:
    """A published number and what can be said of it without running anything.

    Attributes:
        sizes: results that it is a share of; several for a mean over subsets; empty where not known.
        result: of the GRIM test; None where it was not tested.
        said: the k that fits, the nearest ones where none does, or why it was not tested.
        older: k of n at an older number of items that is known to have been used, where the released one does not fit.
    """

    row: PublishedRow
    sizes: tuple[int, ...]
    result: Attainability | None
    said: str
    older: str = ""

    @property
    def verdict(self) -> Verdict:
        """Of the GRIM test, or `not tested`."""
        return self.result.verdict if self.result else "not tested"


@dataclass(frozen=True)
class AverageCheck:
    """A printed average beside the columns that it is said to be the average of.

    Attributes:
        mean: of the columns as printed, in percent.
        slack: how far rounding of the columns may have moved it.
        columns: how many there are.
        follows: whether the printed average is that mean, printed so.
    """

    row: PublishedRow
    mean: float
    slack: float
    columns: int
    follows: Follows


@cache
def check_published(benchmark: str) -> tuple[Checked, ...]:
    """Every published number of a benchmark with its verdict, in the order of its source.

    Values of one model in one table are read by one rounding rule (`core.grim.by_one_rule`).

    Raises:
        UsageError: nothing is published on it here.
    """
    rows = published_rows(benchmark)
    checks = [_check(row) for row in rows]
    printed_together: dict[tuple[str, str], list[int]] = {}
    for place, check in enumerate(checks):
        if check.result and len(check.sizes) == 1:
            printed_together.setdefault((check.row.model, check.row.source), []).append(place)
    for places in printed_together.values():
        alone = [check.result for check in (checks[place] for place in places) if check.result]
        for place, result in zip(places, by_one_rule(alone), strict=True):
            checks[place] = replace(checks[place], result=result)
    return tuple(_explained(check) if check.result else check for check in checks)


def _check(row: PublishedRow) -> Checked:
    sizes, why_not = released_sizes(row)
    if why_not:
        return Checked(row, sizes, None, why_not)
    test = grim(row.exact, sizes[0], row.decimals) if len(sizes) == 1 else grim_mean(row.exact, sizes, row.decimals)
    return Checked(row, sizes, test, "")


def released_sizes(row: PublishedRow) -> tuple[tuple[int, ...], str]:
    """The number of results that a published number is a share of, as released, or why it cannot be told.

    Returns:
        One number for a share, one a subset for their mean, and an empty text; or numbers as far as they are known
        and the reason why the row is not to be tested.
    """
    if row.role == "chance":
        return (), "what guessing gets, no measurement"
    if row.approximate:
        return (), "read off a chart, its decimals are not printed"
    if row.unit == "score":
        return (), "a score, no share of items"
    if row.benchmark in card_names():
        return _sizes_by_card(row)
    if row.benchmark == "mmvp" and row.published_subset == "":
        return (_MMVP_PAIRS,), ""
    known = _ELSEWHERE.get((row.benchmark, row.subset))
    return ((known,), "") if known else ((), "the number of items is not stated")


def _sizes_by_card(row: PublishedRow) -> tuple[tuple[int, ...], str]:
    subsets = benchmark_card(row.benchmark).subsets
    per_item = {name: subset.k if row.metric in _OF_QUERIES else 1 for name, subset in subsets.items()}
    sizes = {name: subset.items * per_item[name] for name, subset in subsets.items()}
    if row.subset:
        return (sizes[row.subset],), ""
    if row.metric == "micro":
        return (sum(sizes.values()),), ""
    if row.published_subset == "all" and row.metric not in _MEANS:
        return (), "how it is averaged, and over how many items, is not stated"
    columns = 3 if row.metric == "pair_mean" else 1
    return tuple(size for size in sizes.values() for _ in range(columns)), ""


def _explained(check: Checked) -> Checked:
    older = _older(check.row) if check.verdict == "not attainable" else ""
    said = _said(check)
    return replace(check, older=older, said=f"{older}, an older labelling; {said}" if older else said)


def _older(row: PublishedRow) -> str:
    n = OLDER_COUNTS.get((row.benchmark, row.subset))
    fits = grim(row.exact, n, row.decimals) if n else None
    return _share(fits.hits[0], n) if n and fits and fits.hits and _rounds(fits) else ""


def _said(check: Checked) -> str:
    row, result = check.row, check.result
    if result is None or result.verdict == "no power":
        return ""
    if len(check.sizes) > 1:
        return f"mean of {len(check.sizes)} shares"
    n = check.sizes[0]
    if result.verdict == "attainable":
        said = " or ".join(_share(k, n) for k in result.hits)
        return said if _rounds(result) else f"{said}, truncated"
    if result.hits:
        return f"{_share(result.hits[0], n)} truncated, but other values of this row are rounded; {_nearest(row, n)}"
    return _nearest(row, n)


def _share(k: int, n: int) -> str:
    return f"{k}/{n}"


def _rounds(result: Attainability) -> bool:
    return result.roundings != ("truncation",)


def _nearest(row: PublishedRow, n: int) -> str:
    below = min(n, math.floor(Fraction(row.exact) * n / 100))
    near = [k for k in (below, below + 1) if k <= n]
    # one decimal more than is printed, so that no two look like the published value
    return "nearest " + ", ".join(f"{k}/{n} = {100 * k / n:.{row.decimals + 1}f}" for k in near)


def check_averages(benchmark: str) -> tuple[AverageCheck, ...]:
    """Every printed average of a benchmark whose columns are printed too, in the order of its source.

    An average follows if rounding, of the columns and of itself, can explain the distance to the columns' mean.

    Raises:
        UsageError: nothing is published on the benchmark here.
    """
    rows = published_rows(benchmark)
    return tuple(check for row in rows if (check := _average_check(row, rows)))


def _average_check(row: PublishedRow, rows: Sequence[PublishedRow]) -> AverageCheck | None:
    if "relative_improvement" in row.metric:
        changes = _relative_changes(row)
    else:
        changes = [(Fraction(one.exact), _half_step(one)) for one in _columns_of(row, rows)]
    if not changes:
        return None
    mean = sum((value for value, _ in changes), Fraction()) / len(changes)
    slack = sum((slack for _, slack in changes), Fraction()) / len(changes)
    return AverageCheck(row, float(mean), float(slack), len(changes), _follows(row, mean, slack))


def _half_step(row: PublishedRow) -> Fraction:
    return Fraction(1, 2 * 10**row.decimals)


def _columns_of(row: PublishedRow, rows: Iterable[PublishedRow]) -> list[PublishedRow]:
    """The columns that a row is the average of; none where it is no average, or not all of them are printed."""
    source, model = _COLUMNS_IN.get(row.source, row.source), row.model
    if source != row.source:
        model = _CALLED_THERE.get(model, model)
    if row.benchmark == "average":
        return _columns_elsewhere(row)
    if row.subset == "AVG":
        return [one for one in rows if one.subset != "AVG" and (one.model, one.source) == (model, source)]
    if row.subset or row.metric == "micro":
        return []
    columns = [one for one in rows if one.subset and (one.model, one.source) == (model, source)]
    if row.metric not in _MEANS:
        columns = [one for one in columns if one.metric == row.metric]
    expected, _ = released_sizes(row)
    return columns if len(columns) == len(expected) or (columns and not expected) else []


def _columns_elsewhere(row: PublishedRow) -> list[PublishedRow]:
    return [
        one
        for benchmark in _AVERAGED_ELSEWHERE
        for one in published_rows(benchmark)
        if (one.model, one.source) == (row.model, row.source)
    ]


def _relative_changes(row: PublishedRow) -> list[tuple[Fraction, Fraction]]:
    """Of S-VCO's nine columns: the change to the base model in percent, and how far rounding may have moved it."""
    changes = []
    for benchmark in _IMPROVED:
        rows = {(one.model, one.metric): one for one in published_rows(benchmark) if _IMPROVED_IN in one.source}
        for (model, metric), one in rows.items():
            if model == row.model:
                base = rows[f"{model.split()[0]} BASE", metric]
                sign = -1 if "lower_better" in metric else 1
                value, of = Fraction(one.exact), Fraction(base.exact)
                slack = _half_step(one) / of + value * _half_step(base) / of**2
                changes.append((sign * 100 * (value / of - 1), 0 * slack if one is base else 100 * slack))
    return changes


def _follows(row: PublishedRow, mean: Fraction, slack: Fraction) -> Follows:
    printed, step = Fraction(row.exact), Fraction(1, 10**row.decimals)
    if abs(printed - mean) <= slack + step / 2:
        return "follows"
    truncated = mean - slack - step < printed <= mean + slack
    return "follows if truncated" if truncated else "does not follow"
