"""A run's ledger as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from minchange_eval.core.errors import printable
from minchange_eval.reports.ledger import LEDGER_VERDICTS, LedgerRow

HEAD = ("model", "subset", "metric", "published", "ours", "95 % interval", "difference", "n", "verdict", "published is")
FLAGS_HEAD = ("flag", "published", "this run")
Flags = Sequence[tuple[str, str, str]]


def verdicts(rows: Sequence[LedgerRow]) -> str:
    """How many rows have which verdict."""
    counts = Counter(row.verdict for row in rows)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in LEDGER_VERDICTS if counts[verdict]) or "no rows"


def reasons(rows: Sequence[LedgerRow]) -> list[str]:
    """Why rows are not comparable, each reason once with the number of rows."""
    counts = Counter(row.why for row in rows if row.why)
    return [f"not comparable ({times}): {why}" for why, times in counts.items()]


def cells(row: LedgerRow) -> tuple[str, ...]:
    """One row in words, in the order of `HEAD`."""
    published, ours = row.checked.row, row.ours
    decimals = max(1, published.decimals)
    return (
        published.model,
        published.subset or "whole",
        published.metric,
        published.printed,
        f"{100 * ours.value:.{decimals}f}" if ours else "-",
        f"{100 * ours.low:.1f} - {100 * ours.high:.1f}" if ours else "-",
        "-" if row.difference is None else f"{row.difference:+.{decimals}f}",
        str(ours.n) if ours else "-",
        row.verdict,
        row.checked.verdict,
    )


def as_markdown(benchmark: str, runs: Sequence[tuple[str, Sequence[LedgerRow], Flags]]) -> str:
    """A section a run."""
    lines = [f"# {benchmark}: published and ours"]
    for label, rows, flags in runs:
        lines += ["", f"## {_escaped(label)}", "", f"{verdicts(rows)}.", ""]
        lines += [f"- {_escaped(reason)}" for reason in reasons(rows)]
        lines += ["", *_table(FLAGS_HEAD, flags)]
        for source in dict.fromkeys(row.checked.row.source for row in rows):
            lines += ["", f"### {_escaped(source)}", ""]
            lines += _table(HEAD, [cells(row) for row in rows if row.checked.row.source == source])
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(map(_escaped, row)) + " |" for row in (head, ("---",) * len(head), *rows)]


def _escaped(text: str) -> str:
    shown = printable(text)
    for sign in "\\|*`[":
        shown = shown.replace(sign, f"\\{sign}")
    return shown.replace("<", "&lt;")


def as_json(benchmark: str, runs: Sequence[tuple[str, Sequence[LedgerRow], Flags]]) -> str:
    """Everything, numbers as numbers."""
    content = {
        "benchmark": benchmark,
        "runs": [
            {
                "run": label,
                "flags": [dict(zip(("flag", "published", "ours"), flag, strict=True)) for flag in flags],
                "rows": [_fields(row) for row in rows],
            }
            for label, rows, flags in runs
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=True) + "\n"


def as_csv(runs: Sequence[tuple[str, Sequence[LedgerRow], Flags]]) -> str:
    """One line a run and published number."""
    lines = [_fields(row) for _, rows, _ in runs for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else ["run"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: "" if value is None else printable(str(value)) for name, value in line.items()} for line in lines
    )
    return text.getvalue()


def _fields(row: LedgerRow) -> dict[str, Any]:
    published, ours = row.checked.row, row.ours
    return {
        "run": row.run,
        "model": published.model,
        "subset": published.subset,
        "metric": published.metric,
        "published": published.printed,
        "attainable": row.checked.verdict,
        "task": row.task,
        "ours": None if ours is None else round(100 * ours.value, 6),
        "low": None if ours is None else round(100 * ours.low, 6),
        "high": None if ours is None else round(100 * ours.high, 6),
        "difference": None if row.difference is None else round(row.difference, 6),
        "n": None if ours is None else ours.n,
        "unscored": None if ours is None else ours.unscored,
        "verdict": row.verdict,
        "why": row.why,
        "source": published.source,
    }
