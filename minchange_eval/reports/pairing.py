"""Two runs' results on the same sets, side by side: paired by what was asked, never by row number.

A metric's results are arrays with one entry an item and subset, in an order that depends on the data alone. So models'
arrays of one benchmark belong together entry by entry, and a table of many models compares them without going back to
the records: `level_with_best`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.errors import IncompleteError, NotComparableError
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.readings import Protocol
from minchange_eval.core.record import RunRecord, TaskRecord
from minchange_eval.core.statistics import LEVEL, RESAMPLES, PairedDifference, holm, paired_difference
from minchange_eval.core.tallies import MetricTallies, asked_items

__all__ = ["MetricResults", "benchmarks_of", "difference_of", "level_with_best", "results_of"]

# a model that says "true" more often is no better or worse for it
_NO_CLAIM = "yes_rate"


@dataclass(frozen=True)
class MetricResults:
    """What one model got in one metric of one benchmark.

    Attributes:
        name: of the mean over all columns, `macro`.
        name_of_columns: of one column, `accuracy`.
        columns: subsets, or slices, by name.
        sliced: slices overlap and have no mean.
        items: [entries] the item of each entry.
        column, cluster: [entries] its column, and its cluster among those of the benchmark.
        hits, totals: [entries] yes results of how many.
        unscored: [entries] queries without an answer among those that were read.
        queries: [entries] ids of the queries that were read.
    """

    name: str
    name_of_columns: str
    columns: tuple[str, ...]
    sliced: bool
    items: tuple[str, ...]
    column: NDArray[np.int64]
    cluster: NDArray[np.int64]
    hits: NDArray[np.int64]
    totals: NDArray[np.int64]
    unscored: NDArray[np.int64]
    queries: tuple[tuple[str, ...], ...]

    def parts(self) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
        """Metric, slice and entries of each value: the whole first (slice ""), then each column that is not all."""
        if not self.sliced:
            yield self.name, "", np.ones(len(self.items), dtype=np.bool_)
        if self.sliced or len(self.columns) > 1:
            for number, column in enumerate(self.columns):
                yield self.name_of_columns, column, self.column == number

    def asks_the_same(self, other: MetricResults) -> bool:
        """Whether entry by entry both are of the same items, subsets, clusters and number of results."""
        mine, others = ((of.name, of.columns, of.items) for of in (self, other))
        names = ("column", "cluster", "totals")
        return mine == others and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)


def benchmarks_of(record: RunRecord) -> dict[str, tuple[TaskRecord, ...]]:
    """The record's groups, and its tasks that are in none, each with its tasks."""
    tasks = {task.name: task for task in record.tasks}
    grouped = {member for members in record.groups.values() for member in members}
    together = {name: tuple(tasks[member] for member in members) for name, members in record.groups.items()}
    return {name: (task,) for name, task in tasks.items() if name not in grouped} | together


def results_of(record: RunRecord, benchmark: str, protocol: Protocol = "ours") -> tuple[MetricResults, ...]:
    """The results of one of `benchmarks_of` in every metric that is a share of yes/no results and says better or worse.

    Raises:
        IncompleteError: a set lacks queries, or nothing was asked.
    """
    return _results_of(record, benchmarks_of(record)[benchmark], protocol)


def _results_of(record: RunRecord, tasks: Sequence[TaskRecord], protocol: Protocol) -> tuple[MetricResults, ...]:
    outcomes = _outcomes(record, tasks)
    if not outcomes:
        names = ", ".join(task.name for task in tasks)
        raise IncompleteError(f"{names}: expected queries, the record holds none; evaluate the model again")
    tallies = asked_items(outcomes, protocol).tallies(tasks[0].kind)
    return tuple(_results(metric) for metric in tallies if metric.tallies and metric.name != _NO_CLAIM)


def _outcomes(record: RunRecord, tasks: Sequence[TaskRecord]) -> list[QueryOutcome]:
    return [outcome for task in tasks for outcome in record.outcomes.get(task.name, ())]


