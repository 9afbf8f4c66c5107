"""`minchange-eval report`: runs as a leaderboard, one file that needs no network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from minchange_eval.cli.output_file import require_place, write_output
from minchange_eval.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from minchange_eval.reports.leaderboard import Report
    from minchange_eval.reports.run_results import RunResults

EXAMPLES = """examples:
  minchange-eval report run_a.jsonl run_b.jsonl --out report.html
  minchange-eval report runs/*_record.jsonl --out report.html --gallery 60
  minchange-eval report runs/*_record.jsonl --format md
  minchange-eval report my_model_record.jsonl --format model-card
  minchange-eval report hub:ada/records@v1 new_record.jsonl --out report.html
  minchange-eval report run_a.jsonl --protocol published --format csv --out table.csv
"""
_FORMATS = {".html": "html", ".htm": "html", ".md": "md", ".tex": "latex", ".csv": "csv", ".json": "json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The runs, where the report goes, and what it holds."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="run records, as lmms_eval writes them; or hub:owner/name@revision",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write; tables are printed without it")
    parser.add_argument(
        "--format",
        choices=("html", "md", "latex", "csv", "json", "model-card"),
        help="by default what the name of --out says",
    )
    parser.add_argument(
        "--protocol",
        choices=("ours", "published"),
        default="ours",
        help="read answers as this project does (default), or as each paper does",
    )
    parser.add_argument(
        "--gallery", type=int, default=24, metavar="N", help="items in the gallery, failures first (24)"
    )


def run(args: argparse.Namespace) -> int:
    """Read, make the tables, write them whole or not at all."""
    from minchange_eval.cli.hub_runs import run_files

    form = _format(args.format, args.out)
    if args.gallery < 0:
        raise UsageError(f"--gallery: expected 0 or more items, got {args.gallery}")
    if args.out is not None:
        require_place(args.out, "--out")
    args.runs = run_files(args.runs)
    if args.out is not None and args.out.resolve() in {path.resolve() for path in args.runs}:
        raise UsageError(f"--out {args.out}: is a run record of this report; name another file")
    runs, report = _report(args)
    text = _page(args, runs, report) if form == "html" else _tables(form, runs, report)
    if args.out is None:
        sys.stdout.write(text)
    else:
        write_output(args.out, text.encode("utf-8", "backslashreplace"), "--out")
        print(f"{args.out}: {len(report.boards)} tables of {report.runs} runs", file=sys.stderr)
    return ExitCode.OK


def _format(given: str | None, out: Path | None) -> str:
    form = given or (_FORMATS.get(out.suffix.lower()) if out else "md")
    if form is None:
        raise UsageError(f"--out {out}: expected a name that ends in {', '.join(_FORMATS)}, or --format beside it")
    if form == "html" and out is None:
        raise UsageError(
            "report: expected --out FILE for a page; or --format md, latex, csv, json or model-card to print"
        )
    return form


def _report(args: argparse.Namespace) -> tuple[list[RunResults], Report]:
    from minchange_eval.reports.leaderboard import Report, distinct, leaderboards
    from minchange_eval.reports.run_results import read_runs

    paths = list({path.resolve(): path.absolute() for path in reversed(args.runs)}.values())[::-1]
    several = len(paths) >= 8 and sys.stderr.isatty()

    def progress(done: int) -> None:
        if several:
            print(f"\rread {done} of {len(paths)} records", end="" if done < len(paths) else "\n", file=sys.stderr)

    runs, remarks = distinct(read_runs(paths, args.protocol, progress))
    return runs, Report(leaderboards(runs, args.protocol), args.protocol, len(runs), tuple(remarks))


def _tables(form: str, runs: list[RunResults], report: Report) -> str:
    from minchange_eval.reports.model_index import as_model_card
    from minchange_eval.reports.tables import as_csv, as_json, as_latex, as_markdown

    if form == "model-card":
        return as_model_card(report, runs)
    return {"md": as_markdown, "latex": as_latex, "csv": as_csv, "json": as_json}[form](report)


def _page(args: argparse.Namespace, runs: list[RunResults], report: Report) -> str:
    from minchange_eval.core.record import read_record
    from minchange_eval.reports.charts import charts_of
    from minchange_eval.reports.gallery import gallery
    from minchange_eval.reports.leaderboard import labels_of
    from minchange_eval.reports.page import render

    labels = labels_of(runs)
    answers = [run.answers for run in runs]
    shown = gallery(answers, labels, args.gallery, lambda number: read_record(runs[number].path))
    return render(report, charts_of(answers, labels), shown)
