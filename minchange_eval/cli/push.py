"""`minchange-eval push KIND PATH --to owner/name`: a checkpoint, a data set or run records go to the Hub."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from minchange_eval.core.errors import ExitCode, MinchangeError, UsageError

if TYPE_CHECKING:
    from minchange_eval.core.record import RunRecord
    from minchange_eval.hub.address import HubAddress
    from minchange_eval.hub.checkpoint_card import Judged
    from minchange_eval.hub.client import Hub
    from minchange_eval.hub.upload import Push, Pushed

EXAMPLES = """examples:
  minchange-eval push checkpoint clip-spec --to ada/clip-spec --dry-run
  minchange-eval push checkpoint clip-spec --to ada/clip-spec
  minchange-eval push records runs/*_record.jsonl --to ada/records
  minchange-eval push dataset spec_mini_train --to ada/spec-mini-train
  minchange-eval push checkpoint clip-spec --to lab/clip-spec --public

A repository is made where there is none, private unless --public. The same command again is an update: it sends what
is new or has changed, after a broken connection what is missing, and it deletes nothing unless --replace is given.
The token is that of `hf auth login` or HF_TOKEN; it is never printed or stored.

exit codes: 0 pushed, 2 usage (token, name, rights, licence), 3 a record is incomplete, 5 bad data,
  70 the Hub, the network or a quota; 130 interrupted. After 70 and 130 the same command goes on where it stopped
How-to: docs/hub.md
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument("kind", choices=tuple(_PUSHES), metavar="KIND", help=f"{', '.join(_PUSHES)}")
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="folder of a checkpoint; name of a prepared data set; run records"
    )
    parser.add_argument("--to", required=True, metavar="OWNER/NAME", help="repository on the Hub")
    parser.add_argument(
        "--dry-run", action="store_true", help="print files, sizes and the card; no connection is tried"
    )
    parser.add_argument("--public", action="store_true", help="let everybody see it; by default nobody else does")
    parser.add_argument(
        "--replace", action="store_true", help="delete files there that are not pushed, overwrite what others changed"
    )
    parser.add_argument(
        "--licence-reviewed",
        action="store_true",
        help="you have seen that data whose licence is unstated, or forbids it, may be published; the card says so",
    )


def run(args: argparse.Namespace) -> int:
    """Make the push, send it or show it."""
    from minchange_eval.cli.hub_session import hub_session
    from minchange_eval.hub.address import new_repository
    from minchange_eval.hub.upload import upload

    address, make = new_repository(args.to), _PUSHES[args.kind]
    if args.dry_run:
        with ExitStack() as stack:
            for line in _shown(make(args, address, None, stack), address, public=args.public):
                print(line)
        return ExitCode.OK
    with hub_session(must_write=True) as hub, ExitStack() as stack:
        push = make(args, address, hub, stack)
        pushed = upload(push, address, hub, public=args.public, replace=args.replace)
        for line in _told(pushed, address, public=args.public):
            print(line)
    return ExitCode.OK


def _shown(push: Push, address: HubAddress, *, public: bool) -> Iterator[str]:
    total = sum(file.size for file in push.files.values())
    seen = "public" if public else "private"
    yield f"{address}: a {seen} {push.repository_type} repository, {len(push.files)} files, {_bytes(total)}"
    width = max(len(f"{file.size:,}") for file in push.files.values())
    for path, file in push.files.items():
        yield f"  {file.size:>{width},}  {path}"
    yield "\nREADME.md:\n"
    yield push.card
    yield "nothing was sent (--dry-run)"


def _told(pushed: Pushed, address: HubAddress, *, public: bool) -> Iterator[str]:
    seen = "private" if pushed.private else "public"
    made = " (new)" if pushed.created else ""
    gone = f", {pushed.deleted} deleted" if pushed.deleted else ""
    sent = f"{pushed.sent} of {pushed.files} files sent" if pushed.sent else "nothing to send, it is up to date"
    yield f"{pushed.url}{made}: {seen}, {sent}{gone}"
    if public and pushed.private:
        yield "it was private and stays so; it is made public in its settings"
    yield f"{address}@{pushed.commit}"


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _checkpoint(args: argparse.Namespace, address: HubAddress, hub: Hub | None, stack: ExitStack) -> Push:
    from minchange_eval.hub.checkpoint import read_checkpoint
    from minchange_eval.hub.checkpoint_card import checkpoint_card
    from minchange_eval.hub.upload import Push

    checkpoint = read_checkpoint(Path(_one(args)))
    licence = checkpoint.training.licence()
    licence.require_reviewed(reviewed=args.licence_reviewed)
    judged = _judged(checkpoint.before, checkpoint.after)
    card = checkpoint_card(checkpoint, address, licence, judged, reviewed=args.licence_reviewed)
    weights = checkpoint.training.weights_sha256
    return Push(
        kind="checkpoint",
        content=checkpoint.content_at(address),
        card=card,
        facts={"weights_sha256": weights},
        message=f"Checkpoint {weights[:12]}".rstrip(),
    )


def _judged(before: RunRecord | None, after: RunRecord | None) -> Judged | None:
    """What `compare`, `gate` and the model card say of the two runs; None where one is missing."""
    from minchange_eval.hub.checkpoint_card import Difference, Judged
    from minchange_eval.reports.comparison import compare
    from minchange_eval.reports.gate import gate
    from minchange_eval.reports.gate_output import Refusal, as_markdown

    if before is None or after is None:
        return None
    differences: dict[tuple[str, str, str], Difference] = {}
    try:
        for row in compare(before, after, names=("before", "after")).rows:
            differences[row.benchmark, row.metric, row.slice] = Difference(row.difference, row.low, row.high)
        decided = as_markdown(gate(before, after))
    except MinchangeError as error:  # runs that cannot be compared are told of as such
        decided = as_markdown(Refusal.of(error))
    return Judged(differences, decided, _model_index(after))


def _model_index(after: RunRecord) -> list[dict[str, object]]:
    from minchange_eval.reports.leaderboard import Report, leaderboards
    from minchange_eval.reports.model_index import model_index
    from minchange_eval.reports.run_results import results_in

    runs = [results_in(after, Path("after.jsonl"), "ours")]
    try:
        return model_index(Report(leaderboards(runs), "ours", 1, ()), runs)
    except UsageError:  # no whole benchmark, so no number to rank by
        return []


def _records(args: argparse.Namespace, address: HubAddress, hub: Hub | None, stack: ExitStack) -> Push:
    from minchange_eval.hub.records import read_for_push, records_push
    from minchange_eval.hub.upload import look

    read = read_for_push([Path(path) for path in args.paths])
    return records_push(read, address, look(hub, address, "records") if hub else None)


def _dataset(args: argparse.Namespace, address: HubAddress, hub: Hub | None, stack: ExitStack) -> Push:
    from io import BytesIO

    from minchange_eval.data.store import Store
    from minchange_eval.generators.contact_sheet import contact_sheet
    from minchange_eval.hub.dataset import dataset_push, sample_items

    store, sheet = Store.open(_one(args)), BytesIO()
    contact_sheet(sample_items(store)).save(sheet, "PNG")
    folder = stack.enter_context(_workshop(address))
    reviewed = args.licence_reviewed
    try:
        return dataset_push(store, folder, address, licence_reviewed=reviewed, samples_png=sheet.getvalue())
    except OSError as error:
        raise MinchangeError(f"{folder}: cannot be written ({error.strerror or error}); make room") from error


@contextmanager
def _workshop(address: HubAddress) -> Iterator[Path]:
    """A folder for the files of a data set until they are sent; one push at a time to one address."""
    from minchange_eval.core.home import home
    from minchange_eval.data.lock import only_one

    folder = home() / "pushes" / f"{address.owner}--{address.name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with only_one(folder.with_name(f"{folder.name}.lock"), f"{address} is being pushed to"):
        shutil.rmtree(folder, ignore_errors=True)  # of a push that was killed
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _one(args: argparse.Namespace) -> str:
    if len(args.paths) != 1:
        raise UsageError(f"push {args.kind}: expected one PATH, got {len(args.paths)}; a repository holds one")
    return str(args.paths[0])


# by kind: what makes its push; without a Hub for --dry-run
_PUSHES: dict[str, Callable[[argparse.Namespace, HubAddress, Hub | None, ExitStack], Push]] = {
    "checkpoint": _checkpoint,
    "dataset": _dataset,
    "records": _records,
}
