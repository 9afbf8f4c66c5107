"""From outcomes to the numbers that are reported: value, interval, chance and counts, for every reader the same.

lmms-eval's own table takes `value_of`; the record, our table and later reports take `summarize`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from minchange_eval.core.record import QueryOutcome

Kind = Literal["sets", "questions"]
Protocol = Literal["ours", "spec", "vismin", "med"]

SET_METRICS = ("i2t_accuracy", "t2i_accuracy", "text_score", "image_score", "group_score", "pair_mean")
QUESTION_METRICS = ("macro", "micro")


class MetricValue(BaseModel):
    """One number and all that a reader needs to judge it.

    Attributes:
        name: one of `SET_METRICS` or `QUESTION_METRICS`.
        subset: the subset that it is of; empty for the whole, which is the plain mean of the subsets' values
            (except `micro`, which is over all questions alike).
        value, low, high: fractions in [0, 1]; 95 % interval over clusters that share images.
        chance: what guessing gets.
        n: queries for accuracies, `macro` and `micro`; sets for the other scores.
        unscored, ties, near_ties: queries among them.
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
    outcomes: Iterable[QueryOutcome], kind: Kind, *, protocol: Protocol = "ours", resamples: int = 10_000, seed: int = 0
) -> tuple[MetricValue, ...]:
    """All metrics of a task or of a group of tasks, per subset and for the whole; a query given twice counts once."""
    raise NotImplementedError


def value_of(outcomes: Iterable[QueryOutcome], name: str, *, protocol: Protocol = "ours") -> float:
    """One metric of the whole, without interval: what lmms-eval's table shows. Same value as in `summarize`."""
    raise NotImplementedError
