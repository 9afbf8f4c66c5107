"""The reproduction ledger: published numbers beside a run's own, with the flags that may explain a difference.

A verdict is given only where the run asked all of the official data; anything else is `not comparable`, with the
reason, and its numbers still stand beside the published ones. Ours is the paper's own reading of the answers where the
run's task has one (the record's `published` part), else this project's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from minchange_eval.core.errors import IncompleteError, MinchangeError
from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.record import RunRecord, TaskRecord
from minchange_eval.data.benchmark_card import benchmark_card, card_names
from minchange_eval.data.store_card import read_card, store_folder
from minchange_eval.reports.attainability import Checked, check_published
from minchange_eval.reports.comparability import require_complete

Verdict = Literal["reproduced", "within interval", "differs", "not comparable"]
LEDGER_VERDICTS: tuple[Verdict, ...] = ("reproduced", "within interval", "differs", "not comparable")
_ROUNDING = Fraction(1, 10**9)  # a share as a float differs from k/n by less

# The task of a benchmark that asks as its paper does; other variants are other questions.
_VARIANT_OF_PAPER = {"med": "raw", "med_real": "raw"}
# Metrics that are published and not computed here, or not as there.
_NOT_OURS = {"cls_accuracy": "neither prompt nor code of this metric is released"}


@dataclass(frozen=True)
class LedgerRow:
    """A published number beside a run's.

    Attributes:
        checked: the published number, and whether it can be at all.
        run: the run's label.
        task: where in the record ours stands; empty where there is none.
        ours: our value; None where the run has none.
        verdict: `reproduced` where ours rounds to the published value, or truncates to it where no k of n rounds to
            it; `within interval` where the published value lies in our interval.
        why: why it is not comparable.
        incomplete: that reason is the run's own incompleteness, not other data.
    """

    checked: Checked
    run: str
    task: str
    ours: MetricValue | None
    verdict: Verdict
    why: str = ""
    incomplete: bool = False

    @property
    def difference(self) -> float | None:
        """Ours less the published value, in points."""
        return None if self.ours is None else 100 * self.ours.value - self.checked.row.value


@dataclass(frozen=True)
class _Found:
    """What a record has on a benchmark: the tasks that may be read beside the paper, and what forbids it."""

    tasks: tuple[TaskRecord, ...]
    why: str
    incomplete: bool


def ledger(
    benchmark: str, run: str, record: RunRecord, models: Sequence[str], *, trust_data: bool = False
) -> tuple[LedgerRow, ...]:
    """Every published number of some models beside a run's, in the order of their sources.

    Args:
        benchmark: one with published numbers.
        run: label of the run.
        record: whole or slim.
        models: published names of the run's model.
        trust_data: the caller vouches that the run's data is the official revision, where the store cannot tell.

    Raises:
        UsageError: nothing is published on the benchmark here.
        DataError: the record's lines are not what its header says.
    """
    found = _found(benchmark, record, trust_data=trust_data)
    rows = (checked for checked in check_published(benchmark) if checked.row.model in models)
    return tuple(_row(checked, run, record, found) for checked in rows)


def _row(checked: Checked, run: str, record: RunRecord, found: _Found) -> LedgerRow:
    row = checked.row
    task, ours, missing = _ours(checked, record, found.tasks)
    why = _NOT_OURS.get(row.metric) or found.why or missing or _protocol_differs(checked)
    incomplete = why == found.why and found.incomplete
    if why or ours is None:
        return LedgerRow(checked, run, task, ours, "not comparable", why or "the run has no such value", incomplete)
    return LedgerRow(checked, run, task, ours, _verdict(checked, ours))


def _verdict(checked: Checked, ours: MetricValue) -> Verdict:
    row, value = checked.row, Fraction(ours.value) * 100
    printed, step = Fraction(row.exact), Fraction(1, 10**row.decimals)
    test = checked.result
    truncated = test is not None and test.roundings == ("truncation",)  # no k of n rounds to the published value
    if abs(value - printed) <= step / 2 + _ROUNDING or (truncated and 0 <= value - printed + _ROUNDING < step):
        return "reproduced"
    return "within interval" if ours.low <= row.value / 100 <= ours.high else "differs"


def _protocol_differs(checked: Checked) -> str:
    """Why a published number is of another protocol than the benchmark's own; empty where it is not."""
    row = checked.row
    if checked.older:
        return f"published for another labelling of the same items ({checked.older})"
    if row.benchmark == "spec" and row.published_subset == "all":
        return "the page does not say how it is averaged; chat models were shown two candidates only"
    return ""


