"""The page: one HTML file that asks nothing of any network and runs nothing but its own script.

Every text is hostile until escaped: templates escape on their own, and the Content-Security-Policy names the one style
sheet and the one script by their digests, so that nothing that slipped through could run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from minchange_eval import __version__
from minchange_eval.reports.leaderboard import METRIC_TITLES, NO_RANK, Board, Cell, Report, Row
from minchange_eval.reports.shown_text import shown_text

if TYPE_CHECKING:
    from jinja2 import Environment

    from minchange_eval.reports.charts import BenchmarkCharts
    from minchange_eval.reports.gallery import GalleryData

_TEMPLATES = Path(__file__).parent / "templates"
_LABEL = 120  # characters of a name
_NOTE = 400
_WIDE = 96  # pixels of the line beside a value, from 0 to 1
ROLE_TITLES = {
    "model": "Models",
    "partial": "Partial runs",
    "blind model": "Blind models",
    "blind rule": "Blind rules",
    "chance": "Chance",
    "human": "Human",
    "published": "Published",
}


@dataclass(frozen=True)
class ShownCell:
    """One cell: its number for sorting, and what is printed."""

    sort: str
    value: str
    interval: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ShownRow:
    """One line of a table, in words."""

    label: str
    role: str
    tag: str
    about: str
    marks: tuple[str, ...]
    leads: bool
    line: tuple[float, float, float] | None
    notes: tuple[int, ...]
    cells: tuple[ShownCell, ...]
    counts: tuple[str, str, str]


@dataclass(frozen=True)
class ShownTable:
    """One metric of one benchmark."""

    metric: str
    title: str
    headings: tuple[tuple[str, str], ...]
    rows: tuple[ShownRow, ...]
    note: str


@dataclass(frozen=True)
class ShownBoard:
    """One benchmark as the template wants it."""

    board: Board
    name: str
    tables: tuple[ShownTable, ...]
    footnotes: tuple[str, ...]
    roles: tuple[tuple[str, str, int], ...]


def render(
    report: Report,
    charts: Sequence[BenchmarkCharts] = (),
    gallery: GalleryData | None = None,
) -> str:
    """The page as one string.

    Args:
        charts, gallery: of the same runs; empty and None where there are none.
    """
    environment = _environment()
    style = _part("page.css") + _part("gallery.css")
    script = _part("page.js") + _part("gallery.js")
    return environment.get_template("page.html").render(
        boards=tuple(_shown_boards(report.boards)),
        report=report,
        charts=charts,
        gallery=gallery,
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
        version=__version__,
        wide=_WIDE,
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown_text
    return environment


def _part(name: str) -> str:
    path = _TEMPLATES / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _digest(text: str) -> str:
    """As a Content-Security-Policy names an inline part."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shown_boards(boards: Sequence[Board]) -> Iterator[ShownBoard]:
    for number, board in enumerate(boards):
        held = [row.role for row in board.rows]
        roles = tuple((role, title, held.count(role)) for role, title in ROLE_TITLES.items() if role in held)
        footnotes: dict[str, int] = {}
        tables = tuple(_table(board, metric, footnotes) for metric in board.metrics)
        yield ShownBoard(board, f"board-{number}", tables, tuple(footnotes), roles)


def _table(board: Board, metric: str, footnotes: dict[str, int]) -> ShownTable:
    columns = board.columns(metric)
    rows = [row for row in board.ordered(metric) if any(at in row.cells for at in columns)]
    whole = (metric, "") in columns
    best = any(metric in row.leads for row in rows)
    headings = tuple((subset or "Overall", _size(rows, (name, subset))) for name, subset in columns)
    note = (
        "Leading: the best model and those that it is not significantly ahead of (paired one-sided sign-flip test over "
        "clusters of items that share images, Holm over the models, 5 %)."
        if best
        else "No model is ranked by this."
        if metric in NO_RANK
        else ""
    )
    return ShownTable(
        metric=metric,
        title=METRIC_TITLES.get(metric, metric),
        headings=headings,
        rows=tuple(_row(row, metric, columns, footnotes, whole=whole) for row in rows),
        note=note,
    )


def _size(rows: Sequence[Row], at: tuple[str, str]) -> str:
    """n of a column where all full runs have the same."""
    sizes = {cell.n for row in rows if row.role == "model" and (cell := row.cells.get(at)) and cell.n is not None}
    return f"n = {sizes.pop():,}" if len(sizes) == 1 else ""


def _row(
    row: Row, metric: str, columns: Sequence[tuple[str, str]], footnotes: dict[str, int], *, whole: bool
) -> ShownRow:
    cell = row.cells.get(columns[0]) if columns else None
    counts = (cell.n, cell.unscored, cell.ties) if cell else (None, None, None)
    line = None
    if cell and whole and metric != "bias":
        low = cell.value if cell.low is None else cell.low
        high = cell.value if cell.high is None else cell.high
        line = tuple(round(_WIDE * share, 1) for share in (low, cell.value, high))
    return ShownRow(
        label=shown_text(row.label, _LABEL),
        role=row.role,
        tag=row.tag,
        about=shown_text(row.about, _NOTE),
        marks=tuple(shown_text(mark, _NOTE) for mark in row.marks),
        leads=metric in row.leads,
        line=line,  # type: ignore[arg-type]  # three numbers
        notes=tuple(sorted(footnotes.setdefault(note, len(footnotes) + 1) for note in row.notes)),
        cells=tuple(_cell(row.cells.get(at)) for at in columns),
        counts=tuple("" if count is None else f"{count:,}" for count in counts),  # type: ignore[arg-type]
    )


def _cell(cell: Cell | None) -> ShownCell:
    if cell is None:
        return ShownCell("", "–", "", ())
    interval = "" if cell.low is None or cell.high is None else f"{100 * cell.low:.1f}–{100 * cell.high:.1f}"
    warnings = (f"{cell.unscored:,} unscored",) if cell.unscored else ()
    return ShownCell(f"{cell.value:.6f}", cell.printed or f"{100 * cell.value:.1f}", interval, warnings)
