"""The command `minchange-eval`: one file per verb, imported when it is called.

A verb's module has `EXAMPLES`, `add_arguments(parser)` and `run(args) -> int`.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from minchange_eval import __version__
from minchange_eval.cli.standard_output import guarded_output
from minchange_eval.core.errors import ExitCode, MinchangeError

PROGRAM = "minchange-eval"
# verb -> its module, and one line for --help
VERBS = {
    "prepare": ("minchange_eval.cli.prepare", "put a data set into the store, from its release or the Hub"),
    "train": ("minchange_eval.cli.train", "fine-tune a CLIP or SigLIP on candidate sets"),
    "list": ("minchange_eval.cli.list_data", "show what is prepared, and how to get what is not"),
    "contact-sheet": ("minchange_eval.cli.contact_sheet", "items of a prepared data set as one picture"),
    "report": (
        "minchange_eval.cli.report",
        "runs as a leaderboard with intervals, on a page or as tables",
    ),
    "compare": ("minchange_eval.cli.compare", "is the difference between two runs real, and which sets turned"),
    "gate": ("minchange_eval.cli.gate", "did a checkpoint get worse than a margin allows: exit 0, 1 or 6"),
    "slim": ("minchange_eval.cli.slim", "a record small enough to be kept in a repository, for compare and gate"),
    "reproduce": ("minchange_eval.cli.reproduce", "published numbers: can they be, and do they come back in a run"),
    "grim": ("minchange_eval.cli.grim", "test a table: can a printed percentage be k of n at all"),
    "audit": ("minchange_eval.cli.audit", "can a data set be solved without looking, is it in order, what leaked"),
    "push": ("minchange_eval.cli.push", "a checkpoint, a data set or run records to the Hugging Face Hub"),
    "pull": ("minchange_eval.cli.pull", "what was pushed to the Hub, checked file by file"),
    "doctor": ("minchange_eval.cli.doctor", "check versions, seams to lmms-eval, task names, prepared data, disk"),
    "tasks-path": ("minchange_eval.cli.tasks_path", "print the folder of the lmms-eval task files"),
}
EPILOG = """examples:
  minchange-eval list
  minchange-eval prepare spec_mini vismin_mini med_mini
  minchange-eval prepare spec --source data.zip
  lmms_eval --model open_clip --model_args model_name=minchange-tiny --tasks spec_mini

exit codes: 0 fine, 1 regression, 2 usage, 3 incomplete, 4 not comparable, 5 bad data, 6 undecided,
  70 internal or model error, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the return value is the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with guarded_output():
            return _run(arguments)
    except MinchangeError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted; what was complete is kept, run it again to go on", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001  # Python's own exit code 1 would say "regression"
        traceback.print_exc()
        return ExitCode.INTERNAL


def _run(arguments: list[str]) -> int:
    verb = _verb_of(arguments)
    args = _parser(verb).parse_args(arguments)
    if args.verb is None:
        _parser(None).print_help()
        return ExitCode.USAGE
    return int(import_module(VERBS[args.verb][0]).run(args))


def _verb_of(arguments: list[str]) -> str | None:
    verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    if verb is not None and verb not in VERBS:
        import difflib

        from minchange_eval.core.errors import UsageError

        near = difflib.get_close_matches(verb, VERBS, n=1)
        raise UsageError(
            f"no verb {verb!r}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(VERBS)}")
        )
    return verb


def _parser(verb: str | None) -> argparse.ArgumentParser:
    """The parser of all verbs; only the module of the one that is called is imported."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Minimal-change vision-language understanding: data sets, evaluation, reports.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, (module, summary) in VERBS.items():
        one = verbs.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == verb:
            imported = import_module(module)
            one.epilog = imported.EXAMPLES
            imported.add_arguments(one)
    return parser


if __name__ == "__main__":
    sys.exit(main())
