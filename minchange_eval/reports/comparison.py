"""Two models on the same sets: what changed, whether that is real, and which sets turned.

`compare` reads nothing but two run records. Statistics: `core.statistics.paired_difference`, docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from minchange_eval.core.record import RunRecord, TaskRecord
from minchange_eval.core.resting_collector import resting_collector
from minchange_eval.core.slim_records import require_whole, slim
from minchange_eval.core.statistics import RESAMPLES, holm
from minchange_eval.reports.comparability import require_comparable
from minchange_eval.reports.pairing import MetricResults, benchmarks_of, difference_of, paired_results

__all__ = ["Comparison", "DifferenceRow", "Flips", "compare"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Flips(_Frozen):
    """Items whose result in a metric changed, worst first: most results turned, then the answer furthest behind.

    Attributes:
        to_right: items that the second model gets more of, by how wrong the first one had them.
        to_wrong: items that it gets less of, by how wrong it has them.
    """

    to_right: tuple[str, ...]
    to_wrong: tuple[str, ...]


class DifferenceRow(_Frozen):
    """One metric of one benchmark or slice: two models and their paired difference.

    Attributes:
        benchmark: the task or group.
        metric: as in a record's metrics.
        slice: subset or slice; empty for the whole.
        n: yes/no results compared.
        items: sets or questions compared.
        clusters: of items that share images.
        first, second, difference: fractions; the difference is second less first.
        low, high: two-sided 95 % interval of the difference.
        lower, upper: one-sided 95 % bounds.
        p: two-sided, sign-flip permutation over clusters.
        p_worse, p_better: one-sided, for the claims that the second is worse, or better.
        p_mcnemar: exact; None where a cluster holds several results.
        holm_worse, holm_better: the one-sided p values adjusted over all rows of the benchmark.
        smallest_effect: that as many clusters, differing as often, show with 80 % power; None where none could be.
        first_unscored, second_unscored: queries without a readable answer among those that the metric reads; misses.
        flips: items that changed.
    """

    benchmark: str
    metric: str
    slice: str
    n: int
    items: int
    clusters: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    lower: float
    upper: float
    p: float
    p_worse: float
    p_better: float
    p_mcnemar: float | None
    holm_worse: float
    holm_better: float
    smallest_effect: float | None
    first_unscored: int
    second_unscored: int
    flips: Flips


class Comparison(_Frozen):
    """Two runs, row by row.

    Attributes:
        first, second: names of the models.
        protocol: whose reading of the answers.
        synthetic: data sets that this project's generators drew.
        rows: by benchmark; within it by metric, the whole before its slices.
    """

    first: str
    second: str
    protocol: Literal["ours", "published"]
    synthetic: tuple[str, ...] = ()
    rows: tuple[DifferenceRow, ...]


@resting_collector()
def compare(
    first: RunRecord,
    second: RunRecord,
    *,
    protocol: Literal["ours", "published"] = "ours",
    names: tuple[str, str] = ("first", "second"),
    draws: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare a second run with a first one, query by query.

    Args:
        first, second: whole records or slim ones.
        protocol: this project's reading of the answers, or each paper's own where it has one.
        names: what the two are called in a message.
        draws, seed: of the sign-flip test, where it is not exact.

    Raises:
        IncompleteError, NotComparableError: see `require_comparable`.
        UsageError: a slim record for a paper's reading.
    """
    require_comparable(first, second, names)
    if protocol == "published":
        for record, name in zip((first, second), names, strict=True):
            require_whole(record, "a paper's reading of the answers", name)
    if first.slim_of or second.slim_of:
        first, second = slim(first), slim(second)
    rows = [
        row
        for name, tasks in _shared_benchmarks(first, second).items()
        for row in _rows(_Pair(first, second, name, tasks), protocol, draws, seed)
    ]
    return Comparison(
        first=first.model.name,
        second=second.model.name,
        protocol=protocol,
        synthetic=tuple(sorted({task.dataset for task in first.tasks if task.synthetic})),
        rows=tuple(rows),
    )


def _shared_benchmarks(first: RunRecord, second: RunRecord) -> dict[str, tuple[TaskRecord, ...]]:
    """Groups that both records have, then tasks that are in none of those: they are the same in both."""
    common = {name: members for name, members in first.groups.items() if second.groups.get(name) == members}
    return benchmarks_of(first.model_copy(update={"groups": common}))


@dataclass(frozen=True)
class _Pair:
    first: RunRecord
    second: RunRecord
    benchmark: str
    tasks: tuple[TaskRecord, ...]


def _rows(pair: _Pair, protocol: Literal["ours", "published"], draws: int, seed: int) -> list[DifferenceRow]:
    reading = pair.tasks[0].protocol if protocol == "published" else "ours"
    results = zip(*paired_results(pair.first, pair.second, pair.tasks, reading), strict=True)
    found = [
        (part, one, other, difference_of(one, other, part[2], draws=draws, seed=seed))
        for one, other in results
        for part in one.parts()
    ]
    worse = holm([paired.p_worse for *_, paired in found])
    better = holm([paired.p_better for *_, paired in found])
    margins = _margins(pair.first, pair.tasks), _margins(pair.second, pair.tasks)
    return [
        DifferenceRow(
            benchmark=pair.benchmark,
            metric=metric,
            slice=part,
            n=int(one.totals[entries].sum()),
            items=int(entries.sum()),  # an item is in one subset, and once in a slice
            holm_worse=worse[place],
            holm_better=better[place],
            first_unscored=int(one.unscored[entries].sum()),
            second_unscored=int(other.unscored[entries].sum()),
            flips=_flips(one, other, entries, margins),
            **vars(paired),
        )
        for place, ((metric, part, entries), one, other, paired) in enumerate(found)
    ]


def _margins(record: RunRecord, tasks: Iterable[TaskRecord]) -> dict[str, float]:
    """By item, how far the right candidate of its worst query is ahead of the best wrong one; below 0 it is behind."""
    margins: dict[str, float] = {}
    for outcome in (outcome for task in tasks for outcome in record.outcomes[task.name]):
        scores = [-math.inf if score is None else score for score in outcome.scores or ()]
        wrong = [score for place, score in enumerate(scores) if place not in outcome.answers]
        if wrong and -math.inf not in scores:
            margin = max(scores[place] for place in outcome.answers) - max(wrong)
            margins[outcome.item_id] = min(margin, margins.get(outcome.item_id, margin))
    return margins


def _flips(
    first: MetricResults,
    second: MetricResults,
    entries: NDArray[np.bool_],
    margins: tuple[dict[str, float], dict[str, float]],
) -> Flips:
    change: dict[str, int] = {}
    for place in np.flatnonzero(entries & (first.hits != second.hits)).tolist():
        item = first.items[place]
        change[item] = change.get(item, 0) + int(second.hits[place] - first.hits[place])

    def worst_first(sign: int, margin: dict[str, float]) -> tuple[str, ...]:
        turned = [item for item, by in change.items() if by * sign > 0]
        return tuple(sorted(turned, key=lambda item: (-abs(change[item]), margin.get(item, 0.0), item)))

    return Flips(to_right=worst_first(1, margins[0]), to_wrong=worst_first(-1, margins[1]))
