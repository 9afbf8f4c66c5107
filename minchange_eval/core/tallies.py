"""What one candidate set or question adds to each metric that is a share of yes/no results.

A tally says how many results an item has, how many are yes and what guessing would get; values, intervals and chance
are then the same few sums for all metrics (`core.metrics`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

from minchange_eval.core.chance import chance, query_chance, set_chance
from minchange_eval.core.errors import IncompleteError
from minchange_eval.core.forms import Forms, consistency_chance, consistent, forms_of, in_orders, merged
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.queries import Direction
from minchange_eval.core.readings import Protocol, published_hit
from minchange_eval.core.statistics import clusters_of

Kind = Literal["sets", "questions", "statements"]

SET_METRICS = ("i2t_accuracy", "t2i_accuracy", "text_score", "image_score", "group_score", "pair_mean")
QUESTION_METRICS = ("macro", "micro")
STATEMENT_METRICS = ("accuracy", "accuracy_true", "accuracy_false", "yes_rate", "answered")
# of tasks that ask each question in several forms; `spread` and `bias` of several wordings, `position_bias` of orders
FORM_METRICS = ("consistency", "position_bias", "spread", "bias")
METRICS: Mapping[Kind, tuple[str, ...]] = {
    "sets": SET_METRICS,
    "questions": QUESTION_METRICS,
    "statements": STATEMENT_METRICS,
}
SLICED_METRICS: Mapping[Kind, tuple[str, ...]] = {
    "sets": ("i2t_accuracy", "t2i_accuracy"),
    "questions": ("accuracy",),
    "statements": STATEMENT_METRICS,
}
_TRUE = 1  # the candidates of a statement are false and true, in this order


@dataclass(frozen=True)
class JudgedItem:
    """A candidate set or a question with the outcome, the hit and the slices of each of its queries."""

    item_id: str
    subset: str
    queries: tuple[QueryOutcome, ...]
    hits: tuple[bool, ...]
    slices: tuple[tuple[str, ...], ...]
    cluster: int

    def of(self, *directions: Direction) -> list[tuple[QueryOutcome, bool]]:
        """Its queries of these directions, each with its hit."""
        return [
            (query, hit) for query, hit in zip(self.queries, self.hits, strict=True) if query.direction in directions
        ]

    @cached_property
    def directions(self) -> tuple[list[tuple[QueryOutcome, bool]], list[tuple[QueryOutcome, bool]], int]:
        """Image-to-text and text-to-image queries with their hits, and K: as many of each.

        Raises:
            ValueError: queries of another kind.
            IncompleteError: the set lacks queries.
        """
        k = self.queries[0].candidates
        i2t, t2i = self.of(Direction.IMAGE_TO_TEXT), self.of(Direction.TEXT_TO_IMAGE)
        if not i2t and not t2i:
            raise ValueError(
                f"{self.item_id}: expected queries of a candidate set, got {self.queries[0].direction} queries"
            )
        if len(i2t) != k or len(t2i) != k:
            raise IncompleteError(
                f"set {self.item_id}: expected {k} queries in each direction, got {len(i2t)} image-to-text and "
                f"{len(t2i)} text-to-image; run the whole task again, it continues from the log"
            )
        return i2t, t2i, k

    @cached_property
    def parts(self) -> dict[str, JudgedItem]:
        """By slice: the item with its queries of that slice only."""
        return {part: self._within(part) for part in dict.fromkeys(part for of in self.slices for part in of)}

    def _within(self, part: str) -> JudgedItem:
        if all(part in slices for slices in self.slices):
            return self
        lines = zip(self.queries, self.hits, self.slices, strict=True)
        queries, hits, slices = zip(*(line for line in lines if part in line[2]), strict=True)
        return replace(self, queries=queries, hits=hits, slices=slices)

    @cached_property
    def statements(self) -> dict[str, Tally]:
        """By metric of statements: the item's tally, where it has a statement that the metric reads.

        Raises:
            ValueError: queries of another kind.
        """
        every = _asked_tally(self, Direction.STATEMENT)
        tallies = {
            "accuracy": every,
            "yes_rate": every._replace(hits=sum(query.chosen == _TRUE for query in self.queries)),
            "answered": every._replace(hits=sum(not query.unscored for query in self.queries), chance=None),
        }
        for name, truth in (("accuracy_true", True), ("accuracy_false", False)):
            asked = [line for line in self.of(Direction.STATEMENT) if (line[0].answers == (_TRUE,)) == truth]
            if asked:
                tallies[name] = every if len(asked) == len(self.queries) else _accuracy_of(self, asked)
        return tallies


class Tally(NamedTuple):
    """What one item adds to one metric: `hits` of `total` yes/no results, and the queries that were read.

    `subset` is the item's own, that of a slice, or empty where all subsets count as one.
    """

    item_id: str
    subset: str
    cluster: int
    hits: int
    total: int
    chance: float | None  # of one result
    n: int
    read: tuple[QueryOutcome, ...]


@dataclass(frozen=True)
class MetricTallies:
    """What all items add to one metric: to its subsets and their plain mean, or to slices that have no mean."""

    name: str
    tallies: tuple[Tally, ...]
    sliced: bool = False

    @property
    def columns(self) -> dict[str, list[Tally]]:
        """The tallies of each subset in the order given, or of each slice by name."""
        parts = by_subset(self.tallies)
        return {part: parts[part] for part in sorted(parts)} if self.sliced else parts

    @property
    def name_of_columns(self) -> str:
        """The mean over MED's types is `macro`, that of each type is an accuracy."""
        return "accuracy" if self.name == "macro" else self.name


