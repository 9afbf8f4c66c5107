"""`minchange-eval prepare`: a release into the store."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minchange_eval.cli.progress import shown
from minchange_eval.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from minchange_eval.data.store import Store

EXAMPLES = """examples:
  minchange-eval prepare spec_mini vismin_mini med_mini      drawn here, no download
  minchange-eval prepare vismin                              from the Hub, at a known revision
  minchange-eval prepare spec --source data.zip              the official zip, or its unpacked folder
  minchange-eval prepare med --source hallu_med              a clone of github.com/beccabai/hallu_med
  minchange-eval prepare med_real --source hallu_med --images "MMVP Images"
  minchange-eval prepare vsr --source visual-spatial-reasoning/data/splits --images coco

The store is $MINCHANGE_HOME/store, by default in the user's cache folder. HF_HUB_OFFLINE=1 is obeyed.
A data set that is prepared already is left as it is, unless --force.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="data set; `minchange-eval list` shows them all")
    parser.add_argument("--source", type=Path, metavar="PATH", help="file or folder of the release")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of images that the source only names")
    parser.add_argument("--force", action="store_true", help="replace what is prepared already")
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave broken rows out and count them in the card, with the reason"
    )


def run(args: argparse.Namespace) -> int:
    """Prepare each data set in turn."""
    from minchange_eval.data.prepare import prepare
    from minchange_eval.data.releases import find_release

    if len(args.names) > 1 and (args.source or args.images):
        raise UsageError("--source and --images belong to one data set: prepare several without them, or one at a time")
    for name in args.names:
        find_release(name)  # a misspelt second name is said before an hour of work on the first
    for name in args.names:
        began = time.time()
        store = prepare(
            name,
            args.source,
            images=args.images,
            force=args.force,
            skip_broken=args.skip_broken,
            progress=partial(shown, name, "items"),
        )
        _say_what_is_there(store, began)
    return ExitCode.OK


def _say_what_is_there(store: Store, began: float) -> None:
    from datetime import datetime

    card = store.card
    if datetime.fromisoformat(card.created).timestamp() < began:
        print(f"{card.name}: prepared already, {card.items:,} {card.kind} in {store.folder}; --force replaces it")
        return
    print(
        f"{card.name}: {card.items:,} {card.kind}, {card.images:,} images, fingerprint {card.fingerprint[:12]}, "
        f"in {store.folder}"
    )
    if card.skipped:
        first = card.skipped[0]
        print(f"{card.name}: {len(card.skipped)} broken rows left out; first: {first.where}: {first.reason}")
    if card.expected_items and card.items != card.expected_items:
        print(f"{card.name}: the whole release has {card.expected_items:,} {card.kind}; this is {card.items:,} of them")
    if not card.verified and not card.synthetic:
        print(f"{card.name}: the source is not verified to be the official revision (its card says so)")
