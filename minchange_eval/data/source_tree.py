"""The files of a release, from a folder or straight out of a zip that is never unpacked to disk."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import FileImage, ImageSource

# bounds of a zip: twenty times the largest release of this field in files and bytes
MAX_MEMBERS = 500_000
MAX_BYTES = 64 * 2**30
MAX_FILE_BYTES = 256 * 2**20  # of a zip or a folder: a file is read whole, and a list of rows takes its multiple
MAX_RATIO = 200  # pictures hardly compress; JSON of captions reaches about 20
_RATIO_COUNTS_FROM_BYTES = 2**20


class SourceTree(Protocol):
    """Files by their path inside a release, with `/` on every system."""

    @property
    def files(self) -> frozenset[str]:
        """Every file's path."""

    def read(self, path: str) -> bytes:
        """All bytes of one file."""

    def image(self, path: str, name: str) -> ImageSource:
        """One file as an image, read when asked for."""


def open_source(source: Path) -> SourceTree:
    """The files of a folder or a zip.

    Raises:
        UsageError: nothing is there, or it is neither.
        DataError: the zip is damaged or unsafe.
    """
    if source.is_dir():
        return FolderTree(source)
    if not source.exists():
        raise UsageError(f"--source {source}: there is no such file or folder")
    if zipfile.is_zipfile(source):
        return ZipTree(source)
    raise UsageError(f"--source {source}: expected a folder or a zip file, got neither")


class FolderTree:
    """Files below a folder.

    Raises:
        DataError: a file that is asked for is larger than 256 MiB.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def files(self) -> frozenset[str]:
        return frozenset(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file() and not _is_hidden(path.relative_to(self.folder).as_posix())
        )

    def read(self, path: str) -> bytes:
        return self._of_bearable_size(path).read_bytes()

    def image(self, path: str, name: str) -> ImageSource:
        return FileImage(name, self._of_bearable_size(path))

    def _of_bearable_size(self, path: str) -> Path:
        file = self.folder / path
        if (size := file.stat().st_size) > MAX_FILE_BYTES:
            raise DataError(f"{file}: is refused: {_too_large(size)}; get it from its authors")
        return file


class ZipTree:
    """Files of a zip, read member by member; nothing is unpacked to disk.

    Raises:
        DataError: a member has an absolute path, a `..`, another one's name or is a link; too many members or bytes;
            a member that unpacks to more than 200 times its size or 256 MiB; no readable zip.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path}: is no readable zip ({error}); download it again") from error
        members = self._zip.infolist()
        if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_BYTES:
            raise DataError(
                f"{path}: refused, it unpacks to more than {MAX_MEMBERS:,} files or {MAX_BYTES // 2**30} GiB"
            )
        count = Counter(member.filename for member in members)
        for member in members:
            self._refuse_unsafe(member, count[member.filename])

    def _refuse_unsafe(self, member: zipfile.ZipInfo, members_of_that_name: int) -> None:
        name = member.filename
        refused = ""
        # orig_filename: zipfile already cuts names at a NUL and turns the system's separator into a slash
        if name.startswith(("/", "\\")) or ":" in name.split("/")[0] or "\\" in member.orig_filename:
            refused = "its path is absolute or not portable"
        elif ".." in PurePosixPath(name).parts:
            refused = "its path leaves the folder (..)"
        elif stat.S_ISLNK(member.external_attr >> 16):
            refused = "it is a link"
        elif member.flag_bits & 0x1:
            refused = "it is encrypted"
        elif members_of_that_name > 1:
            refused = f"{members_of_that_name} members have that name"
        elif member.file_size > MAX_FILE_BYTES:
            refused = _too_large(member.file_size)
        elif member.file_size > max(_RATIO_COUNTS_FROM_BYTES, MAX_RATIO * member.compress_size):
            refused = f"it would unpack from {member.compress_size:,} to {member.file_size:,} bytes (a bomb)"
        if refused:
            raise DataError(f"{self._path}: member {name!r} is refused: {refused}; get the zip from its authors")

    @cached_property
    def files(self) -> frozenset[str]:
        return frozenset(
            member.filename
            for member in self._zip.infolist()
            if not member.is_dir() and not _is_hidden(member.filename)
        )

    def read(self, path: str) -> bytes:
        try:
            return self._zip.read(path)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
            raise DataError(f"{self._path}: member {path!r} is damaged ({error}); download the zip again") from error

    def image(self, path: str, name: str) -> ImageSource:
        return _ZipImage(name, self, path)


@dataclass(frozen=True)
class _ZipImage:
    name: str
    tree: ZipTree
    path: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        return self.tree.read(self.path)


def _too_large(size: int) -> str:
    return f"{size:,} bytes, more than {MAX_FILE_BYTES:,}"


def _is_hidden(path: str) -> bool:
    # ".git" of a clone; "__MACOSX" that the Finder adds to a zip
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
