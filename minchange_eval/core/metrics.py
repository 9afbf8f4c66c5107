"""From outcomes to the numbers that are reported: value, interval, chance and counts, for every reader the same.

The record, our table and later reports take `summarize`, and from it `whole`. lmms-eval's own table has no room for
intervals and sums up as it goes: `tasks/aggregation.py`, from the same hits.
Each metric is first made into tallies, one an item: how many yes/no results it has, how many are yes, what guessing
would get. Values, intervals and chance are then the same few sums for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from minchange_eval.core.answers import Answer, med_letter, vismin_matches
from minchange_eval.core.chance import AnswerKind, chance, query_chance
from minchange_eval.core.errors import IncompleteError
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.prompts import LETTERS, ORDINALS
from minchange_eval.core.queries import Direction
from minchange_eval.core.scores import verdict
from minchange_eval.core.statistics import RESAMPLES, Interval, cluster_intervals, clusters_of

Kind = Literal["sets", "questions"]
Protocol = Literal["ours", "spec", "vismin", "med"]

SET_METRICS = ("i2t_accuracy", "t2i_accuracy", "text_score", "image_score", "group_score", "pair_mean")
QUESTION_METRICS = ("macro", "micro")


class MetricValue(BaseModel):
    """One number and all that a reader needs to judge it.

    Attributes:
        name: one of `SET_METRICS`; for questions `macro` and `micro` of the whole, `accuracy` of a subset.
        subset: the subset that it is of; empty for the whole, which is the plain mean of the subsets' values
            (except `micro`, which counts all questions alike).
        value, low, high: fractions in [0, 1]; 95 % interval over clusters that share images.
        chance: what guessing gets.
        n: sets for `text_score`, `image_score`, `group_score` and `pair_mean`, else queries.
        unscored, ties, near_ties: queries among those that the metric reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    subset: str
    value: float
    low: float
    high: float
    chance: float
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
    """All metrics of a task, or of a group of tasks on one data set: each subset by name, then the whole.

    A query that is given twice counts once. The whole of SPEC's two accuracies, and of VisMin's `pair_mean` (the mean
    of its 12 columns), is the papers' headline, as is `macro` for MED.

    Args:
        outcomes: in any order, which does not matter.
        kind: `sets` or `questions`.
        protocol: this project's reading of the answers, or that of a paper: `spec` takes the first of equal scores,
            `vismin` and `med` match words as their released scripts do (an unread letter is a miss, not drawn).
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: no outcomes, or outcomes of the other kind.
        IncompleteError: a set lacks queries.
    """
    items = _items(outcomes, protocol)
    values: list[MetricValue] = []
    for name in _names(kind):
        values += _metric_values(name, _tallies(name, items, kind), resamples, seed)
    return tuple(sorted(values, key=lambda value: (value.subset == "", value.subset)))


def whole(values: Iterable[MetricValue]) -> dict[str, MetricValue]:
    """The metrics of the whole by name, from what `summarize` returned."""
    return {value.name: value for value in values if not value.subset}


def published_hit(outcome: QueryOutcome, protocol: Protocol) -> bool:
    """Whether a query counts as right under one reading of its answer.

    SPEC: argmax in the released order, so the lowest position wins a tie. VisMin: strictly greater scores, or its word
    matching with the keys A, B, … and First, Second. MED: the letter after `Answer:`. An answer without what a
    protocol reads (scores for SPEC) is read in our way.
    """
    if protocol == "spec" and outcome.scores is not None and outcome.tie:  # without a tie argmax reads as we do
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
    """A candidate set or a question with the outcome and the hit of each of its queries."""

    item_id: str
    subset: str
    queries: tuple[QueryOutcome, ...]
    hits: tuple[bool, ...]
    cluster: int

    def of(self, direction: Direction) -> list[tuple[QueryOutcome, bool]]:
        return [
            (query, hit) for query, hit in zip(self.queries, self.hits, strict=True) if query.direction is direction
        ]


@dataclass(frozen=True)
class _Tally:
    """What one item adds to one metric: `hits` of `total` yes/no results, and the queries that were read."""

    item: _Item
    hits: int
    total: int
    chance: float  # of one result
    n: int
    read: tuple[QueryOutcome, ...]


def _items(outcomes: Iterable[QueryOutcome], protocol: Protocol) -> list[_Item]:
    """Items in the order of subset and id, so that no sum depends on the order in which outcomes came."""
    once = {outcome.query_id: outcome for outcome in outcomes}
    grouped: dict[tuple[str, str], list[QueryOutcome]] = {}
    for outcome in sorted(once.values(), key=lambda outcome: outcome.query_id):
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
            cluster=int(cluster),
        )
        for key, cluster in zip(keys, clusters, strict=True)
    ]


def _names(kind: Kind) -> tuple[str, ...]:
    return SET_METRICS if kind == "sets" else QUESTION_METRICS