def _results(metric: MetricTallies) -> MetricResults:
    columns = tuple(metric.columns)
    number = {column: index for index, column in enumerate(columns)}

    def array(values: Iterator[int]) -> NDArray[np.int64]:
        return np.fromiter(values, dtype=np.int64, count=len(metric.tallies))

    return MetricResults(
        name=metric.name,
        name_of_columns=metric.name_of_columns,
        columns=columns,
        sliced=metric.sliced,
        items=tuple(tally.item_id for tally in metric.tallies),
        column=array(number[tally.subset] for tally in metric.tallies),
        cluster=array(tally.cluster for tally in metric.tallies),
        hits=array(tally.hits for tally in metric.tallies),
        totals=array(tally.total for tally in metric.tallies),
        unscored=array(sum(query.unscored for query in tally.read) for tally in metric.tallies),
        queries=tuple(tuple(query.query_id for query in tally.read) for tally in metric.tallies),
    )


def paired_results(
    first: RunRecord, second: RunRecord, tasks: Sequence[TaskRecord], protocol: Protocol = "ours"
) -> tuple[tuple[MetricResults, ...], tuple[MetricResults, ...]]:
    """The results of two models on the same tasks, entry by entry of the same items.

    Raises:
        NotComparableError: they are not.
        IncompleteError: as in `results_of`.
    """
    results = _results_of(first, tasks, protocol), _results_of(second, tasks, protocol)
    _require_same(tasks, *results)
    return results


def _require_same(
    tasks: Sequence[TaskRecord], first: tuple[MetricResults, ...], second: tuple[MetricResults, ...]
) -> None:
    if len(first) != len(second) or not all(one.asks_the_same(it) for one, it in zip(first, second, strict=True)):
        raise NotComparableError(
            f"{', '.join(task.name for task in tasks)}: expected the same sets, images and slices in both records, got "
            "others; evaluate both models with the same tasks, data and version of this package"
        )


def difference_of(
    first: MetricResults,
    second: MetricResults,
    entries: NDArray[np.bool_],
    *,
    draws: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """The paired difference of two models in one value of a metric, `entries` being one of its `parts`."""
    cluster = np.unique(first.cluster[entries], return_inverse=True)[1]
    column = np.unique(first.column[entries], return_inverse=True)[1]
    shape = cluster.max() + 1, column.max() + 1

    def summed(values: NDArray[np.int64]) -> NDArray[np.float64]:
        flat = np.bincount(cluster * shape[1] + column, weights=values[entries], minlength=shape[0] * shape[1])
        return flat.reshape(shape)

    return paired_difference(summed(first.hits), summed(second.hits), summed(first.totals), draws=draws, seed=seed)


def level_with_best(
    models: Sequence[MetricResults], entries: NDArray[np.bool_], *, draws: int = 2000, seed: int = 0
) -> tuple[int, tuple[bool, ...]]:
    """The best of several models in one value of a metric, and whether it is significantly ahead of each.

    Args:
        models: results of one metric, entry by entry of the same items.
        entries: one of the metric's `parts`, the same for all.

    Returns:
        The best one's place (the first of equal ones), and for each model whether it is level with the best: the claim
        that it is worse, one-sided at 5 %, fails after Holm over the models. A model that is truly as good as any is
        set apart in at most 5 % of cases; of many such models one or the other is more often, since the best is found
        in the same data.
    """
    values = [_value(model, entries) for model in models]
    best = values.index(max(values))
    others = [place for place in range(len(models)) if place != best]
    worse = [difference_of(models[best], models[place], entries, draws=draws, seed=seed).p_worse for place in others]
    adjusted = dict(zip(others, holm(worse), strict=True))
    return best, tuple(adjusted.get(place, 1.0) > 1 - LEVEL for place in range(len(models)))


def _value(results: MetricResults, entries: NDArray[np.bool_]) -> float:
    column = results.column[entries]
    totals = np.bincount(column, weights=results.totals[entries])
    hits = np.bincount(column, weights=results.hits[entries])
    return float((hits[totals > 0] / totals[totals > 0]).mean())
