"""Tables as plain text, printable whatever the cells hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minchange_eval.core.errors import printable


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a plain text table; the first two columns are words, the others numbers.

    >>> table(("name", "is", "n"), [("a", "b", "10"), ("c", "d", "7")])
    ['name  is   n', '----  --  --', 'a     b   10', 'c     d    7']
    """
    cells = [tuple(head), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        aligned = [
            cell.ljust(w) if c < 2 else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return [line(cells[0]), "  ".join("-" * width for width in widths), *map(line, cells[1:])]
