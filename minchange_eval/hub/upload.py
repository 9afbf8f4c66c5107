"""A push: few commits, nothing sent twice, the same command goes on where it was stopped.

What is on the Hub is the only memory of how far a push has come: files are compared by hash with the tree there, large
files are content that the Hub knows by its SHA-256 even before a commit names it. So a push that was killed, at
whatever point, is finished by the same command, and one that is finished is no commit at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from minchange_eval.core.errors import DataError, MinchangeError, UsageError
from minchange_eval.hub.address import HubAddress
from minchange_eval.hub.client import Hub
from minchange_eval.hub.manifest import (
    CARD,
    MANIFEST,
    REPOSITORY_TYPES,
    Held,
    Kind,
    Manifest,
    read_manifest,
    require_kind,
)
from minchange_eval.hub.repository import files_at

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

# Of the Hub: more operations than some hundred in one commit run into its time limit.
# https://huggingface.co/docs/hub/storage-limits#sharing-large-datasets-and-models-on-the-hub
FILES_PER_COMMIT = 100
_WITH_RECORDS: tuple[Kind, ...] = ("checkpoint", "records")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """A file that is to lie on the Hub: its content, and what that is called there."""

    content: Path | bytes
    size: int
    sha256: str
    git_oid: str

    @property
    def names(self) -> frozenset[str]:
        """What the Hub calls this content: by SHA-256 as a large file, by git's SHA-1 as a small one."""
        return frozenset({self.sha256, self.git_oid})


def file_of(content: Path | bytes) -> File:
    """Size and hashes of a file, read once.

    Raises:
        DataError: it cannot be read.
    """
    try:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 - what git calls it
        for chunk in _chunks(content):
            sha256.update(chunk)
            git.update(chunk)
    except OSError as error:
        raise DataError(f"{content!s}: cannot be read ({error.strerror or error})") from error
    return File(content, size, sha256.hexdigest(), git.hexdigest())


