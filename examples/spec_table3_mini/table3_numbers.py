"""From run records to the numbers of the table: values over seeds, their intervals, paired differences.

A model's seeds answer the same test sets, so seeds are no further test items. Their results on one set are added up,
and the set stays one cluster: intervals and tests are over sets, for these trainings as they are. How far seeds lie
apart is shown beside it, never folded in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.items import CandidateSet
from minchange_eval.core.queries import Direction
from minchange_eval.core.record import RunRecord
from minchange_eval.core.statistics import Interval, PairedDifference, cluster_intervals, holm
from minchange_eval.reports.pairing import MetricResults, difference_of, level_with_best, results_of

Runs = Mapping[str, Sequence[RunRecord]]  # row of the table -> one record a seed; of the base one in all
I2T, T2I, CLS = "i2t_accuracy", "t2i_accuracy", "macro"
AXIS = {"left": "right", "right": "left", "above": "below", "below": "above"}
ALPHA = 0.05


@dataclass(frozen=True)
class Value:
    """One cell.

    Attributes:
        value, low, high: mean over the seeds and its 95 % interval over test sets; fractions.
        seeds: the value of each seed.
        best: the claim that another row is better fails (one-sided at 5 %, Holm over the rows).
    """

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    best: bool = False


@dataclass(frozen=True)
class Difference:
    """A second row less a first one, on the same test sets.

    Attributes:
        paired: over the sets, results of the seeds added up.
        seeds: the difference of each seed.
        holm: p, two-sided, adjusted over the family that is claimed together.
    """

    first: str
    second: str
    benchmark: str
    metric: str
    slice: str
    paired: PairedDifference
    seeds: tuple[float, ...]
    holm: float = 1.0

    @property
    def shown(self) -> bool:
        """Significant over the sets, and every seed says the same."""
        sign = np.sign(self.paired.difference)
        return bool(self.holm < ALPHA and sign and all(np.sign(of_seed) == sign for of_seed in self.seeds))


class Results:
    """All results of the experiment, by row, benchmark, metric and slice.

    Args:
        runs: at least one record a row; all rows but those with a single record have as many.
    """

    def __init__(self, runs: Runs) -> None:
        self.rows = tuple(runs)
        self.runs = runs
        self.seeds = max(map(len, runs.values()))
        self._of: dict[tuple[str, int, str], dict[str, MetricResults]] = {}

    def of(self, row: str, seed: int, benchmark: str, metric: str) -> MetricResults:
        """What one training got; the base is the same for every seed."""
        records = self.runs[row]
        place = min(seed, len(records) - 1)
        key = row, place, benchmark
        if key not in self._of:
            self._of[key] = {results.name: results for results in results_of(records[place], benchmark)}
        return self._of[key][metric]

    def pooled(self, row: str, benchmark: str, metric: str) -> MetricResults:
        """Results of all seeds added up, set by set."""
        seeds = [self.of(row, seed, benchmark, metric) for seed in range(self.seeds)]
        if not all(seeds[0].asks_the_same(other) for other in seeds):
            raise ValueError(f"{row}: its seeds were not asked the same sets of {benchmark}")
        return replace(
            seeds[0],
            hits=np.sum([one.hits for one in seeds], axis=0),
            totals=np.sum([one.totals for one in seeds], axis=0),
            unscored=np.sum([one.unscored for one in seeds], axis=0),
        )

    def slices(self, benchmark: str, metric: str) -> tuple[str, ...]:
        """The subsets, and "" for their mean."""
        return tuple(name for _, name, _ in self.of(self.rows[0], 0, benchmark, metric).parts())

    def chance(self, benchmark: str, metric: str, part: str = "") -> float | None:
        """What guessing gets."""
        values = self.runs[self.rows[0]][0].metrics[benchmark]
        names = {metric, "accuracy"} if part and metric == CLS else {metric}
        return next(value.chance for value in values if value.name in names and value.subset == part)

    def value(self, row: str, benchmark: str, metric: str, part: str = "") -> Value:
        """One cell without its mark."""
        pooled = self.pooled(row, benchmark, metric)
        interval = _interval(pooled, _entries(pooled, part))
        seeds = (self.of(row, seed, benchmark, metric) for seed in range(len(self.runs[row])))
        return Value(
            _share(pooled, _entries(pooled, part)),
            interval.low,
            interval.high,
            tuple(_share(one, _entries(one, part)) for one in seeds),
        )

    def column(self, benchmark: str, metric: str, part: str = "") -> dict[str, Value]:
        """One column, with those marked that are the best or not shown to be worse than it."""
        pooled = [self.pooled(row, benchmark, metric) for row in self.rows]
        _, level = level_with_best(pooled, _entries(pooled[0], part))
        return {
            row: replace(self.value(row, benchmark, metric, part), best=best)
            for row, best in zip(self.rows, level, strict=True)
        }

    def difference(self, first: str, second: str, benchmark: str, metric: str, part: str = "") -> Difference:
        """Paired over the test sets; not yet adjusted for what else is claimed."""
        one, other = (self.pooled(row, benchmark, metric) for row in (first, second))
        seeds = tuple(
            _share(after, _entries(after, part)) - _share(before, _entries(before, part))
            for before, after in (
                (self.of(first, seed, benchmark, metric), self.of(second, seed, benchmark, metric))
                for seed in range(self.seeds)
            )
        )
        paired = difference_of(one, other, _entries(one, part))
        return Difference(first, second, benchmark, metric, part, paired, seeds, paired.p)


def family(differences: Sequence[Difference]) -> list[Difference]:
    """The differences that are claimed together, each with its p adjusted for all (Holm)."""
    adjusted = holm([one.paired.p for one in differences])
    return [replace(one, holm=p) for one, p in zip(differences, adjusted, strict=True)]


@dataclass(frozen=True)
class Places:
    """Choices among left, right, above and below, both directions and all seeds together.

    Attributes:
        axis: share of the choices that lie on the right axis (left or right, above or below); by chance a half.
        wrong: share of the wrong choices that do; by chance a third.
        choices, wrong_choices: of how many.
    """

    axis: Value
    wrong: Value
    choices: int
    wrong_choices: int


def places(records: Sequence[RunRecord], benchmark: str, sets: Mapping[str, CandidateSet]) -> Places:
    """Where a row's choices of relative position lie; a tie chooses nothing.

    Args:
        records: of one row, one a seed.
        sets: the test sets of relative position by id; `facts["values"]` names the relation of each member.

    Returns:
        Intervals are over sets.
    """
    counted = np.array([_turned(record, benchmark, sets) for record in records])  # [seeds, sets, 3]
    right, opposite, elsewhere = np.moveaxis(counted, 2, 0)
    wrong, all_ = opposite + elsewhere, right + opposite + elsewhere
    return Places(_value_of(right + opposite, all_), _value_of(opposite, wrong), int(all_.sum()), int(wrong.sum()))


def _turned(record: RunRecord, benchmark: str, sets: Mapping[str, CandidateSet]) -> NDArray[np.int64]:
    """[sets, (right, opposite end of the axis, other axis)]"""
    counts = {name: [0, 0, 0] for name in sets}
    for outcome in record.outcomes[benchmark]:
        if outcome.item_id not in sets or outcome.chosen is None:
            continue
        item = sets[outcome.item_id]
        query = int(outcome.query_id.rpartition("/")[2])
        order = item.image_to_text if outcome.direction is Direction.IMAGE_TO_TEXT else item.text_to_image
        wanted, chosen = (item.facts["values"][member] for member in (query, order[query][outcome.chosen]))
        counts[outcome.item_id][0 if chosen == wanted else 1 if chosen == AXIS[wanted] else 2] += 1
    return np.array(list(counts.values()), dtype=np.int64)


def _value_of(hits: NDArray[np.int64], totals: NDArray[np.int64]) -> Value:
    """From hits and totals [seeds, sets]."""
    held = totals.sum(axis=0) > 0
    _, interval = cluster_intervals(hits.sum(axis=0)[held, None], totals.sum(axis=0)[held, None])
    seeds = tuple(float(of.sum() / all_.sum()) for of, all_ in zip(hits, totals, strict=True))
    return Value(float(hits.sum() / totals.sum()), interval.low, interval.high, seeds)


def _entries(results: MetricResults, part: str) -> NDArray[np.bool_]:
    return next(entries for _, name, entries in results.parts() if name == part)


def _share(results: MetricResults, entries: NDArray[np.bool_]) -> float:
    """The plain mean over columns of the share of each."""
    hits, totals = (_summed(results, entries, of).sum(axis=0) for of in (results.hits, results.totals))
    return float((hits / totals).mean())


def _interval(results: MetricResults, entries: NDArray[np.bool_]) -> Interval:
    return cluster_intervals(_summed(results, entries, results.hits), _summed(results, entries, results.totals))[1]


def _summed(results: MetricResults, entries: NDArray[np.bool_], of: NDArray[np.int64]) -> NDArray[np.float64]:
    """[clusters, columns]"""
    cluster = np.unique(results.cluster[entries], return_inverse=True)[1]
    column = np.unique(results.column[entries], return_inverse=True)[1]
    shape = cluster.max() + 1, column.max() + 1
    flat = np.bincount(cluster * shape[1] + column, weights=of[entries], minlength=shape[0] * shape[1])
    return flat.reshape(shape)
