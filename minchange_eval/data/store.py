"""The store: prepared data sets as memory-mapped Arrow files with a card, written whole or not at all.

A store is there when its `card.json` is: the card names the data files, and putting it in place is one atomic rename.
Whatever else lies in the folder (a killed `prepare`, the files of a replaced store) is invisible, and the next
`prepare` removes it; nothing that an unreadable card may name goes before a new card is in place.
"""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from minchange_eval.core.errors import DataError, MinchangeError, NotPreparedError, UsageError
from minchange_eval.core.home import home
from minchange_eval.core.items import CandidateSet, ChoiceQuestion, ImageSource, Item
from minchange_eval.core.whole_files import sync
from minchange_eval.data.fingerprint import Fingerprint
from minchange_eval.data.lock import only_one
from minchange_eval.data.release import Kind
from minchange_eval.data.store_card import (
    CARD_FILE,
    SkippedRow,
    StoreCard,
    prepared_names,
    read_card,
    store_folder,
)

if TYPE_CHECKING:
    from minchange_eval.data.arrow_files import MappedFile

_BUILDING = ".building"

__all__ = ["SkippedRow", "Store", "StoreCard", "StoredImage", "StoredItems", "prepared_names", "write_store"]


@dataclass(frozen=True)
class StoredImage:
    """An image in the store: small, picklable, opens its file on the first `read` of a process.

    Attributes:
        sha256: of the released bytes.
        name: as the release calls it.
        path: the Arrow file.
        fingerprint: of the store it belongs to; a store that was replaced since is an error, never mixed in.
        row: in that file.
        index: among the images of that row.
    """

    sha256: str
    name: str
    path: str
    fingerprint: str
    row: int
    index: int

    def read(self) -> bytes:
        """The bytes as released.

        Raises:
            DataError: the store was replaced or damaged since it was opened.
        """
        import hashlib

        data = _mapped(self.path, self.fingerprint).image_bytes(self.row, self.index)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DataError(
                f"{self.path} row {self.row}: image {self.name} is damaged (its SHA-256 differs); {_again(self.path)}"
            )
        return data


@lru_cache(maxsize=256)  # every file is mapped once per process; the names of replaced files never come back
def _mapped(path: str, fingerprint: str) -> MappedFile:
    from minchange_eval.data.arrow_files import MappedFile

    _require_unchanged(Path(path).parent, fingerprint)
    if not Path(path).exists():
        raise DataError(f"{path}: the store was replaced during the run; start the run again")
    return MappedFile(Path(path))


def _require_unchanged(folder: Path, fingerprint: str) -> None:
    now = read_card(folder).fingerprint
    if now != fingerprint:
        raise DataError(
            f"{folder}: the store was replaced during the run (fingerprint {fingerprint[:12]} is now {now[:12]}); "
            "start the run again"
        )


def _again(path: str) -> str:
    return f"re-run: minchange-eval prepare {Path(path).parent.name} --force"


