"""Run records as a command names them: files, or addresses of the Hub (`hub:owner/name@revision`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minchange_eval.core.errors import UsageError
from minchange_eval.hub.address import is_address, parse_address


def run_files(runs: Sequence[Path]) -> list[Path]:
    """The files of the records, those on the Hub brought into its own cache; an address may stand for several.

    Raises:
        UsageError: an address is none, or there is nothing there.
        DataError: what comes is not what was pushed.
        MinchangeError: the Hub or the network will not have it.
    """
    return [file for run in runs for file in (_of_hub(str(run)) if is_address(str(run)) else [run])]


def run_file(run: Path) -> Path:
    """The file of the one record that is named.

    Raises:
        UsageError: an address with several records; the message names them.
    """
    files = run_files([run])
    if len(files) == 1:
        return files[0]
    names = ", ".join(f"{run}/records/{file.name}" for file in files[:4])
    more = f" and {len(files) - 4} more" if len(files) > 4 else ""
    raise UsageError(f"{run}: holds {len(files)} records, and one is expected; name it: {names}{more}")


def _of_hub(text: str) -> list[Path]:
    from minchange_eval.cli.hub_session import hub_session
    from minchange_eval.hub.records import record_files

    with hub_session() as hub:
        return record_files(parse_address(text), hub)


def run_name(run: Path) -> str:
    """What to call it beside others: its address, or its file's name."""
    return str(run) if is_address(str(run)) else run.name
