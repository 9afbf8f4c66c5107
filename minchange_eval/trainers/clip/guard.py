"""Before the first step: nothing is trained on that is evaluated afterwards.

Guilty are an image (the same bytes, or the same picture by its perceptual hash), an id that tells anything, and the
captions of a whole candidate set. One shared caption is no guilt: "a photo of a dog" is written again by whoever sees
one. Weaker signs are for `minchange-eval audit contamination` (docs/contamination.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Resampling
from pydantic import BaseModel, ConfigDict

from minchange_eval.audit.caption_overlap import normalised
from minchange_eval.audit.collection import Collection, Progress, collect
from minchange_eval.audit.examples import Example, ExampleSource, Part
from minchange_eval.audit.hash_file import HashFile
from minchange_eval.audit.image_hash import ImageHash
from minchange_eval.audit.near_images import near_images
from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.images import open_image
from minchange_eval.core.items import CandidateSet, ImageSource, item_id
from minchange_eval.data.prepare import open_or_prepare
from minchange_eval.data.store import Store
from minchange_eval.trainers.clip.sources import PairData, SetData

__all__ = ["Benchmark", "GuardResult", "Overlap", "OverlapError", "guard"]

Kind = Literal["image", "near_image", "id", "captions"]
KINDS: dict[Kind, str] = {
    "image": "same image, byte for byte",
    "near_image": "same image but for encoding or size",
    "id": "same id",
    "captions": "all captions of a candidate set",
}
# Two pictures with near hashes are one if their colours agree on a 16 x 16 grid, in levels of 255, on average and in
# every cell. JPEGs of quality 30 and pictures at half the size stay below both; drawings of other scenes do not.
GRID = 16
MEAN_LEVELS, MOST_LEVELS = 4.5, 32
_LISTED = 5  # of each kind

Cells = NDArray[np.uint8]


class Overlap(BaseModel):
    """One thing that is trained on and evaluated.

    Attributes:
        kind: a key of `KINDS`.
        training: where it stands in the training data.
        benchmark: the evaluated data set.
        item: id of the evaluated set or question.
        shown: the image's name or the captions.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    training: str
    benchmark: str
    item: str
    shown: str = ""

    def __str__(self) -> str:
        said = f" ({self.shown})" if self.shown else ""
        return f"{self.training} ~ {self.benchmark} {self.item}: {KINDS[self.kind]}{said}"


