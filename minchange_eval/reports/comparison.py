"""Two models on the same sets: what changed, whether that is real, and which sets turned.

`compare` reads nothing but two run records. Statistics: `core.statistics.paired_difference`, docs/statistics.md.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from minchange_eval.core.errors import NotComparableError
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.record import RunRecord
from minchange_eval.core.statistics import RESAMPLES, PairedDifference, holm
from minchange_eval.reports.pairing import (
    MetricResults,
    benchmarks_of,
    difference_of,
    require_same_queries,
    results_of,
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Flips(_Frozen):
    """Items whose result in a metric changed, worst first.

    Attributes:
        to_right: items that the second model gets more of; those that the first one had most wrong come first.
        to_wrong: items that it gets less of; those that it has most wrong come first.
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
        rows: by benchmark; within it by metric, the whole before its slices.
    """

    first: str
    second: str
    protocol: Literal["ours", "published"]
    rows: tuple[DifferenceRow, ...]


def compare(
    first: RunRecord,
    second: RunRecord,
    *,
    protocol: Literal["ours", "published"] = "ours",
    draws: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare a second run with a first one on the benchmarks that both hold, query by query.

    Args:
        protocol: this project's reading of the answers, or each paper's own where it has one.
        draws, seed: of the sign-flip test, where it is not exact.

    Raises:
        NotComparableError: no benchmark in common, or other queries.
        IncompleteError: a set lacks queries, or nothing was asked.
    """
    known = benchmarks_of(second)
    shared = [name for name in benchmarks_of(first) if name in known]
    if not shared:
        raise NotComparableError(
            f"the records have no benchmark in common: {', '.join(benchmarks_of(first)) or 'none'} in the first, "
            f"{', '.join(known) or 'none'} in the second; run both models on the same tasks"
        )
    rows = [row for name in shared for row in _rows(first, second, name, protocol, draws, seed)]
    return Comparison(first=first.model.name, second=second.model.name, protocol=protocol, rows=tuple(rows))


def _rows(
    first: RunRecord,
    second: RunRecord,
    benchmark: str,
    protocol: Literal["ours", "published"],
    draws: int,
    seed: int,
) -> list[DifferenceRow]:
    asked = [_outcomes(record, benchmark) for record in (first, second)]
    require_same_queries(benchmark, *asked)
    reading = benchmarks_of(first)[benchmark][0].protocol if protocol == "published" else "ours"
    pairs = zip(*(results_of(record, benchmark, reading) for record in (first, second)), strict=True)
    found = [
        (metric, part, entries, ours, theirs, difference_of(ours, theirs, entries, draws=draws, seed=seed))
        for ours, theirs in pairs
        for metric, part, entries in ours.parts()
    ]
    worse = holm([row[-1].p_worse for row in found])
    better = holm([row[-1].p_better for row in found])
    return [_row(benchmark, *row, holm_worse=worse[i], holm_better=better[i]) for i, row in enumerate(found)]


def _outcomes(record: RunRecord, benchmark: str) -> list[QueryOutcome]:
    return [outcome for task in benchmarks_of(record)[benchmark] for outcome in record.outcomes[task.name]]


def _row(
    benchmark: str,
    metric: str,
    part: str,
    entries: NDArray[np.bool_],
    first: MetricResults,
    second: MetricResults,
    paired: PairedDifference,
    *,
    holm_worse: float,
    holm_better: float,
) -> DifferenceRow:
    items = [item for item, inside in zip(first.items, entries.tolist(), strict=True) if inside]
    change = (second.hits - first.hits)[entries].tolist()
    changed = sorted(zip(change, items, strict=True))
    return DifferenceRow(
        benchmark=benchmark,
        metric=metric,
        slice=part,
        n=int(first.totals[entries].sum()),
        items=len(set(items)),
        holm_worse=holm_worse,
        holm_better=holm_better,
        first_unscored=int(first.unscored[entries].sum()),
        second_unscored=int(second.unscored[entries].sum()),
        flips=Flips(
            to_right=tuple(item for by, item in reversed(changed) if by > 0),
            to_wrong=tuple(item for by, item in changed if by < 0),
        ),
        **vars(paired),
    )
