"""`minchange-eval audit contamination`: what of an evaluation set is in the training data."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minchange_eval.cli.progress import shown
from minchange_eval.core.errors import DataError, ExitCode, UsageError, printable

if TYPE_CHECKING:
    from minchange_eval.audit.collection import Collection
    from minchange_eval.audit.contamination import Contamination, Finding, Side
    from minchange_eval.audit.hash_file import HashFile

EXAMPLES = """examples:
  minchange-eval audit contamination --train spec_mini --eval vismin
  minchange-eval audit contamination --train random/train.jsonl --eval zeroshot/test.jsonl --clean clean_ids.txt
  minchange-eval audit contamination --train train.parquet --eval vsr --image-column jpg --caption-column txt
  minchange-eval audit contamination --train train.csv --eval med --most 0 --format json

X and Y are names of prepared data sets, or JSONL, JSON, CSV, TSV or Parquet files. An image column holds bytes, paths
(below --images, or the file's folder), or names and addresses of pictures that are not at hand, compared as names.
Hashes are kept in $MINCHANGE_HOME/image_hashes by content: a second run hashes nothing again.

exit codes: 0 compared, 1 more evaluation rows are contaminated than --most allows, 2 usage, 5 bad data
How-to: docs/contamination.md
"""
_HEAD = ("found", "train rows", "share", "eval rows", "share", "matches")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `audit contamination`."""
    parser.add_argument("--train", required=True, metavar="X", help="training data: prepared name or file")
    parser.add_argument("--eval", required=True, metavar="Y", help="evaluation set: prepared name or file")
    for kind, default in (("image", "image"), ("caption", "caption"), ("id", "id")):
        several = "" if kind == "id" else "; several with commas"
        parser.add_argument(
            f"--{kind}-column", metavar="NAME", help=f"column of a file that holds it{several} (default: {default})"
        )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images that the files name")
    parser.add_argument(
        "--radius", type=int, metavar="BITS", help="most differing bits of near images, 0 to 16 (default: 8)"
    )
    parser.add_argument("--ngram", type=int, metavar="WORDS", help="length of the n-grams of captions (default: 5)")
    parser.add_argument(
        "--containment", type=float, metavar="SHARE", help="of a caption's rare n-grams to be found (default: 0.6)"
    )
    parser.add_argument(
        "--kinds", metavar="KIND,…", help="findings that make a row contaminated (default: all but the weak ones)"
    )
    parser.add_argument("--clean", type=Path, metavar="FILE", help="write the ids of the clean training rows")
    parser.add_argument("--clean-eval", type=Path, metavar="FILE", help="write the ids of the clean evaluation rows")
    parser.add_argument("--most", type=int, metavar="N", help="exit 1 if more than N evaluation rows are contaminated")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed")


def run(args: argparse.Namespace) -> int:
    """Compare, write the clean ids, print."""
    from minchange_eval.audit.contamination import contamination
    from minchange_eval.audit.hash_file import HashFile

    _require_places(args)
    _require_settings(args)
    with HashFile() as kept:
        train = _collected(args.train, args, kept)
        evaluation = _collected(args.eval, args, kept)
    found = contamination(train, evaluation, **_settings(args))
    for path, flag, ids in (
        (args.clean, "--clean", found.clean_train_ids),
        (args.clean_eval, "--clean-eval", found.clean_evaluation_ids),
    ):
        if path is not None:
            _write_ids(path, flag, ids)
    if args.format == "json":
        print(found.model_dump_json(indent=2))
    else:
        print("\n".join(_lines(found)))
    too_many = args.most is not None and found.contaminated_evaluation > args.most
    return ExitCode.REGRESSION if too_many else ExitCode.OK


def _require_places(args: argparse.Namespace) -> None:
    """A list never takes the place of the data that it is made from, nor of the other list."""
    from minchange_eval.cli.output_file import require_place

    taken = {Path(args.train).resolve(), Path(args.eval).resolve()}
    for path, flag in ((args.clean, "--clean"), (args.clean_eval, "--clean-eval")):
        if path is not None:
            require_place(path, flag)
            if path.is_file() or not path.exists():  # and no device
                if path.resolve() in taken:
                    raise UsageError(f"{flag} {path}: is named twice and would be overwritten; name another file")
                taken.add(path.resolve())


def _require_settings(args: argparse.Namespace) -> None:
    """A wrong threshold is said before hours of hashing: two empty collections are compared by it."""
    import numpy as np

    from minchange_eval.audit.collection import Collection
    from minchange_eval.audit.contamination import contamination

    empty = Collection("", (), False, (), (), (), np.zeros((0, 3), np.intp))
    try:
        contamination(empty, empty, **_settings(args))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _collected(source: str, args: argparse.Namespace, kept: HashFile) -> Collection:
    from minchange_eval.audit.collection import collect
    from minchange_eval.audit.examples import Columns, examples

    columns = Columns.asked_for(args.image_column, args.caption_column, args.id_column)
    return collect(examples(source, columns, args.images), kept=kept, progress=partial(shown, source, "rows"))


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = {name: getattr(args, name) for name in ("radius", "ngram", "containment")}
    if args.kinds is not None:
        settings["kinds"] = tuple(kind.strip() for kind in args.kinds.split(","))
    return {name: value for name, value in settings.items() if value is not None}


def _write_ids(path: Path, flag: str, ids: Iterable[str]) -> None:
    from minchange_eval.cli.output_file import write_output

    lines = []
    for one in ids:
        if one.splitlines() != [one]:
            raise DataError(f"{flag} {path}: id {one!r} is not one line, so a list of ids cannot hold it")
        lines.append(one + "\n")
    write_output(path, "".join(lines).encode(), flag)


def _lines(found: Contamination) -> Iterator[str]:
    from minchange_eval.core.text_table import table

    yield _of_side("train", found.train)
    yield _of_side("eval ", found.evaluation)
    if not (found.train.own_ids and found.evaluation.own_ids):
        yield "ids are not compared: one side has none of its own, only row numbers"
    yield f"near images: at most {found.radius} of 64 bits and the same colours; " + (
        f"n-grams: {found.ngram} words, at least {found.containment:.0%} of a caption's rare ones"
    )
    yield ""
    yield from table(_HEAD, [_row(finding) for finding in found.findings if finding.evaluation_rows])
    yield ""
    yield from _examples(found.findings)
    yield (
        f"contaminated ({', '.join(found.kinds)}): {found.contaminated_train:,} of {found.train.rows:,} training rows, "
        f"{found.contaminated_evaluation:,} of {found.evaluation.rows:,} evaluation rows"
    )


def _of_side(label: str, side: Side) -> str:
    blank = side.images_at_hand - len(side.unreadable) - side.images_hashed
    notes = [f"{side.images - side.images_at_hand:,} known by name only"] if side.images > side.images_at_hand else []
    notes += [f"{blank:,} without contrast, compared by bytes only"] if blank else []
    if side.unreadable:
        notes.append(f"{len(side.unreadable):,} unreadable (first: {printable(side.unreadable[0])})")
    shown = f" ({'; '.join(notes)})" if notes else ""
    return (
        f"{label} {printable(side.name)}: {side.rows:,} rows, {side.images:,} images{shown}, {side.captions:,} captions"
    )


def _row(finding: Finding) -> tuple[str, ...]:
    weak = "" if finding.counts else " (does not count)"
    train = (f"{finding.train_rows:,}", f"{finding.train_share:.1%}") if finding.train_rows else ("", "")
    return (
        finding.title + weak,
        *train,
        f"{finding.evaluation_rows:,}",
        f"{finding.evaluation_share:.1%}",
        f"{finding.matches:,}",
    )


def _examples(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        if finding.examples:
            yield f"{finding.title}:"
        for match in finding.examples:
            shown = dict.fromkeys(text for text in (match.shown_train, match.shown_evaluation) if text)
            degree = "" if match.score is None else f"  [{_degree(finding.kind, match.score)}]"
            ids = f"{match.train_id} ~ {match.evaluation_id}" if match.train_id else match.evaluation_id
            yield printable(f"  {ids}  {' | '.join(shown)}{degree}".rstrip())
        if finding.examples:
            yield ""


def _degree(kind: str, score: float) -> str:
    return f"{score:.0f} bits" if kind == "near_image" else f"{score:.0%}"
