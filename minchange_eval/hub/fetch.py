"""A pull: whole or not at all, every file by its hash, nothing outside of the folder, nothing that is run when read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import DataError, MinchangeError, UsageError
from minchange_eval.core.whole_files import sync
from minchange_eval.hub.address import HubAddress
from minchange_eval.hub.client import Hub, NoSuchRepositoryError
from minchange_eval.hub.file_names import require_known, require_safe
from minchange_eval.hub.manifest import (
    LARGEST,
    MANIFEST,
    REPOSITORY_TYPES,
    Held,
    Kind,
    Manifest,
    read_manifest,
    require_kind,
)
from minchange_eval.hub.repository import Entry, files_at
from minchange_eval.hub.upload import file_of


@dataclass(frozen=True)
class Pulled:
    """What a pull has done: the commit, how many files and bytes, and whether they were there already."""

    commit: str
    files: int
    size: int
    was_there: bool = False


def pull(address: HubAddress, kind: Kind, folder: Path, hub: Hub) -> Pulled:
    """Bring a repository, as it is at a revision, into a new folder.

    What has come so far lies beside it, in `.<folder>.<commit>.part`, and the same command goes on from there.

    Raises:
        UsageError: there is no such repository or revision, it holds something else, or the folder is taken.
        DataError: a file is not what was pushed, could lie elsewhere, or could run code.
        MinchangeError: the Hub or the network will not have it, or the disk is full.
    """
    commit, tree = _tree(hub, address, REPOSITORY_TYPES[kind])
    require_safe(address, tree)
    manifest = _manifest(hub, address, REPOSITORY_TYPES[kind], commit, tree)
    require_kind(address, manifest, kind)
    wanted = {path: manifest.files[path] for path in sorted(manifest.files)}
    _require_promised(address, tree, wanted)
    require_known(address, wanted, kind)
    done = Pulled(commit, len(wanted) + 1, sum(held.size for held in wanted.values()))
    if folder.exists() or folder.is_symlink():
        return _is_there(folder, wanted, done)
    try:
        _bring(address, REPOSITORY_TYPES[kind], folder, hub, done, wanted)
    except OSError as error:
        raise MinchangeError(
            f"{folder}: cannot be written ({error.strerror or error}); make room or name another folder, then run it "
            "again, what has come is kept"
        ) from error
    return done


def _bring(
    address: HubAddress, repository_type: str, folder: Path, hub: Hub, done: Pulled, wanted: Mapping[str, Held]
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.parent / f".{folder.name}.{done.commit[:12]}.part"
    _require_room(folder, sum(held.size for path, held in wanted.items() if not (part / path).exists()))
    for number, (path, held) in enumerate(wanted.items(), start=1):
        hub.tell(f"{number} of {len(wanted)}: {path}, {held.size:,} bytes")
        local = part / path
        if not (local.is_file() and file_of(local).sha256 == held.sha256):
            download(hub, address, repository_type, done.commit, path, held.sha256, into=part)
    download(hub, address, repository_type, done.commit, MANIFEST, None, into=part)
    shutil.rmtree(part / ".cache", ignore_errors=True)  # the library's own notes
    part.replace(folder)
    sync(folder.parent)


def _tree(hub: Hub, address: HubAddress, repository_type: str) -> tuple[str, Mapping[str, Entry]]:
    try:
        return tree_at(hub, address, repository_type)
    except NoSuchRepositoryError:
        other = "dataset" if repository_type == "model" else "model"
        if not hub.ask(address, lambda: hub.api.repo_exists(address.repo_id, repo_type=other)):
            raise
        of_other = " or ".join(kind for kind, its_type in REPOSITORY_TYPES.items() if its_type == other)
        raise UsageError(f"{address}: is a {other} repository; say {of_other}, or name another repository") from None


def tree_at(hub: Hub, address: HubAddress, repository_type: str) -> tuple[str, Mapping[str, Entry]]:
    """The commit that a revision is, and its files.

    Raises:
        UsageError: there is no such repository or revision.
        DataError: what answers is no Hub.
    """
    revision = address.revision or "main"
    info: Any = hub.ask(
        address, lambda: hub.api.repo_info(address.repo_id, repo_type=repository_type, revision=revision)
    )
    commit = str(info.sha)
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):  # it becomes part of a folder's name
        raise DataError(f"{address}: expected a commit from the Hub, got {commit[:80]!r}; look at HF_ENDPOINT")
    return commit, files_at(hub, address, repository_type, commit)


def download(
    hub: Hub,
    address: HubAddress,
    repository_type: str,
    revision: str,
    path: str,
    sha256: str | None,
    *,
    into: Path | None = None,
    offline: bool = False,
) -> Path:
    """One file, in the Hub's cache or below a folder; fetched anew once where its bytes are not what they should be.

    Args:
        sha256: what it should be; None where that is not known.

    Raises:
        DataError: what comes is something else, twice.
    """
    for again in (False, True):
        local = Path(
            hub.ask(
                address,
                lambda force=again: hub.api.hf_hub_download(  # type: ignore[misc]
                    address.repo_id,
                    path,
                    repo_type=repository_type,
                    revision=revision,
                    local_dir=into,
                    local_files_only=offline,
                    force_download=force,
                ),
            )
        )
        if sha256 is None or file_of(local).sha256 == sha256:
            return local
        if offline:
            break
        hub.tell(f"{path}: not the bytes that were pushed, fetching it again")
    local.unlink(missing_ok=True)
    assert sha256 is not None
    raise DataError(
        f"{address}: {path} is not what was pushed (expected SHA-256 {sha256[:12]}…); pull another revision"
    )


def _manifest(hub: Hub, address: HubAddress, repository_type: str, commit: str, tree: Mapping[str, Entry]) -> Manifest:
    if MANIFEST not in tree:
        raise UsageError(
            f"{address}: has no {MANIFEST}, so it was not pushed by minchange-eval; fetch it with: "
            f"hf download {address.repo_id}"
        )
    if tree[MANIFEST].size > LARGEST:
        raise DataError(f"{address}: its {MANIFEST} has {tree[MANIFEST].size:,} bytes; expected at most {LARGEST:,}")
    return read_manifest(download(hub, address, repository_type, commit, MANIFEST, None).read_bytes(), address)


def _require_promised(address: HubAddress, tree: Mapping[str, Entry], wanted: Mapping[str, Held]) -> None:
    """All that was pushed is there, and of the size that it had; what somebody put beside it is left."""
    for path, held in wanted.items():
        entry = tree.get(path)
        if entry is None or entry.size != held.size or (len(entry.name) == 64 and entry.name != held.sha256):
            what = "is missing" if entry is None else "has been changed since"
            raise DataError(f"{address}: {path} was pushed and {what}; pull a revision before that, or push it again")


def _is_there(folder: Path, wanted: Mapping[str, Held], done: Pulled) -> Pulled:
    same = folder.is_dir() and all(
        (folder / path).is_file() and file_of(folder / path).sha256 == held.sha256 for path, held in wanted.items()
    )
    if not same:
        raise UsageError(f"--out {folder}: exists and holds something else; name a new folder")
    return Pulled(done.commit, done.files, done.size, was_there=True)


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < size:
        raise MinchangeError(f"--out {folder}: {size:,} bytes are to come and {free:,} are free; make room")
