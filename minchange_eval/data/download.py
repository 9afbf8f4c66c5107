"""Releases that lie on the Hugging Face Hub, at the revision that the reader was written for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from minchange_eval.core.errors import DataError, NotPreparedError, UsageError
from minchange_eval.data.parquet_layout import MANIFEST_FILE, Manifest, is_published, read_manifest
from minchange_eval.data.parquet_reader import fault_of
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
    folder = _snapshot(name, hub)
    if not any(path.is_file() for path in folder.rglob("*")):
        raise NotPreparedError(_not_there(name, hub, is_offline()))
    return folder, folder.name


def download_published(name: str, hub: HubSource) -> tuple[Path, str, Manifest]:
    """Folder with a data set that was published on the Hub, its commit, and what it says of itself.

    What it says of itself comes first, then the files that it names and no others, at the same commit. A file that is
    not what was published is fetched once more, past the Hub's cache.

    Args:
        hub: a branch or tag as its revision means the commit that it names now.

    Raises:
        NotPreparedError, UsageError: as in `download`.
        DataError: it holds no published data set, or files that are not what was published.
    """
    try:
        folder = _snapshot(name, replace(hub, patterns=(MANIFEST_FILE,)))
    except NotPreparedError as error:
        raise NotPreparedError(_not_cached(name, hub)) from error
    commit = folder.name
    if not is_published(folder):
        raise DataError(
            f"hub:{hub.repo_id}@{commit[:12]}: expected a data set that `minchange-eval push dataset` wrote, got one "
            f"without {MANIFEST_FILE}; check the name"
        )
    manifest = read_manifest(folder)
    named = replace(hub, revision=commit, patterns=tuple(file.path for file in manifest.files))
    for _ in range(2):
        folder = _snapshot(name, named)
        faults = {file: fault for file in manifest.files if (fault := fault_of(folder / file.path, file))}
        if not faults:
            return folder, commit, manifest
        for file in faults:
            (folder / file.path).resolve().unlink(missing_ok=True)  # what the cache keeps under its digest
            (folder / file.path).unlink(missing_ok=True)
    raise DataError(f"hub:{hub.repo_id}@{commit[:12]}: {next(iter(faults.values()))}")


def _snapshot(name: str, hub: HubSource) -> Path:
    """The Hub's own folder of one commit, with at least the files that the patterns name and the commit has."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise UsageError(
            f"{name}: a download needs huggingface_hub; run: pip install 'minchange-eval[eval]', or give --source"
        ) from error
    offline = is_offline()
    try:
        return Path(
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
    except RevisionNotFoundError as error:
        raise UsageError(f"{name}: {hub.repo_id} has no revision {hub.revision}; check it") from error
    except GatedRepoError as error:
        raise UsageError(f"{name}: access to {hub.repo_id} must be asked for on its page first") from error
    except RepositoryNotFoundError as error:
        raise UsageError(
            f"{name}: there is no data set {hub.repo_id} on the Hub, or it is private and HF_TOKEN does not open it"
        ) from error
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{name}: download of {hub.repo_id} failed ({first_line}); try again, or give --source"
        ) from error


def _not_cached(name: str, hub: HubSource) -> str:
    why = "HF_HUB_OFFLINE is set" if is_offline() else "the Hub could not be reached"
    return (
        f"{name} is not prepared, {why} and its cache does not hold hub:{hub.repo_id}@{hub.revision}; run with "
        "network, or name a commit that was fetched before: "
        f"minchange-eval prepare {name} --source hub:{hub.repo_id}@COMMIT"
    )


def _not_there(name: str, hub: HubSource, offline: bool) -> str:
    why = "HF_HUB_OFFLINE is set" if offline else "the Hub could not be reached"
    return (
        f"{name} is not prepared, {why} and its cache does not hold {hub.repo_id}; run with network: "
        f"minchange-eval prepare {name}, or with a copy: minchange-eval prepare {name} --source PATH"
    )