def _found(benchmark: str, record: RunRecord, *, trust_data: bool = False) -> _Found:
    tasks = [task for task in record.tasks if task.dataset == benchmark and not _another_view(task)]
    if not tasks:
        return _like_it(benchmark, record)
    wanted = _VARIANT_OF_PAPER.get(benchmark, "")
    variants = {task.variant for task in tasks}
    variant = wanted if wanted in variants else "" if "" in variants else None
    if variant is None:
        return _Found(tuple(tasks), f"asked only as {', '.join(sorted(variants))}, not as the paper does", False)
    chosen = tuple(task for task in tasks if task.variant == variant)
    why = next(filter(None, map(_why_partial, chosen)), "")
    incomplete = _why_incomplete(record, chosen)
    other = _why_other_data(chosen, trust_data=trust_data)
    return _Found(chosen, why or incomplete or other, not why and bool(incomplete))


def _another_view(task: TaskRecord) -> bool:
    """Questions made of candidate sets, as SPEC's image classification."""
    return task.kind != "sets" and task.dataset in card_names() and benchmark_card(task.dataset).kind == "sets"


def _like_it(benchmark: str, record: RunRecord) -> _Found:
    """The tasks on generated data of the benchmark's form: shown, never comparable."""
    like = tuple(
        task
        for task in record.tasks
        if task.dataset in card_names() and benchmark_card(task.dataset).made_like == benchmark and not task.variant
    )
    if like:
        return _Found(
            like, f"{like[0].dataset} is synthetic: drawn by this package's generator, another data set", False
        )
    return _Found((), f"the run has no task on {benchmark}", False)


def _why_partial(task: TaskRecord) -> str:
    if task.synthetic:
        return f"{task.dataset} is synthetic"
    if task.items < task.items_in_full:
        options = {"--limit": task.limit, "--offset": task.offset}
        given = ", ".join(f"{name} {value:g}" for name, value in options.items() if value)
        return f"{task.name}: {task.items} of {task.items_in_full} items were asked" + f" ({given})" * bool(given)
    if task.items_released is not None and task.items_in_full + task.left_out < task.items_released:
        return f"{task.name}: {task.items_in_full} of {task.items_released} released items were prepared"
    if task.rows_skipped or task.left_out:
        return f"{task.name}: {task.rows_skipped + task.left_out} items were left out"
    return ""


def _why_incomplete(record: RunRecord, tasks: Sequence[TaskRecord]) -> str:
    part = record.model_copy(update={"tasks": tuple(tasks)})
    try:
        require_complete(part)
    except IncompleteError as error:
        return f"the run is incomplete ({error})"
    return ""


def _why_other_data(tasks: Sequence[TaskRecord], *, trust_data: bool) -> str:
    """The store knows which fingerprint is that of the official revision; a record alone does not."""
    task, short = tasks[0], tasks[0].fingerprint[:12]
    if len({one.fingerprint for one in tasks}) > 1:
        return f"tasks on {task.dataset} are of different fingerprints"
    if trust_data:
        return ""
    vouch = "--trust-data vouches for it"
    try:
        card = read_card(store_folder(task.dataset))
    except MinchangeError:
        return f"{task.dataset} is not prepared here to tell whether {short} is the official revision; {vouch}"
    if card.fingerprint != task.fingerprint:
        return f"fingerprint {short} is not that of the data prepared here, {card.fingerprint[:12]}; {vouch}"
    known = benchmark_card(task.dataset).revision if task.dataset in card_names() else ""
    at_commit = bool(known) and card.revision.startswith(known) and not card.skipped
    return "" if card.verified or at_commit else f"fingerprint {short} is not known as the official revision; {vouch}"


