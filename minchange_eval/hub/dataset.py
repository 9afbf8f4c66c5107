"""A prepared data set as a folder that can be published: Parquet files, `minchange.json`, a card, a sample picture."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from minchange_eval.core.errors import UsageError
from minchange_eval.core.items import CandidateSet, Item
from minchange_eval.core.whole_files import write_whole
from minchange_eval.data.audit_results import read_audit
from minchange_eval.data.parquet_layout import MANIFEST_FILE, Manifest, PushedFile, folders_of
from minchange_eval.data.store import Store
from minchange_eval.data.store_card import SkippedRow
from minchange_eval.hub.address import HubAddress
from minchange_eval.hub.dataset_card import LONGEST_TEXT, SAMPLES_FILE, Published, dataset_card
from minchange_eval.hub.licences import inherited, sources_of
from minchange_eval.hub.manifest import CARD
from minchange_eval.hub.parquet_files import FILE_BYTES, Survey, survey, write_parquet_files
from minchange_eval.hub.upload import Push

_MOST_SHOWN = 24  # subsets of which the card shows an item


def dataset_push(
    store: Store,
    folder: Path,
    to: HubAddress,
    *,
    licence_reviewed: bool = False,
    samples_png: bytes = b"",
    file_bytes: int = FILE_BYTES,
) -> Push:
    """What a prepared data set is on the Hub; its files are written into a folder, which stays until they are sent.

    Args:
        folder, samples_png, file_bytes: as in `write_dataset_files`.

    Raises:
        UsageError, DataError, OSError: as in `write_dataset_files`.
    """
    written = write_dataset_files(
        store, folder, to, licence_reviewed=licence_reviewed, samples_png=samples_png, file_bytes=file_bytes
    )
    paths = [file.path for file in written.files] + [MANIFEST_FILE] + ([SAMPLES_FILE] if samples_png else [])
    return Push(
        kind="dataset",
        content={path: folder / path for path in paths},
        card=(folder / CARD).read_text(encoding="utf-8"),
        facts={"name": written.name, "fingerprint": written.fingerprint, "items": written.items},
        message=f"{written.name}: {written.items:,} {written.kind}, fingerprint {written.fingerprint[:12]}",
    )


def sample_items(store: Store) -> list[Item]:
    """What the card shows: the first item of each of the first subsets, with the beginnings of its texts."""
    return [_shortened(store.items(subset)[0]) for subset in store.subsets[:_MOST_SHOWN]]


def _shortened(item: Item) -> Item:
    if isinstance(item, CandidateSet):
        return replace(item, set_id=_cut(item.set_id), captions=tuple(map(_cut, item.captions)))
    question, options = _cut(item.question), tuple(map(_cut, item.options))
    return replace(item, question_id=_cut(item.question_id), question=question, options=options)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def write_dataset_files(
    store: Store,
    folder: Path,
    to: HubAddress,
    *,
    licence_reviewed: bool = False,
    samples_png: bytes = b"",
    file_bytes: int = FILE_BYTES,
) -> Manifest:
    """Write everything that is published of a store, the same bytes every time.

    Args:
        folder: made if it is not there; must be empty.
        to: where it is published; for the commands on the card.
        licence_reviewed: the user has reviewed that it may be published although no licence says so.
        samples_png: a picture of some items for the card; empty for none.
        file_bytes: a Parquet file ends after so many bytes of images.

    Raises:
        UsageError: the folder is not empty, or the licences of the sources do not allow it.
        DataError: the store is damaged, or is not what its card says.
        OSError: a file cannot be written.
    """
    licence = inherited(sources_of(store.card))
    licence.require_reviewed(reviewed=licence_reviewed)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder}: expected an empty folder to write {store.card.name} into; remove what is there")
    surveyed = survey(store)
    manifest = _manifest(store, surveyed, write_parquet_files(store, surveyed, folder, file_bytes=file_bytes))
    card = Published(
        manifest=manifest,
        folders=folders_of(list(surveyed.rows)),
        choices=surveyed.choices,
        to=to.repo_id,
        licence=licence,
        licence_reviewed=licence_reviewed,
        examples=sample_items(store),
        audit=read_audit(manifest.name, manifest.fingerprint),
        samples=bool(samples_png),
    )
    if samples_png:
        write_whole(folder / SAMPLES_FILE, [samples_png])
    write_whole(folder / CARD, [dataset_card(card).encode("utf-8", "backslashreplace")])
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
        skipped=tuple(SkippedRow(where=_no_folders(row.where), reason=_no_folders(row.reason)) for row in card.skipped),
        files=files,
    )


def _no_folders(text: str) -> str:
    """What is said of a broken row, with every absolute path cut down to its last name."""
    return re.sub(r"(?<![\w.:/])(?:[A-Za-z]:)?[/\\](?:[^/\\\s]+[/\\])+", "", text)


def _public(source: str) -> str:
    """A source as strangers may read it: an address, or the name of a file or folder without where it lay."""
    if "://" in source or source.startswith("hub:"):
        return source
    path, images, more = source.partition(" with images of ")
    return f"{Path(path).name}{images}{more}"
