"""`minchange-eval contact-sheet`: items of a prepared data set as one picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from minchange_eval.core.errors import ExitCode, UsageError

EXAMPLES = """examples:
  minchange-eval contact-sheet spec_mini --out spec_mini.png
  minchange-eval contact-sheet med --subset Counting --each 18 --out counting.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument("name", metavar="NAME", help="a prepared data set; `minchange-eval list` shows them all")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="picture to write; the ending decides")
    parser.add_argument("--subset", help="only this subset; default: all of them")
    parser.add_argument("--each", type=int, default=3, metavar="N", help="how many items of each subset (default 3)")
    parser.add_argument("--cell-px", type=int, default=224, metavar="PX", help="side of an image (default 224)")


def run(args: argparse.Namespace) -> int:
    """Write the picture and say where it is."""
    from itertools import islice

    from minchange_eval.data.store import Store
    from minchange_eval.generators.contact_sheet import contact_sheet

    if args.each < 1 or args.cell_px < 16:
        raise UsageError(f"expected --each of at least 1 and --cell-px of at least 16, got {args.each}, {args.cell_px}")
    store = Store.open(args.name)
    if args.subset and args.subset not in store.subsets:
        raise UsageError(f"{args.name} has no subset {args.subset}; it has {', '.join(store.subsets)}")
    subsets = [args.subset] if args.subset else store.subsets
    items = [item for subset in subsets for item in islice(iter(store.items(subset)), args.each)]
    sheet = contact_sheet(items, args.cell_px)
    try:
        sheet.save(args.out)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {args.out}: {error}") from error
    print(f"{args.out}: {len(items)} items of {args.name}, {sheet.width} x {sheet.height} px")
    return ExitCode.OK
