"""Pictures of one named thing each: a folder a class, as torchvision's `ImageFolder`, or a table."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import ImageSource

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
TABLES = {".csv": ",", ".tsv": "\t"}
COLUMNS = ("image", "label")


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures and which class each of them shows.

    Attributes:
        name: where they were found.
        images: all of them.
        labels: for each image its class, as an index into `classes`.
        classes: names as a caption says them; at least two, sorted.
    """

    name: str
    images: tuple[ImageSource, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the classes, and the bytes and label of each picture; where the files lie does not matter."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for line in sorted(f"{image.sha256} {label}" for image, label in zip(self.images, self.labels, strict=True)):
            digest.update(f"{line}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class DigestedFile:
    """An image file whose digest was taken once."""

    name: str
    path: Path
    sha256: str

    def read(self) -> bytes:
        """Raises: DataError if the file is gone or holds other bytes than it did."""
        data = _bytes(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DataError(f"image {self.path}: its bytes changed since it was opened; start again")
        return data


def open_labelled(address: str) -> LabelledPictures:
    """Labelled pictures, each file read once.

    Args:
        address: a folder with a folder of pictures for each class (`_` in its name stands for a blank), or a .csv or
            .tsv file with the columns `image` (a path, below the table's folder unless it is absolute) and `label`.

    Raises:
        UsageError: neither of them, or fewer than two classes.
        DataError: a class without a picture, two folders of one name, a row without image or label, an unreadable file.
    """
    place = Path(address).expanduser()
    if place.is_dir():
        found = list(_of_folders(place))
    elif place.suffix.lower() in TABLES and place.is_file():
        found = list(_of_table(place))
    else:
        raise UsageError(
            f"zero_shot={address}: expected a folder with a folder of pictures for each class, or a .csv or .tsv file "
            "with the columns image and label"
        )
    classes = tuple(sorted({label for _, label in found}))
    if len(classes) < 2:
        raise UsageError(
            f"zero_shot={address}: expected at least two classes to tell apart, got {len(classes)}; add a class"
        )
    return LabelledPictures(
        address, tuple(_digested(path) for path, _ in found), tuple(classes.index(label) for _, label in found), classes
    )


def _of_folders(root: Path) -> Iterator[tuple[Path, str]]:
    seen: dict[str, Path] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        label = " ".join(folder.name.replace("_", " ").split())
        if label in seen:
            raise DataError(f"{folder}: is of the same class ({label}) as {seen[label]}; put them together")
        seen[label] = folder
        pictures = sorted(_pictures(folder))
        if not pictures:
            raise DataError(
                f"{folder}: expected pictures ({', '.join(sorted(SUFFIXES))}), found none; remove the folder"
            )
        yield from ((picture, label) for picture in pictures)


def _pictures(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _of_table(table: Path) -> Iterator[tuple[Path, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter=TABLES[table.suffix.lower()])
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise UsageError(
                    f"{table}: expected the columns image and label, got {', '.join(rows.fieldnames or ()) or 'none'}"
                )
            for row in rows:
                image, label = ((row[column] or "").strip() for column in COLUMNS)
                if not image or not label:
                    raise DataError(f"{table} line {rows.line_num}: expected an image and a label; mend or remove it")
                yield table.parent / image, label
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: cannot be read as a table in UTF-8 ({error})") from error


def _digested(path: Path) -> DigestedFile:
    return DigestedFile(path.name, path, hashlib.sha256(_bytes(path)).hexdigest())


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"image {path}: cannot be read ({error.strerror or error}); put it back") from error
