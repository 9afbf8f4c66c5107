"""What is trained on: candidate sets of the store, and plain image-caption pairs from wherever they lie.

Opening reads texts and places only; pixels stay on disk until a member is loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import CandidateSet, ImageSource
from minchange_eval.data.prepare import open_or_prepare
from minchange_eval.data.store import Store
from minchange_eval.data.store_card import StoreCard


class SetData:
    """The candidate sets of one or more stores as groups of members; caption i of a group is true of image i.

    Sets of one store that share their first image and its caption (VisMin's edits of one original) are one group with
    that member once: in one batch the copies would be each other's false negatives.

    Attributes:
        cards: of the stores, in the order given.
        sizes: int64 [groups], members of each.
        subsets: [groups], the subset of each; a group of several sets counts as of its first one's.
        captions: [members], those of group 0 first.
        images: [members].
        set_ids: [members], of the set that the member was first seen in.

    Raises:
        DataError: a set without negatives, or one caption everywhere.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self.cards: tuple[StoreCard, ...] = tuple(store.card for store in stores)
        self.subsets: list[str] = []
        self.captions: list[str] = []
        self.images: list[ImageSource] = []
        self.set_ids: list[str] = []
        self._stores: list[int] = []  # [groups]
        sizes: list[int] = []
        for number, store in enumerate(stores):
            for group in _groups(store):
                sizes.append(self._add(group, number))
        self.sizes: NDArray[np.int64] = np.array(sizes, dtype=np.int64)
        self._starts = np.cumsum(self.sizes) - self.sizes
        if self.captions and len(set(self.captions)) == 1:
            raise DataError(_one_caption(", ".join(card.name for card in self.cards), self.captions))

    @classmethod
    def open(cls, names: Sequence[str]) -> SetData:
        """Open prepared data sets; those that a generator draws are drawn where they are missing.

        Raises:
            NotPreparedError: one is not in the store; the message names the command.
            UsageError: named twice, or choice questions.
            DataError: damaged, without sets, or a set without negatives.
        """
        if twice := [name for name in names if list(names).count(name) > 1]:
            raise UsageError(f"sets: {twice[0]} is named twice; name it once, `mix` draws a subset more often")
        stores = [open_or_prepare(name) for name in names]
        for store in stores:
            if store.card.kind != "sets":
                raise UsageError(f"sets: {store.card.name} holds choice questions; CLIP trains on candidate sets")
            if not len(store):
                raise DataError(f"{store.folder}: holds no candidate set; prepare it again with --force")
        return cls(stores)

    def __len__(self) -> int:
        """Number of groups."""
        return len(self.sizes)

    def place(self, number: int, member: int) -> int:
        """Where a member of a group stands in `captions`, `images` and `set_ids`."""
        return int(self._starts[number]) + member

    def where(self, number: int, member: int) -> str:
        """Which member this is, for messages."""
        card = self.cards[self._stores[number]]
        return f"{card.name} set {self.set_ids[self.place(number, member)]} member {member}"

    def where_of(self, place: int) -> str:
        """Which member stands at that place of `images`, for messages."""
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self.where(number, place - int(self._starts[number]))

    def mend(self, number: int) -> str:
        """What to do about a member that cannot be loaded."""
        return f"run: minchange-eval prepare {self.cards[self._stores[number]].name} --force"

    def _add(self, sets: Sequence[CandidateSet], store: int) -> int:
        seen: set[tuple[str, str]] = set()
        for item in sets:
            for image, caption in zip(item.images, item.captions, strict=True):
                if (image.sha256, caption) not in seen:
                    seen.add((image.sha256, caption))
                    self.images.append(image)
                    self.captions.append(caption)
                    self.set_ids.append(item.set_id)
        if len(seen) < 2:
            raise DataError(
                f"{self.cards[store].name} set {sets[0].set_id}: has no negatives, its images and captions are copies; "
                "remove the set and prepare again, or train on it as plain pairs"
            )
        self.subsets.append(sets[0].subset)
        self._stores.append(store)
        return len(seen)


def _groups(store: Store) -> Iterable[list[CandidateSet]]:
    """Sets with the same first image and caption, in the order of their first."""
    by_original: dict[tuple[str, str], list[CandidateSet]] = {}
    for item in store.items():
        assert isinstance(item, CandidateSet)
        by_original.setdefault((item.images[0].sha256, item.captions[0]), []).append(item)
    return by_original.values()


class PairData(ABC):
    """Plain image-caption pairs, numbered from 0.

    Attributes:
        name: as the user calls them.
        licence: as far as the source states it; empty where it does not.
        fingerprint: digest of what names the pairs and their captions; pixels are not read for it.
    """

    name: str
    licence: str = ""
    fingerprint: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def caption(self, number: int) -> str:
        """The caption of a pair.

        Raises:
            DataError: it cannot be read, or is none.
        """

    @abstractmethod
    def image(self, number: int) -> ImageSource:
        """The image of a pair; its pixels are not read here."""

    @abstractmethod
    def where(self, number: int) -> str:
        """Which pair this is, as a person would look it up."""

    def captions(self) -> Iterator[str]:
        """All captions in their order."""
        return (self.caption(number) for number in range(len(self)))


class StorePairs(PairData):
    """One member of each candidate set of a store; member i of set i, i + K, …, so that no kind of member prevails.

    Raises:
        UsageError: the store holds choice questions.
    """

    def __init__(self, store: Store) -> None:
        if store.card.kind != "sets":
            raise UsageError(f"store:{store.card.name}: holds choice questions; expected candidate sets")
        self.store = store
        self.name = f"store:{store.card.name}"
        self.licence = store.card.licence
        self.fingerprint = store.card.fingerprint

    def __len__(self) -> int:
        return len(self.store)

    def caption(self, number: int) -> str:
        item = self._item(number)
        return item.captions[number % item.k]

    def image(self, number: int) -> ImageSource:
        item = self._item(number)
        return item.images[number % item.k]

    def where(self, number: int) -> str:
        item = self._item(number)
        return f"{self.name} set {item.set_id} member {number % item.k}"

    def _item(self, number: int) -> CandidateSet:
        item = self.store.item(number)
        assert isinstance(item, CandidateSet)
        return item


def open_pairs(address: str) -> PairData:
    """Plain pairs by their address.

    Args:
        address: a .csv or .tsv file; a .tar shard, a folder of them, or `part-{00000..00099}.tar`; a .parquet file or a
            folder of them; `hub:owner/name[@revision][#split]`; `store:NAME`.

    Raises:
        UsageError: nothing is there, or of no known kind.
        NotPreparedError: `store:NAME` is not prepared.
        DataError: damaged, a row without image or caption, or one caption everywhere.
    """
    pairs = _opened(address)
    if not len(pairs):
        raise DataError(f"{address}: expected image-caption pairs, got none")
    captions = pairs.captions()
    first = next(captions)
    if all(caption == first for caption in captions):
        raise DataError(_one_caption(address, [first] * len(pairs)))
    return pairs


def _opened(address: str) -> PairData:
    # imported here: each reader stands on this module, and `datasets` is heavy
    from minchange_eval.trainers.clip import dataset_pairs, pair_tables, shards

    if address.startswith("hub:"):
        return dataset_pairs.hub_pairs(address)
    if address.startswith("store:"):
        return StorePairs(open_or_prepare(address.removeprefix("store:")))
    path = Path(address).expanduser()
    kind = _kind_of_folder(path) if path.is_dir() else path.suffix.lower()
    if kind in pair_tables.SUFFIXES:
        return pair_tables.TablePairs(path)
    if kind == ".tar":
        return shards.ShardPairs(address, shards.shards_of(address))
    if kind == ".parquet":
        if not path.exists():
            raise UsageError(f"plain: {address}: there is no such file")
        return dataset_pairs.parquet_pairs(address, sorted(path.rglob("*.parquet")) if path.is_dir() else [path])
    raise UsageError(f"plain: {address}: expected .csv, .tsv, .tar or .parquet files, hub:owner/name or store:NAME")


def _kind_of_folder(folder: Path) -> str:
    """What a folder of shards holds; empty where that is unclear."""
    found = [suffix for suffix in (".tar", ".parquet") if any(folder.rglob(f"*{suffix}"))]
    return found[0] if len(found) == 1 else ""


def _one_caption(name: str, captions: Sequence[str]) -> str:
    return (
        f"{name}: all {len(captions):,} captions are {captions[0][:60]!r}; there is nothing to tell apart, check which "
        "column or file the captions come from"
    )
