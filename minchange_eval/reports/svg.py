"""Inline SVG that keeps its letters readable at any width.

Positions across are percentages and positions down are pixels, without a viewBox: a chart gets narrower on a phone and
its text stays as large as the page's. Colours are classes of the page's style sheet, so that dark mode and print reach
them; nothing here writes a style attribute, which the page's Content-Security-Policy forbids.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

LEFT, WIDE = 2.0, 95.0  # the plot's share of the width: room for half a mark and half a number at either end


def across(share: float) -> str:
    """Where a value from 0 to 1 stands, as a percentage of the width."""
    return f"{LEFT + WIDE * min(1.0, max(0.0, share)):.2f}%"


def element(tag: str, /, *children: Markup | str, **attributes: object) -> Markup:
    """One element; texts are escaped, `class_` is `class`, `_` in other names is `-`."""
    given = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), value)
        for name, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(tag, given, Markup("").join(map(escape, children)))


def line(x1: str, y1: float, x2: str, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=f"{y1:g}", x2=x2, y2=f"{y2:g}", class_=class_)


def text(x: str, y: float, words: str, class_: str = "", anchor: str = "start") -> Markup:
    """One line of text, in its own writing direction."""
    return element("text", words, x=x, y=f"{y:g}", class_=class_ or None, text_anchor=anchor, unicode_bidi="isolate")


def mark(x: str, y: float, number: int, title: str) -> Markup:
    """The mark of one model, told apart by shape as well as by colour; its title is shown under the pointer."""
    return element(
        "use", element("title", title), href=f"#mark-{number % 8}", x=x, y=f"{y:g}", class_=f"series-{number % 8}"
    )


def axis(top: float, bottom: float) -> list[Markup]:
    """Lines at 0, 25, … 100 % with their numbers below."""
    drawn = []
    for percent in (0, 25, 50, 75, 100):
        drawn.append(line(across(percent / 100), top, across(percent / 100), bottom, "grid"))
        anchor = {0: "start", 100: "end"}.get(percent, "middle")
        drawn.append(text(across(percent / 100), bottom + 14, f"{percent} %", "tick", anchor))
    return drawn


def picture(name: str, title: str, description: str, height: float, drawn: Iterable[Markup]) -> Markup:
    """The chart as one image for a screen reader, with its title and what it shows in words.

    Args:
        name: unique on the page.
    """
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *drawn,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_="chart",
        width="100%",
        height=f"{height:g}",
    )
