"""A quality report as plain text and as a section of a page."""

from __future__ import annotations

from minchange_eval.audit.quality_report import QualityReport


def quality_text(report: QualityReport) -> list[str]:
    """Lines for a terminal; texts of the data are not yet made printable."""
    return [f"{check.name}: {check.found} of {check.of} {check.unit}" for check in report.checks]


def quality_html(report: QualityReport) -> str:
    """A `<section>` without style, script or reference of its own; everything escaped."""
    from html import escape

    rows = "".join(f"<tr><td>{escape(c.title)}</td><td>{c.found}</td><td>{c.of}</td></tr>" for c in report.checks)
    return f"<section><h2>Data quality of {escape(report.dataset)}</h2><table>{rows}</table></section>"