def _ours(checked: Checked, record: RunRecord, tasks: Sequence[TaskRecord]) -> tuple[str, MetricValue | None, str]:
    """Where our value stands, the value, and why there is none."""
    row = checked.row
    if not tasks:
        return "", None, ""
    names = {task.name for task in tasks}
    groups = [name for name, members in record.groups.items() if set(members) <= names]
    subsets = set(benchmark_card(tasks[0].dataset).subsets) if tasks[0].dataset in card_names() else set()
    for name in (*groups, *sorted(names)):
        asked = {subset for task in tasks if task.name in record.groups.get(name, (name,)) for subset in task.subsets}
        if not row.subset and subsets - asked:
            continue
        for value in record.published.get(name) or record.metrics.get(name, ()):
            if (value.name, value.subset) == (row.metric, row.subset):
                return name, value, ""
    if not row.subset:
        return "", None, f"the run has no {row.metric} over all subsets"
    return "", None, f"the run has no {row.metric} of {row.subset}"


def flags(benchmark: str, record: RunRecord) -> tuple[tuple[str, str, str], ...]:
    """What may explain a difference: (flag, as published, in this run), where either is known."""
    found = _found(benchmark, record)
    published, ours = _PUBLISHED_FLAGS.get(benchmark, {}), dict(_flags_of(record, found.tasks))
    return tuple(
        (name, published.get(name, "not stated"), ours.get(name, "-")) for name in dict.fromkeys((*published, *ours))
    )


def _flags_of(record: RunRecord, tasks: Iterable[TaskRecord]) -> Iterator[tuple[str, str]]:
    settings = record.model.settings
    for flag, name in (("activation", "activation"), ("dtype", "dtype"), ("decoding", "scoring")):
        if name in settings:
            yield flag, str(settings[name])
    yield "processor", _processor(settings.get("preprocess"))
    every = tuple(tasks)
    sources = dict.fromkeys(task.prompt_source or "none is read" for task in every)
    yield "prompt", ", ".join(sources) or "-"
    kind = {task.kind for task in every}
    yield "average", "macro and micro" if kind == {"questions"} else "plain mean of the subsets"
    if any(task.dataset == "med" for task in every):
        yield "labelling", "as prepared (the release: Object 13, Action Relation 16)"
    if every:
        reading = "published" if any(task.name in record.published for task in every) else "our"
        variants = ", ".join(dict.fromkeys(task.variant or "as released" for task in every))
        yield (
            "options",
            f"{variants}; {reading} reading of the answers",
        )


def _processor(preprocess: object) -> str:
    if isinstance(preprocess, Mapping):
        words = [str(preprocess[name]) for name in ("size", "resize_mode", "interpolation") if name in preprocess]
        return " ".join(words) or "as the model's own"
    return f"digest {preprocess}" if preprocess else "not stated"


# Read in the authors' repositories and pages: wjpoom/SPEC ad982a42, rabiulcste/vismin 29ce2c0, beccabai/hallu_med
# 2b4fa61, and in the papers.
_MED_FLAGS = {
    "dtype": "bf16 (Qwen), fp16 (LLaVA); LLaMA by vLLM",
    "decoding": "10 or 20 new tokens, sampled once at temperature 0.8; an unread answer becomes a random letter",
    "processor": "the model's default resolution",
    "prompt": "benchmark/test_*.py, options pasted as released",
}
_PUBLISHED_FLAGS: Mapping[str, Mapping[str, str]] = {
    "spec": {
        "activation": "QuickGELU (OpenAI weights, open_clip 2.24.0)",
        "dtype": "fp32, no autocast",
        "processor": "open_clip's own; BLIP 384 x 384 bicubic; FLAVA unprojected features",
        "prompt": "none is read",
        "average": "plain mean of six subsets; pooled queries would give 26.6/24.7 for CLIP, not 33.4/30.6",
        "options": "argmax in the released order, the first of equal scores is taken",
    },
    "vismin": {
        "activation": "QuickGELU (OpenAI weights)",
        "dtype": "fp16 on a GPU (openai clip); chat models fp16 or bf16",
        "decoding": "greedy words, up to 128 new tokens; LLaVA-1.6 64",
        "processor": "the package's own; LLaVA sees both images as one",
        "prompt": "evals/ of the repository; which wording the page's rows used is not stated",
        "average": "plain mean of 12 columns",
        "options": "fixed order, A and First are always image 0; words matched, an article 'a' counts as A",
    },
    "med": {
        **_MED_FLAGS,
        "average": "macro over 11 types in Table 1; the released scripts print micro",
        "labelling": "two in one table: Object 14, Action Relation 15 in ten rows; as released in four",
        "options": "pasted as released, stray blanks included",
    },
    "med_real": {**_MED_FLAGS, "average": "micro over 35", "options": "pasted as released, stray blanks included"},
}
