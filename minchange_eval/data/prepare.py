"""From a release to the store: one streaming pass in which every image is decoded once and no byte is changed."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from minchange_eval.core.errors import DataError, NotPreparedError, UsageError
from minchange_eval.core.images import check
from minchange_eval.core.items import BytesImage, CandidateSet, Item, item_id
from minchange_eval.core.queries import option_text
from minchange_eval.data.download import download, download_published
from minchange_eval.data.known_fingerprints import is_known
from minchange_eval.data.parquet_layout import is_published, read_manifest
from minchange_eval.data.parquet_reader import published_items
from minchange_eval.data.release import BrokenRow, HubSource, Release
from minchange_eval.data.releases import find_release, is_release
from minchange_eval.data.store import Store, write_store
from minchange_eval.data.store_card import SkippedRow, StoreCard

Progress = Callable[[Iterable[Item], int | None], Iterable[Item]]

_log = logging.getLogger(__name__)
_WORKERS = min(4, os.cpu_count() or 1)
_SKIP = "re-run prepare with --skip-broken to leave such rows out and count them"
_AHEAD = 2 * _WORKERS  # items in memory beside the batch that is being written


def prepare(
    name: str,
    source: Path | HubSource | None = None,
    *,
    images: Path | None = None,
    like: str | None = None,
    licence: str = "",
    force: bool = False,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Put a release into the store, or open what is there.

    Args:
        name: of an official release or a registered generated data set; any name for a published data set.
        source: file or folder; a published data set (data/parquet_layout.py) in a folder or on the Hub; None downloads
            a release from the Hub where it is there, or draws generated data.
        images: folder of images, for a release whose source holds only the questions.
        like: the release whose layout the source has, for data of one's own under a name of their own.
        licence: of such data, as whoever prepares them states it; empty where nothing is stated.
        force: replace what is there; it stays usable until the new store is complete.
        skip_broken: leave broken rows out and count them in the card, instead of stopping at the first.
        progress: wraps the items as they are written, with their expected number.

    Raises:
        UsageError: unknown name, no source, or a store that cannot be written.
        NotPreparedError: a download is needed but `HF_HUB_OFFLINE` is set or the Hub cannot be reached.
        DataError: a broken row, with its number, the reason and what to do; a published data set that is not, to the
            last byte, what was published.
    """
    if licence and not like:
        raise UsageError(f"{name}: what its licence is, its release says; leave out --licence, which goes with --like")
    if isinstance(source, HubSource) or (source is not None and is_published(source)):
        if images is not None or skip_broken or like is not None:
            raise UsageError(
                f"{name}: a published data set is whole or refused; leave out --images, --skip-broken and --like"
            )
        locate = partial(_located_published, name, source)
    else:
        locate = partial(_located, _own(name, like, source, licence) if like else find_release(name), source, images)
    if not force:
        with suppress(NotPreparedError):
            return Store.open(name)
    found = locate()
    release = found.release
    again = "get the data set again" if found.origin else _SKIP
    reading = _Reading(release, again, skip_broken, list(found.skipped))
    items: Iterable[Item] = reading.items(release.read(*found.arguments))
    if progress is not None:
        items = progress(items, release.items)
    return write_store(name, items, card=_card(found), skipped=reading.skipped, force=force)


def open_or_prepare(name: str) -> Store:
    """Open a prepared data set; one that is not there is prepared first, if that needs nothing from the user.

    Generated data are drawn, and drawn again when this version's generator draws them otherwise; official data are
    downloaded where they lie on the Hub.

    Raises:
        NotPreparedError: only the user can prepare it, or there is no network; the message names the command.
        DataError: the store is damaged, or the download is.
    """
    try:
        store = Store.open(name)
    except NotPreparedError:
        release = find_release(name)
        if not release.synthetic and release.hub is None:
            raise NotPreparedError(
                f"data set {name} is not prepared; {release.how_to_get}: minchange-eval prepare {name} --source PATH"
            ) from None
        _log.warning("%s is not prepared yet; preparing it now", name)
        return prepare(name)
    if store.card.synthetic and not store.card.source and store.card.revision != (now := find_release(name).revision):
        _log.warning("%s was drawn as %s, this version draws %s; drawing it again", name, store.card.revision, now)
        return prepare(name, force=True)
    if store.card.origin and not store.card.verified and is_release(name):
        _log.warning("%s is what %s calls so; it is not verified to be %s", name, store.card.source, name)
    return store


def _own(name: str, like: str, source: Path | None, licence: str) -> Release:
    """Data of one's own in the layout of a release: nothing that is known of the release is known of them."""
    layout = find_release(like)
    if is_release(name):
        raise UsageError(f"{name} --like {like}: {name} is a data set of its own; choose another name")
    if layout.synthetic or source is None:
        raise UsageError(f"{name} --like {like}: expected --source PATH and a data set that is read from files")
    return Release(
        name=name,
        kind=layout.kind,
        title=f"{name}, in the layout of {like}",
        licence=licence,
        subsets=layout.subsets,
        read=layout.read,
        how_to_get=f"expected the layout of {like}: {layout.how_to_get}",
        needs_images=layout.needs_images,
    )


@dataclass(frozen=True)
class _Located:
    """Where a release was found: what to call its reader with, and what is known of its revision and content."""

    release: Release
    arguments: tuple[Path | None, ...]
    source: str = ""
    revision: str = ""
    official: bool = False
    fingerprint: str = ""
    origin: str = ""
    skipped: tuple[SkippedRow, ...] = ()


