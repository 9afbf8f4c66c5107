"""Where the store lies and what it says of itself; light enough for `minchange-eval list`."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minchange_eval.core.errors import DataError, NotPreparedError, UsageError
from minchange_eval.core.home import home
from minchange_eval.data.release import Kind

SCHEMA_VERSION = 1
CARD_FILE = "card.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class SkippedRow(BaseModel):
    """A row that `prepare --skip-broken` left out."""

    model_config = ConfigDict(frozen=True)

    where: str
    reason: str


class StoredFile(BaseModel):
    """One Arrow file of a store."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    size_bytes: int


class StoreCard(BaseModel):
    """What a prepared data set says of itself (`card.json`).

    Attributes:
        schema_version: of the store's layout; a newer one is refused, an older one keeps loading.
        source: file, folder or Hub data set that it was prepared from; empty for generated data.
        revision: commit, digest or seed of that source; empty when it cannot be told.
        origin: of a published data set what it was published from, as whoever published it states, or that it is not
            stated; else empty.
        verified: this is the official data, whole: the digest of the source or the fingerprint is known, or it was
            downloaded at the known revision; every item is there, and no row was skipped.
        subsets: subset -> K, or number of options.
        counts: subset -> items in the store.
        expected_items: how many the whole release has; None when it is not known.
        images: images in all items, a shared image counted each time.
        image_bytes: their size as released.
        fingerprint: SHA-256 over released bytes and texts; for generated data over decoded pixels and texts.
        skipped: rows that are not in the store, with the reason.
        files: the Arrow files, in the order of the items; files in the folder that are not named here are no part.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    kind: Kind = "sets"
    title: str = ""
    source: str = ""
    revision: str = ""
    origin: str = ""
    verified: bool = False
    licence: str = ""
    paper: str = ""
    synthetic: bool = False
    subsets: dict[str, int] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)
    expected_items: int | None = None
    images: int = 0
    image_bytes: int = 0
    fingerprint: str = ""
    quirks: list[str] = Field(default_factory=list)
    skipped: list[SkippedRow] = Field(default_factory=list)
    created: str = ""
    files: list[StoredFile] = Field(default_factory=list)

    @property
    def items(self) -> int:
        """How many candidate sets or choice questions the store holds."""
        return sum(self.counts.values())


def store_folder(name: str) -> Path:
    """Folder of one data set, whether it exists or not.

    Raises:
        UsageError: the name could not be a folder name of its own.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"data set name {name!r}: expected letters, digits, '_', '-' and '.'")
    return home() / "store" / name


def prepared_names() -> list[str]:
    """Names of the data sets that the store holds, sorted."""
    return sorted(card.parent.name for card in (home() / "store").glob(f"*/{CARD_FILE}"))


def read_card(folder: Path) -> StoreCard:
    """The card of a store.

    Raises:
        NotPreparedError: there is none; the message names the command.
        DataError: it is damaged, or was written by a newer version.
    """
    path = folder / CARD_FILE
    name = folder.name
    again = f"re-run: minchange-eval prepare {name} --force"
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotPreparedError(
            f"data set {name} is not prepared (looked in {folder}); run: minchange-eval prepare {name}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); {again}") from error
    _refuse_newer(text, path)
    try:
        return StoreCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: is no store card ({where}: {first['msg']}); {again}") from error


def _refuse_newer(text: str, path: Path) -> None:
    # read before the rest: a newer card may have fields of another shape, and that message would mislead
    version = re.search(r'"schema_version"\s*:\s*(\d+)', text)
    if version and int(version[1]) > SCHEMA_VERSION:
        raise DataError(
            f"{path}: was written by a newer minchange-eval (store version {version[1]}, this one reads up to "
            f"{SCHEMA_VERSION}); upgrade minchange-eval, or prepare again with --force"
        )
