"""Small run records for tests of what reads two of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from minchange_eval.core.answers import Answer
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import queries_of_set, query_of_question
from minchange_eval.core.record import ModelDescription, RunRecord, TaskRecord, make_record

MODEL = ModelDescription(adapter="open_clip", name="m", weights_sha256="a" * 64)
OTHER = ModelDescription(adapter="open_clip", name="n", weights_sha256="b" * 64)


def questions(hits: Iterable[bool | None], parts: Sequence[str] = ("all",), prefix: str = "q") -> list[QueryOutcome]:
    """Questions of four options, in parts by turns; None is unscored."""
    lines = []
    for number, hit in enumerate(hits):
        part = parts[number % len(parts)]
        name = f"{prefix}{number:05}"
        item = ChoiceQuestion(name, part, (BytesImage(name, name.encode()),), "Which?", ("a", "b", "c", "d"), (1,))
        ahead = 1.0 + number * 5 % 7  # some are surer than others
        scores = None if hit is None else tuple(ahead * (place == (1 if hit else 2)) for place in range(4))
        answer = Answer(scores=scores, scored=None if hit is None else "labels")
        lines.append(outcome_of(query_of_question(item), part, answer))
    return lines


def sets(hits: Iterable[bool], part: str = "all") -> list[QueryOutcome]:
    """Sets of two images and two captions, all four queries right or all wrong."""
    lines = []
    for number, hit in enumerate(hits):
        images = tuple(BytesImage(f"{number}-{k}", f"{number}-{k}".encode()) for k in range(2))
        for query in queries_of_set(CandidateSet(f"s{number:05}", part, images, ("zero", "one"))):
            scores = tuple(float((place in query.answers) == hit) for place in range(2))
            lines.append(outcome_of(query, part, Answer(scores=scores, scored="pairs")))
    return lines


def task(name: str, lines: Sequence[QueryOutcome], **more: Any) -> TaskRecord:
    """What a task says of these lines."""
    items = len({line.item_id for line in lines})
    said: dict[str, Any] = {
        "name": name,
        "kind": "sets" if lines and lines[0].direction in ("i2t", "t2i") else "questions",
        "dataset": name,
        "subsets": tuple(sorted({line.subset for line in lines})),
        "fingerprint": "f" * 64,
        "items": items,
        "items_in_full": items,
        "queries": len(lines),
    }
    return TaskRecord(**(said | more))


def record(*, model: ModelDescription = MODEL, changes: dict[str, Any] | None = None, **tasks: Any) -> RunRecord:
    """A record of tasks by name, `changes` to what each says of itself."""
    described = [task(name, lines, **(changes or {})) for name, lines in tasks.items()]
    return make_record(described, tasks, model)