class Store:
    """A prepared data set, open for reading.

    Attributes:
        folder: where it lies.
        card: what it says of itself.
    """

    def __init__(self, folder: Path, card: StoreCard) -> None:
        self.folder = folder
        self.card = card
        for file in card.files:
            path = folder / file.name
            size = path.stat().st_size if path.exists() else None
            if size != file.size_bytes:
                got = "is missing" if size is None else f"is cut off: expected {file.size_bytes} bytes, got {size}"
                raise DataError(f"{path}: {got}; {_again(str(path))}")
        self._ends = list(accumulate(file.rows for file in card.files))

    @classmethod
    def open(cls, name: str) -> Store:
        """Open a prepared data set; reads its card, maps nothing yet.

        Raises:
            NotPreparedError: it is not in the store; the message names the command.
            DataError: damaged, or written by a newer version.
        """
        folder = store_folder(name)
        return cls(folder, read_card(folder))

    @property
    def subsets(self) -> list[str]:
        """Names of the subsets that hold items, in the order of the release."""
        return list(self.card.counts)

    def __len__(self) -> int:
        return self.card.items

    def items(self, subset: str | None = None) -> StoredItems:
        """The items of one subset, or all of them, in released order; pixels stay on disk until an image is read.

        Raises:
            UsageError: there is no such subset.
        """
        if subset is None:
            return StoredItems(self, range(len(self)))
        if subset not in self.card.counts:
            raise UsageError(f"{self.card.name}: no subset {subset!r}; it has {', '.join(self.subsets)}")
        rows = chain.from_iterable(self._mapped(number).subsets() for number in range(len(self.card.files)))
        return StoredItems(self, [row for row, name in enumerate(rows) if name == subset])

    def check_unchanged(self) -> None:
        """Make sure that the store still is what it was when it was opened.

        Raises:
            DataError: it was replaced or removed.
        """
        _require_unchanged(self.folder, self.card.fingerprint)

    def item(self, row: int) -> Item:
        """The item of one row, counted over all files from 0."""
        number = next(number for number, end in enumerate(self._ends) if row < end)
        row_in_file = row - (self._ends[number] - self.card.files[number].rows)
        values = self._mapped(number).texts(row_in_file)
        path = str(self.folder / self.card.files[number].name)
        images = tuple(
            StoredImage(sha256, name, path, self.card.fingerprint, row_in_file, index)
            for index, (sha256, name) in enumerate(zip(values["image_sha256"], values["image_names"], strict=True))
        )
        try:
            return item_of(self.card.kind, values, images)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} row {row_in_file}: is damaged ({error}); {_again(path)}") from error

    def _mapped(self, number: int) -> MappedFile:
        return _mapped(str(self.folder / self.card.files[number].name), self.card.fingerprint)


def item_of(kind: Kind, values: Mapping[str, Any], images: tuple[ImageSource, ...]) -> Item:
    """The item of a row: its columns by name, the facts as they were before they became text.

    Raises:
        KeyError, TypeError, ValueError: it is no row of that kind.
    """
    if kind == "sets":
        return CandidateSet(
            set_id=values["id"],
            subset=values["subset"],
            images=images,
            captions=tuple(values["captions"]),
            query_captions=tuple(values["query_captions"]),
            image_to_text=tuple(map(tuple, values["image_to_text"])),
            text_to_image=tuple(map(tuple, values["text_to_image"])),
            facts=values["facts"],
        )
    return ChoiceQuestion(
        question_id=values["id"],
        subset=values["subset"],
        images=images,
        question=values["question"],
        options=tuple(values["options"]),
        answers=tuple(values["answers"]),
        facts=values["facts"],
    )


class StoredItems(Sequence[Item]):
    """Items of a store, built when asked for."""

    def __init__(self, store: Store, rows: Sequence[int]) -> None:
        self._store = store
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> StoredItems: ...
    def __getitem__(self, index: int | slice) -> Item | StoredItems:
        if isinstance(index, slice):
            return StoredItems(self._store, self._rows[index])
        return self._store.item(self._rows[index])


def write_store(
    name: str,
    items: Iterable[Item],
    *,
    card: StoreCard | None = None,
    skipped: Sequence[SkippedRow] = (),
    force: bool = False,
) -> Store:
    """Put a data set into the store: streaming, all or nothing, one process at a time.

    A store of that name is kept as it is, unless `force`; it stays usable until the new one is complete. When
    another process is preparing the same data, this one waits and then uses what that one made.

    Args:
        items: in released order; consumed only if the store is written.
        card: what is known beforehand; counts, files and date are filled in here, and the fingerprint, which must come
            out as the one that is known.
        skipped: rows that were left out; read after the last item, so that the reader of `items` can append to it.

    Raises:
        UsageError: the folder cannot be written to.
        DataError: no items, items of both kinds, or another fingerprint than expected.
        MinchangeError: the disk is full; nothing is left behind.
    """
    folder = store_folder(name)
    before = _card_if_there(folder, or_unreadable=force)
    with _clear_write_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with only_one(folder.parent / f".{name}.lock", f"another process is preparing {name}") as waited:
            now = _card_if_there(folder, or_unreadable=force)
            made_by_other = waited and now is not None and (before is None or now.created != before.created)
            if now is None or (force and not made_by_other):
                _write(folder, items, card or StoreCard(name=name), skipped)
    return Store.open(name)