def _chunks(content: Path | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


@dataclass(frozen=True)
class Push:
    """What is to be pushed.

    Attributes:
        kind: `checkpoint`, `dataset` or `records`.
        content: by path in the repository, without card and manifest.
        card: text of README.md, front matter included.
        facts: what goes into the manifest beside the files.
        message: title of the commit.
        kept: paths on the Hub that stay as they are, though they are not in `content`: records pushed earlier.
        beside: the manifest that told of them.
    """

    kind: Kind
    content: Mapping[str, Path | bytes]
    card: str
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    message: str = ""
    kept: Mapping[str, Held] = field(default_factory=dict)
    beside: Manifest | None = None

    @cached_property
    def files(self) -> dict[str, File]:
        """All that is to lie there, hashed; the manifest last."""
        made = {path: file_of(content) for path, content in sorted(self.content.items())}
        made[CARD] = file_of(self.card.encode())
        held = {path: Held(size=file.size, sha256=file.sha256) for path, file in made.items()}
        manifest = Manifest(kind=self.kind, files={**self.kept, **held}, facts=dict(self.facts))
        return made | {MANIFEST: file_of(manifest.content())}

    @property
    def repository_type(self) -> str:
        """`model` or `dataset`."""
        return REPOSITORY_TYPES[self.kind]


@dataclass(frozen=True)
class Pushed:
    """What a push has done.

    Attributes:
        url: of the repository.
        commit: head of `main` now.
        sent, files: files that were not there or were others, of all.
        deleted: files that are gone.
        private: whether others cannot see it.
        created: whether the repository was not there before.
    """

    url: str
    commit: str
    sent: int
    files: int
    deleted: int
    private: bool
    created: bool


@dataclass(frozen=True)
class There:
    """A repository as it is on the Hub.

    Attributes:
        commit: head of `main`.
        private: whether others cannot see it.
        tree: by path, the name of its content (SHA-256 of a large file, git's SHA-1 of a small one).
        manifest: of the last push; None where there was none.
    """

    commit: str
    private: bool
    tree: Mapping[str, str]
    manifest: Manifest | None


def look(hub: Hub, address: HubAddress, kind: Kind) -> There | None:
    """The repository as it is now; None where there is none.

    Raises:
        UsageError: the token is wrong, it holds another kind of thing, or it has another name now.
        DataError: its manifest is broken.
    """
    hub.require_known(address)  # a wrong token is told apart from a repository that is not there
    found = hub.ask(address, lambda: _info(hub, address, REPOSITORY_TYPES[kind]))
    if found is None:
        if kind in _WITH_RECORDS:
            _require_name_of_one_kind(hub, address, kind)
        return None
    there = _look(hub, address, REPOSITORY_TYPES[kind], found)
    if there.manifest is not None:
        require_kind(address, there.manifest, kind)
    return there


def _require_name_of_one_kind(hub: Hub, address: HubAddress, kind: Kind) -> None:
    """The Hub lets a model and a data set have one name; where both hold run records, an address could mean either."""
    other = "dataset" if REPOSITORY_TYPES[kind] == "model" else "model"
    if hub.ask(address, lambda: _info(hub, address, other)) is not None:
        raise UsageError(
            f"{address}: is the name of a {other} already, and run records at {address} could be of either; "
            "push to another name"
        )


def _info(hub: Hub, address: HubAddress, repository_type: str) -> Any:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return hub.api.repo_info(address.repo_id, repo_type=repository_type)
    except RepositoryNotFoundError:
        return None


def _look(hub: Hub, address: HubAddress, repository_type: str, info: Any) -> There:
    if info.id != address.repo_id:  # the Hub leads on from the name before, but uploads do not follow
        raise UsageError(f"{address}: is called {info.id} now; push to that name")

    def manifest() -> bytes:
        path = hub.api.hf_hub_download(address.repo_id, MANIFEST, revision=info.sha, repo_type=repository_type)
        return Path(path).read_bytes()

    held = {path: entry.name for path, entry in files_at(hub, address, repository_type, info.sha).items()}
    last = read_manifest(hub.ask(address, manifest), address) if MANIFEST in held else None
    return There(info.sha, bool(info.private), held, last)


def upload(push: Push, address: HubAddress, hub: Hub, *, public: bool = False, replace: bool = False) -> Pushed:
    """Bring the repository to what is pushed, and look whether it is.

    Args:
        public: make the repository one that all can see; an existing one stays as it is.
        replace: delete files there that are not pushed, and overwrite what others changed.

    Raises:
        UsageError: the token may not, the repository holds something else or is public, or files would be lost.
        MinchangeError: the Hub, the network or a quota will not have it; the same command goes on where it stopped.
    """
    files = push.files
    there = look(hub, address, push.kind)
    created = there is None
    if there is None:
        hub.ask(address, lambda: _create(hub, address, push.repository_type, public=public))
        there = look(hub, address, push.kind)
        if there is None:
            raise MinchangeError(f"{address}: was made, but cannot be found; run the same command again")
    _require_visibility(address, there, public=public)
    rounds = _Rounds(push, address, hub, replace=replace)
    hub.ask(address, rounds.run)
    after = rounds.there
    missing = [path for path, file in files.items() if after.tree.get(path) not in file.names]
    if missing:
        raise MinchangeError(
            f"{address}: {len(missing)} files did not arrive as they are, {missing[0]} the first; has it a .gitignore, "
            "or does somebody else push there? run it again"
        )
    return Pushed(
        url=f"{hub.api.endpoint}/{'datasets/' if push.repository_type == 'dataset' else ''}{address.repo_id}",
        commit=after.commit,
        sent=len(rounds.sent),
        files=len(files),
        deleted=len(rounds.deleted),
        private=after.private,
        created=created,
    )


def _create(hub: Hub, address: HubAddress, repository_type: str, *, public: bool) -> None:
    hub.api.create_repo(address.repo_id, repo_type=repository_type, private=not public, exist_ok=True)


def _require_visibility(address: HubAddress, there: There, *, public: bool) -> None:
    if not there.private and not public:
        raise UsageError(
            f"{address}: is public, and what is pushed would be too; say --public if that is meant, or make it "
            "private in its settings"
        )


class _Rounds:
    """The work of a push, as a request that may be made again: each round looks first, and does what is left."""

    def __init__(self, push: Push, address: HubAddress, hub: Hub, *, replace: bool) -> None:
        self.sent: set[str] = set()
        self.deleted: set[str] = set()
        self.there: There
        self._push, self._address, self._hub, self._replace = push, address, hub, replace

    def run(self) -> None:
        self._look()
        wanted = self._push.files
        left = [path for path, file in wanted.items() if self.there.tree.get(path) not in file.names]
        gone = self._gone()
        if not left and not gone:
            return
        if self._push.kind == "records" and self.there.manifest != self._push.beside:
            raise MinchangeError(f"{self._address}: somebody else pushed records at the same time; run it again")
        self._require_no_loss(gone)
        self.sent.update(left)
        self.deleted.update(gone)
        self._commit(left, gone)
        self._look()

    def _look(self) -> None:
        info = _info(self._hub, self._address, self._push.repository_type)
        if info is None:
            raise MinchangeError(f"{self._address}: is gone; run the same command again")
        self.there = _look(self._hub, self._address, self._push.repository_type, info)

    def _gone(self) -> list[str]:
        """Files there that the push does not know."""
        known = {*self._push.files, *self._push.kept}
        return sorted(path for path in self.there.tree if path not in known)

    def _require_no_loss(self, gone: Sequence[str]) -> None:
        if self._replace:
            return
        changed = sorted(self._changed_by_others())
        if gone or changed:
            lost = [*(f"{path} (would be deleted)" for path in gone), *(f"{path} (changed there)" for path in changed)]
            more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
            raise UsageError(
                f"{self._address}: has files that this push would do away with: {', '.join(lost[:5])}{more}; say "
                "--replace if that is meant, its history keeps them, or push to another name"
            )

    def _changed_by_others(self) -> Iterator[str]:
        """Files that are neither what is pushed nor what was pushed last: somebody has edited them since."""
        pushed = self.there.manifest.files if self.there.manifest else {}
        for path, file in self._push.files.items():
            name = self.there.tree.get(path)
            if path == MANIFEST or name is None or name in file.names or path in self.sent:
                continue
            if path not in pushed or not self._is(name, pushed[path], path):
                yield path

    def _is(self, name: str, held: Held, path: str) -> bool:
        """Whether a file there is what the manifest says; a small one is known by git's hash and has to be read."""
        if len(name) == len(held.sha256):
            return name == held.sha256
        local = self._hub.api.hf_hub_download(
            self._address.repo_id, path, revision=self.there.commit, repo_type=self._push.repository_type
        )
        return file_of(Path(local)).sha256 == held.sha256

    def _commit(self, left: Sequence[str], gone: Sequence[str]) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        api, repo_id, kind = self._hub.api, self._address.repo_id, self._push.repository_type
        added = {path: _addition(CommitOperationAdd, path, self._push.files[path]) for path in left}
        api.preupload_lfs_files(repo_id, additions=list(added.values()), repo_type=kind, free_memory=False)
        head = self.there.commit
        groups = list(_groups(left))
        for number, group in enumerate(groups, start=1):
            last = number == len(groups)
            deletions = [CommitOperationDelete(path, is_folder=False) for path in gone] if last else []
            operations: list[CommitOperationAdd | CommitOperationDelete] = [*(added[path] for path in group)]
            made = api.create_commit(
                repo_id,
                [*operations, *deletions],
                commit_message=_title(self._push, number, len(groups)),
                repo_type=kind,
                parent_commit=head,  # a commit whose answer was lost is not made twice
            )
            head = made.oid


def _addition(operation: type[CommitOperationAdd], path: str, file: File) -> CommitOperationAdd:
    made = operation(path, file.content if isinstance(file.content, bytes) else str(file.content))
    if made.upload_info.size != file.size:
        raise MinchangeError(f"{file.content!s}: has changed while it was pushed; run the same command again")
    made.upload_info.sha256 = bytes.fromhex(file.sha256)
    return made


def _groups(paths: Sequence[str]) -> Iterable[Sequence[str]]:
    """Commits: card and manifest in the last one, so that nothing is promised before it is there."""
    ordered = sorted(paths, key=lambda path: (path == MANIFEST, path == CARD, path))
    for start in range(0, max(1, len(ordered)), FILES_PER_COMMIT):
        yield ordered[start : start + FILES_PER_COMMIT]


def _title(push: Push, number: int, of: int) -> str:
    part = f" (part {number} of {of})" if of > 1 else ""
    return f"{push.message or f'minchange-eval {push.kind}'}{part}"
