"""The table that `lmms_eval` prints after lmms-eval's own: every number with what is needed to believe it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.record import RunRecord

_HEAD = ("task", "metric", "value", "95 % interval", "chance", "n", "unscored", "ties")


def print_record(record: RunRecord) -> None:
    """Print the scores of a run, with what a reader must know about the data and the model above them."""
    model = record.model
    print(f"\n{model.adapter} {model.name}" + (f", weights {model.weights_sha256[:12]}" if model.weights_sha256 else ""))
    for line in _remarks(record):
        print(line)
    print()
    for line in table(_HEAD, _rows(record)):
        print(line)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a plain text table; the first two columns are words, the others numbers."""
    cells = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        aligned = [cell.ljust(w) if c < 2 else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(aligned).rstrip()

    return [line(cells[0]), "  ".join("-" * width for width in widths), *map(line, cells[1:])]
