"""A quality report as plain text and as a section of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from minchange_eval.audit.quality_report import PlaceBalance, QualityCheck, QualityReport, Spread
from minchange_eval.core.errors import printable
from minchange_eval.core.text_table import table

Row = tuple[str, ...]

_CHECKS: Row = ("check", "weight", "found", "of", "share")
_SPREADS: Row = ("measured", "subset", "n", "smallest", "low", "median", "high", "largest")
_BALANCES: Row = ("right answers at", "subset", "counts", "n", "p", "Holm")
_DIRECTIONS = {"choice": "letter", "i2t": "image to text", "t2i": "text to image"}


def quality_text(report: QualityReport) -> list[str]:
    """Lines for a terminal, printable whatever the data holds."""
    nothing = [check.title for check in report.checks if check.of and not check.found]
    tables = [
        (_CHECKS, [_check_row(check) for check in report.checks if check.found]),
        (_SPREADS, [_spread_row(spread) for spread in report.spreads]),
        (_BALANCES, [_balance_row(balance) for balance in report.balances]),
    ]
    lines = [f"data quality of {report.dataset}: {report.items:,} {report.kind}, {report.images:,} distinct images"]
    for head, rows in tables:
        if rows:
            lines += ["", *table(head, rows)]
    examples = list(_example_lines(report.checks))
    if examples:
        lines += ["", *examples]
    if nothing:
        lines += ["", f"not found: {'; '.join(nothing)}"]
    return list(map(printable, lines))


def quality_html(report: QualityReport) -> str:
    """A `<section>` without style, script or reference of its own; everything from the data is escaped."""
    parts = [
        f'<section class="quality"><h2>Data quality of {escape(report.dataset)}</h2>',
        f"<p>{report.items:,} {escape(report.kind)}, {report.images:,} distinct images, judged without a model.</p>",
        _html_table("What was looked for", _CHECKS, [_check_row(check) for check in report.checks if check.of]),
    ]
    for check in report.checks:
        if check.examples:
            shown = "".join(f"<li>{_code(one.item_id)} {_text(one.shown)}</li>" for one in check.examples)
            parts.append(
                f"<details><summary>{escape(check.title)}: {check.found:,}</summary><ul>{shown}</ul></details>"
            )
    if report.spreads:
        parts.append(_html_table("How much differs", _SPREADS, [_spread_row(spread) for spread in report.spreads]))
    if report.balances:
        rows = [_balance_row(balance) for balance in report.balances]
        parts.append(_html_table("Where the right answers stand", _BALANCES, rows))
    return "".join([*parts, "</section>"])


def _check_row(check: QualityCheck) -> Row:
    share = f"{check.found / check.of:.1%}" if check.of else ""
    return (check.title, check.weight, f"{check.found:,}", f"{check.of:,} {check.unit}", share)


def _spread_row(spread: Spread) -> Row:
    numbers = (spread.smallest, spread.low, spread.median, spread.high, spread.largest)
    shown = [f"{value:.1%}" if spread.unit == "share" else f"{value:g}" for value in numbers]
    return (spread.title, spread.subset or "all", f"{spread.n:,}", *shown)


def _balance_row(balance: PlaceBalance) -> Row:
    counts = " ".join(map(str, balance.counts))
    p = f"{balance.p:.2g}" + (" (chi-square)" if balance.test == "chi-square" else "")
    whole = (_DIRECTIONS[balance.direction], balance.subset or "all")
    return (*whole, counts, f"{sum(balance.counts):,}", p, f"{balance.holm:.2g}")


def _example_lines(checks: Sequence[QualityCheck]) -> Iterator[str]:
    for check in checks:
        if check.examples:
            yield f"{check.title}:"
            yield from (f"  {example.item_id}  {example.shown}" for example in check.examples)


def _html_table(caption: str, head: Row, rows: Sequence[Row]) -> str:
    first = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{_text(row[0])}</th>' + "".join(f"<td>{_text(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    # isolated, so that a text from right to left does not turn its neighbours; control characters as their escapes
    return f"<bdi>{escape(printable(text))}</bdi>"


def _code(text: str) -> str:
    return f"<code><bdi>{escape(printable(text))}</bdi></code>"
