"""What every chart is: a title, what is drawn, and a note that says how to read it and what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from minchange_eval.reports.answered import Answered
from minchange_eval.reports.shown_text import shown_text

MOST_MODELS = 8  # as many as there are marks
MOST_COMPARED = 16  # rows of a table or of bars
LABEL = 60  # characters of a name beside a chart


@dataclass(frozen=True)
class Figure:
    """One chart.

    Attributes:
        title: in words.
        drawn: SVG or a table; None where there is nothing to draw, and the note says why.
        note: how to read it, and what it leaves out.
        models: the marks' meaning, in their order.
        lines: what other lines there are: `chance`, `human`.
    """

    title: str
    drawn: Markup | None
    note: str
    models: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def leading(of: Answered, most: int) -> list[int]:
    """The models with the highest mean over all slices, best first."""

    def mean(model: int) -> float:
        wanted = {"i2t_accuracy", "t2i_accuracy", "accuracy"}
        values = [
            one.value for (metric, subset), one in of.answers[model].values.items() if metric in wanted and subset
        ]
        return sum(values) / len(values) if values else 0.0

    return sorted(range(len(of.models)), key=lambda model: (-mean(model), of.models[model]))[:most]


def names_of(of: Answered, chosen: Sequence[int]) -> tuple[str, ...]:
    return tuple(shown_text(of.models[model], LABEL) for model in chosen)


def left_out(of: Answered, chosen: Sequence[int]) -> str:
    left = len(of.models) - len(chosen)
    return f" Shown are the {len(chosen)} best of {len(of.models)} models." if left else ""


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
