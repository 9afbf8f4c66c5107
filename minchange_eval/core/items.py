"""The two kinds of item that every job of this project is a job on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol


class ImageSource(Protocol):
    """An image by content: equal digests are the same picture, wherever the bytes lie.

    Sources are small and picklable, so that a loader process can be handed a million of them; `read` is
    the only method that touches pixels.
    """

    @property
    def sha256(self) -> str:
        """Digest of the bytes as released, 64 hexadecimal digits."""

    @property
    def name(self) -> str:
        """The path or name that the release gives it; for messages, never a key."""

    def read(self) -> bytes:
        """The bytes exactly as released.

        Raises:
            DataError: they cannot be read, or are no longer what `sha256` says.
        """


@dataclass(frozen=True)
class BytesImage:
    """An image held in memory."""

    name: str
    data: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def read(self) -> bytes:
        return self.data


@dataclass(frozen=True)
class FileImage:
    """An image in a file of its own, read when asked for and not kept."""

    name: str
    path: Path

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True)
class CandidateSet:
    """K images and K captions that differ in one thing; caption i is true of image i and of no other.

    Attributes:
        set_id: unique in the data set; the cluster, record and log keys are built from it.
        subset: the benchmark's own division (`count`, `relation`), the stratum of macro means.
        images: K images.
        captions: K candidates of image-to-text, in the order of `images`.
        query_captions: K probes of text-to-image, in the order of `images`. SPEC words them differently.
        image_to_text: for image i the candidates in the released order, as indices into `captions`.
        text_to_image: for caption i the candidates in the released order, as indices into `images`.
        facts: whatever else the release says of the set; plain JSON values.
    """

    set_id: str
    subset: str
    images: tuple[ImageSource, ...]
    captions: tuple[str, ...]
    query_captions: tuple[str, ...] = ()
    image_to_text: tuple[tuple[int, ...], ...] = ()
    text_to_image: tuple[tuple[int, ...], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        k = len(self.images)
        as_listed = (tuple(range(k)),) * k
        object.__setattr__(self, "query_captions", self.query_captions or self.captions)
        object.__setattr__(self, "image_to_text", self.image_to_text or as_listed)
        object.__setattr__(self, "text_to_image", self.text_to_image or as_listed)
        if k < 2 or len(self.captions) != k or len(self.query_captions) != k:
            raise ValueError(
                f"set {self.set_id}: expected at least 2 images and as many captions, "
                f"got {k} images, {len(self.captions)} captions, {len(self.query_captions)} query captions"
            )
        for direction in (self.image_to_text, self.text_to_image):
            if len(direction) != k or any(sorted(order) != list(range(k)) for order in direction):
                raise ValueError(f"set {self.set_id}: each order of candidates must be a permutation of 0..{k - 1}")

    @property
    def k(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class ChoiceQuestion:
    """One or more images, a question, options; one answer, or several that are equally right.

    Attributes:
        question_id: unique in the data set.
        subset: the benchmark's own division (MED's edit type).
        images: in the order in which the question speaks of them.
        question: as released.
        options: as released, with their letters and stray blanks.
        answers: indices into `options`.
        facts: whatever else the release says of the question; plain JSON values.
    """

    question_id: str
    subset: str
    images: tuple[ImageSource, ...]
    question: str
    options: tuple[str, ...]
    answers: tuple[int, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.images or len(self.options) < 2:
            raise ValueError(
                f"question {self.question_id}: expected an image and at least 2 options, "
                f"got {len(self.images)} images and {len(self.options)} options"
            )
        if not self.answers or not set(self.answers) <= set(range(len(self.options))):
            raise ValueError(
                f"question {self.question_id}: answers {list(self.answers)} are not all in 0..{len(self.options) - 1}"
            )


Item = CandidateSet | ChoiceQuestion


def item_id(item: Item) -> str:
    """The identity under which an item is stored, logged and recorded."""
    return item.set_id if isinstance(item, CandidateSet) else item.question_id