class Benchmark(BaseModel):
    """A data set that is evaluated, and what of it is trained on.

    Attributes:
        fingerprint: of the store that was compared.
        items: candidate sets or questions.
        overlaps: kind -> how many of its images, ids or candidate sets.
        alike: images with a perceptual hash near a training image's that are other pictures when looked at.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    fingerprint: str
    items: int
    overlaps: dict[Kind, int]
    alike: int


class GuardResult(BaseModel):
    """What the training data share with what is evaluated; part of the training record.

    Attributes:
        images: distinct training images that were compared.
        benchmarks: each with its counts.
        first: some of each kind and benchmark.
        allowed: whether training went on in spite of them.
    """

    model_config = ConfigDict(frozen=True)

    images: int = 0
    benchmarks: tuple[Benchmark, ...] = ()
    first: tuple[Overlap, ...] = ()
    allowed: bool = False

    @property
    def found(self) -> bool:
        """Whether anything is shared."""
        return any(count for benchmark in self.benchmarks for count in benchmark.overlaps.values())


class OverlapError(UsageError):
    """Training data and evaluated benchmarks overlap; `result` says in what."""

    def __init__(self, result: GuardResult) -> None:
        self.result = result
        counts = [
            f"{count:,} of {benchmark.name}: {KINDS[kind]}"
            for benchmark in result.benchmarks
            for kind, count in benchmark.overlaps.items()
            if count
        ]
        first = {overlap.kind: str(overlap) for overlap in reversed(result.first)}
        super().__init__(
            f"training data hold what is evaluated ({'; '.join(counts)}); for example "
            f"{'; '.join(first[kind] for kind in KINDS if kind in first)}; evaluate something else, leave these out, "
            "or take --allow-overlap, which the checkpoint's record will say"
        )


def guard(
    sets: SetData | None,
    pairs: PairData | None,
    benchmarks: Sequence[str],
    *,
    allow_overlap: bool = False,
    kept: HashFile | None = None,
    progress: Progress | None = None,
) -> GuardResult:
    """Compare everything that will be trained on with everything that will be evaluated.

    Args:
        benchmarks: data sets of the store; none compares nothing.
        allow_overlap: return what was found instead of raising.
        kept: hashes of images that were computed before, by content.
        progress: wraps the training images as they are hashed, with their number.

    Raises:
        OverlapError: something is shared.
        DataError: a training image cannot be read or decoded, which is better known now than in the last epoch.
    """
    if not benchmarks:
        return GuardResult()
    training = _Training(sets, pairs)
    hashed = collect(ExampleSource("training data", len(training), False, training.read), kept=kept, progress=progress)
    training.require_readable(hashed)
    found = [_compared(training, hashed, open_or_prepare(name), kept) for name in dict.fromkeys(benchmarks)]
    result = GuardResult(
        images=len(hashed.images),
        benchmarks=tuple(benchmark for benchmark, _ in found),
        first=tuple(overlap for _, overlaps in found for overlap in overlaps),
    )
    if result.found and not allow_overlap:
        raise OverlapError(result)
    return result.model_copy(update={"allowed": result.found})


@dataclass(frozen=True)
class _Training:
    """Every member of the sets, then every pair, as one numbered row of images."""

    sets: SetData | None
    pairs: PairData | None

    @cached_property
    def _members(self) -> int:
        return len(self.sets.images) if self.sets else 0

    def __len__(self) -> int:
        return self._members + (len(self.pairs) if self.pairs else 0)

    def read(self) -> Iterator[Example]:
        for number in range(len(self)):
            yield Example(str(number), (Part((self.image(number),), ()),))

    def image(self, number: int) -> ImageSource:
        if self.sets is not None and number < self._members:
            return self.sets.images[number]
        assert self.pairs is not None
        return self.pairs.image(number - self._members)

    def where(self, number: int) -> str:
        if self.sets is not None and number < self._members:
            return self.sets.where_of(number)
        assert self.pairs is not None
        return self.pairs.where(number - self._members)

    def require_readable(self, hashed: Collection) -> None:
        faulty = [number for number, image in enumerate(hashed.images) if image.hashed and image.hashed.fault]
        if faulty:
            image = hashed.images[faulty[0]].hashed
            assert image is not None
            raise DataError(
                f"{self.where(_row(hashed, faulty[0]))}: {image.fault}; put it back or take it out "
                f"({len(faulty):,} of {len(hashed.images):,} training images cannot be read)"
            )


def _compared(
    training: _Training, hashed: Collection, store: Store, kept: HashFile | None
) -> tuple[Benchmark, list[Overlap]]:
    comparing = _Comparing(training, hashed, store, collect(_images_of(store), kept=kept))
    near, alike = comparing.near_images()
    overlaps: dict[Kind, list[Overlap]] = {
        "image": comparing.same_images(),
        "near_image": near,
        "id": comparing.ids(),
        "captions": comparing.captions(),
    }
    benchmark = Benchmark(
        name=store.card.name,
        fingerprint=store.card.fingerprint,
        items=len(store),
        overlaps={kind: len(found) for kind, found in overlaps.items()},
        alike=alike,
    )
    return benchmark, [overlap for found in overlaps.values() for overlap in found[:_LISTED]]


def _images_of(store: Store) -> ExampleSource:
    def read() -> Iterator[Example]:
        for item in store.items():
            yield Example(item_id(item), (Part(item.images, ()),))

    return ExampleSource(store.card.name, len(store), True, read)


@dataclass(frozen=True)
class _Comparing:
    """Training data and one benchmark while they are compared."""

    training: _Training
    hashed: Collection
    store: Store
    theirs: Collection

    def same_images(self) -> list[Overlap]:
        ours = {image.sha256: number for number, image in enumerate(_hashes(self.hashed))}
        shared = ((ours.get(image.sha256), number) for number, image in enumerate(_hashes(self.theirs)))
        return [self._of_image("image", one, other) for one, other in shared if one is not None]

    def near_images(self) -> tuple[list[Overlap], int]:
        """Images of the benchmark that are a training image encoded anew; and how many have a near hash only.

        Those that are a training image byte for byte are in neither.
        """
        ours, theirs = _hashes(self.hashed), _hashes(self.theirs)
        same = {image.sha256 for image in ours}
        found: dict[int, Overlap] = {}
        alike: set[int] = set()
        places, others, _ = near_images(theirs, ours)
        looked_at: dict[tuple[bool, int], Cells] = {}
        for other, one in zip(places.tolist(), others.tolist(), strict=True):
            if other in found or theirs[other].sha256 in same:
                continue
            if _is_same(*(self._cells(looked_at, side, number) for side, number in ((False, one), (True, other)))):
                found[other] = self._of_image("near_image", one, other)
            else:
                alike.add(other)
        return list(found.values()), len(alike - found.keys())

    def ids(self) -> list[Overlap]:
        """Ids that agree and are more than a count."""
        if self.training.sets is None:
            return []
        ours = {set_id: number for number, set_id in reversed(list(enumerate(self.training.sets.set_ids)))}
        return [
            Overlap(kind="id", training=self.training.where(ours[one]), benchmark=self.store.card.name, item=one)
            for one in dict.fromkeys(self.theirs.ids)
            if one in ours and is_telling(one)
        ]

    def captions(self) -> list[Overlap]:
        """Candidate sets whose captions are all among those of one group of the training data."""
        if self.training.sets is None or self.store.card.kind != "sets":
            return []
        groups = _captions_of_groups(self.training.sets)
        return [
            Overlap(
                kind="captions",
                training=self.training.sets.where(group, 0),
                benchmark=self.store.card.name,
                item=item_id(item),
                shown=" | ".join(wanted[:2]),
            )
            for item, wanted, group in self._sets_within(groups)
        ]

    def _sets_within(self, groups: list[frozenset[str]]) -> Iterator[tuple[CandidateSet, tuple[str, ...], int]]:
        with_caption: dict[str, set[int]] = {}
        for number, captions in enumerate(groups):
            for caption in captions:
                with_caption.setdefault(caption, set()).add(number)
        for item in self.store.items():
            assert isinstance(item, CandidateSet)
            for wanted in dict.fromkeys((item.captions, item.query_captions)):
                together = {normalised(caption) for caption in wanted}
                hold_all = set.intersection(*(with_caption.get(caption, set()) for caption in together))
                if len(together) > 1 and hold_all:
                    yield item, wanted, min(hold_all)
                    break

    def _cells(self, looked_at: dict[tuple[bool, int], Cells], is_theirs: bool, number: int) -> Cells:
        if (is_theirs, number) not in looked_at:
            picture = open_image(self._source(is_theirs, number))
            looked_at[is_theirs, number] = np.asarray(picture.resize((GRID, GRID), Resampling.BOX))
        return looked_at[is_theirs, number]

    def _source(self, is_theirs: bool, number: int) -> ImageSource:
        if not is_theirs:
            return self.training.image(_row(self.hashed, number))
        wanted = _hashes(self.theirs)[number].sha256
        return next(image for image in self._item_of(number).images if image.sha256 == wanted)

    def _item_of(self, number: int) -> CandidateSet:
        item: CandidateSet = self.store.item(_row(self.theirs, number))  # type: ignore[assignment]
        return item

    def _of_image(self, kind: Kind, one: int, other: int) -> Overlap:
        return Overlap(
            kind=kind,
            training=self.training.where(_row(self.hashed, one)),
            benchmark=self.store.card.name,
            item=self.theirs.ids[_row(self.theirs, other)],
            shown=self.theirs.images[other].shown,
        )


def is_telling(set_id: str) -> bool:
    """Whether an id is more than the place in a file: six digits beside leading zeros, or a mixed hexadecimal number.

    >>> [is_telling(one) for one in ("count/0042", "relation/row622", "000000391895", "object/1f0c9a7e")]
    [False, False, True, True]
    """
    return any(
        len(part.lstrip("0")) >= 6 if part.isdecimal() else re.fullmatch(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f]{8,}", part)
        for part in re.split(r"[^0-9A-Za-z]+", set_id.lower())
    )


def _is_same(one: Cells, other: Cells) -> bool:
    apart = np.abs(one.astype(np.int16) - other).max(axis=2)
    return bool(apart.mean() <= MEAN_LEVELS and apart.max() <= MOST_LEVELS)


def _captions_of_groups(sets: SetData) -> list[frozenset[str]]:
    texts = [normalised(caption) for caption in sets.captions]
    starts = np.cumsum(sets.sizes) - sets.sizes
    return [frozenset(texts[start : start + size]) for start, size in zip(starts, sets.sizes, strict=True)]


def _hashes(collection: Collection) -> list[ImageHash]:
    return [image.hashed for image in collection.images if image.hashed is not None]  # all are at hand


def _row(collection: Collection, image: int) -> int:
    """The first example that has an image."""
    row: int = collection.entries[np.argmax(collection.entries[:, 1] == image), 0]
    return row
