"""`minchange-eval slim`: a record small enough to be kept in a repository."""

from __future__ import annotations

import argparse
from pathlib import Path

from minchange_eval.core.errors import ExitCode, UsageError

EXAMPLES = """examples:
  minchange-eval slim runs/20261121_record.jsonl --out baselines/tiny.jsonl.gz

A name that ends in .gz is written compressed. Scores, replies and reasons are left out; the verdict on each query,
what was chosen, and which sets share images stay. `gate` says the same of it as of the whole record.
It has no score matrices and replies for a report's gallery, and cannot be read again under another protocol.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument("run", type=Path, metavar="RUN", help="record of a run; or hub:owner/name@revision")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="slim record, .jsonl or .jsonl.gz")


def run(args: argparse.Namespace) -> int:
    """Read, check, write, say how small it became."""
    from minchange_eval.cli.hub_runs import run_file
    from minchange_eval.cli.output_file import write_output
    from minchange_eval.core.record import read_record, record_bytes
    from minchange_eval.core.slim_records import slim
    from minchange_eval.reports.comparability import require_complete

    if args.out.resolve() == args.run.resolve():
        raise UsageError(f"--out {args.out}: is the record itself, whose scores would be lost; name another file")
    run = run_file(args.run)
    record = read_record(run)
    require_complete(record, "the")  # a baseline that every gate would refuse is better refused now
    content = record_bytes(slim(record), compressed=args.out.suffix == ".gz")
    write_output(args.out, content, flag="--out")
    queries = sum(len(outcomes) for outcomes in record.outcomes.values())
    print(f"{args.out}: {queries:,} queries, {_kb(run.stat().st_size)} became {_kb(len(content))}")
    return ExitCode.OK


def _kb(size: int) -> str:
    return f"{max(1, round(size / 1000)):,} kB"
