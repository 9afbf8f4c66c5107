"""A small store with pictures, and records of runs on it, for tests of what shows both."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from PIL import Image, ImageDraw

from minchange_eval.core.answers import Answer
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion, Item
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import Query, queries_of_set, query_of_question, query_of_statement
from minchange_eval.core.record import ModelDescription, RunRecord, TaskRecord, make_record
from minchange_eval.core.tallies import Kind
from minchange_eval.data.store import Store, StoreCard, write_store

Words = Callable[[str], str]  # what becomes of a text before it is used


def as_written(text: str) -> str:
    return text


def picture(seed: int, left_px: int) -> bytes:
    """A blue square on a ground of its own colour, as PNG."""
    drawn = Image.new("RGB", (96, 64), (200 + seed % 50, 215, 190 + seed % 60))
    ImageDraw.Draw(drawn).rectangle((left_px, 20, left_px + 20, 40), fill=(20, 60, 200))
    held = io.BytesIO()
    drawn.save(held, "PNG")
    return held.getvalue()


def _pictures(seed: int, count: int) -> tuple[BytesImage, ...]:
    places = random.Random(seed).sample(range(0, 70, 7), count)
    return tuple(BytesImage(f"{seed}-{left}.png", picture(seed, left)) for left in places)


def sets(count: int, k: int = 2, words: Words = as_written) -> Iterator[CandidateSet]:
    for number in range(count):
        sides = [words(f"A square on the {side} of {number}.") for side in ("left", "right", "top", "ground")[:k]]
        yield CandidateSet(
            words(f"set/{number:03}"), words("moved" if number % 3 else "still"), _pictures(number, k), tuple(sides)
        )


def questions(count: int, words: Words = as_written) -> Iterator[ChoiceQuestion]:
    for number in range(count):
        options = tuple(
            words(f"{letter}. The square went {side}.")
            for letter, side in zip("ABCD", ("left", "right", "up", "down"), strict=True)
        )
        yield ChoiceQuestion(
            words(f"q/{number:03}"),
            words("places"),
            _pictures(1000 + number, 2),
            words("What changed?"),
            options,
            (number % 4,),
        )


def statements(count: int, words: Words = as_written) -> Iterator[ChoiceQuestion]:
    for number in range(count):
        yield ChoiceQuestion(
            words(f"s/{number:03}"),
            words("claims"),
            _pictures(2000 + number, 1),
            words("The square is left of the edge."),
            ("false", "true"),
            (number % 2,),
        )


def stored(name: str, items: Iterator[Item], synthetic: bool = False) -> Store:
    return write_store(name, items, card=StoreCard(name=name, synthetic=synthetic), force=True)


def queries(item: Item, kind: Kind) -> tuple[Query, ...]:
    if isinstance(item, CandidateSet):
        return queries_of_set(item)
    return (query_of_statement(item) if kind == "statements" else query_of_question(item),)


def by_scores(skill: float, seed: int, scored: str = "pairs") -> Callable[[Query], Answer]:
    """Answers of which a share is right."""
    drawn = random.Random(seed)

    def answer(query: Query) -> Answer:
        right = drawn.random() < skill
        scores = [drawn.random() * 0.5 for _ in range(query.candidates)]
        scores[query.answers[0] if right else (query.answers[0] + 1) % query.candidates] = 0.9
        return Answer(scores=tuple(scores), scored=scored)  # type: ignore[arg-type]

    return answer


def in_words(skill: float, seed: int, words: Words = as_written) -> Callable[[Query], Answer]:
    """Replies, of which a share is right and one in five cannot be read."""
    drawn = random.Random(seed)

    def answer(query: Query) -> Answer:
        if drawn.random() < 1 / 5:
            return Answer(text=words("I would rather not say."), reason=words("no letter"))
        place = query.answers[0] if drawn.random() < skill else (query.answers[0] + 1) % query.candidates
        return Answer(choice=place, text=words(f"I choose number {place}."))

    return answer


def outcomes(
    store: Store, kind: Kind, answer: Callable[[Query], Answer], slices: Sequence[str] = ()
) -> list[QueryOutcome]:
    return [
        outcome_of(query, item.subset, answer(query), tuple(slices))
        for item in store.items()
        for query in queries(item, kind)
    ]


def run(
    model: str, *asked: tuple[Store, Kind, Callable[[Query], Answer]], slices: Sequence[str] = (), **more: Any
) -> RunRecord:
    """The record of one model on several data sets."""
    lines = {store.card.name: outcomes(store, kind, answer, slices) for store, kind, answer in asked}
    tasks = [
        TaskRecord(
            name=store.card.name,
            kind=kind,
            dataset=store.card.name,
            subsets=tuple(sorted(store.card.counts)),
            fingerprint=store.card.fingerprint,
            synthetic=store.card.synthetic,
            items=len(store),
            items_in_full=len(store),
            queries=len(lines[store.card.name]),
            **more,
        )
        for store, kind, _ in asked
    ]
    return make_record(tasks, lines, ModelDescription(adapter="open_clip", name=model))


def three_runs(words: Words = as_written) -> list[RunRecord]:
    """Two encoders and a chat model on sets, questions and statements; the store must be an empty one."""
    shapes = stored("shapes", sets(24, words=words), synthetic=True)
    spots = stored("spots", questions(24, words))
    claims = stored("claims", statements(12, words))
    every: tuple[tuple[Store, Kind], ...] = ((shapes, "sets"), (spots, "questions"), (claims, "statements"))
    return [
        run(
            words("good-clip"),
            *((store, kind, by_scores(0.9, 1)) for store, kind in every),
            slices=[words("relation: near")],
        ),
        run(words("poor-clip"), *((store, kind, by_scores(0.4, 2)) for store, kind in every)),
        run(words("chatty"), *((store, kind, in_words(0.6, 3, words)) for store, kind in every)),
    ]
