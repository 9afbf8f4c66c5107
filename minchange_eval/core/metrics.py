"""From outcomes to the numbers that are reported: value, interval, chance and counts, for every reader the same.

The record, our table and later reports take `summarize`, and from it `whole`. lmms-eval's own table has no room for
intervals and sums up as it goes: `tasks/aggregation.py`, from the same hits.
Each metric is first made into tallies, one an item: how many yes/no results it has, how many are yes, what guessing
would get. Values, intervals and chance are then the same few sums for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from minchange_eval.core.answers import Answer, med_letter, vismin_matches
from minchange_eval.core.chance import AnswerKind, chance, query_chance
from minchange_eval.core.errors import IncompleteError
from minchange_eval.core.forms import (
    Forms,
    balanced,
    chosen_places,
    consistency_chance,
    consistent,
    forms_of,
    in_orders,
    merged,
    position_bias,
)
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.prompts import LETTERS, ORDINALS
from minchange_eval.core.queries import Direction
from minchange_eval.core.scores import verdict
from minchange_eval.core.statistics import RESAMPLES, Interval, cluster_intervals, clusters_of, statistic_interval

Kind = Literal["sets", "questions", "statements"]
Protocol = Literal["ours", "spec", "vismin", "med"]

SET_METRICS = ("i2t_accuracy", "t2i_accuracy", "text_score", "image_score", "group_score", "pair_mean")
QUESTION_METRICS = ("macro", "micro")
STATEMENT_METRICS = ("accuracy", "accuracy_true", "accuracy_false", "yes_rate", "answered")
# of tasks that ask each question in several forms; `spread` and `bias` of several wordings, `position_bias` of orders
FORM_METRICS = ("consistency", "position_bias", "spread", "bias")
_NAMES: Mapping[Kind, tuple[str, ...]] = {
    "sets": SET_METRICS,
    "questions": QUESTION_METRICS,
    "statements": STATEMENT_METRICS,
}
_SLICED: Mapping[Kind, tuple[str, ...]] = {
    "sets": ("i2t_accuracy", "t2i_accuracy"),
    "questions": ("accuracy",),
    "statements": ("accuracy",),
}
_TRUE = 1  # the candidates of a statement are false and true, in this order


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
        unscored, ties, near_ties: queries among those that the metric reads.
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
    `answered`. A question asked in several orders of its candidates is one question, from the orders merged
    (`core.forms`); `consistency` is then the share of questions with one choice in all orders, `position_bias` how
    far the choices stick to one place. Asked in several wordings it counts once a wording, each wording is a slice,
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
    forms = forms_of({outcome.query_id: outcome for outcome in outcomes}.values())
    asked = [form for of_one in forms.values() for form in of_one]
    several = {base_id: of_one for base_id, of_one in forms.items() if len(of_one) > 1}
    orders = in_orders(asked)
    items = _items(merged(asked) if orders else asked, protocol)
    if several and not orders:
        items = [_with_wordings(item, several) for item in items]
    shares = _Shares(resamples, seed)
    values: list[MetricValue] = []
    for name in _NAMES[kind]:
        values += shares.of_subsets(name, _tallies(name, items, kind))
    for name in _SLICED[kind]:
        values += shares.of_slices(name, [part for item in items for part in _slice_tallies(name, item, kind)])
    if several:
        values += shares.of_subsets("consistency", [tally for item in items for tally in _consistency(item, several)])
        values += _of_orders(items, several, shares) if orders else _of_wordings(items, kind, shares)
    return tuple(sorted(values, key=lambda value: (value.subset == "", value.subset)))


def whole(values: Iterable[MetricValue]) -> dict[str, MetricValue]:
    """The metrics of the whole by name, from what `summarize` returned."""
    return {value.name: value for value in values if not value.subset}


def published_hit(outcome: QueryOutcome, protocol: Protocol) -> bool:
    """Whether a query counts as right under one reading of its answer.

    SPEC: argmax in the released order, so the lowest position wins a tie. VisMin: strictly greater scores, or its word
    matching with the keys A, B, … and First, Second. MED: the letter after `Answer:`. An answer without what a
    protocol reads (scores of pairs for SPEC) is read in our way.
    """
    if (
        protocol == "spec" and outcome.of_pairs and outcome.scores is not None and outcome.tie
    ):  # without a tie argmax reads as we do
        return verdict(Answer(scores=outcome.scores), outcome.answers, outcome.candidates).published_hit
    labels = ORDINALS if outcome.direction is Direction.TEXT_TO_IMAGE else LETTERS
    right = [label for position, label in enumerate(labels) if position in outcome.answers]
    if protocol == "vismin" and outcome.text is not None:
        return any(vismin_matches(outcome.text, label) for label in right)
    if protocol == "med" and outcome.text is not None:
        return med_letter(outcome.text) in right
    return outcome.hit


@dataclass(frozen=True)
class _Item:
    """A candidate set or a question with the outcome, the hit and the slices of each of its queries."""

    item_id: str
    subset: str
    queries: tuple[QueryOutcome, ...]
    hits: tuple[bool, ...]
    slices: tuple[tuple[str, ...], ...]
    cluster: int

    def of(self, *directions: Direction) -> list[tuple[QueryOutcome, bool]]:
        return [
            (query, hit) for query, hit in zip(self.queries, self.hits, strict=True) if query.direction in directions
        ]


@dataclass(frozen=True)
class _Tally:
    """What one item adds to one metric: `hits` of `total` yes/no results, and the queries that were read."""

    subset: str
    cluster: int
    hits: int
    total: int
    chance: float | None  # of one result
    n: int
    read: tuple[QueryOutcome, ...]


def _items(outcomes: Iterable[QueryOutcome], protocol: Protocol) -> list[_Item]:
    """Items in the order of subset and id, so that no sum depends on the order in which outcomes came."""
    grouped: dict[tuple[str, str], list[QueryOutcome]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.query_id):
        grouped.setdefault((outcome.subset, outcome.item_id), []).append(outcome)
    if not grouped:
        raise ValueError("expected outcomes of at least one query, got none")
    keys = sorted(grouped)
    clusters = clusters_of(
        [f"item {subset}/{item_id}", *sorted({image for query in grouped[subset, item_id] for image in query.images})]
        for subset, item_id in keys
    )
    return [
        _Item(
            item_id=key[1],
            subset=key[0],
            queries=tuple(grouped[key]),
            hits=tuple(published_hit(query, protocol) for query in grouped[key]),
            slices=tuple(query.slices for query in grouped[key]),
            cluster=int(cluster),
        )
        for key, cluster in zip(keys, clusters, strict=True)
    ]


def _with_wordings(item: _Item, several: Mapping[str, Forms]) -> _Item:
    """The wording of each query as a slice of its own, where its question has several."""
    names = [(f"wording: {query.form or 'released'}",) * (query.base_id in several) for query in item.queries]
    return replace(item, slices=tuple(own + name for own, name in zip(item.slices, names, strict=True)))


def _tallies(name: str, items: Sequence[_Item], kind: Kind) -> list[_Tally]:
    if kind == "questions":
        tallies = [_asked_tally(item, Direction.CHOICE) for item in items]
        return [replace(tally, subset="") for tally in tallies] if name == "micro" else tallies
    if kind == "statements":
        return [tally for item in items for tally in _statement_tally(name, item)]
    return [_SET_TALLIES[name](name, item) for item in items]


def _asked_tally(item: _Item, direction: Direction) -> _Tally:
    asked = item.of(direction)
    if len(asked) != len(item.queries):
        raise ValueError(f"{item.item_id}: expected a {direction} question, got {item.queries[0].direction} queries")
    return _accuracy_of(item, asked)


def _accuracy_of(item: _Item, asked: Sequence[tuple[QueryOutcome, bool]]) -> _Tally:
    guess = math.fsum(query_chance(len(query.answers), query.candidates) for query, _ in asked) / len(asked)
    hits = sum(hit for _, hit in asked)
    return _Tally(item.subset, item.cluster, hits, len(asked), guess, len(asked), tuple(query for query, _ in asked))


def _statement_tally(name: str, item: _Item) -> list[_Tally]:
    """One, or none where the item has no statement that the metric reads."""
    every = _asked_tally(item, Direction.STATEMENT)
    if name == "yes_rate":
        return [replace(every, hits=sum(query.chosen == _TRUE for query in item.queries))]
    if name == "answered":
        return [replace(every, hits=sum(not query.unscored for query in item.queries), chance=None)]
    truths = {"accuracy": (True, False), "accuracy_true": (True,), "accuracy_false": (False,)}[name]
    asked = [(query, hit) for query, hit in item.of(Direction.STATEMENT) if (query.answers == (_TRUE,)) in truths]
    return [_accuracy_of(item, asked)] if asked else []


def _slice_tallies(name: str, item: _Item, kind: Kind) -> list[_Tally]:
    wanted = {"i2t_accuracy": Direction.IMAGE_TO_TEXT, "t2i_accuracy": Direction.TEXT_TO_IMAGE}
    parts: dict[str, list[tuple[QueryOutcome, bool]]] = {}
    for query, hit, slices in zip(item.queries, item.hits, item.slices, strict=True):
        if kind != "sets" or query.direction is wanted[name]:
            for part in slices:
                parts.setdefault(part, []).append((query, hit))
    return [replace(_accuracy_of(item, asked), subset=part) for part, asked in parts.items()]


def _consistency(item: _Item, several: Mapping[str, Forms]) -> list[_Tally]:
    """One, or none where no question of the item has several forms."""
    questions = [
        several[base_id] for base_id in dict.fromkeys(query.base_id for query in item.queries) if base_id in several
    ]
    if not questions:
        return []
    n = len(questions)
    guess = math.fsum(map(consistency_chance, questions)) / n
    read = tuple(form for forms in questions for form in forms)
    return [_Tally(item.subset, item.cluster, sum(map(consistent, questions)), n, guess, n, read)]


def _directions(item: _Item) -> tuple[list[tuple[QueryOutcome, bool]], list[tuple[QueryOutcome, bool]], int]:
    k = item.queries[0].candidates
    i2t, t2i = item.of(Direction.IMAGE_TO_TEXT), item.of(Direction.TEXT_TO_IMAGE)
    if not i2t and not t2i:
        raise ValueError(
            f"{item.item_id}: expected queries of a candidate set, got {item.queries[0].direction} queries"
        )
    if len(i2t) != k or len(t2i) != k:
        raise IncompleteError(
            f"set {item.item_id}: expected {k} queries in each direction, got {len(i2t)} image-to-text and "
            f"{len(t2i)} text-to-image; run the whole task again, it continues from the log"
        )
    return i2t, t2i, k


def _accuracy_tally(name: str, item: _Item) -> _Tally:
    i2t, t2i, _ = _directions(item)
    return _accuracy_of(item, i2t if name == "i2t_accuracy" else t2i)


def _score_tally(name: str, item: _Item) -> _Tally:
    i2t, t2i, k = _directions(item)
    asked = {"text_score": i2t, "image_score": t2i, "group_score": i2t + t2i}[name]
    right = all(hit for _, hit in asked)
    guess = chance(name, k, _answer_kind(item))
    return _Tally(item.subset, item.cluster, int(right), 1, guess, 1, tuple(query for query, _ in asked))


def _pair_mean_tally(name: str, item: _Item) -> _Tally:
    i2t, t2i, k = _directions(item)
    text, image = all(hit for _, hit in i2t), all(hit for _, hit in t2i)
    guess = chance(name, k, _answer_kind(item))
    return _Tally(item.subset, item.cluster, text + image + (text and image), 3, guess, 1, item.queries)


_SET_TALLIES: Mapping[str, Callable[[str, _Item], _Tally]] = {
    "i2t_accuracy": _accuracy_tally,
    "t2i_accuracy": _accuracy_tally,
    "text_score": _score_tally,
    "image_score": _score_tally,
    "group_score": _score_tally,
    "pair_mean": _pair_mean_tally,
}


def _answer_kind(item: _Item) -> AnswerKind:
    """Scores of pairs are read by both directions of a set; all other answers are of one query each."""
    return "scores" if any(query.of_pairs for query in item.queries) else "answers"


def _by_subset(tallies: Iterable[_Tally]) -> dict[str, list[_Tally]]:
    parts: dict[str, list[_Tally]] = {}
    for tally in tallies:
        parts.setdefault(tally.subset, []).append(tally)
    return parts


@dataclass(frozen=True)
class _Shares:
    """Metrics that are shares of yes/no results, with the bootstrap's settings."""

    resamples: int
    seed: int

    def of_subsets(self, name: str, tallies: Sequence[_Tally]) -> list[MetricValue]:
        """Each subset and the plain mean over them; nothing where nothing was read."""
        parts = _by_subset(tallies)
        if not parts:
            return []
        apart, mean = self.intervals(parts.values())
        guesses = [_guess(part) for part in parts.values()]
        known = [guess for guess in guesses if guess is not None]
        average = math.fsum(known) / len(known) if len(known) == len(guesses) else None
        whole_value = _metric_value(name, "", mean, average, tallies)
        if name == "micro":
            return [whole_value]
        shown = "accuracy" if name == "macro" else name
        rows = zip(parts.items(), apart, guesses, strict=True)
        return [
            *(_metric_value(shown, subset, interval, guess, part) for (subset, part), interval, guess in rows),
            whole_value,
        ]

    def of_slices(self, name: str, tallies: Sequence[_Tally]) -> list[MetricValue]:
        """Each slice on its own: slices overlap, and their mean would mean nothing."""
        values = []
        for part, own in sorted(_by_subset(tallies).items()):
            (interval,), _ = self.intervals([own])
            values.append(_metric_value(name, part, interval, _guess(own), own))
        return values

    def intervals(self, parts: Iterable[Sequence[_Tally]]) -> tuple[tuple[Interval, ...], Interval]:
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