@dataclass(frozen=True)
class AskedItems:
    """The items of a task or group as its metrics read them.

    Attributes:
        items: orders of a question merged, wordings as slices.
        several: by identity, the questions that were asked in several forms.
        orders: whether those forms are orders of the candidates.
    """

    items: tuple[JudgedItem, ...]
    several: Mapping[str, Forms]
    orders: bool

    def tallies(self, kind: Kind) -> list[MetricTallies]:
        """Of every metric that is a share of yes/no results.

        Raises:
            ValueError: queries of another kind.
            IncompleteError: a set lacks queries.
        """
        metrics = [MetricTallies(name, tuple(tallies_of(name, self.items, kind))) for name in METRICS[kind]]
        for name in SLICED_METRICS[kind]:
            parts = tuple(part for item in self.items for part in slice_tallies(name, item, kind))
            metrics.append(MetricTallies(name, parts, sliced=True))
        agreed = tuple(tally for item in self.items for tally in consistency_tallies(item, self.several))
        return [*metrics, MetricTallies("consistency", agreed)] if self.several else metrics


def asked_items(outcomes: Iterable[QueryOutcome], protocol: Protocol) -> AskedItems:
    """Queries as items: each query once, the orders of a question merged, its wordings as slices of their own.

    Raises:
        ValueError: no outcomes, or orders of a question that do not go together.
    """
    forms = forms_of({outcome.query_id: outcome for outcome in outcomes}.values())
    asked = [form for of_one in forms.values() for form in of_one]
    several = {base_id: of_one for base_id, of_one in forms.items() if len(of_one) > 1}
    orders = in_orders(asked)
    items = items_of(merged(asked) if orders else asked, protocol)
    if several and not orders:
        items = [with_wordings(item, several) for item in items]
    return AskedItems(tuple(items), several, orders)


def items_of(outcomes: Iterable[QueryOutcome], protocol: Protocol) -> list[JudgedItem]:
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
        JudgedItem(
            item_id=key[1],
            subset=key[0],
            queries=tuple(grouped[key]),
            hits=tuple(published_hit(query, protocol) for query in grouped[key]),
            slices=tuple(query.slices for query in grouped[key]),
            cluster=int(cluster),
        )
        for key, cluster in zip(keys, clusters, strict=True)
    ]


def with_wordings(item: JudgedItem, several: Mapping[str, Forms]) -> JudgedItem:
    """The wording of each query as a slice of its own, where its question has several."""
    names = [(f"wording: {query.form or 'released'}",) * (query.base_id in several) for query in item.queries]
    return replace(item, slices=tuple(own + name for own, name in zip(item.slices, names, strict=True)))


def tallies_of(name: str, items: Sequence[JudgedItem], kind: Kind) -> list[Tally]:
    """The tallies of one of the kind's `METRICS`.

    Raises:
        ValueError: queries of another kind.
        IncompleteError: a set lacks queries.
    """
    if kind == "questions":
        tallies = [_asked_tally(item, Direction.CHOICE) for item in items]
        return [tally._replace(subset="") for tally in tallies] if name == "micro" else tallies
    if kind == "statements":
        return [tally for item in items for tally in statement_tally(name, item)]
    return [_SET_TALLIES[name](name, item) for item in items]


