"""Which place models choose, whatever stands there."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from minchange_eval.core.prompts import LETTERS
from minchange_eval.core.queries import Direction
from minchange_eval.reports.answered import Answered
from minchange_eval.reports.figure import LABEL, MOST_COMPARED, Figure, leading, percent
from minchange_eval.reports.shown_text import shown_text
from minchange_eval.reports.svg import element, picture, text

MOST_PLACES = 9
FEWEST_ASKED = 10
_ASKED = {
    Direction.IMAGE_TO_TEXT: "captions of an image",
    Direction.TEXT_TO_IMAGE: "images of a caption",
    Direction.CHOICE: "options of a question",
    Direction.STATEMENT: "false and true",
}


def option_order(of: Answered, name: str) -> list[Figure]:
    """One chart for each direction and number of candidates that a model who reads an order was asked."""
    reading = [model for model in leading(of, len(of.models)) if of.answers[model].places][:MOST_COMPARED]
    groups = sorted({(places.direction, len(places.right)) for model in reading for places in of.answers[model].places})
    figures = [
        _places_chosen(of, reading, direction, k, f"{name}-{direction}-{k}")
        for direction, k in groups
        if k <= MOST_PLACES
    ]
    return [figure for figure in figures if figure is not None]


def _places_chosen(of: Answered, reading: Sequence[int], direction: Direction, k: int, name: str) -> Figure | None:
    title = f"Which place was chosen, of {k} {_ASKED[direction]}"
    rows: list[tuple[str, tuple[float, ...], int]] = []
    for model in reading:
        for places in of.answers[model].places:
            if (places.direction, len(places.right)) == (direction, k) and places.asked >= FEWEST_ASKED:
                rows = rows or [("right answers", _shares(places.right), places.asked)]
                label = shown_text(of.models[model], LABEL) + _bias_of(of, model)
                rows.append((label, _shares(places.chosen), sum(places.chosen)))
    if not rows:
        return None
    drawn: list[Markup] = []
    for number, (label, shares, n) in enumerate(rows):
        top = 4 + 40 * number
        said = "none chosen" if not n else f"n = {n}"
        drawn.append(text("0", top + 12, f"{label}, {said}", "label" if number else "label whole"))
        drawn += _bar(shares, top + 17, label)
    shared = "Each candidate stood once in each place, so an even choice is what no bias would give. "
    note = (
        (shared if of.variant == "cyclic" else "The first bar is where the right answers were. ")
        + "Ties and unread answers choose no place. Models that score one image with one text never see an order, and "
        "are left out."
    )
    said = "; ".join(f"{label}: " + ", ".join(percent(share) for share in shares) for label, shares, _ in rows)
    return Figure(title, picture(name, title, said + ".", 6 + 40 * len(rows), drawn), note)


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    return tuple(count / max(1, sum(counts)) for count in counts)


def _bias_of(of: Answered, model: int) -> str:
    bias = of.value(model, ("position_bias", ""))
    return f" (position bias {percent(bias.value)}, {percent(bias.low)} to {percent(bias.high)})" if bias else ""


def _bar(shares: Sequence[float], top: float, label: str) -> list[Markup]:
    drawn, left = [], 0.0
    for place, share in enumerate(shares):
        told = element("title", f"{label}: place {LETTERS[place]} {percent(share)}")
        start, wide = f"{100 * left:.2f}%", f"{100 * share:.2f}%"
        drawn.append(element("rect", told, x=start, y=f"{top:g}", width=wide, height="18", class_=f"place-{place}"))
        if share >= 0.06:
            middle = f"{100 * (left + share / 2):.2f}%"
            words = f"{LETTERS[place]} {100 * share:.0f}" if share >= 0.15 else LETTERS[place]
            drawn.append(text(middle, top + 13, words, "on-bar", "middle"))
        left += share
    return drawn
