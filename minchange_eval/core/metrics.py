"""From outcomes to the numbers that are reported: value, interval, chance and counts, for every reader the same.

The record, our table and later reports take `summarize`, and from it `whole`. lmms-eval's own table has no room for
intervals and sums up as it goes: `tasks/aggregation.py`, from the same hits.
Shares of yes/no results come from tallies, one an item (`core.tallies`); what is no share, from counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from minchange_eval.core.forms import balanced, chosen_places, position_bias
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.queries import Direction
from minchange_eval.core.readings import Protocol
from minchange_eval.core.statistics import RESAMPLES, Interval, cluster_intervals, statistic_interval
from minchange_eval.core.tallies import (
    FORM_METRICS,
    QUESTION_METRICS,
    SET_METRICS,
    SLICED_METRICS,
    STATEMENT_METRICS,
    AskedItems,
    JudgedItem,
    Kind,
    MetricTallies,
    Tally,
    asked_items,
    by_subset,
    slice_tallies,
    statement_tally,
)

__all__ = [
    "FORM_METRICS",
    "QUESTION_METRICS",
    "SET_METRICS",
    "STATEMENT_METRICS",
    "Kind",
    "MetricValue",
    "Protocol",
    "summarize",
    "whole",
]


class MetricValue(BaseModel):
    """One number and all that a reader needs to judge it.

    Attributes:
        name: one of `SET_METRICS` or `STATEMENT_METRICS`; for questions `macro` and `micro` of the whole, `accuracy` of
            a subset; and where questions come in several forms some of `FORM_METRICS`.
        subset: the subset or slice (`relation: under`, `wording: s03`) that it is of; empty for the whole, which is
            the plain mean of the subsets' values. `micro`, `position_bias`, `spread` and `bias` count all alike;
            slices are never part of a mean.
        value, low, high: fractions in [0, 1], for `bias` in [-1, 1]; 95 % interval over clusters that share images.
        chance: what guessing gets; None for what guessing says nothing of.
        n: sets for `text_score`, `image_score`, `group_score` and `pair_mean`; questions for `consistency`; choices
            for `position_bias`; else queries.
        unscored, ties, near_ties: queries among those that the metric reads, which for scores of sets may be more than
            n; for `consistency` questions of which any form is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    subset: str
    value: float
    low: float
    high: float
    chance: float | None
    n: int
    unscored: int
    ties: int
    near_ties: int