def _asked_tally(item: JudgedItem, direction: Direction) -> Tally:
    asked = item.of(direction)
    if len(asked) != len(item.queries):
        raise ValueError(f"{item.item_id}: expected a {direction} question, got {item.queries[0].direction} queries")
    return _accuracy_of(item, asked)


def _accuracy_of(item: JudgedItem, asked: Sequence[tuple[QueryOutcome, bool]]) -> Tally:
    guess = math.fsum(_guess(query) for query, _ in asked) / len(asked)
    hits = sum(hit for _, hit in asked)
    return Tally(
        item.item_id, item.subset, item.cluster, hits, len(asked), guess, len(asked), tuple(query for query, _ in asked)
    )


def _guess(query: QueryOutcome) -> float:
    return query_chance(len(query.answers), query.candidates, query.votes or 1)


def statement_tally(name: str, item: JudgedItem) -> list[Tally]:
    """One, or none where the item has no statement that the metric reads."""
    return [item.statements[name]] if name in item.statements else []


def slice_tallies(name: str, item: JudgedItem, kind: Kind) -> list[Tally]:
    """One for each slice that queries of the item are in, for one of the kind's `SLICED_METRICS`."""
    wanted = {"i2t_accuracy": Direction.IMAGE_TO_TEXT, "t2i_accuracy": Direction.TEXT_TO_IMAGE}
    tallies = []
    for part, held in item.parts.items():
        if kind == "statements":
            tallies += [tally._replace(subset=part) for tally in statement_tally(name, held)]
        elif asked := held.of(wanted[name]) if kind == "sets" else held.of(Direction.CHOICE):
            tallies.append(_accuracy_of(held, asked)._replace(subset=part))
    return tallies


def consistency_tallies(item: JudgedItem, several: Mapping[str, Forms]) -> list[Tally]:
    """One, or none where no question of the item has several forms."""
    questions = [
        several[base_id] for base_id in dict.fromkeys(query.base_id for query in item.queries) if base_id in several
    ]
    if not questions:
        return []
    n = len(questions)
    guess = math.fsum(map(consistency_chance, questions)) / n
    read = tuple(map(_flagged, questions))
    return [Tally(item.item_id, item.subset, item.cluster, sum(map(consistent, questions)), n, guess, n, read)]


def _flagged(forms: Forms) -> QueryOutcome:
    """A question by one of its forms, unscored or tied where any form is: it is counted once."""
    flags = {name: any(getattr(form, name) for form in forms) for name in ("unscored", "tie", "near_tie")}
    return forms[0].model_copy(update=flags)


def _accuracy_tally(name: str, item: JudgedItem) -> Tally:
    i2t, t2i, _ = item.directions
    return _accuracy_of(item, i2t if name == "i2t_accuracy" else t2i)


def _score_tally(name: str, item: JudgedItem) -> Tally:
    i2t, t2i, _ = item.directions
    asked = {"text_score": i2t, "image_score": t2i, "group_score": i2t + t2i}[name]
    right = all(hit for _, hit in asked)
    guess = _set_guess(name, item)
    return Tally(item.item_id, item.subset, item.cluster, int(right), 1, guess, 1, tuple(query for query, _ in asked))


def _pair_mean_tally(name: str, item: JudgedItem) -> Tally:
    i2t, t2i, _ = item.directions
    text, image = all(hit for _, hit in i2t), all(hit for _, hit in t2i)
    guess = _set_guess(name, item)
    return Tally(item.item_id, item.subset, item.cluster, text + image + (text and image), 3, guess, 1, item.queries)


_SET_TALLIES: Mapping[str, Callable[[str, JudgedItem], Tally]] = {
    "i2t_accuracy": _accuracy_tally,
    "t2i_accuracy": _accuracy_tally,
    "text_score": _score_tally,
    "image_score": _score_tally,
    "group_score": _score_tally,
    "pair_mean": _pair_mean_tally,
}


def _set_guess(name: str, item: JudgedItem) -> float:
    """Scores of pairs are read by both directions of a set; all other answers are of one query each."""
    i2t, t2i, k = item.directions
    if any(query.of_pairs for query in item.queries):
        return chance(name, k, "scores")
    return set_chance(name, [_guess(query) for query, _ in i2t], [_guess(query) for query, _ in t2i])


def by_subset(tallies: Iterable[Tally]) -> dict[str, list[Tally]]:
    """The tallies of each subset, subsets and tallies in the order given."""
    parts: dict[str, list[Tally]] = {}
    for tally in tallies:
        parts.setdefault(tally.subset, []).append(tally)
    return parts
