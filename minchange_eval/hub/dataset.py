"""A prepared data set as a folder that can be published: Parquet files, `minchange.json`, a card, a sample picture."""

from __future__ import annotations

from pathlib import Path

from minchange_eval.core.errors import UsageError
from minchange_eval.core.whole_files import write_whole
from minchange_eval.data.parquet_layout import MANIFEST_FILE, Manifest, PushedFile
from minchange_eval.data.store import Store
from minchange_eval.hub.parquet_files import FILE_BYTES, Survey, survey, write_parquet_files


def write_dataset_files(store: Store, folder: Path, *, file_bytes: int = FILE_BYTES) -> Manifest:
    """Write everything that is published of a store, the same bytes every time.

    Args:
        folder: made if it is not there; must be empty.
        file_bytes: a Parquet file ends after so many bytes of images.

    Raises:
        UsageError: the folder is not empty.
        DataError: the store is damaged, or is not what its card says.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder}: expected an empty folder to write {store.card.name} into; remove what is there")
    surveyed = survey(store)
    manifest = _manifest(store, surveyed, write_parquet_files(store, surveyed, folder, file_bytes=file_bytes))
    write_whole(folder / MANIFEST_FILE, [manifest.model_dump_json(indent=2).encode(), b"\n"])
    return manifest


def _manifest(store: Store, surveyed: Survey, files: tuple[PushedFile, ...]) -> Manifest:
    card = store.card
    return Manifest(
        name=card.name,
        kind=card.kind,
        title=card.title,
        licence=card.licence,
        source=_public(card.source),
        revision=card.revision,
        paper=card.paper,
        synthetic=card.synthetic,
        fingerprint=card.fingerprint,
        one_image=surveyed.one_image,
        subsets=card.subsets,
        counts=card.counts,
        expected_items=card.expected_items,
        images=card.images,
        image_bytes=card.image_bytes,
        quirks=tuple(card.quirks),
        skipped=tuple(card.skipped),
        files=files,
    )


def _public(source: str) -> str:
    """A source as strangers may read it: an address, or the name of a file or folder without where it lay."""
    if "://" in source or source.startswith("hub:"):
        return source
    path, images, more = source.partition(" with images of ")
    return f"{Path(path).name}{images}{more}"
