"""A collection of examples in the form in which two are compared: distinct images, distinct captions, who has which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from minchange_eval.audit.caption_overlap import normalised
from minchange_eval.audit.examples import Example, ExampleSource
from minchange_eval.audit.hash_file import HashFile
from minchange_eval.audit.image_hash import ImageHash, hash_images
from minchange_eval.core.items import ImageSource

Progress = Callable[[Iterable[Example], int | None], Iterable[Example]]
NONE = -1  # in an entry: no image, or no caption


@dataclass
class SeenImage:
    """One image of a collection: by content where its bytes are at hand, else by name."""

    hashed: ImageHash | None
    names: set[str] = field(default_factory=set)

    @property
    def shown(self) -> str:
        """A name for messages."""
        return min(self.names, default="")


@dataclass(frozen=True)
class Collection:
    """What is known of a training or evaluation set after every image was hashed; pixels are gone.

    Attributes:
        name: as the user calls it.
        ids: of the examples, in their order.
        own_ids: whether those are ids of the data; else row numbers (0, 1, 2, … or 1, 2, 3, …, also where a column
            holds them), which are not compared.
        images: distinct ones.
        captions: distinct normalised captions.
        written: [captions] each as it was first written.
        entries: [entries, 3] (example, image, caption): this caption is said of this image; `NONE` where there is none.
    """

    name: str
    ids: tuple[str, ...]
    own_ids: bool
    images: tuple[SeenImage, ...]
    captions: tuple[str, ...]
    written: tuple[str, ...]
    entries: NDArray[np.intp]

    @property
    def unreadable(self) -> list[ImageHash]:
        """Images whose bytes are there and make no picture."""
        return [image.hashed for image in self.images if image.hashed is not None and image.hashed.fault]

    def examples_with(self, column: int, flagged: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Examples that have one of the flagged images (column 1) or captions (column 2)."""
        there = self.entries[:, column] != NONE
        return np.unique(self.entries[there, 0][flagged[self.entries[there, column]]])


def collect(source: ExampleSource, *, kept: HashFile | None = None, progress: Progress | None = None) -> Collection:
    """Go through the examples once, hash every image, keep what comparing needs.

    Args:
        kept: hashes of earlier runs by content; None hashes everything anew.
        progress: wraps the examples as they are read, with their number where it is known.

    Raises:
        DataError: a row is broken; a broken image is counted instead (`Collection.unreadable`).
    """
    examples: Iterable[Example] = source.read()
    if progress is not None:
        examples = progress(examples, source.rows)
    building = _Building()
    for example, hashes in hash_images(((example, _pictures(example)) for example in examples), kept):
        building.add(example, hashes)
    return Collection(
        name=source.name,
        ids=tuple(building.ids),
        own_ids=source.own_ids and not _are_row_numbers(building.ids),
        images=tuple(building.images),
        captions=tuple(building.captions),
        written=tuple(building.written),
        entries=np.array(building.entries, dtype=np.intp).reshape(-1, 3),
    )


def _are_row_numbers(ids: Sequence[str]) -> bool:
    return any(ids == [str(number) for number in range(first, first + len(ids))] for first in (0, 1))


def _pictures(example: Example) -> list[ImageSource]:
    return [image for part in example.parts for image in part.images if not isinstance(image, str)]


class _Building:
    """The tables of a collection while its examples stream past."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.images: list[SeenImage] = []
        self.captions: list[str] = []
        self.written: list[str] = []
        self.entries: list[tuple[int, int, int]] = []
        self._image_numbers: dict[tuple[str, str], int] = {}
        self._caption_numbers: dict[str, int] = {}

    def add(self, example: Example, hashes: Iterable[ImageHash]) -> None:
        """Take in one example, with the hashes of those of its images that are at hand."""
        following = iter(hashes)
        number = len(self.ids)
        self.ids.append(example.example_id)
        for part in example.parts:
            images = [
                self._named(image) if isinstance(image, str) else self._hashed(next(following)) for image in part.images
            ]
            captions = [self._caption(caption) for caption in part.captions if caption.strip()]
            self.entries += [(number, image, text) for image in images or [NONE] for text in captions or [NONE]]

    def _hashed(self, image: ImageHash) -> int:
        return self._image(("sha256", image.sha256) if image.sha256 else ("name", image.name), image, image.name)

    def _named(self, name: str) -> int:
        return self._image(("name", name), None, name)

    def _image(self, key: tuple[str, str], hashed: ImageHash | None, name: str) -> int:
        number = self._image_numbers.setdefault(key, len(self.images))
        if number == len(self.images):
            self.images.append(SeenImage(hashed))
        self.images[number].names.add(name)
        return number

    def _caption(self, caption: str) -> int:
        text = normalised(caption)
        number = self._caption_numbers.setdefault(text, len(self.captions))
        if number == len(self.captions):
            self.captions.append(text)
            self.written.append(caption)
        return number