def summarize(
    outcomes: Iterable[QueryOutcome],
    kind: Kind,
    *,
    protocol: Protocol = "ours",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[MetricValue, ...]:
    """All metrics of a task, or of a group of tasks on one data set: each subset and slice by name, then the whole.

    A query that is given twice counts once. The whole of SPEC's two accuracies, and of VisMin's `pair_mean` (the mean
    of its 12 columns), is the papers' headline, as is `macro` for MED.

    Statements: `accuracy`, the same of true and of false ones, `yes_rate` (answers "true", of all asked) and
    `answered`, of each slice too.
    A question asked in several orders of its candidates is one question, from the orders merged (`core.forms`);
    `consistency` is then the share of questions with one choice in all orders, `position_bias` how far the choices
    stick to one place. Asked in several wordings it counts once a wording, each wording is a slice,
    `consistency` is the share with one choice in all wordings, `spread` the standard deviation of the wordings'
    accuracies (of these wordings, so divided by their number) and, for statements, `bias` the accuracy on true ones
    less that on false ones.

    Args:
        outcomes: in any order, which does not matter.
        kind: `sets`, `questions` or `statements`.
        protocol: this project's reading of the answers, or that of a paper: `spec` takes the first of equal scores,
            `vismin` and `med` match words as their released scripts do (an unread letter is a miss, not drawn).
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: no outcomes, outcomes of another kind, or orders of a question that do not go together.
        IncompleteError: a set lacks queries.

    Source of consistency, spread and bias over wordings: VSRE (its templates' accuracies and their variance).
    """
    asked = asked_items(outcomes, protocol)
    shares = _Shares(resamples, seed)
    values: list[MetricValue] = []
    for metric in asked.tallies(kind):
        values += shares.of_slices(metric) if metric.sliced else shares.of_subsets(metric)
    if asked.several:
        values += _of_orders(asked, shares) if asked.orders else _of_wordings(asked.items, kind, shares)
    return tuple(sorted(values, key=lambda value: (value.subset == "", value.subset)))


def whole(values: Iterable[MetricValue]) -> dict[str, MetricValue]:
    """The metrics of the whole by name, from what `summarize` returned."""
    return {value.name: value for value in values if not value.subset}


@dataclass(frozen=True)
class _Shares:
    """Metrics that are shares of yes/no results, with the bootstrap's settings."""

    resamples: int
    seed: int

    def of_subsets(self, metric: MetricTallies) -> list[MetricValue]:
        """Each subset and the plain mean over them; nothing where nothing was read."""
        parts, name = metric.columns, metric.name
        if not parts:
            return []
        apart, mean = self.intervals(parts.values())
        guesses = [_guess(part) for part in parts.values()]
        known = [guess for guess in guesses if guess is not None]
        average = math.fsum(known) / len(known) if len(known) == len(guesses) else None
        whole_value = _metric_value(name, "", mean, average, metric.tallies)
        if name == "micro":
            return [whole_value]
        rows = zip(parts.items(), apart, guesses, strict=True)
        return [
            *(
                _metric_value(metric.name_of_columns, subset, interval, guess, part)
                for (subset, part), interval, guess in rows
            ),
            whole_value,
        ]

    def of_slices(self, metric: MetricTallies) -> list[MetricValue]:
        """Each slice on its own: slices overlap, and their mean would mean nothing."""
        values = []
        for part, own in metric.columns.items():
            (interval,), _ = self.intervals([own])
            values.append(_metric_value(metric.name, part, interval, _guess(own), own))
        return values

    def intervals(self, parts: Iterable[Sequence[Tally]]) -> tuple[tuple[Interval, ...], Interval]:
        """Of each part's share, and of their plain mean."""
        columns = [(column, tally) for column, part in enumerate(parts) for tally in part]
        row = _rows_of(tally.cluster for _, tally in columns)
        hits = np.zeros((len(row), 1 + columns[-1][0]))
        totals = np.zeros_like(hits)
        for column, tally in columns:
            hits[row[tally.cluster], column] += tally.hits
            totals[row[tally.cluster], column] += tally.total
        return cluster_intervals(hits, totals, resamples=self.resamples, seed=self.seed)


def _rows_of(clusters: Iterable[int]) -> dict[int, int]:
    return {cluster: row for row, cluster in enumerate(sorted(set(clusters)))}


def _guess(part: Sequence[Tally]) -> float | None:
    known = [tally.chance * tally.total for tally in part if tally.chance is not None]
    return math.fsum(known) / math.fsum(tally.total for tally in part) if len(known) == len(part) else None


def _of_orders(asked: AskedItems, shares: _Shares) -> list[MetricValue]:
    """`position_bias` over the questions whose orders put every candidate in every place equally often."""
    cluster = {query.query_id: item.cluster for item in asked.items for query in item.queries}
    even = {base_id: forms for base_id, forms in asked.several.items() if balanced(forms)}
    if not even:
        return []
    row = _rows_of(cluster[base_id] for base_id in even)
    groups: dict[tuple[Direction, int], NDArray[np.float64]] = {}
    for base_id, forms in even.items():
        k = forms[0].candidates
        group = groups.setdefault((forms[0].direction, k), np.zeros((len(row), k)))
        group[row[cluster[base_id]]] += chosen_places(forms)
    interval = position_bias(list(groups.values()), resamples=shares.resamples, seed=shares.seed)
    read = [form for forms in even.values() for form in forms]
    return [_counted("position_bias", "", interval, None, len(read), read)]


def _of_wordings(items: Sequence[JudgedItem], kind: Kind, shares: _Shares) -> list[MetricValue]:
    """`spread` over the wordings' accuracies and, for statements, `bias`."""
    accuracies = SLICED_METRICS["sets"] if kind == "sets" else ("accuracy",)
    slices = [tally for name in accuracies for item in items for tally in slice_tallies(name, item, kind)]
    wordings = by_subset(tally for tally in slices if tally.subset.startswith("wording: "))
    row = _rows_of(tally.cluster for part in wordings.values() for tally in part)
    counts = np.zeros((2, len(row), len(wordings)))
    for column, part in enumerate(wordings.values()):
        for tally in part:
            counts[:, row[tally.cluster], column] += tally.hits, tally.total
    variance = statistic_interval(np.hstack(list(counts)), _variance, resamples=shares.resamples, seed=shares.seed)
    spread = Interval(*(math.sqrt(one) for one in (variance.value, variance.low, variance.high)))
    read = [query for part in wordings.values() for tally in part for query in tally.read]
    values = [_counted("spread", "", spread, None, len(read), read)]
    return values + _bias(items, shares) if kind == "statements" else values


def _variance(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """[..., hits of each wording, then totals of each] -> variance of the accuracies of those wordings with any."""
    hits, totals = np.split(sums, 2, axis=-1)
    held = totals > 0
    shares = np.divide(hits, totals, out=np.zeros_like(hits), where=held)
    n = np.maximum(held.sum(axis=-1, keepdims=True), 1)
    apart = np.where(held, shares - shares.sum(axis=-1, keepdims=True) / n, 0.0)
    variance: NDArray[np.float64] = (apart**2).sum(axis=-1) / n[..., 0]
    return variance


def _bias(items: Sequence[JudgedItem], shares: _Shares) -> list[MetricValue]:
    """Right on true ones less right on false ones: twice the mean of (right on true, wrong on false), less 1."""
    true, false = ([t for item in items for t in statement_tally(name, item)] for name in STATEMENT_METRICS[1:3])
    if not true or not false:
        return []
    wrong = [tally._replace(hits=tally.total - tally.hits) for tally in false]
    _, mean = shares.intervals([true, wrong])
    bias = Interval(*(2 * end - 1 for end in (mean.value, mean.low, mean.high)))
    return [_metric_value("bias", "", bias, None, [*true, *false])]


def _metric_value(
    name: str, subset: str, interval: Interval, guess: float | None, tallies: Sequence[Tally]
) -> MetricValue:
    read = [query for tally in tallies for query in tally.read]
    return _counted(name, subset, interval, guess, sum(tally.n for tally in tallies), read)


def _counted(
    name: str, subset: str, interval: Interval, guess: float | None, n: int, read: Sequence[QueryOutcome]
) -> MetricValue:
    return MetricValue(
        name=name,
        subset=subset,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        chance=guess,
        n=n,
        unscored=sum(query.unscored for query in read),
        ties=sum(query.tie for query in read),
        near_ties=sum(query.near_tie for query in read),
    )
