"""Charts of what several runs answered: values by slice, change of the picture, order of the options, agreement.

Each chart is bounded: what it leaves out is in the tables, and its note says how much that is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from minchange_eval.core.errors import DataError
from minchange_eval.core.image_change import changed_share
from minchange_eval.core.images import open_image
from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.prompts import LETTERS
from minchange_eval.core.queries import Direction
from minchange_eval.core.record import RunRecord
from minchange_eval.core.statistics import Interval, cluster_intervals, clusters_of
from minchange_eval.data.published_results import published_benchmarks, published_rows
from minchange_eval.reports.answered import Answered, answered
from minchange_eval.reports.matching_store import OTHER_PICTURES, NoPicturesError, by_item, matching_items
from minchange_eval.reports.shown_text import shown_text
from minchange_eval.reports.svg import LEFT, WIDE, across, axis, element, line, mark, picture, text

MOST_MODELS = 8  # as many as there are marks
MOST_COMPARED = 16
MOST_SLICES = 16
MOST_PLACES = 9
FEWEST_PLACED = 10
MEASURED_ITEMS = 300  # of which pictures are decoded to see how much of them changed
ITEMS_PER_BIN = 10
LABEL = 60  # characters of a name beside a chart

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
_ASKED = {
    Direction.IMAGE_TO_TEXT: "captions of an image",
    Direction.TEXT_TO_IMAGE: "images of a caption",
    Direction.CHOICE: "options of a question",
    Direction.STATEMENT: "false and true",
}

Human = Mapping[tuple[str, str], float]  # (metric, subset) -> fraction


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


@dataclass(frozen=True)
class BenchmarkCharts:
    """The charts of one benchmark in one variant."""

    title: str
    dataset: str
    fingerprint: str
    variant: str
    synthetic: bool
    figures: tuple[Figure, ...]


def charts_of(
    records: Sequence[RunRecord],
    labels: Sequence[str] | None = None,
) -> tuple[BenchmarkCharts, ...]:
    """The charts of every benchmark that the runs answered.

    Args:
        labels: what each run's model is called.
    """
    benchmarks = answered(records, labels)
    return tuple(
        BenchmarkCharts(
            title=of.title,
            dataset=of.dataset,
            fingerprint=of.fingerprint,
            variant=of.variant,
            synthetic=of.synthetic,
            figures=_figures(of, f"chart-{number}"),
        )
        for number, of in enumerate(benchmarks)
    )


def _figures(of: Answered, name: str) -> tuple[Figure, ...]:
    chosen = _leading(of, MOST_MODELS)
    human = _human(of)
    dots = [_dots(of, chosen, metric, f"{name}-{metric}", human) for metric in _metrics(of)]
    others = [
        _by_change(of, chosen, f"{name}-change"),
        *_option_order(of, f"{name}-order"),
        _agreement(of, _leading(of, MOST_COMPARED)),
    ]
    return tuple(figure for figure in [*dots, *others] if figure is not None)


def _metrics(of: Answered) -> tuple[str, ...]:
    if of.kind != "sets":
        return ("accuracy",)
    of_two = all(query.candidates == 2 for answers in of.outcomes for query in answers.values())
    return _OF_PAIRS if of_two else _OF_SETS


def _human(of: Answered) -> Human:
    """What people get, as published, as fractions; nothing is known of drawn data and of other forms of a question."""
    if of.synthetic or of.variant or of.dataset not in published_benchmarks():
        return {}
    rows = [row for row in published_rows(of.dataset) if row.role == "human" and row.unit != "score"]
    return {(row.metric, row.subset): row.value / 100 for row in rows}


def _leading(of: Answered, most: int) -> list[int]:
    """The models with the highest mean over all slices, best first."""

    def mean(model: int) -> float:
        wanted = {"i2t_accuracy", "t2i_accuracy", "accuracy"}
        values = [one.value for (metric, subset), one in of.values[model].items() if metric in wanted and subset]
        return sum(values) / len(values) if values else 0.0

    return sorted(range(len(of.models)), key=lambda model: (-mean(model), of.models[model]))[:most]


def _names(of: Answered, chosen: Sequence[int]) -> tuple[str, ...]:
    return tuple(shown_text(of.models[model], LABEL) for model in chosen)


def _left_out(of: Answered, chosen: Sequence[int]) -> str:
    left = len(of.models) - len(chosen)
    return f" Shown are the {len(chosen)} best of {len(of.models)} models." if left else ""


# --- values by slice ---------------------------------------------------------------------------------------------


def _dots(of: Answered, chosen: Sequence[int], metric: str, name: str, human: Human) -> Figure | None:
    slices, left = _slices(of, chosen, metric)
    if not slices:
        return None
    pitch = 15 if len(chosen) <= 4 else 11
    drawn: list[Markup] = []
    top = 6.0
    lines: dict[str, None] = {}
    for part in slices:
        key = _key(of, metric, part)
        values = [of.values[model].get(key) for model in chosen]
        bottom = top + 20 + pitch * len(chosen)
        drawn.append(
            text(
                across(0), top + 12, shown_text(part, LABEL) or "mean of the slices", "label" if part else "label whole"
            )
        )
        guesses = [value.chance for value in values if value and value.chance is not None]
        for kind, at in (("chance", guesses[0] if guesses else None), ("human", human.get(key))):
            if at is not None:
                lines[kind] = None
                drawn.append(line(across(at), top + 17, across(at), bottom, kind))
        for row, (model, value) in enumerate(zip(chosen, values, strict=True)):
            if value is not None:
                title = f"{shown_text(of.models[model], LABEL)}, {shown_text(part, LABEL) or 'mean'}: {_told(value)}"
                drawn += _dot(value, top + 25 + row * pitch, row, title)
        top = bottom + 6
    note = (
        "Each mark is a value with its 95 % interval over clusters of items that share images."
        + _left_out(of, chosen)
        + (f" {left} more slices are in the table." if left else "")
    )
    title = _TITLES[metric]
    said = f"{title} of {shown_text(of.title, LABEL)} by slice. " + _best_in_words(of, chosen, metric, slices)
    chart = picture(name, title, said, top + 20, [*axis(0, top), *drawn])
    return Figure(title, chart, note, _names(of, chosen), tuple(lines))


def _slices(of: Answered, chosen: Sequence[int], metric: str) -> tuple[list[str], int]:
    """Subsets first, then slices by size; the whole last. And how many are left out."""
    sizes: Counter[str] = Counter()
    for model in chosen:
        for (of_metric, part), value in of.values[model].items():
            if of_metric == metric and part:
                sizes[part] = max(sizes[part], value.n)
    ordered = sorted(sizes, key=lambda part: (": " in part, -sizes[part] if ": " in part else 0, part))
    with_whole = any(_key(of, metric, "") in of.values[model] for model in chosen)
    whole = [""] if len(ordered) != 1 and with_whole else []  # one subset alone is its own whole
    return [*ordered[:MOST_SLICES], *whole], max(0, len(ordered) - MOST_SLICES)


def _key(of: Answered, metric: str, part: str) -> tuple[str, str]:
    return ("macro" if of.kind == "questions" and not part else metric, part)


def _dot(value: MetricValue | Interval, y: float, row: int, title: str) -> list[Markup]:
    span = line(across(value.low), y, across(value.high), y, f"span series-{row % 8}")
    return [span, mark(across(value.value), y, row, title)]


def _told(value: MetricValue) -> str:
    return f"{_percent(value.value)}, 95 % interval {_percent(value.low)} to {_percent(value.high)}, n = {value.n}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _best_in_words(of: Answered, chosen: Sequence[int], metric: str, slices: Sequence[str]) -> str:
    said = []
    for part in slices:
        held = [(value.value, model) for model in chosen if (value := of.values[model].get(_key(of, metric, part)))]
        if held:
            best, model = max(held, key=lambda pair: pair[0])
            said.append(
                f"{shown_text(part, LABEL) or 'mean'}: best {shown_text(of.models[model], LABEL)} {_percent(best)}"
            )
    return "; ".join(said) + "."


# --- accuracy against how much of the picture changed ------------------------------------------------------------


def _by_change(of: Answered, chosen: Sequence[int], name: str) -> Figure | None:
    title = "Accuracy against how much of the picture changed"
    if of.variant in OTHER_PICTURES:
        return None
    grouped = [by_item(of.outcomes[model]) for model in chosen]
    asked = sorted(set().union(*grouped))
    try:
        areas = _changed_shares(of, asked)
    except NoPicturesError as reason:
        return Figure(title, None, f"Not drawn: {reason}")
    if not areas:
        return None  # its items have one picture each
    bins = _equal_bins(areas)
    if len(bins) < 2:
        return Figure(title, None, f"Not drawn: {len(areas)} items are too few, or all changed by the same area.")
    drawn: list[Markup] = []
    for row, outcomes in enumerate(grouped):
        values = _shares_of_bins(outcomes, bins)
        drawn += _curve(values, row, len(chosen), shown_text(of.models[chosen[row]], LABEL), bins, areas)
    labels = [_range_of(part, areas) for part in bins]
    foot = [text(_centre(i, len(bins)), 246, label, "tick", "middle") for i, label in enumerate(labels)]
    grid = [
        element("g", line("0%", y, "100%", y, "grid"), text("0", y - 3, f"{percent} %", "tick"))
        for percent in (0, 25, 50, 75, 100)
        for y in [_down(percent / 100)]
    ]
    held = "items" if of.kind != "sets" else "sets"
    measured = (
        f"{len(areas)} of {len(asked)} {held}, evenly picked" if len(areas) < len(asked) else f"{len(areas)} {held}"
    )
    note = (
        f"{measured}, in {len(bins)} equal parts by changed area: the share of pixels that differ by more than 24 of "
        "255 in any channel (of sets of more than two, the mean over pairs). Queries right, with 95 % intervals."
        + _left_out(of, chosen)
    )
    said = f"{title} of {shown_text(of.title, LABEL)}, in parts of {', '.join(labels)} of the picture."
    return Figure(title, picture(name, title, said, 254, [*grid, *foot, *drawn]), note, _names(of, chosen))


def _changed_shares(of: Answered, asked: Sequence[str]) -> dict[str, float]:
    """Of evenly picked items with two or more pictures.

    Raises:
        NoPicturesError: as `matching_items`.
    """
    items = matching_items(of.dataset, of.fingerprint)
    several = [name for name in asked if name in items and len(items[name].images) > 1]
    places = np.linspace(0, len(several) - 1, min(len(several), MEASURED_ITEMS)).round().astype(int)
    try:
        return {
            name: changed_share([open_image(image) for image in items[name].images])
            for name in (several[place] for place in places)
        }
    except DataError as error:
        raise NoPicturesError(str(error)) from error


def _equal_bins(areas: Mapping[str, float]) -> list[list[str]]:
    """Up to five parts of equal size, smallest change first; equal areas stay together."""
    ordered = sorted(areas, key=lambda name: (areas[name], name))
    count = min(5, len(ordered) // ITEMS_PER_BIN)
    bins: list[list[str]] = []
    for part in np.array_split(np.array(ordered, dtype=object), max(count, 1)):
        names = [str(name) for name in part]
        while bins and names and areas[names[0]] == areas[bins[-1][-1]]:
            bins[-1].append(names.pop(0))
        if names:
            bins.append(names)
    return bins


def _shares_of_bins(outcomes: Mapping[str, list[QueryOutcome]], bins: Sequence[Sequence[str]]) -> list[Interval | None]:
    held = [[name for name in part if name in outcomes] for part in bins]
    columns = [part for part in held if part]
    if not columns:
        return [None] * len(bins)
    names = [name for part in columns for name in part]
    rows = clusters_of(
        [f"item {name}", *{image for query in outcomes[name] for image in query.images}] for name in names
    )
    hits = np.zeros((int(rows.max()) + 1, len(columns)))
    totals = np.zeros_like(hits)
    column = {name: number for number, part in enumerate(columns) for name in part}
    for row, name in zip(rows, names, strict=True):
        hits[row, column[name]] += sum(query.hit for query in outcomes[name])
        totals[row, column[name]] += len(outcomes[name])
    shares = iter(cluster_intervals(hits, totals, resamples=2000)[0])
    return [next(shares) if part else None for part in held]


def _curve(
    values: Sequence[Interval | None],
    row: int,
    rows: int,
    model: str,
    bins: Sequence[Sequence[str]],
    areas: Mapping[str, float],
) -> list[Markup]:
    drawn = []
    apart = (row - (rows - 1) / 2) * min(2.0, 10 / max(rows, 1))  # percent, so that intervals do not hide each other
    points = [(i, value) for i, value in enumerate(values) if value is not None]
    for (i, one), (j, other) in pairwise(points):
        ends = (_centre(i, len(values), apart), _down(one.value), _centre(j, len(values), apart), _down(other.value))
        drawn.append(line(*ends, f"curve series-{row % 8}"))
    for i, value in points:
        x = _centre(i, len(values), apart)
        told = f"{model}, {_range_of(bins[i], areas)} changed: {_percent(value.value)}"
        told += f", 95 % interval {_percent(value.low)} to {_percent(value.high)}, n = {len(bins[i])}"
        drawn.append(line(x, _down(value.low), x, _down(value.high), f"span series-{row % 8}"))
        drawn.append(mark(x, _down(value.value), row, told))
    return drawn


def _centre(part: int, parts: int, apart: float = 0.0) -> str:
    return f"{LEFT + 6 + (WIDE - 6) * (part + 0.5) / parts + apart:.2f}%"


def _down(share: float) -> float:
    return 16 + 212 * (1 - share)


def _range_of(part: Sequence[str], areas: Mapping[str, float]) -> str:
    low, high = 100 * areas[part[0]], 100 * max(areas[name] for name in part)
    digits = 0 if high >= 10 else 1
    return f"{low:.{digits}f}–{high:.{digits}f} %"


# --- the order of the options ------------------------------------------------------------------------------------


def _option_order(of: Answered, name: str) -> list[Figure]:
    """One chart for each direction and number of candidates that a model who reads an order was asked."""
    reading = [model for model, answers in enumerate(of.outcomes) if not all(map(_sees_no_order, answers.values()))]
    if not reading:
        return []
    shown = [model for model in _leading(of, len(of.models)) if model in reading][:MOST_COMPARED]
    groups = sorted({(line.direction, line.candidates) for model in shown for line in of.outcomes[model].values()})
    figures = [
        _places_chosen(of, shown, direction, k, f"{name}-{direction}-{k}")
        for direction, k in groups
        if k <= MOST_PLACES
    ]
    return [figure for figure in figures if figure is not None]


def _places_chosen(of: Answered, shown: Sequence[int], direction: Direction, k: int, name: str) -> Figure | None:
    title = f"Which place was chosen, of {k} {_ASKED[direction]}"
    rows: list[tuple[str, NDArray[np.float64], int]] = []
    for model in shown:
        asked = [a for a in of.outcomes[model].values() if (a.direction, a.candidates) == (direction, k)]
        asked = [line for line in asked if not _sees_no_order(line)]
        if len(asked) < FEWEST_PLACED:
            continue
        if not rows:
            right = np.bincount([place for line in asked for place in line.answers], minlength=k)
            rows.append(("right answers", right / right.sum(), len(asked)))
        places = [line.chosen for line in asked if line.chosen is not None]
        counts = np.bincount(np.array(places, dtype=np.intp), minlength=k)
        rows.append(
            (shown_text(of.models[model], LABEL) + _bias_of(of, model), counts / max(1, len(places)), len(places))
        )
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
    said = "; ".join(f"{label}: " + ", ".join(_percent(share) for share in shares) for label, shares, _ in rows)
    return Figure(title, picture(name, title, said + ".", 6 + 40 * len(rows), drawn), note)


def _sees_no_order(outcome: QueryOutcome) -> bool:
    return outcome.of_pairs or outcome.scored == "pairs"  # slim records keep no scores


def _bias_of(of: Answered, model: int) -> str:
    bias = of.values[model].get(("position_bias", ""))
    return f" (position bias {_percent(bias.value)}, {_percent(bias.low)} to {_percent(bias.high)})" if bias else ""


def _bar(shares: NDArray[np.float64], top: float, label: str) -> list[Markup]:
    drawn, left = [], 0.0
    for place, share in enumerate(shares):
        told = element("title", f"{label}: place {LETTERS[place]} {_percent(float(share))}")
        start, wide = f"{100 * left:.2f}%", f"{100 * float(share):.2f}%"
        drawn.append(element("rect", told, x=start, y=f"{top:g}", width=wide, height="18", class_=f"place-{place}"))
        if share >= 0.06:
            middle = f"{100 * (left + float(share) / 2):.2f}%"
            words = f"{LETTERS[place]} {100 * share:.0f}" if share >= 0.15 else LETTERS[place]
            drawn.append(text(middle, top + 13, words, "on-bar", "middle"))
        left += float(share)
    return drawn


# --- agreement between models --------------------------------------------------------------------------------------


def _agreement(of: Answered, chosen: Sequence[int]) -> Figure | None:
    if len(chosen) < 2:
        return None
    names = _names(of, chosen)
    head = element("tr", element("td"), *(_column(number, name) for number, name in enumerate(names)))
    rows = []
    for i, one in enumerate(chosen):
        cells = [
            _cell(*_kappa(of.outcomes[one], of.outcomes[other]), names[i], names[j]) for j, other in enumerate(chosen)
        ]
        rows.append(element("tr", element("th", element("bdi", f"{i + 1}. {names[i]}"), scope="row"), *cells))
    table = element(
        "table",
        element("caption", "Cohen's kappa of which queries were answered right", class_="unseen"),
        element("thead", head),
        element("tbody", *rows),
        class_="agreement",
    )
    note = (
        "Cohen's kappa over queries of whether two models are both right or both wrong: 1 for the same mistakes, 0 for "
        "no more than their accuracies bring about. Under the pointer: the share of queries on which they agree. – "
        "where one of them is always right or always wrong." + _left_out(of, chosen)
    )
    return Figure("Agreement between models", table, note)


def _column(number: int, name: str) -> Markup:
    return element("th", str(number + 1), scope="col", title=name)


def _cell(kappa: float | None, agree: float, n: int, one: str, other: str) -> Markup:
    told = f"{one} and {other}: the same on {_percent(agree)} of {n} queries"
    if kappa is None:
        return element("td", "–", title=told)
    shade = f"shade-{max(0, min(9, round(9 * kappa)))}"
    return element("td", f"{kappa:.2f}", title=told, class_=shade)


def _kappa(one: Mapping[str, QueryOutcome], other: Mapping[str, QueryOutcome]) -> tuple[float | None, float, int]:
    """Cohen's kappa, the share of equal results, and the queries that both were asked.

    Source: Cohen 1960, Educational and Psychological Measurement 20(1).
    """
    both = [name for name in one if name in other] if one is not other else list(one)
    if not both:
        return None, 0.0, 0
    hits = np.array([(one[name].hit, other[name].hit) for name in both])
    agree = float((hits[:, 0] == hits[:, 1]).mean())
    p, q = (float(share) for share in hits.mean(axis=0))
    expected = p * q + (1 - p) * (1 - q)
    return (agree - expected) / (1 - expected) if expected < 1 - 1e-12 else None, agree, len(both)