def _card_if_there(folder: Path, *, or_unreadable: bool) -> StoreCard | None:
    try:
        return read_card(folder)
    except NotPreparedError:
        return None
    except DataError:
        if or_unreadable:  # about to be replaced: what it says does not matter
            return None
        raise


def _write(folder: Path, items: Iterable[Item], card: StoreCard, skipped: Sequence[SkippedRow]) -> None:
    _remove_leftovers(folder)
    building = folder / _BUILDING
    building.mkdir(parents=True)
    try:
        done = _write_files(building, folder.name, items, card)
        done.skipped = list(skipped)
        done.verified = card.verified and not done.skipped and done.expected_items in (None, done.items)
        # the data first, then the card that names it: whoever sees the card finds every file
        (building / CARD_FILE).write_text(done.model_dump_json(indent=2), encoding="utf-8")
        sync(building / CARD_FILE)
        for file in done.files:
            (building / file.name).rename(folder / file.name)
        sync(folder)
        (building / CARD_FILE).replace(folder / CARD_FILE)
        sync(folder)
    finally:
        _remove_leftovers(folder)


def _write_files(building: Path, name: str, items: Iterable[Item], card: StoreCard) -> StoreCard:
    from minchange_eval.data.arrow_files import ArrowWriter, kind_of

    numbered = iter(items)
    first = next(numbered, None)
    if first is None:
        raise DataError(f"data set {name}: expected at least one item, got none; check the source")
    done = card.model_copy(deep=True, update={"name": name, "kind": kind_of(first), "counts": {}, "images": 0})
    done.image_bytes = 0
    fingerprint = Fingerprint(over_pixels=card.synthetic)
    # a random part in the names: files of the store that is being replaced are never written over
    with ArrowWriter(building, f"data-{secrets.token_hex(4)}", done.kind) as writer:
        for item in chain([first], numbered):
            if kind_of(item) != done.kind:
                raise DataError(f"data set {name}: expected only {done.kind}, got a {type(item).__name__}")
            fingerprint.add(item)
            writer.add(item)
            done.counts[item.subset] = done.counts.get(item.subset, 0) + 1
            done.subsets.setdefault(item.subset, item.k if isinstance(item, CandidateSet) else len(item.options))
            done.images += len(item.images)
    done.files = writer.files
    done.image_bytes = writer.image_bytes
    done.fingerprint = fingerprint.hexdigest()
    if card.fingerprint not in ("", done.fingerprint):
        raise DataError(
            f"data set {name}: expected fingerprint {card.fingerprint[:12]}, got {done.fingerprint[:12]}; "
            "the source is not what it says it is; get it again"
        )
    done.created = datetime.now(UTC).isoformat(timespec="microseconds")
    return done


def _remove_leftovers(folder: Path) -> None:
    """Remove what this module wrote and the card does not name, and the folder if that leaves it empty."""
    if (folder / _BUILDING).exists():
        shutil.rmtree(folder / _BUILDING)
    try:
        card = _card_if_there(folder, or_unreadable=False)
    except DataError:
        return  # whatever it names may be somebody's only copy
    named = {file.name for file in card.files} if card else set()
    for path in folder.glob("data-*.arrow"):
        if path.name not in named:
            path.unlink()
    with suppress(OSError):  # not empty, not there, or a link to a folder
        folder.rmdir()


@contextmanager
def _clear_write_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str) and not Path(error.filename).is_relative_to(home()):
            raise DataError(
                f"{error.filename}: cannot be read ({error.strerror})"
            ) from error  # the source, not the store
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise MinchangeError(
                f"{folder}: the disk is full ({error.strerror}); nothing was kept; free some space or set "
                "MINCHANGE_HOME to a folder on another disk"
            ) from error
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}:
            raise UsageError(
                f"{folder}: cannot be written to ({error.strerror}); set MINCHANGE_HOME to a folder you may write to"
            ) from error
        raise