def _guess(part: Sequence[_Tally]) -> float | None:
    known = [tally.chance * tally.total for tally in part if tally.chance is not None]
    return math.fsum(known) / math.fsum(tally.total for tally in part) if len(known) == len(part) else None


def _of_orders(items: Sequence[_Item], several: Mapping[str, Forms], shares: _Shares) -> list[MetricValue]:
    """`position_bias` over the questions whose orders put every candidate in every place equally often."""
    cluster = {query.query_id: item.cluster for item in items for query in item.queries}
    even = {base_id: forms for base_id, forms in several.items() if balanced(forms)}
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


def _of_wordings(items: Sequence[_Item], kind: Kind, shares: _Shares) -> list[MetricValue]:
    """`spread` over the wordings' accuracies and, for statements, `bias`."""
    slices = [tally for name in _SLICED[kind] for item in items for tally in _slice_tallies(name, item, kind)]
    wordings = _by_subset(tally for tally in slices if tally.subset.startswith("wording: "))
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


def _bias(items: Sequence[_Item], shares: _Shares) -> list[MetricValue]:
    """Right on true ones less right on false ones: twice the mean of (right on true, wrong on false), less 1."""
    true, false = ([t for item in items for t in _statement_tally(name, item)] for name in STATEMENT_METRICS[1:3])
    if not true or not false:
        return []
    wrong = [replace(tally, hits=tally.total - tally.hits) for tally in false]
    _, mean = shares.intervals([true, wrong])
    bias = Interval(*(2 * end - 1 for end in (mean.value, mean.low, mean.high)))
    return [_metric_value("bias", "", bias, None, [*true, *false])]


def _metric_value(
    name: str, subset: str, interval: Interval, guess: float | None, tallies: Sequence[_Tally]
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
