"""`minchange-eval prepare`: a release into the store."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minchange_eval.cli.progress import shown
from minchange_eval.core.errors import ExitCode, UsageError, printable

if TYPE_CHECKING:
    from minchange_eval.data.release import HubSource
    from minchange_eval.data.store import Store
    from minchange_eval.hub.address import HubAddress

EXAMPLES = """examples:
  minchange-eval prepare spec_mini vismin_mini med_mini      drawn here, no download
  minchange-eval prepare vismin                              from the Hub, at a known revision
  minchange-eval prepare spec --source data.zip              the official zip, or its unpacked folder
  minchange-eval prepare med --source hallu_med              a clone of github.com/beccabai/hallu_med
  minchange-eval prepare med_real --source hallu_med --images "MMVP Images"
  minchange-eval prepare vsr --source visual-spatial-reasoning/data/splits --images coco
  minchange-eval prepare mine --like spec --source DIR       candidate sets of your own in SPEC's layout
  minchange-eval prepare mine --like spec --source DIR --licence CC-BY-4.0
  minchange-eval prepare mine --source hub:owner/name@main   what `push dataset` wrote, or a folder of it

The store is $MINCHANGE_HOME/store, by default in the user's cache folder. HF_HUB_OFFLINE=1 is obeyed.
A data set that is prepared already is left as it is, unless --force.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="data set; `minchange-eval list` shows them all")
    parser.add_argument(
        "--source",
        metavar="PATH|hub:OWNER/NAME[@REVISION]",
        help="file or folder of the release, or a data set that was pushed to the Hub",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of images that the source only names")
    parser.add_argument("--like", metavar="RELEASE", help="the source is data of your own in this release's layout")
    parser.add_argument(
        "--licence",
        default="",
        metavar="ID",
        help="licence of that data of your own, by its SPDX or Hub identifier; what you publish of them inherits it",
    )
    parser.add_argument("--force", action="store_true", help="replace what is prepared already")
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave broken rows out and count them in the card, with the reason"
    )


def run(args: argparse.Namespace) -> int:
    """Prepare each data set in turn."""
    from minchange_eval.data.parquet_layout import is_published
    from minchange_eval.data.prepare import prepare
    from minchange_eval.data.releases import find_release

    if len(args.names) > 1 and (args.source or args.images or args.like):
        raise UsageError(
            "--source, --images and --like belong to one data set: prepare several without them, or one at a time"
        )
    source = _source(args)
    if source is None or (isinstance(source, Path) and not is_published(source)):  # else any name may be given to it
        for name in args.names:
            find_release(args.like or name)  # a misspelt second name is said before an hour of work on the first
    to_review = _to_review(args.names[0], args.licence) if args.like else ()
    for name in args.names:
        began = time.time()
        store = prepare(
            name,
            source,
            images=args.images,
            like=args.like,
            licence=args.licence,
            force=args.force,
            skip_broken=args.skip_broken,
            progress=partial(shown, name, "items"),
        )
        _say_what_is_there(store, began)
    for reason in to_review:
        print(f"{printable(reason)}: `push` will ask for --licence-reviewed, unless --licence names one that is known")
    return ExitCode.OK


def _to_review(name: str, licence: str) -> tuple[str, ...]:
    """Why a person has to look before data of that licence are published; two that cannot both be kept are an error."""
    from minchange_eval.data.store_card import StoreCard
    from minchange_eval.hub.licences import inherited, sources_of

    return inherited(sources_of(StoreCard(name=name, licence=licence))).to_review


def _say_what_is_there(store: Store, began: float) -> None:
    from datetime import datetime

    from minchange_eval.data.releases import is_release

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
        why = printable(f"{first.where}: {first.reason}")
        print(f"{card.name}: {len(card.skipped)} broken rows left out; first: {why}")
    if card.expected_items and card.items != card.expected_items:
        print(f"{card.name}: the whole release has {card.expected_items:,} {card.kind}; this is {card.items:,} of them")
    if card.origin:
        print(f"{card.name}: as it was published, by fingerprint: {card.source} at {card.revision}")
        if is_release(card.name) and not card.verified:
            print(
                f"{card.name}: NOT verified: its fingerprint is not known as that of {card.name}; whoever published it "
                "gave it that name (its card says so)"
            )
    elif not card.verified and not card.synthetic:
        print(f"{card.name}: the source is not verified to be the official revision (its card says so)")


def _source(args: argparse.Namespace) -> Path | HubSource | None:
    """What `--source` names; a branch on the Hub as the commit that it is at now."""
    from minchange_eval.data.release import HubSource
    from minchange_eval.data.store_card import prepared_names

    text: str | None = args.source
    if text is None or not text.startswith("hub:"):
        return Path(text) if text is not None else None
    from minchange_eval.hub.address import parse_address

    address = parse_address(text, whole=True)
    is_needed = args.force or not set(args.names) <= set(prepared_names())
    return HubSource(address.repo_id, _commit(address) if is_needed else "main", ())


def _commit(address: HubAddress) -> str:
    import re

    from minchange_eval.cli.hub_session import hub_session
    from minchange_eval.data.download import is_offline

    revision = address.revision or "main"
    if is_offline() or re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    with hub_session() as hub:  # asked here: where it cannot answer, the Hub's library would take what it had before
        found = hub.ask(address, lambda: hub.api.repo_info(address.repo_id, repo_type="dataset", revision=revision))
    return str(found.sha)
