"""The layout in which data sets are published: Parquet files with embedded images, and `minchange.json`.

    minchange.json                   what the data set is, and every Parquet file with its SHA-256
    data/<subset>/00000.parquet, …   the items of one subset in released order, one row each

Columns are those of the store (docs/formats.md), with `position`, the item's place in the whole data set, before them.
Questions about one image each have it in a column `image`; else `images` holds them all. Both kinds of column decode by
themselves in `datasets` and in the Hub's viewer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minchange_eval.core.errors import DataError
from minchange_eval.data.release import Kind
from minchange_eval.data.store_card import SkippedRow

SCHEMA_VERSION = 1
MANIFEST_FILE = "minchange.json"
DATA_FOLDER = "data"
_LARGEST_MANIFEST = 20_000_000  # bytes; some 100,000 files
FILE_PATH = re.compile(rf"{DATA_FOLDER}/[A-Za-z0-9_][A-Za-z0-9_.-]*/\d{{5}}\.parquet")  # never outside of the folder


class PushedFile(BaseModel):
    """One Parquet file of a published data set.

    Attributes:
        path: below the folder, `data/count/00000.parquet`.
        subset: the one subset whose items it holds.
        sha256: of its bytes, 64 hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True)

    path: str = Field(pattern=f"^{FILE_PATH.pattern}$")
    subset: str
    rows: int = Field(ge=1)
    size_bytes: int
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a published data set says of itself (`minchange.json`); nobody vouches for it but who published it.

    Attributes:
        schema_version: of this layout; a newer one is refused, an older one keeps loading.
        source, revision: what it was prepared from before it was published; a local file by its name alone.
        fingerprint: of the store that was published, and of every store that is prepared from it.
        one_image: each question has one image, in a column `image`.
        subsets: subset -> K, or number of options, of its first item; for people, as counts is.
        counts: subset -> items.
        skipped: rows of the source that are in no file, with the reason.
        files: the Parquet files; others in the data folder are an error.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = Field(default=SCHEMA_VERSION, strict=True)
    name: str
    kind: Kind
    title: str = ""
    licence: str = ""
    source: str = ""
    revision: str = ""
    paper: str = ""
    synthetic: bool = False
    fingerprint: str = Field(pattern="^[0-9a-f]{64}$")
    one_image: bool = False
    subsets: dict[str, int]
    counts: dict[str, int]
    expected_items: int | None = Field(default=None, ge=1)
    images: int
    image_bytes: int
    quirks: tuple[str, ...] = ()
    skipped: tuple[SkippedRow, ...] = ()
    files: tuple[PushedFile, ...] = Field(min_length=1)

    @property
    def items(self) -> int:
        """How many candidate sets or choice questions it holds."""
        return sum(self.counts.values())

    @property
    def digest(self) -> str:
        """`sha256:` and the digest of all that it says; names a copy in a folder."""
        return f"sha256:{hashlib.sha256(self.model_dump_json().encode()).hexdigest()}"


def is_published(source: Path) -> bool:
    """Whether a folder holds a data set in this layout."""
    return (source / MANIFEST_FILE).is_file()


def read_manifest(folder: Path) -> Manifest:
    """What the published data set in a folder says of itself.

    Raises:
        DataError: there is nothing in this layout, it is damaged, or it was written by a newer version.
    """
    path = folder / MANIFEST_FILE
    try:
        if (size := path.stat().st_size) > _LARGEST_MANIFEST:
            raise ValueError(f"{size:,} bytes")
        content = json.loads(path.read_bytes())
        json.dumps(content, ensure_ascii=False).encode()  # half a character in a text could not be stored
        version = content.get("schema_version") if isinstance(content, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise DataError(
                f"{path}: was written by a newer minchange-eval (layout version {version}, this one reads up to "
                f"{SCHEMA_VERSION}); upgrade minchange-eval"
            )
        return Manifest.model_validate(content)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: expected a data set that `minchange-eval push dataset` wrote, got a folder without "
            f"{MANIFEST_FILE}; check the source"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: says of no data set what it is ({where}: {first['msg']}); get it again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); get it again") from error


def parquet_schema(kind: Kind, *, one_image: bool) -> Any:
    """Arrow schema of the Parquet files, with the note that lets `datasets` decode the images."""
    import pyarrow as pa

    from minchange_eval.data.arrow_files import schema_of

    stored = schema_of(kind)
    features: dict[str, Any] = json.loads(stored.metadata[b"huggingface"])["info"]["features"]
    fields: list[Any] = [pa.field("position", pa.int64())]
    noted: dict[str, Any] = {"position": {"dtype": "int64", "_type": "Value"}}
    for column in stored:
        if column.name == "images" and one_image:
            fields.append(pa.field("image", column.type.value_type))
            noted["image"] = {"_type": "Image"}
        else:
            fields.append(column)
            noted[column.name] = features[column.name]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": noted}})})


def folders_of(subsets: Sequence[str]) -> dict[str, str]:
    """Subset -> its folder, which is its configuration's name too: letters, digits, `_`, `-` and `.`, none twice.

    >>> folders_of(["count", "left/right", "left right"])
    {'count': 'count', 'left/right': 'left_right', 'left right': 'left_right_2'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for subset in subsets:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", subset)[:80].lstrip(".-") or "subset"
        name, number = plain, 1
        while name.lower() in taken:  # some file systems know no case
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.lower())
        found[subset] = name
    return found
