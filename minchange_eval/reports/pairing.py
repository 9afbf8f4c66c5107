"""Two runs' results on the same sets, side by side: paired by what was asked, never by row number.

A metric's results are arrays with one entry an item and subset, in an order that depends on the data alone. So two
models' arrays of one benchmark belong together entry by entry, and a table of many models compares them without going
back to the records.
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
from minchange_eval.core.statistics import RESAMPLES, PairedDifference, paired_difference
from minchange_eval.core.tallies import MetricTallies, asked_items

# a model that says "true" more often is no better or worse for it
_NO_CLAIM = "yes_rate"
# what makes a query the same one, beside its id and the data's fingerprint
_CONTENT = ("item_id", "subset", "direction", "candidates", "answers", "images", "form", "order", "slices")


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
    """

    name: str
    name_of_columns: str
    columns: tuple[str, ...]
    sliced: bool
    items: tuple[str, ...]
    column: NDArray[np.intp]
    cluster: NDArray[np.intp]
    hits: NDArray[np.int64]
    totals: NDArray[np.int64]
    unscored: NDArray[np.int64]

    def parts(self) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
        """Metric, slice and entries of each value: the whole first (slice ""), then each column that is not all."""
        if not self.sliced:
            yield self.name, "", np.ones(len(self.items), dtype=np.bool_)
        if self.sliced or (len(self.columns) > 1 and self.columns != ("",)):
            for number, column in enumerate(self.columns):
                yield self.name_of_columns, column, self.column == number


def benchmarks_of(record: RunRecord) -> dict[str, tuple[TaskRecord, ...]]:
    """The record's groups, and its tasks that are in none, each with its tasks."""
    tasks = {task.name: task for task in record.tasks}
    grouped = {member for members in record.groups.values() for member in members}
    together = {name: tuple(tasks[member] for member in members) for name, members in record.groups.items()}
    return {name: (task,) for name, task in tasks.items() if name not in grouped} | together


def results_of(record: RunRecord, benchmark: str, protocol: Protocol = "ours") -> tuple[MetricResults, ...]:
    """The results of a task or group in every metric that is a share of yes/no results and says better or worse.

    Raises:
        IncompleteError: a set lacks queries, or nothing was asked.
    """
    tasks = benchmarks_of(record)[benchmark]
    outcomes = [outcome for task in tasks for outcome in record.outcomes.get(task.name, ())]
    if not outcomes:
        raise IncompleteError(f"{benchmark}: the record holds no query of it; run the task again")
    tallies = asked_items(outcomes, protocol).tallies(tasks[0].kind)
    return tuple(_results(metric) for metric in tallies if metric.tallies and metric.name != _NO_CLAIM)


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


def require_same_queries(benchmark: str, first: Sequence[QueryOutcome], second: Sequence[QueryOutcome]) -> None:
    """Every query of one record is in the other and asks the same.

    Raises:
        NotComparableError: how many are not, and the first of them.
    """
    mine, others = ({outcome.query_id: outcome for outcome in outcomes} for outcomes in (first, second))
    alone = sorted(mine.keys() ^ others.keys())
    if alone:
        raise NotComparableError(
            f"{benchmark}: {len(alone)} queries are in one record only, {alone[0]!r} first; run both on the same sets"
        )
    for query_id, query in mine.items():
        for name in _CONTENT:
            if getattr(query, name) != getattr(others[query_id], name):
                raise NotComparableError(
                    f"{benchmark}: query {query_id!r} has {name} {getattr(query, name)!r} in one record and "
                    f"{getattr(others[query_id], name)!r} in the other; run both with one version of this package"
                )
