"""`minchange-eval reproduce BENCH RUN…`: published numbers beside a run's own, and whether they can be at all."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minchange_eval.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from minchange_eval.core.record import RunRecord
    from minchange_eval.reports.ledger import LedgerRow
    from minchange_eval.reports.ledger_page import Flags

EXAMPLES = """examples:
  minchange-eval reproduce vismin
  minchange-eval reproduce all --format md --out ledger.md
  minchange-eval reproduce spec clip_b32_record.jsonl
  minchange-eval reproduce med run.jsonl --model "Qwen2-VL-7B"

Without RUN: every published number with its verdict on attainability (can it be k of the released n?) and the
averages that do not follow from their own columns. With RUN: the published numbers of the run's model beside ours.

exit codes: 0 at least one number could be compared, 2 usage, 3 none, as the run is incomplete,
  4 none, as the run is of other data or questions, 5 bad data
How-to: docs/reproduce.md
"""
_ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument("benchmark", metavar="BENCH", help="spec, vismin, med, med_real, vsr, …; all without RUN")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="record of a run, whole or slim")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="published model to read the run beside (default: the one that the run is known to be of)",
    )
    parser.add_argument(
        "--trust-data",
        action="store_true",
        help="take the run's data as the official revision where the store here cannot tell",
    )
    parser.add_argument("--format", choices=("text", "md", "json", "csv"), default="text", help="default: text")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there, whole or not at all")


def run(args: argparse.Namespace) -> int:
    """Print the published numbers alone, or beside each run's."""
    if not args.runs:
        if args.model or args.trust_data:
            raise UsageError("--model and --trust-data are about a run; name a RUN too")
        _give(_published(args.benchmark, args.format), args.out)
        return ExitCode.OK
    return _beside(args)


def _published(benchmark: str, form: str) -> str:
    from minchange_eval.data.benchmark_card import card_names
    from minchange_eval.data.published_results import published_benchmarks
    from minchange_eval.reports import published_page

    official = [name for name in _ORDER if name in card_names() and name in published_benchmarks()]
    names = official if benchmark == _ALL else [benchmark]
    if form == "text":
        return "\n".join(line for name in names for line in (*_text(name), "")).rstrip("\n") + "\n"
    return {"md": published_page.markdown, "json": published_page.as_json, "csv": published_page.as_csv}[form](names)


_ORDER = ("spec", "vismin", "med", "med_real", "vsr")


def _text(benchmark: str) -> Iterable[str]:
    from minchange_eval.core.text_table import table
    from minchange_eval.reports import published_page as page
    from minchange_eval.reports.attainability import check_averages, check_published

    checks, averages = check_published(benchmark), check_averages(benchmark)
    follow = sum(check.follows != "does not follow" for check in averages)
    yield f"{benchmark}: {len(checks)} published numbers: {page.summary(checks)}"
    if averages:
        yield f"{follow} of {len(averages)} averages follow from their own columns"
    yield from (f"  {line}" for line in page.average_lines(averages))
    for source in dict.fromkeys(check.row.source for check in checks):
        yield ""
        yield source
        rows = [page.cells(check) for check in checks if check.row.source == source]
        lines = table(page.HEAD[:-1], [row[:-1] for row in rows])
        width = max(map(len, lines))
        said = (page.HEAD[-1], "-" * len(page.HEAD[-1]), *(row[-1] for row in rows))
        yield from (f"{line:<{width}}  {last}".rstrip() for line, last in zip(lines, said, strict=True))


def _beside(args: argparse.Namespace) -> int:
    from minchange_eval.cli.hub_runs import run_files
    from minchange_eval.core.record import read_record
    from minchange_eval.data.published_results import published_rows
    from minchange_eval.reports import ledger_page
    from minchange_eval.reports.ledger import flags, ledger

    benchmark = args.benchmark
    if benchmark == _ALL:
        raise UsageError(f"{_ALL} is for published numbers alone; name the benchmark that RUN is read beside")
    published_rows(benchmark)  # a wrong name is said before records are read
    runs = []
    for label, path in ((_label(run, file), file) for run in args.runs for file in run_files([run])):
        record = read_record(path)
        models = _models(label, record, benchmark, args.model)
        rows = ledger(benchmark, label, record, models, trust_data=args.trust_data)
        runs.append((label, rows, flags(benchmark, record)))
    forms = {"md": ledger_page.as_markdown, "json": ledger_page.as_json, "text": _as_text}
    form = forms.get(args.format)
    _give(form(benchmark, runs) if form else ledger_page.as_csv(runs), args.out)
    return _exit_code([row for _, rows, _ in runs for row in rows])


def _label(run: Path, file: Path) -> str:
    """What a reader would type again; an address may stand for several files."""
    from minchange_eval.hub.address import is_address, parse_address

    whole = is_address(str(run)) and not parse_address(str(run)).path
    return f"{run}/records/{file.name}" if whole else str(run)


def _models(path: str, record: RunRecord, benchmark: str, named: Sequence[str]) -> tuple[str, ...]:
    from minchange_eval.reports.published_models import models_named, models_of_run, published_models

    models = models_named(named, benchmark) if named else models_of_run(record.model.name, benchmark)
    if not models:
        raise UsageError(
            f"{path}: nothing is known to be published on {benchmark} of its model {record.model.name}; name the model "
            f"to read it beside with --model: {'; '.join(published_models(benchmark))}"
        )
    return models


def _as_text(benchmark: str, runs: Sequence[tuple[str, Sequence[LedgerRow], Flags]]) -> str:
    return "\n".join(line for run_ in runs for line in _ledger_lines(benchmark, *run_)) + "\n"


def _ledger_lines(benchmark: str, label: str, rows: Sequence[LedgerRow], flags: Flags) -> Iterator[str]:
    from minchange_eval.core.errors import printable
    from minchange_eval.core.text_table import table
    from minchange_eval.reports import ledger_page as page

    yield f"{benchmark}, {printable(label)}: {page.verdicts(rows)}"
    yield from (f"  {printable(reason)}" for reason in page.reasons(rows))
    yield ""
    for name, published, ours in flags:
        yield f"  {name}: published {printable(published)} | this run {printable(ours)}"
    for source in dict.fromkeys(row.checked.row.source for row in rows):
        yield ""
        yield source
        yield from table(page.HEAD, [page.cells(row) for row in rows if row.checked.row.source == source])
    yield ""


def _give(text: str, out: Path | None) -> None:
    if out is None:
        print(text, end="")
        return
    from minchange_eval.cli.output_file import write_output

    write_output(out, text.encode("utf-8"), "--out")


def _exit_code(rows: Sequence[LedgerRow]) -> ExitCode:
    if any(row.verdict != "not comparable" for row in rows):
        return ExitCode.OK
    return ExitCode.INCOMPLETE if any(row.incomplete for row in rows) else ExitCode.NOT_COMPARABLE
