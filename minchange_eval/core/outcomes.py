"""One query and what became of it: the line that records keep and every metric is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from minchange_eval.core.answers import Answer, Scored
from minchange_eval.core.queries import Direction, Query
from minchange_eval.core.scores import first_place, verdict


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
        scored: what the scores are of, as in `core.answers.Answer`; None for a reply in words.
        alternatives: further scores of the same answer, as in `core.answers.Answer`.
        choice: position read from a reply in words; None where it could not be read.
        text: the reply in words.
        reason: why there is no answer, where the adapter knows (a prompt over the model's context).
        truncated: how many of the query's texts were cut to the model's context.
        votes: how many answers were asked for as votes, of which the scores are the shares, where orders are merged;
            else 0, as in every record.
        images: SHA-256 of the images that the query is about; items that share one are of one cluster.
        form: which order or wording of the question this is; empty for the released one.
        order: the released position of each candidate as shown; empty for the released order.
        slices: further slices of the data that the query belongs to, beside its subset (`relation: under`).
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
    scored: Scored | None = None
    alternatives: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    choice: int | None = None
    text: str | None = None
    reason: str | None = None
    truncated: int = 0
    votes: int = 0
    images: tuple[str, ...] = ()
    form: str = ""
    order: tuple[int, ...] = ()
    slices: tuple[str, ...] = ()
    hit: bool
    unscored: bool
    tie: bool
    near_tie: bool

    @model_validator(mode="after")
    def _fits_its_candidates(self) -> QueryOutcome:
        positions = self.answers if self.choice is None else (*self.answers, self.choice)
        if not self.answers or not all(0 <= position < self.candidates for position in positions):
            raise ValueError(f"expected right and chosen positions in 0..{self.candidates - 1}, got {list(positions)}")
        for scores in (self.scores, *self.alternatives.values()):
            if scores is not None and len(scores) != self.candidates:
                raise ValueError(f"expected {self.candidates} scores, one a candidate, got {len(scores)}")
        return self

    @property
    def base_id(self) -> str:
        """What the forms of one question share: the identity of the question as released."""
        return self.query_id.removesuffix(f"@{self.form}") if self.form else self.query_id

    @property
    def chosen(self) -> int | None:
        """Position, as shown, of the candidate that stands alone in first place; None for a tie or no answer."""
        return first_place(self._answer, self.candidates)

    @property
    def of_pairs(self) -> bool:
        """Whether it was answered with scores of single images and texts.

        Records before version 2 know no others and do not say so; slim ones say so without the scores.
        """
        return not self.votes and (self.scored == "pairs" or (self.scored is None and self.scores is not None))

    def answered(self, *, votes: int = 0, **answer: Any) -> QueryOutcome:
        """The same query with another answer, judged again; arguments are `votes` and the fields of an `Answer`.

        Raises:
            ValueError: another number of scores than candidates.
        """
        given = Answer(**answer)
        said = {name: value for name, value in vars(given).items() if name != "alternatives"}
        judged = _flags(given, self.answers, self.candidates)
        return self.model_copy(update={**said, "votes": votes, "alternatives": dict(given.alternatives), **judged})

    @property
    def _answer(self) -> Answer:
        return Answer(scores=self.scores, choice=self.choice)


def outcome_of(query: Query, subset: str, answer: Answer, slices: tuple[str, ...] = ()) -> QueryOutcome:
    """Judge an answer to a query and put both down as one line.

    Raises:
        ValueError: the answer has another number of scores than the query has candidates.
    """
    return QueryOutcome(
        query_id=query.query_id,
        item_id=query.item_id,
        subset=subset,
        direction=query.direction,
        candidates=query.candidates,
        answers=query.answers,
        scores=answer.scores,
        scored=answer.scored,
        alternatives=dict(answer.alternatives),
        choice=answer.choice,
        text=answer.text,
        reason=answer.reason,
        truncated=answer.truncated,
        images=query.cluster_keys,
        form=query.form,
        order=query.order,
        slices=slices,
        **_flags(answer, query.answers, query.candidates),
    )


def _flags(answer: Answer, answers: Sequence[int], candidates: int) -> dict[str, bool]:
    judged = verdict(answer, answers, candidates)
    return {"hit": judged.hit, "unscored": judged.unscored, "tie": judged.tie, "near_tie": judged.near_tie}
