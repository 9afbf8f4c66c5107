"""`minchange-eval grim FILE.csv`: can these printed percentages be k of n at all?"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minchange_eval.core.errors import ExitCode, printable

if TYPE_CHECKING:
    from minchange_eval.reports.grim_table import GrimRow

EXAMPLES = """examples:
  minchange-eval grim table.csv
  minchange-eval grim table.csv --fractions --format csv

FILE is CSV with the columns value (a percentage as printed) and n (results that it is a share of; 13+16+14 for the
plain mean of three shares), and if wanted decimals (where trailing zeros were lost), label, and group (rows that
were printed together, so by one rounding rule).

exit codes: 0 the test was made, whatever it found, 2 usage, 5 a line that is wrong
How-to: docs/reproduce.md
"""
_HEAD = ("line", "label", "value", "n", "verdict", "k", "rule", "power")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV with columns value, n")
    parser.add_argument("--fractions", action="store_true", help="values are shares of 1, not percentages")
    parser.add_argument("--format", choices=("text", "json", "csv"), default="text", help="default: text")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there, whole or not at all")


def run(args: argparse.Namespace) -> int:
    """Test every line and print what was found."""
    from minchange_eval.reports.grim_table import grim_rows

    rows = grim_rows(args.file, fractions=args.fractions)
    text = {"text": _text, "json": _json, "csv": _csv}[args.format](rows)
    if args.out is None:
        print(text, end="")
    else:
        from minchange_eval.cli.output_file import write_output

        write_output(args.out, text.encode("utf-8"), "--out")
    return ExitCode.OK


def _text(rows: Sequence[GrimRow]) -> str:
    from minchange_eval.core.text_table import table

    counts = Counter(row.result.verdict for row in rows)
    found = ", ".join(f"{counts[verdict]} {verdict}" for verdict in sorted(counts))
    lines = [f"{len(rows)} values: {found}", "", *table(_HEAD, map(_cells, rows))]
    return "\n".join(lines) + "\n"


def _cells(line: GrimRow) -> tuple[str, ...]:
    from minchange_eval.core.grim import rule_words

    row, result = line.row, line.result
    attained = result.verdict == "attainable"
    return (
        str(row.line),
        row.label,
        row.printed,
        "+".join(map(str, row.sizes)),
        result.verdict,
        ", ".join(map(str, result.hits)) if attained else "",
        rule_words(result.roundings) if attained else "",
        f"{100 * result.power:.0f} %",
    )


def _fields(line: GrimRow) -> dict[str, Any]:
    row, result = line.row, line.result
    attained = result.verdict == "attainable"
    return {
        "line": row.line,
        "label": row.label,
        "group": row.group,
        "value": row.printed,
        "n": list(row.sizes),
        "decimals": row.decimals,
        "verdict": result.verdict,
        "k": list(result.hits) if attained else [],
        "roundings": list(result.roundings) if attained else [],
        "power": round(result.power, 6),
    }


def _json(rows: Sequence[GrimRow]) -> str:
    import json

    return json.dumps([_fields(row) for row in rows], indent=1, allow_nan=False) + "\n"


def _csv(rows: Sequence[GrimRow]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, list(_fields(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**fields, **dict(_as_text(fields))} for fields in map(_fields, rows))
    return text.getvalue()


def _as_text(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, between in (("n", "+"), ("k", " "), ("roundings", "; ")):
        yield name, between.join(map(str, fields[name]))
    for name in ("label", "group"):
        yield name, printable(fields[name])
