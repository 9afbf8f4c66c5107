"""One query and what became of it: the line that records keep and every metric is computed from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from minchange_eval.core.answers import Answer
from minchange_eval.core.queries import Direction, Query
from minchange_eval.core.scores import verdict


class QueryOutcome(BaseModel):
    """A query, the answer to it and the verdict.

    Attributes:
        query_id: unique in the data set.
        item_id: the candidate set or choice question that the query is part of.
        subset: the benchmark's own division.
        direction: what is given and what is to be found.
        candidates: how many there were to choose from.
        answers: the right positions.
        scores: one a candidate, None for a candidate without a finite score; None as a whole for a reply in words.
        choice: position read from a reply in words; None where it could not be read.
        text: the reply in words.
        truncated: how many of the query's texts were cut to the model's context.
        images: SHA-256 of the query's images; items that share one are of one cluster.
        hit, unscored, tie, near_tie: as in `core.scores.Verdict`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    query_id: str
    item_id: str
    subset: str
    direction: Direction
    candidates: int
    answers: tuple[int, ...]
    scores: tuple[float | None, ...] | None = None
    choice: int | None = None
    text: str | None = None
    truncated: int = 0
    images: tuple[str, ...] = ()
    hit: bool
    unscored: bool
    tie: bool
    near_tie: bool


def outcome_of(query: Query, subset: str, answer: Answer) -> QueryOutcome:
    """Judge an answer to a query and put both down as one line.

    Raises:
        ValueError: the answer has another number of scores than the query has candidates.
    """
    judged = verdict(answer, query.answers, query.candidates)
    return QueryOutcome(
        query_id=query.query_id,
        item_id=query.item_id,
        subset=subset,
        direction=query.direction,
        candidates=query.candidates,
        answers=query.answers,
        scores=answer.scores,
        choice=answer.choice,
        text=answer.text,
        truncated=answer.truncated,
        images=tuple(image.sha256 for image in query.images),
        hit=judged.hit,
        unscored=judged.unscored,
        tie=judged.tie,
        near_tie=judged.near_tie,
    )
