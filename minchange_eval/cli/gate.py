"""`minchange-eval gate`: did a checkpoint get worse than a margin allows?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from minchange_eval.core.errors import MinchangeError, UsageError
from minchange_eval.reports.shown_text import shown_name

if TYPE_CHECKING:
    from minchange_eval.reports.gate import Check, GateResult
    from minchange_eval.reports.gate_output import Refusal
    from minchange_eval.reports.policy import Policy

EXAMPLES = """examples:
  minchange-eval gate --baseline main.jsonl --candidate new.jsonl
  minchange-eval gate --baseline main.jsonl.gz --candidate new.jsonl --margin 0.03
  minchange-eval gate --baseline main.jsonl.gz --candidate new.jsonl --policy gate.yaml \\
    --junit gate.xml --json gate.json --summary summary.md
  minchange-eval gate --baseline hub:ada/clip-spec@v1/records/after.jsonl --candidate new.jsonl
  minchange-eval gate --baseline main.jsonl --candidate new.jsonl --undecided pass

Of each gated value, by default the headline of each benchmark:
  pass        the one-sided 95 % lower bound of the difference is above -margin
  regression  the upper bound is below 0, and it does not pass
  undecided   neither: too few sets, or a margin that is too small for them

exit codes: 0 pass, 1 regression, 2 usage, 3 a record is incomplete, over the unscored limit or has NaN,
  4 records of other data, prompt, protocol, scoring or sets, 5 bad data, 6 undecided
How-to: docs/ci.md
"""
_HEAD = ("value", "verdict", "baseline", "candidate", "difference", "lower", "upper", "margin", "clusters", "flips")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument(
        "--baseline",
        type=Path,
        required=True,
        metavar="RUN",
        help="record, whole or slim; or hub:owner/name@revision/records/FILE",
    )
    parser.add_argument("--candidate", type=Path, required=True, metavar="RUN", help="record, whole or slim")
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help="YAML: margins by benchmark and metric, slice rules"
    )
    parser.add_argument(
        "--margin",
        metavar="X",
        help="what a value may lose where the policy names no margin; a fraction, 0.02 is two points (default: 0.02)",
    )
    parser.add_argument("--undecided", choices=("fail", "pass"), default="fail", help="what undecided comes to")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write Markdown, for the CI's page")


def run(args: argparse.Namespace) -> int:
    """Decide, write, print."""
    from minchange_eval.cli.hub_runs import run_file
    from minchange_eval.core.record import read_record
    from minchange_eval.core.slim_records import slim
    from minchange_eval.reports.gate import gate
    from minchange_eval.reports.gate_output import Refusal

    outputs = {name: path for name in ("junit", "json", "summary") if (path := getattr(args, name))}
    _require_apart(args, outputs)
    try:
        policy = _policy(args)
        # slim at once, so that no two whole records are held
        baseline, candidate = (slim(read_record(run_file(path))) for path in (args.baseline, args.candidate))
        decided = gate(baseline, candidate, policy, undecided_passes=args.undecided == "pass")
    except (Exception, KeyboardInterrupt) as error:
        try:
            _write(outputs, Refusal.of(error))
        except MinchangeError as other:
            if isinstance(error, MinchangeError):
                raise type(error)(f"{error}; {other}") from error
        raise
    _write(outputs, decided)  # first: no verdict is printed that a full disk then changes to another exit code
    for line in _text(decided):
        print(line)
    return decided.exit_code


def _require_apart(args: argparse.Namespace, outputs: Mapping[str, Path]) -> None:
    """No file is given for two things: a report in a baseline's place would be the end of the baseline."""
    given = {name: getattr(args, name) for name in ("baseline", "candidate", "policy")} | dict(outputs)
    read = ("baseline", "candidate", "policy")
    taken: dict[Path, str] = {}
    for name, path in given.items():
        if path is not None:
            other = taken.setdefault(path.resolve(), name)
            if other != name and not (name in read and other in read):
                raise UsageError(f"--{other} and --{name} are one file, {path}; name two")


def _policy(args: argparse.Namespace) -> Policy:
    from minchange_eval.reports.policy import Policy, margin_of, read_policy

    policy = read_policy(args.policy) if args.policy else Policy()
    if args.margin is None:
        return policy
    try:
        return policy.model_copy(update={"margin": margin_of(args.margin)})
    except ValueError as error:
        raise UsageError(f"--margin {args.margin}: {error}") from error


def _write(outputs: Mapping[str, Path], decided: GateResult | Refusal) -> None:
    from minchange_eval.cli.output_file import write_output
    from minchange_eval.reports.gate_output import as_json, as_junit, as_markdown

    formats = {"junit": as_junit, "json": as_json, "summary": as_markdown}
    for name, path in outputs.items():
        write_output(path, formats[name](decided).encode(), flag=f"--{name}")


def _text(decided: GateResult) -> Iterator[str]:
    from minchange_eval.cli.score_table import table
    from minchange_eval.reports.gate_output import flipped, reason, side

    yield f"baseline   {side(decided.baseline)}"
    yield f"candidate  {side(decided.candidate)}"
    yield from decided.remarks
    yield ""
    yield from table(_HEAD, map(_row, decided.checks))
    yield ""
    yield "in points; lower and upper: one-sided 95 % bounds; flips: sets or questions that turned right and wrong"
    for check in decided.checks:
        if check.verdict != "pass":
            yield reason(check)
        if check.verdict == "regression" and check.to_wrong:
            yield f"  turned wrong, worst first: {flipped(check.to_wrong)}"
    let_through = decided.verdict == "undecided" and decided.undecided_passes
    yield f"gate: {decided.verdict}{', let through' if let_through else ''} (exit {int(decided.exit_code)})"


def _row(check: Check) -> tuple[str, ...]:
    from minchange_eval.reports.gate_output import points

    return (
        shown_name(check.name),
        check.verdict,
        points(check.baseline),
        points(check.candidate),
        points(check.difference, sign=True),
        points(check.lower, sign=True),
        points(check.upper, sign=True),
        "-" if check.margin is None else points(check.margin),
        str(check.clusters),
        f"+{len(check.to_right)} -{len(check.to_wrong)}",
    )
