"""Plain pairs in a CSV or TSV file, as open_clip's trainer reads them: a column of image files, one of captions."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import FileImage, ImageSource
from minchange_eval.trainers.clip.sources import PairData

SUFFIXES = (".csv", ".tsv")
# open_clip's defaults (--csv-img-key, --csv-caption-key) first, then what others call them
IMAGE_COLUMNS = ("filepath", "image", "image_path", "file_name")
CAPTION_COLUMNS = ("title", "caption", "text")
_FIELD_CHARACTERS = 2**20  # of one caption; csv's own limit is 2**17


class TablePairs(PairData):
    """Rows of a table; image files are looked for below the table's folder unless their path is absolute.

    Columns are separated by tabs if the head holds one (open_clip writes .csv files so), else by commas.

    Raises:
        UsageError: there is no such file, or it lacks a column.
        DataError: a row of another number of fields, without an image or without a caption, with its line.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._folder = path.parent
        self._lines: list[int] = []
        self._files: list[str] = []
        self._captions: list[str] = []
        digest = hashlib.sha256()
        for line, file, caption in _rows(path):
            self._lines.append(line)
            self._files.append(file)
            self._captions.append(caption)
            digest.update(f"{file}\0{caption}\0".encode())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._files)

    def caption(self, number: int) -> str:
        return self._captions[number]

    def image(self, number: int) -> ImageSource:
        return FileImage(self._files[number], self._folder / self._files[number])

    def where(self, number: int) -> str:
        return f"{self.name} line {self._lines[number]}"


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, image file and caption of each row."""
    before = csv.field_size_limit(_FIELD_CHARACTERS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter="\t" if "\t" in head else ",", strict=True)
            columns = next(reader, [])
            image, caption = _column(path, columns, IMAGE_COLUMNS), _column(path, columns, CAPTION_COLUMNS)
            for row in reader:
                if not row:
                    continue  # a blank line at the end
                line = reader.line_num
                if len(row) != len(columns):
                    raise DataError(
                        f"{path} line {line}: expected {len(columns)} fields, got {len(row)}; mend or remove it"
                    )
                for name, place in (("an image file", image), ("a caption", caption)):
                    if not row[place].strip() or "\0" in row[place]:
                        raise DataError(
                            f"{path} line {line}: expected {name} in column {columns[place]!r}, "
                            f"got {row[place]!r:.40}; mend or remove it"
                        )
                yield line, row[image], row[caption]
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: is no CSV ({error}); mend or remove it") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected UTF-8, got byte {error.object[error.start]:#04x}; save it as UTF-8"
        ) from error
    except FileNotFoundError as error:
        raise UsageError(f"plain: {path}: there is no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    finally:
        csv.field_size_limit(before)


def _column(path: Path, columns: list[str], wanted: tuple[str, ...]) -> int:
    for name in wanted:
        if name in columns:
            return columns.index(name)
    raise UsageError(
        f"plain: {path}: expected a column {' or '.join(wanted)}, got {', '.join(map(repr, columns)) or 'none'}"
    )