def _located(release: Release, source: Path | None, images: Path | None) -> _Located:
    if release.synthetic:
        if source is not None or images is not None:
            raise UsageError(f"{release.name} is drawn, not read: run it without --source and --images")
        return _Located(release, (None,), revision=release.revision, official=True)
    revision, official = "", False
    if source is None:
        if release.hub is None:
            raise UsageError(f"{release.name} needs --source PATH; {release.how_to_get}")
        source, revision = download(release.name, release.hub)
        official = revision == release.revision
        shown = f"https://huggingface.co/datasets/{release.hub.repo_id}"
    elif not source.exists():
        raise UsageError(f"--source {source}: there is no such file or folder; {release.how_to_get}")
    else:
        shown = str(source.resolve())
    if release.identify is not None:
        revision = release.identify(source) or revision
        # a digest vouches for the content; the commit of a clone does not, its files may have been changed since
        official = revision.startswith("sha256:") and revision == release.revision
    if images is None and release.images_hub is not None and release.needs_images(source):
        images, of_images = download(release.name, release.images_hub)
        shown += f" with images of {release.images_hub.repo_id}@{of_images}"
    if images is None:
        return _Located(release, (source,), shown, revision, official)
    if not images.is_dir():
        raise UsageError(f"--images {images}: there is no such folder")
    return _Located(release, (source, images), shown, revision)  # nothing vouches for images from elsewhere


def _located_published(name: str, source: Path | HubSource) -> _Located:
    """A published data set, under its own name or one that no release has."""
    if isinstance(source, HubSource):
        folder, revision, manifest = download_published(name, source)
        shown = f"hub:{source.repo_id}"
    else:
        folder, manifest = source, read_manifest(source)
        revision, shown = manifest.digest, str(source.resolve())
    if name != manifest.name and is_release(name):
        raise UsageError(
            f"{shown}: holds {manifest.name}, which cannot pose as {name}; prepare it under its own name or a new one"
        )
    release = Release(
        name=name,
        kind=manifest.kind,
        title=manifest.title,
        licence=manifest.licence,
        subsets={},  # read off the items
        read=lambda source: published_items(source, manifest),
        paper=manifest.paper,
        revision=revision,
        synthetic=manifest.synthetic,
        quirks=manifest.quirks,
        items=manifest.expected_items,
    )
    official = is_known(name, manifest.fingerprint)
    if official:  # what is known of it is not for whoever published this copy to say
        known = find_release(name)
        release = replace(release, title=known.title, licence=known.licence, paper=known.paper, quirks=known.quirks)
    return _Located(
        release,
        (folder,),
        shown,
        revision,
        official=official,
        fingerprint=manifest.fingerprint,
        origin=" at ".join(filter(None, (manifest.source, manifest.revision))) or "not stated",
        skipped=manifest.skipped,
    )


def _card(found: _Located) -> StoreCard:
    release = found.release
    return StoreCard(
        name=release.name,
        kind=release.kind,
        title=release.title,
        source=found.source,
        revision=found.revision,
        origin=found.origin,
        fingerprint=found.fingerprint,
        verified=found.official,
        licence=release.licence,
        paper=release.paper,
        synthetic=release.synthetic,
        subsets=dict(release.subsets),
        expected_items=release.items,
        quirks=list(release.quirks),
    )


@dataclass
class _Reading:
    """Validates rows as they stream past."""

    release: Release
    what_to_do: str
    skip_broken: bool
    skipped: list[SkippedRow] = field(default_factory=list)

    def items(self, rows: Iterable[Item | BrokenRow]) -> Iterator[Item]:
        """The sound items, with their images in memory; a few are decoded ahead."""
        seen: set[str] = set()
        for number, row, loading in self._loading(rows):
            if loading is None:
                self._broken(row)
                continue
            assert not isinstance(row, BrokenRow)
            where = f"row {number} ({item_id(row)})"
            reason = _text_fault(row) or ("its id stands twice" if item_id(row) in seen else "")
            seen.add(item_id(row))
            try:
                item = loading.result()
            except DataError as error:
                reason = reason or str(error)
            if reason:
                self._broken(BrokenRow(where, reason))
            else:
                yield item

    def _loading(self, rows: Iterable[Item | BrokenRow]) -> Iterator[tuple[int, Item | BrokenRow, Future[Item] | None]]:
        """Rows in their order, with their images on the way."""
        pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="decode")
        window: deque[tuple[int, Item | BrokenRow, Future[Item] | None]] = deque()
        try:
            for number, row in enumerate(rows, 1):
                window.append((number, row, None if isinstance(row, BrokenRow) else pool.submit(_load, row)))
                if len(window) > _AHEAD:
                    yield window.popleft()
            yield from window
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _broken(self, row: Item | BrokenRow) -> None:
        assert isinstance(row, BrokenRow)
        if not self.skip_broken:
            raise DataError(f"{self.release.name} {row.where}: {row.reason}; {self.what_to_do}")
        self.skipped.append(SkippedRow(where=row.where, reason=row.reason))


def _load(item: Item) -> Item:
    """The item with its images in memory, each decoded once as a check."""
    images = []
    for image in item.images:
        try:
            loaded = BytesImage(image.name, image.read())
        except OSError as error:
            raise DataError(f"image {image.name}: cannot be read ({error.strerror or error})") from error
        check(loaded.data, loaded.name)
        _ = loaded.sha256  # computed here, beside the decoding, and kept
        images.append(loaded)
    return replace(item, images=tuple(images))


def _text_fault(item: Item) -> str:
    if isinstance(item, CandidateSet):
        fields = {"captions": item.captions, "query_captions": item.query_captions}
    else:
        fields = {"question": (item.question,), "options": item.options}
    for name, values in fields.items():
        for index, value in enumerate(values):
            text = option_text(value) if name == "options" else value
            if not text.strip():
                return f"{name}[{index}] is empty"
    return ""
