"""`minchange-eval pull KIND owner/name@revision --out DIR`: what was pushed comes back, whole or not at all."""

from __future__ import annotations

import argparse
from pathlib import Path

from minchange_eval.core.errors import ExitCode, UsageError

EXAMPLES = """examples:
  minchange-eval pull checkpoint ada/clip-spec --out clip-spec
  minchange-eval pull checkpoint ada/clip-spec@v1 --out clip-spec
  minchange-eval pull records ada/records@v1 --out records
  minchange-eval pull dataset ada/vismin-mini-train --out published

Every file is compared with the SHA-256 that was pushed; the same command goes on after a broken connection.
Files of kinds that no push makes (they could run code when they are read), and names that lead out of the folder, are
refused.
To put a published data set into the store: minchange-eval prepare NAME --source hub:owner/name@revision
To read records without a copy: minchange-eval report hub:owner/name@revision

exit codes: 0 pulled, 2 usage (name, revision, rights, folder), 5 not what was pushed, 70 the Hub, the network or a
  full disk, 130 interrupted. After 70 and 130 the same command goes on where it stopped
How-to: docs/hub.md
"""
_KINDS = ("checkpoint", "dataset", "records")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    parser.add_argument("kind", choices=_KINDS, metavar="KIND", help=", ".join(_KINDS))
    parser.add_argument("address", metavar="OWNER/NAME[@REVISION]", help="repository on the Hub; by default its main")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")


def run(args: argparse.Namespace) -> int:
    """Pull and say what came."""
    from minchange_eval.cli.hub_session import hub_session
    from minchange_eval.data.download import is_offline
    from minchange_eval.hub.address import parse_address
    from minchange_eval.hub.fetch import pull

    address = parse_address(args.address, whole=True)
    if is_offline():
        raise UsageError("HF_HUB_OFFLINE is set: nothing is pulled; unset it")
    with hub_session() as hub:
        done = pull(address, args.kind, args.out, hub)
    if done.was_there:
        print(f"{args.out}: is {address} at {done.commit[:12]} already")
    else:
        print(f"{args.out}: {done.files} files, {done.size:,} bytes, of {address} at {done.commit}")
    return ExitCode.OK
