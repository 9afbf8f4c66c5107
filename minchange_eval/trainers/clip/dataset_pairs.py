"""Plain pairs that the `datasets` library reads: Parquet files with image bytes, and data sets of the Hugging Face Hub.

It keeps what it reads as memory-mapped Arrow files below `$MINCHANGE_HOME/pairs`, so rows are read at random without
being held in memory. `HF_HUB_OFFLINE=1` is obeyed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import DataError, NotPreparedError, UsageError
from minchange_eval.core.home import home
from minchange_eval.core.items import BytesImage, FileImage, ImageSource
from minchange_eval.trainers.clip.sources import PairData

IMAGE_COLUMNS = ("image", "jpg", "png", "webp", "img")
CAPTION_COLUMNS = ("caption", "text", "txt", "title")
_ADDRESS = re.compile(r"hub:(?P<name>[^@#]+)(@(?P<revision>[^#]+))?(#((?P<config>[^/]+)/)?(?P<split>.+))?")
_ROWS_AT_A_TIME = 1000


class DatasetPairs(PairData):
    """Rows of a `datasets.Dataset` that has a column of images and one of captions.

    Raises:
        DataError: it lacks one of the columns.
    """

    def __init__(self, name: str, rows: Any, identity: str = "") -> None:
        import datasets

        self.name = name
        self.licence = str(rows.info.license or "")
        image, self._caption = _column(name, rows, IMAGE_COLUMNS), _column(name, rows, CAPTION_COLUMNS)
        self._image = image
        self._texts = rows.select_columns([self._caption])
        try:
            self._images = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        except (TypeError, ValueError) as error:
            raise DataError(f"{name}: expected images in column {image!r}, got {rows.features[image]}") from error
        digest = hashlib.sha256(identity.encode())
        for caption in self.captions():
            digest.update(caption.encode() + b"\0")
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._texts)

    def caption(self, number: int) -> str:
        return self._checked(number, self._texts[number][self._caption])

    def captions(self) -> Iterator[str]:
        """All captions in their order, some thousand in memory at a time."""
        for start in range(0, len(self), _ROWS_AT_A_TIME):
            for place, caption in enumerate(self._texts[start : start + _ROWS_AT_A_TIME][self._caption]):
                yield self._checked(start + place, caption)

    def image(self, number: int) -> ImageSource:
        value = self._images[number][self._image]
        if not value or not (value.get("bytes") or value.get("path")):
            raise DataError(f"{self.where(number)}: has no image; mend or remove it")
        if value.get("bytes"):
            return BytesImage(value.get("path") or f"row {number}", value["bytes"])
        return FileImage(value["path"], Path(value["path"]))

    def where(self, number: int) -> str:
        return f"{self.name} row {number}"

    def _checked(self, number: int, caption: Any) -> str:
        if not isinstance(caption, str) or not caption.strip():
            raise DataError(
                f"{self.where(number)}: expected a caption in column {self._caption!r}, got {caption!r:.40}; "
                "mend or remove it"
            )
        return caption


def parquet_pairs(name: str, files: Sequence[Path]) -> DatasetPairs:
    """The rows of Parquet files, in the order of the files.

    Raises:
        DataError: a file is no Parquet, or lacks a column.
    """
    sizes = ",".join(f"{path.name}:{path.stat().st_size}" for path in files)
    return DatasetPairs(name, _loaded(name, "parquet", data_files={"train": list(map(str, files))}), sizes)


def hub_pairs(address: str) -> DatasetPairs:
    """The rows of `hub:owner/name`, with `@revision`, and with `#split` or `#config/split` (default: train).

    Raises:
        UsageError: no such data set, revision, configuration or split.
        NotPreparedError: it is not here and there is no network.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UsageError(f"plain: {address}: expected hub:owner/name, hub:owner/name@revision or …#split")
    said = found.groupdict()
    rows = _loaded(
        address, said["name"], said["config"], split=said["split"] or "train", revision=said["revision"] or None
    )
    return DatasetPairs(address, rows, f"{said['name']}@{said['revision'] or ''}")


def _loaded(address: str, path: str, config: str | None = None, *, split: str = "train", **more: Any) -> Any:
    import datasets
    import pyarrow as pa

    try:
        return datasets.load_dataset(path, config, split=split, cache_dir=str(home() / "pairs"), **more)
    except ConnectionError as error:
        raise NotPreparedError(
            f"plain: {address}: is not in the local cache and the Hub cannot be reached ({_first_line(error)})"
        ) from error
    except (datasets.exceptions.DatasetGenerationError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"{address}: is damaged or of another format ({_first_line(error.__cause__ or error)})"
        ) from error
    except (datasets.exceptions.DatasetsError, FileNotFoundError, ValueError) as error:
        raise UsageError(f"plain: {address}: cannot be opened ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _column(name: str, rows: Any, wanted: Sequence[str]) -> str:
    for column in wanted:
        if column in rows.column_names:
            return column
    raise DataError(f"{name}: expected a column {' or '.join(wanted)}, got {', '.join(rows.column_names)}; rename it")
