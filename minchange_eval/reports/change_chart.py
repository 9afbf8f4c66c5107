"""Accuracy against how much of the picture changed: is it the small changes that are missed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from minchange_eval.core.errors import DataError
from minchange_eval.core.image_change import STEP, changed_share
from minchange_eval.core.images import open_image
from minchange_eval.core.items import Item
from minchange_eval.core.statistics import Interval, cluster_intervals, clusters_of
from minchange_eval.reports.answered import Answered, Answers
from minchange_eval.reports.figure import LABEL, MOST_MODELS, Figure, leading, left_out, names_of, percent
from minchange_eval.reports.matching_store import OTHER_PICTURES, NoPicturesError, matching_items
from minchange_eval.reports.shown_text import shown_text
from minchange_eval.reports.svg import LEFT, WIDE, line, mark, picture, text

MEASURED_ITEMS = 300  # of which pictures are decoded; measuring all of a large benchmark would take minutes
MEASURED_PICTURES = 900  # of sets of many
ITEMS_PER_BIN = 10
_RESAMPLES = 2000


@dataclass(frozen=True)
class _Changed:
    share: float
    images: tuple[str, ...]


@dataclass
class ChangedAreas:
    """How much of the pictures of items changed, each measured once for all variants of a benchmark."""

    measured: dict[tuple[str, str], _Changed] = field(default_factory=dict)

    def of(self, of: Answered, asked: Sequence[str]) -> dict[str, _Changed]:
        """Of evenly picked items with two or more pictures.

        Raises:
            NoPicturesError: as `matching_items`.
        """
        items = matching_items(of.dataset, of.fingerprint)
        several = [name for name in asked if name in items and len(items[name].images) > 1]
        pictures = sum(len(items[name].images) for name in several)
        most = min(len(several), MEASURED_ITEMS, MEASURED_PICTURES * len(several) // max(1, pictures))
        picked = [several[place] for place in np.linspace(0, len(several) - 1, most).round().astype(int)]
        try:
            return {name: self._measure(of.fingerprint, name, items) for name in picked}
        except DataError as error:
            raise NoPicturesError(str(error)) from error

    def _measure(self, fingerprint: str, name: str, items: Mapping[str, Item]) -> _Changed:
        key = (fingerprint, name)
        if key not in self.measured:
            images = items[name].images
            share = changed_share([open_image(image) for image in images])
            self.measured[key] = _Changed(share, tuple(image.sha256 for image in images))
        return self.measured[key]


def change_chart(of: Answered, name: str, measured: ChangedAreas) -> Figure | None:
    """One line a model over parts of the items; None where an item has one picture, or models saw others.

    Args:
        name: unique on the page.
    """
    title = "Accuracy against how much of the picture changed"
    if of.variant in OTHER_PICTURES:
        return None
    chosen = leading(of, MOST_MODELS)
    asked = sorted({item for model in chosen for item in of.answers[model].item_ids})
    try:
        changed = measured.of(of, asked)
    except NoPicturesError as reason:
        return Figure(title, None, f"Not drawn: {reason}")
    if not changed:
        return None
    areas = {item: one.share for item, one in changed.items()}
    bins = _equal_bins(areas)
    if len(bins) < 2:
        return Figure(title, None, f"Not drawn: {len(areas)} items are too few, or all changed by the same area.")
    keys = ([f"item {item}", *one.images] for item, one in changed.items())
    clusters = {item: int(cluster) for item, cluster in zip(changed, clusters_of(keys), strict=True)}
    drawn: list[Markup] = []
    for row, model in enumerate(chosen):
        values = _shares_of_bins(of.answers[model], bins, clusters)
        drawn += _curve(values, row, len(chosen), shown_text(of.models[model], LABEL), bins, areas)
    labels = [_range_of(part, areas) for part in bins]
    foot = [text(_centre(i, len(bins)), 246, label, "tick", "middle") for i, label in enumerate(labels)]
    grid = []
    for tick in (0, 25, 50, 75, 100):
        y = _down(tick / 100)
        grid += [line("0%", y, "100%", y, "grid"), text("0", y - 3, f"{tick} %", "tick")]
    held = "items" if of.kind != "sets" else "sets"
    said_of = (
        f"{len(areas)} of {len(asked)} {held}, evenly picked" if len(areas) < len(asked) else f"{len(areas)} {held}"
    )
    note = (
        f"{said_of}, in {len(bins)} equal parts by changed area: the share of pixels that differ by more than "
        f"{STEP} of 255 in any channel (of sets of more than two, the mean over pairs). Queries right, with "
        "95 % intervals." + left_out(of, chosen)
    )
    said = f"{title} of {shown_text(of.title, LABEL)}, in parts of {', '.join(labels)} of the picture."
    return Figure(title, picture(name, title, said, 254, [*grid, *foot, *drawn]), note, names_of(of, chosen))


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


def _shares_of_bins(
    answers: Answers, bins: Sequence[Sequence[str]], clusters: Mapping[str, int]
) -> list[Interval | None]:
    held = [[name for name in part if name in answers.row] for part in bins]
    columns = [part for part in held if part]
    if not columns:
        return [None] * len(bins)
    rows = {cluster: row for row, cluster in enumerate(sorted({clusters[name] for part in columns for name in part}))}
    hits = np.zeros((len(rows), len(columns)))
    totals = np.zeros_like(hits)
    for column, part in enumerate(columns):
        for name in part:
            hits[rows[clusters[name]], column] += answers.right_of[answers.row[name]]
            totals[rows[clusters[name]], column] += answers.asked_of[answers.row[name]]
    shares = iter(cluster_intervals(hits, totals, resamples=_RESAMPLES)[0])
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
        told = f"{model}, {_range_of(bins[i], areas)} changed: {percent(value.value)}"
        told += f", 95 % interval {percent(value.low)} to {percent(value.high)}, n = {len(bins[i])}"
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
