"""`minchange-eval audit`: can a data set be solved without looking, and is it in order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minchange_eval.cli.progress import shown
from minchange_eval.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from minchange_eval.audit.quality_report import QualityReport
    from minchange_eval.core.items import Item
    from minchange_eval.data.audit_results import AuditResult, BalancedSubset

EXAMPLES = """examples:
  minchange-eval audit med                          a prepared data set: shortcuts, and data quality
  minchange-eval audit med --balance                and a subset without shortcuts, for the task med_balanced
  minchange-eval audit questions.csv --examples 6   question, options, answer (JSONL, JSON, CSV, TSV, Parquet)
  minchange-eval audit vismin --format html --out audit.html
  minchange-eval audit contamination --train X --eval Y

A table has the columns question, options (a list, or option_a, option_b, …) and answer (an option's text, letter, or
place from 0), and if you like id, subset, group, image, original. The result is kept in $MINCHANGE_HOME/audits, where
`minchange-eval report` finds it.
How-to: docs/audit.md
"""
_CONTAMINATION = "contamination"
_of_images = partial(shown, "audit", "images")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb; `contamination` in the place of a name has flags of its own."""
    _add_flags(parser)
    parser.add_argument(
        "target",
        metavar="NAME|FILE",
        nargs=argparse.PARSER,
        action=_ByTarget,
        help="prepared data set, or table of questions; or `contamination`, see `audit contamination --help`",
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--balance", action="store_true", help="find a subset on which no rule is above or below chance"
    )
    parser.add_argument("--examples", type=int, metavar="N", default=3, help="items to show for each rule (default: 3)")
    parser.add_argument("--format", choices=("text", "json", "html"), default="text", help="of what is printed")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it to a file in place of standard output")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images that a table names")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of folds and trees (default: 0)")


class _ByTarget(argparse.Action):
    """Reads the rest of the command line with the flags of what was named."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        target, *rest = values
        inner = argparse.ArgumentParser(prog=f"{parser.prog} {target}", argument_default=None, allow_abbrev=False)
        if target == _CONTAMINATION:
            from minchange_eval.cli import audit_contamination

            inner.epilog, inner.formatter_class = audit_contamination.EXAMPLES, argparse.RawDescriptionHelpFormatter
            audit_contamination.add_arguments(inner)
            given = inner.parse_args(rest)
        else:
            _add_flags(inner)
            inner.set_defaults(**{name: value for name, value in vars(namespace).items() if name != self.dest})
            given = inner.parse_args(rest)
        vars(namespace).update({**vars(given), self.dest: target})


def run(args: argparse.Namespace) -> int:
    """Audit, keep the result, print it."""
    if args.target == _CONTAMINATION:
        from minchange_eval.cli import audit_contamination

        return audit_contamination.run(args)
    from minchange_eval.audit.balance import balance
    from minchange_eval.audit.shortcuts import audit
    from minchange_eval.cli.output_file import require_place
    from minchange_eval.data.audit_results import read_balanced, write_audit, write_balanced

    if not 0 <= args.seed < 2**32:
        raise UsageError(f"--seed {args.seed}: expected 0 to {2**32 - 1}")
    if args.out is not None:
        require_place(args.out, "--out")
    items, dataset, fingerprint = _read(args)
    result = audit(items, dataset, fingerprint, seed=args.seed, examples=max(0, args.examples), progress=_of_images)
    quality, kept = _quality(args.target, items, dataset, fingerprint), []
    balanced: BalancedSubset | None = None
    try:
        kept.append(write_audit(result))
        if args.balance:
            balanced = balance(items, dataset, fingerprint, seed=args.seed, progress=_of_images)
            kept.append(write_balanced(balanced))
        else:
            balanced = read_balanced(dataset, fingerprint)
    finally:  # what took minutes is shown, whether it could be kept or not, whether there is a subset or not
        _print(args, result, balanced, quality)
    for path in kept:
        print(f"kept: {path}", file=sys.stderr)
    return ExitCode.OK


def _read(args: argparse.Namespace) -> tuple[Sequence[Item], str, str]:
    """Items, name and fingerprint of a table, or of a prepared data set."""
    import hashlib
    import re

    from minchange_eval.data.store import Store

    if _is_table(args.target):
        from minchange_eval.audit.plain_files import questions_of_file

        path = Path(args.target)
        questions = questions_of_file(path, args.images)
        # with its suffix, so that a table called med.csv is not taken for the data set med
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.name).lstrip("_.-") or "table"
        return questions, name, hashlib.sha256(path.read_bytes()).hexdigest()
    if args.images is not None:
        raise UsageError(f"--images {args.images}: is of a table; the images of {args.target} are prepared with it")
    store = Store.open(args.target)
    return list(store.items()), store.card.name, store.card.fingerprint


def _is_table(target: str) -> bool:
    from minchange_eval.audit.table_rows import SUFFIXES

    return Path(target).suffix.lower() in SUFFIXES or "/" in target or Path(target).is_file()


def _quality(target: str, items: Sequence[Item], dataset: str, fingerprint: str) -> QualityReport:
    from minchange_eval.audit.hash_file import HashFile
    from minchange_eval.audit.quality import quality, quality_of_questions
    from minchange_eval.core.items import ChoiceQuestion
    from minchange_eval.data.store import Store

    progress = partial(shown, target, "items")
    with HashFile() as kept:
        if _is_table(target):
            questions = [item for item in items if isinstance(item, ChoiceQuestion)]
            return quality_of_questions(questions, dataset, fingerprint, kept=kept, progress=progress)
        return quality(Store.open(target), kept=kept, progress=progress)


def _print(
    args: argparse.Namespace, result: AuditResult, balanced: BalancedSubset | None, quality: QualityReport
) -> None:
    from minchange_eval.audit.quality_tables import quality_html, quality_text
    from minchange_eval.audit.shortcut_tables import shortcuts_html, shortcuts_text

    if args.format == "json":
        import json

        whole = {
            "shortcuts": result.model_dump(mode="json"),
            "balanced": None if balanced is None else balanced.model_dump(mode="json"),
            "quality": quality.model_dump(mode="json"),
        }
        said = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    elif args.format == "html":
        said = shortcuts_html(result, balanced) + quality_html(quality)
    else:
        lines = [*shortcuts_text(result, balanced), "", *quality_text(quality)]
        said = "\n".join(lines) + "\n"
    if args.out is None:
        sys.stdout.write(said)
    else:
        from minchange_eval.cli.output_file import write_output

        write_output(args.out, said.encode("utf-8", "backslashreplace"), "--out")
