"""`minchange-eval compare`: is the difference between two models real, and which sets turned?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from minchange_eval.core.errors import ExitCode
from minchange_eval.reports.shown_text import shown_name

if TYPE_CHECKING:
    from minchange_eval.reports.comparison import Comparison, DifferenceRow

EXAMPLES = """examples:
  minchange-eval compare before.jsonl after.jsonl
  minchange-eval compare before.jsonl.gz after.jsonl --no-slices
  minchange-eval compare before.jsonl after.jsonl --protocol published
  minchange-eval compare before.jsonl after.jsonl --format json > comparison.json

Values in percent; a difference is B less A.
  p          two-sided, sign flips of whole clusters (sets that share an image)
  McNemar    exact, where each cluster holds one yes or no
  Holm       one-sided p of the claim "B is worse" (or better), adjusted over all rows of the benchmark
  claim      made where Holm is at most 0.05
  could show the smallest true difference that so many clusters, differing as often, show in 4 of 5 cases

exit codes: 0 compared, whatever the difference (to fail on a loss: gate), 2 usage, 3 a record is incomplete,
  4 records of other data, prompt, protocol, scoring or sets, 5 bad data
How-to: docs/compare.md
"""
_ALPHA = 0.05
_HEAD = (
    "metric",
    "slice",
    "A",
    "B",
    "difference",
    "95 % interval",
    "p",
    "McNemar",
    "Holm",
    "claim",
    "could show",
    "n",
    "clusters",
    "turned",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument("first", type=Path, metavar="A", help="record of the first run, whole or slim")
    parser.add_argument("second", type=Path, metavar="B", help="record of the second run, whole or slim")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="JSON has all that is known")
    parser.add_argument(
        "--protocol",
        choices=("ours", "published"),
        default="ours",
        help="whose reading of the answers: this package's, or each paper's own where it has one",
    )
    parser.add_argument(
        "--slices", action=argparse.BooleanOptionalAction, default=True, help="show subsets and slices too"
    )
    parser.add_argument(
        "--flips", type=_count, default=3, metavar="N", help="sets to name that turned each way, worst first"
    )


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    from minchange_eval.cli.hub_runs import run_file, run_name
    from minchange_eval.core.record import read_record
    from minchange_eval.reports.comparison import compare

    records = read_record(run_file(args.first)), read_record(run_file(args.second))
    compared = compare(*records, protocol=args.protocol, names=("A", "B"))
    if args.format == "json":
        print(json.dumps(compared.model_dump(mode="json"), allow_nan=False, indent=1))
        return ExitCode.OK
    for name, model, path in (("A", compared.first, args.first), ("B", compared.second, args.second)):
        print(f"{name}  {shown_name(model)}  ({shown_name(run_name(path))})")
    for line in _text(compared, slices=args.slices, flips=args.flips):
        print(line)
    return ExitCode.OK


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of sets, 0 or more, got {text!r}")
    return int(text)


def _text(compared: Comparison, *, slices: bool, flips: int) -> Iterator[str]:
    if compared.protocol == "published":
        yield "each paper's own reading of the answers, where it has one"
    if compared.synthetic:
        drawn = ", ".join(map(shown_name, compared.synthetic))
        yield f"{drawn}: drawn by this package's generator, not an official benchmark"
    for benchmark, group in groupby(compared.rows, key=lambda row: row.benchmark):
        rows = list(group)
        shown = [row for row in rows if slices or not row.slice]
        yield f"\n{shown_name(benchmark)}: {_claims(rows)}"
        unscored = max(row.first_unscored for row in rows), max(row.second_unscored for row in rows)
        if any(unscored):
            yield f"queries without a readable answer, which are misses: A {unscored[0]}, B {unscored[1]}"
        yield ""
        yield from _table(shown)
        yield from _turned([row for row in rows if not row.slice], flips)


def _claims(rows: Sequence[DifferenceRow]) -> str:
    counts = {claim: sum(_claim(row) == claim for row in rows) for claim in ("worse", "better")}
    said = " and ".join(f"{claim} in {count}" for claim, count in counts.items() if count)
    values = f"{len(rows)} values" if len(rows) > 1 else "its value"
    return f"B is {said} of {values}" if said else f"no difference is shown in any of {values}"


def _table(rows: Sequence[DifferenceRow]) -> Iterator[str]:
    from minchange_eval.core.text_table import table

    lines = [_cells(row) for row in rows]
    # a column that says nothing of any row is left out
    held = [
        place for place, name in enumerate(_HEAD) if name not in ("slice", "McNemar") or any(r[place] for r in lines)
    ]
    yield from table([_HEAD[place] for place in held], [[cells[place] or "-" for place in held] for cells in lines])


def _cells(row: DifferenceRow) -> tuple[str, ...]:
    return (
        row.metric,
        shown_name(row.slice),
        f"{100 * row.first:.1f}",
        f"{100 * row.second:.1f}",
        f"{100 * row.difference:+.1f}",
        f"{100 * row.low:+.1f} to {100 * row.high:+.1f}",
        _p(row.p),
        "" if row.p_mcnemar is None else _p(row.p_mcnemar),
        _p(min(row.holm_worse, row.holm_better)),
        _claim(row),
        "nothing" if row.smallest_effect is None else f"{100 * row.smallest_effect:.1f}",
        str(row.n),
        str(row.clusters),
        f"+{len(row.flips.to_right)} -{len(row.flips.to_wrong)}",
    )


def _claim(row: DifferenceRow) -> str:
    return "worse" if row.holm_worse <= _ALPHA else "better" if row.holm_better <= _ALPHA else ""


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _turned(rows: Sequence[DifferenceRow], most: int) -> Iterator[str]:
    """The sets behind each whole that turned, worst first; metrics of which the same ones turned together."""
    metrics: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row in rows:
        for way, items in (("wrong", row.flips.to_wrong), ("right", row.flips.to_right)):
            if items:
                metrics.setdefault((way, items), []).append(row.metric)
    if most and metrics:
        yield ""
    for (way, items), names in metrics.items() if most else ():
        more = f" and {len(items) - most} more" if len(items) > most else ""
        yield f"{', '.join(names)}, turned {way}: {', '.join(map(shown_name, items[:most]))}{more}"
