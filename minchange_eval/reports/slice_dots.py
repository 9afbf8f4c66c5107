"""Values by slice as dots with their intervals, a line for chance and one for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from minchange_eval.core.metrics import MetricValue
from minchange_eval.data.published_results import published_benchmarks, published_rows
from minchange_eval.reports.answered import Answered
from minchange_eval.reports.figure import LABEL, MOST_MODELS, Figure, leading, left_out, names_of, percent
from minchange_eval.reports.shown_text import shown_text
from minchange_eval.reports.svg import across, axis, line, mark, picture, text

MOST_SLICES = 16

_OF_SETS = ("i2t_accuracy", "t2i_accuracy", "group_score")
_OF_PAIRS = ("text_score", "image_score", "group_score")  # what is quoted, and known of people, for sets of two
_TITLES = {
    "i2t_accuracy": "Image to text",
    "t2i_accuracy": "Text to image",
    "text_score": "Right caption for both images (text score)",
    "image_score": "Right image for both captions (image score)",
    "group_score": "Whole sets right (group score)",
    "accuracy": "Accuracy",
}

Human = Mapping[tuple[str, str], float]  # (metric, subset) -> fraction


def slice_dots(of: Answered, name: str) -> list[Figure]:
    """One chart for each metric that is quoted of such a benchmark.

    Args:
        name: unique on the page.
    """
    chosen, human = leading(of, MOST_MODELS), _human(of)
    figures = [_dots(of, chosen, metric, f"{name}-{metric}", human) for metric in _metrics(of)]
    return [figure for figure in figures if figure is not None]


def _metrics(of: Answered) -> tuple[str, ...]:
    if of.kind != "sets":
        return ("accuracy",)
    return _OF_PAIRS if all(answers.of_two for answers in of.answers) else _OF_SETS


def _human(of: Answered) -> Human:
    """What people get, as published, as fractions; nothing is known of drawn data and of other forms of a question."""
    if of.synthetic or of.variant or of.dataset not in published_benchmarks():
        return {}
    rows = [row for row in published_rows(of.dataset) if row.role == "human" and row.unit != "score"]
    known = {row.subset for row in rows if row.subset}
    whole = of.subsets.issuperset(known)  # else it is the mean of other subsets than the models'
    return {(row.metric, row.subset): row.value / 100 for row in rows if row.subset or whole}


def _dots(of: Answered, chosen: Sequence[int], metric: str, name: str, human: Human) -> Figure | None:
    slices, left = _slices(of, chosen, metric)
    if not slices:
        return None
    pitch = 15 if len(chosen) <= 4 else 11
    drawn: list[Markup] = []
    top = 6.0
    lines: dict[str, None] = {}
    several = False
    for part in slices:
        key = _key(of, metric, part)
        values = [of.value(model, key) for model in chosen]
        bottom = top + 20 + pitch * len(chosen)
        drawn.append(
            text(
                across(0), top + 12, shown_text(part, LABEL) or "mean of the slices", "label" if part else "label whole"
            )
        )
        guesses = sorted({round(value.chance, 6) for value in values if value and value.chance is not None})
        several |= len(guesses) > 1
        for kind, places in (("chance", guesses), ("human", [human[key]] if key in human else [])):
            for at in places:
                lines[kind] = None
                drawn.append(line(across(at), top + 17, across(at), bottom, kind))
        for row, (model, value) in enumerate(zip(chosen, values, strict=True)):
            if value is not None:
                title = f"{shown_text(of.models[model], LABEL)}, {shown_text(part, LABEL) or 'mean'}: {_told(value)}"
                drawn += _dot(value, top + 25 + row * pitch, row, title)
        top = bottom + 6
    note = (
        "Each mark is a value with its 95 % interval over clusters of items that share images."
        + left_out(of, chosen)
        + (" Where guessing gets models different values, there is a chance line for each." if several else "")
        + (f" {left} more slices are in the table." if left else "")
    )
    title = _TITLES[metric]
    said = f"{title} of {shown_text(of.title, LABEL)} by slice. " + _best_in_words(of, chosen, metric, slices)
    chart = picture(name, title, said, top + 20, [*axis(0, top), *drawn])
    return Figure(title, chart, note, names_of(of, chosen), tuple(lines))


def _slices(of: Answered, chosen: Sequence[int], metric: str) -> tuple[list[str], int]:
    """Subsets first, then slices by size; the whole last. And how many are left out."""
    sizes: Counter[str] = Counter()
    for model in chosen:
        for (of_metric, part), value in of.answers[model].values.items():
            if of_metric == metric and part:
                sizes[part] = max(sizes[part], value.n)
    ordered = sorted(sizes, key=lambda part: (": " in part, -sizes[part] if ": " in part else 0, part))
    with_whole = any(of.value(model, _key(of, metric, "")) for model in chosen)
    whole = [""] if len(ordered) != 1 and with_whole else []  # one subset alone is its own whole
    return [*ordered[:MOST_SLICES], *whole], max(0, len(ordered) - MOST_SLICES)


def _key(of: Answered, metric: str, part: str) -> tuple[str, str]:
    return ("macro" if of.kind == "questions" and not part else metric, part)


def _dot(value: MetricValue, y: float, row: int, title: str) -> list[Markup]:
    span = line(across(value.low), y, across(value.high), y, f"span series-{row % 8}")
    return [span, mark(across(value.value), y, row, title)]


def _told(value: MetricValue) -> str:
    return f"{percent(value.value)}, 95 % interval {percent(value.low)} to {percent(value.high)}, n = {value.n}"


def _best_in_words(of: Answered, chosen: Sequence[int], metric: str, slices: Sequence[str]) -> str:
    said = []
    for part in slices:
        held = [(value.value, model) for model in chosen if (value := of.value(model, _key(of, metric, part)))]
        if held:
            best, model = max(held, key=lambda pair: pair[0])
            said.append(
                f"{shown_text(part, LABEL) or 'mean'}: best {shown_text(of.models[model], LABEL)} {percent(best)}"
            )
    return "; ".join(said) + "."