def _tallies(name: str, items: Sequence[_Item], kind: Kind) -> list[_Tally]:
    if kind == "questions":
        return [_question_tally(item, subset="" if name == "micro" else item.subset) for item in items]
    return [_SET_TALLIES[name](name, item) for item in items]


def _question_tally(item: _Item, subset: str) -> _Tally:
    asked = item.of(Direction.CHOICE)
    if len(asked) != len(item.queries):
        raise ValueError(f"{item.item_id}: expected a choice question, got queries of a candidate set")
    guess = math.fsum(query_chance(len(query.answers), query.candidates) for query in item.queries) / len(item.queries)
    pooled = _Item(item.item_id, subset, item.queries, item.hits, item.cluster)
    return _Tally(pooled, sum(item.hits), len(asked), guess, len(asked), item.queries)


def _directions(item: _Item) -> tuple[list[tuple[QueryOutcome, bool]], list[tuple[QueryOutcome, bool]], int]:
    k = item.queries[0].candidates
    i2t, t2i = item.of(Direction.IMAGE_TO_TEXT), item.of(Direction.TEXT_TO_IMAGE)
    if not i2t and not t2i:
        raise ValueError(f"{item.item_id}: expected queries of a candidate set, got a choice question")
    if len(i2t) != k or len(t2i) != k:
        raise IncompleteError(
            f"set {item.item_id}: expected {k} queries in each direction, got {len(i2t)} image-to-text and "
            f"{len(t2i)} text-to-image; run the whole task again, it continues from the log"
        )
    return i2t, t2i, k


def _accuracy_tally(name: str, item: _Item) -> _Tally:
    i2t, t2i, k = _directions(item)
    asked = i2t if name == "i2t_accuracy" else t2i
    hits = sum(hit for _, hit in asked)
    return _Tally(item, hits, k, chance(name, k, _answer_kind(item)), k, tuple(query for query, _ in asked))


def _score_tally(name: str, item: _Item) -> _Tally:
    i2t, t2i, k = _directions(item)
    asked = {"text_score": i2t, "image_score": t2i, "group_score": i2t + t2i}[name]
    right = all(hit for _, hit in asked)
    return _Tally(item, int(right), 1, chance(name, k, _answer_kind(item)), 1, tuple(query for query, _ in asked))


def _pair_mean_tally(name: str, item: _Item) -> _Tally:
    i2t, t2i, k = _directions(item)
    text, image = all(hit for _, hit in i2t), all(hit for _, hit in t2i)
    guess = chance(name, k, _answer_kind(item))
    return _Tally(item, text + image + (text and image), 3, guess, 1, item.queries)


_SET_TALLIES: Mapping[str, Callable[[str, _Item], _Tally]] = {
    "i2t_accuracy": _accuracy_tally,
    "t2i_accuracy": _accuracy_tally,
    "text_score": _score_tally,
    "image_score": _score_tally,
    "group_score": _score_tally,
    "pair_mean": _pair_mean_tally,
}


def _answer_kind(item: _Item) -> AnswerKind:
    return "scores" if any(query.scores is not None for query in item.queries) else "answers"


def _by_subset(tallies: Iterable[_Tally]) -> dict[str, list[_Tally]]:
    parts: dict[str, list[_Tally]] = {}
    for tally in tallies:
        parts.setdefault(tally.item.subset, []).append(tally)
    return parts


def _metric_values(name: str, tallies: Sequence[_Tally], resamples: int, seed: int) -> list[MetricValue]:
    parts = _by_subset(tallies)
    column = {subset: number for number, subset in enumerate(parts)}
    clusters = 1 + max(tally.item.cluster for tally in tallies)
    hits, totals = np.zeros((clusters, len(parts))), np.zeros((clusters, len(parts)))
    for tally in tallies:
        hits[tally.item.cluster, column[tally.item.subset]] += tally.hits
        totals[tally.item.cluster, column[tally.item.subset]] += tally.total
    apart, mean = cluster_intervals(hits, totals, resamples=resamples, seed=seed)
    guesses = [
        math.fsum(t.chance * t.total for t in part) / math.fsum(t.total for t in part) for part in parts.values()
    ]
    whole_value = _metric_value(name, "", mean, math.fsum(guesses) / len(guesses), tallies)
    if name == "micro":
        return [whole_value]
    shown = "accuracy" if name == "macro" else name
    rows = zip(parts.items(), apart, guesses, strict=True)
    return [
        *(_metric_value(shown, subset, interval, guess, part) for (subset, part), interval, guess in rows),
        whole_value,
    ]


def _metric_value(name: str, subset: str, interval: Interval, guess: float, tallies: Sequence[_Tally]) -> MetricValue:
    read = [query for tally in tallies for query in tally.read]
    return MetricValue(
        name=name,
        subset=subset,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        chance=guess,
        n=sum(tally.n for tally in tallies),
        unscored=sum(query.unscored for query in read),
        ties=sum(query.tie for query in read),
        near_ties=sum(query.near_tie for query in read),
    )
