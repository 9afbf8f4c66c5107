"""Releases that lie on the Hugging Face Hub, at the revision that the reader was written for."""

from __future__ import annotations

import os
from pathlib import Path

from minchange_eval.core.errors import NotPreparedError, UsageError
from minchange_eval.data.release import HubSource


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids connections; read anew each time, as the Hub's own library reads it once."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def download(name: str, hub: HubSource) -> tuple[Path, str]:
    """Folder with the files of a Hub data set (in the Hub's own cache), and the commit they are of.

    Offline, the cache is used if the files are there, and no connection is tried.

    Raises:
        NotPreparedError: offline, and not in the cache.
        UsageError: the Hub's library is not installed, or the download failed.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError as error:
        raise UsageError(
            f"{name}: a download needs huggingface_hub; run: pip install 'minchange-eval[eval]', or give --source"
        ) from error
    offline = is_offline()
    try:
        folder = Path(
            snapshot_download(
                hub.repo_id,
                repo_type="dataset",
                revision=hub.revision,
                allow_patterns=list(hub.patterns),
                local_files_only=offline,
            )
        )
    except LocalEntryNotFoundError as error:
        raise NotPreparedError(_not_there(name, hub, offline)) from error
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{name}: download of {hub.repo_id} failed ({first_line}); try again, or give --source"
        ) from error
    if not any(path.is_file() for path in folder.rglob("*")):
        raise NotPreparedError(_not_there(name, hub, offline))
    return folder, folder.name


def _not_there(name: str, hub: HubSource, offline: bool) -> str:
    why = "HF_HUB_OFFLINE is set" if offline else "the Hub could not be reached"
    return (
        f"{name} is not prepared, {why} and its cache does not hold {hub.repo_id}; run with network: "
        f"minchange-eval prepare {name}, or with a copy: minchange-eval prepare {name} --source PATH"
    )
