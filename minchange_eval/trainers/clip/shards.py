"""Plain pairs in webdataset's tar shards: indexed once, then read at random by offset.

A sample is the consecutive members whose path agrees up to the first dot of the file name: a picture (`.jpg`, `.jpeg`,
`.png`, `.webp`) and a caption (`.txt`). Members of any other kind, pickles among them, are never opened.
Source of the convention: github.com/webdataset/webdataset; what open_clip's trainer reads.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import ImageSource
from minchange_eval.data.source_tree import MAX_FILE_BYTES
from minchange_eval.trainers.clip.sources import PairData

PICTURES = ("jpg", "jpeg", "png", "webp")
CAPTION = "txt"
MAX_CAPTION_BYTES = 2**20
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 100_000
_BLOCK = 512  # bytes; an archive ends with blocks of zeros


@dataclass(frozen=True)
class TarImage:
    """A picture inside an archive that is not compressed; small, opens the file when it is read."""

    name: str
    path: Path
    offset: int
    size_bytes: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        return _read(self.path, self.offset, self.size_bytes, self.name)


class ShardPairs(PairData):
    """The samples of tar shards, in their order.

    Raises:
        UsageError: no shard, or a compressed one.
        DataError: a shard is cut off or damaged; a sample lacks picture or caption or is too large.
    """

    def __init__(self, name: str, shards: Sequence[Path]) -> None:
        self.name = name
        self._shards = list(shards)
        self._keys: list[str] = []
        self._shard = array("l")
        self._offsets = array("q")  # picture's offset and size, caption's offset and size
        digest = hashlib.sha256()
        for number, path in enumerate(self._shards):
            for sample in _samples(path):
                self._keys.append(sample.picture_name)
                self._shard.append(number)
                self._offsets.extend((*sample.picture, *sample.caption))
                digest.update(f"{path.name}\0{sample.picture_name}\0{sample.picture}{sample.caption}".encode())
        for caption in self.captions():
            digest.update(caption.encode())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._keys)

    def caption(self, number: int) -> str:
        *_, offset, size = self._offsets[4 * number : 4 * number + 4]
        path = self._shards[self._shard[number]]
        return self._text(number, _read(path, offset, size, self._keys[number]))

    def captions(self) -> Iterator[str]:
        """All captions in their order; each shard is opened once."""
        number = 0
        for shard, path in enumerate(self._shards):
            try:
                with path.open("rb") as file:
                    while number < len(self) and self._shard[number] == shard:
                        file.seek(self._offsets[4 * number + 2])
                        yield self._text(number, file.read(self._offsets[4 * number + 3]))
                        number += 1
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error

    def image(self, number: int) -> ImageSource:
        offset, size, *_ = self._offsets[4 * number : 4 * number + 4]
        return TarImage(self._keys[number], self._shards[self._shard[number]], offset, size)

    def where(self, number: int) -> str:
        return f"{self._shards[self._shard[number]]} sample {self._keys[number].partition('.')[0]}"

    def _text(self, number: int, data: bytes) -> str:
        try:
            text = data.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"{self.where(number)}: its caption is no UTF-8; mend or remove it") from error
        if not text:
            raise DataError(f"{self.where(number)}: its caption is empty; mend or remove it")
        return text


def shards_of(address: str) -> list[Path]:
    """Paths of `part-{00000..00099}.tar`, of the shards in a folder, or of one shard.

    Raises:
        UsageError: one of them is not there.
    """
    path = Path(address).expanduser()
    if path.is_dir():
        return sorted(path.rglob("*.tar"))
    ranges = [_numbers(*match) for match in _RANGE.findall(address)]
    if sum(map(len, ranges)) > _MOST_SHARDS:
        raise UsageError(f"plain: {address}: names more than {_MOST_SHARDS:,} shards")
    form = _RANGE.sub("{}", address.replace("{}", "{{}}")) if ranges else ""
    paths = [Path(form.format(*numbers)).expanduser() for numbers in product(*ranges)] if ranges else [path]
    if missing := [path for path in paths if not path.is_file()]:
        raise UsageError(f"plain: {missing[0]}: there is no such file ({len(missing)} of {len(paths)} shards missing)")
    return paths


def _numbers(first: str, last: str) -> list[str]:
    """`08`, `09`, `10`: as wide as they were written."""
    if len(first) > 9 or len(last) > 9 or int(last) - int(first) > _MOST_SHARDS:
        raise UsageError(f"plain: {{{first}..{last}}}: names more than {_MOST_SHARDS:,} shards")
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


@dataclass
class _Sample:
    key: str
    picture_name: str = ""
    picture: tuple[int, int] = (0, 0)  # offset and size in the shard, bytes
    caption: tuple[int, int] = (0, 0)
    more: list[str] = field(default_factory=list)


def _samples(path: Path) -> Iterator[_Sample]:
    sample: _Sample | None = None
    for member in _members(path):
        folder, _, file_name = member.name.rpartition("/")
        stem, _, suffix = file_name.partition(".")
        key = f"{folder}/{stem}"
        if sample is None or sample.key != key:
            if sample is not None:
                yield _whole(path, sample)
            sample = _Sample(key)
        if suffix.lower() in PICTURES:
            _require_size(path, member, MAX_FILE_BYTES)
            sample.picture_name, sample.picture = member.name, (member.offset_data, member.size)
        elif suffix.lower() == CAPTION:
            _require_size(path, member, MAX_CAPTION_BYTES)
            sample.caption = (member.offset_data, member.size)
        else:
            sample.more.append(suffix)
    if sample is not None:
        yield _whole(path, sample)


def _whole(path: Path, sample: _Sample) -> _Sample:
    lacks = [] if sample.picture_name else [f"a picture ({', '.join(PICTURES)})"]
    lacks += [] if sample.caption != (0, 0) else [f"a caption ({CAPTION})"]
    if lacks:
        others = f"; its members are {', '.join(sample.more)}" if sample.more else ""
        raise DataError(f"{path} sample {sample.key}: lacks {' and '.join(lacks)}{others}; mend or remove it")
    return sample


def _require_size(path: Path, member: tarfile.TarInfo, most_bytes: int) -> None:
    if member.size > most_bytes:
        raise DataError(f"{path} member {member.name}: {member.size:,} bytes, more than {most_bytes:,}; remove it")


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """Ordinary files of an archive; links and devices are no samples."""
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # a shard has tens of thousands
                if member.isreg() and member.sparse is None:
                    yield member
            _require_end(path, tar.offset)
    except tarfile.ReadError as error:
        with path.open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                raise UsageError(f"plain: {path}: is compressed, which allows no random access; run gunzip") from error
        raise DataError(f"{path}: is no tar archive, or is cut off ({error}); get it again") from error
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: cannot be read ({error}); get it again") from error


def _require_end(path: Path, offset: int) -> None:
    """An archive ends with zeros; `tarfile` takes any block that is no header for the end."""
    with path.open("rb") as file:
        file.seek(offset)
        block = file.read(_BLOCK)
    if len(block) < _BLOCK or block.strip(b"\0"):
        said = "is damaged" if len(block) == _BLOCK else "is cut off"
        raise DataError(f"{path}: {said} at byte {offset:,} of {path.stat().st_size:,}; get it again")


def _read(path: Path, offset: int, size_bytes: int, name: str) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(size_bytes)
    if len(data) != size_bytes:
        raise DataError(f"{path} member {name}: is cut off, the shard has changed since it was indexed; start again")
    return data
