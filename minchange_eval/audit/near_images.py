"""Which pictures are one but for encoding, size or a small edit: perceptual hashes first, then colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from minchange_eval.audit.hamming import HashIndex, Indices
from minchange_eval.audit.image_hash import ImageHash, same_colours

RADIUS = (
    8  # of 64 bits: 100,000 x 15,000 random hashes have 0.7 pairs this close, at 10 bits 20; colours must agree too
)
_ASKED_AT_A_TIME = 512  # bounds the memory where very many hashes are equal
_COLOURS_AT_A_TIME = 1 << 14


def near_images(
    first: Sequence[ImageHash], second: Sequence[ImageHash], radius: int = RADIUS
) -> tuple[Indices, Indices, NDArray[np.uint8]]:
    """Pairs (i, j) of images of `first` and `second` that look alike, with the distance of their hashes.

    Images without a perceptual hash (blank, or not decoded) have no pairs. An image is near itself.

    Args:
        radius: most differing bits, 0 to 16.

    Raises:
        ValueError: the radius is out of range.
    """
    of_first, of_second = _with_hash(first), _with_hash(second)
    index = HashIndex(_hashes(second, of_second))
    found = []
    for start in range(0, max(len(of_first), 1), _ASKED_AT_A_TIME):
        asked = of_first[start : start + _ASKED_AT_A_TIME]
        i, j, apart = index.within(_hashes(first, asked), radius)
        i, j = asked[i], of_second[j]
        alike = _alike(first, second, i, j)
        found.append((i[alike], j[alike], apart[alike]))
    i, j, apart = (np.concatenate(part) for part in zip(*found, strict=True))
    return i, j, apart


def _with_hash(images: Sequence[ImageHash]) -> Indices:
    return np.array([place for place, image in enumerate(images) if image.perceptual is not None], dtype=np.intp)


def _hashes(images: Sequence[ImageHash], places: Indices) -> NDArray[np.uint64]:
    return np.array([images[place].perceptual for place in places], dtype=np.uint64)


def _alike(first: Sequence[ImageHash], second: Sequence[ImageHash], i: Indices, j: Indices) -> NDArray[np.bool_]:
    alike = np.zeros(len(i), dtype=bool)
    for start in range(0, len(i), _COLOURS_AT_A_TIME):
        part = slice(start, start + _COLOURS_AT_A_TIME)
        alike[part] = same_colours(_colours(first, i[part]), _colours(second, j[part]))
    return alike


def _colours(images: Sequence[ImageHash], places: Indices) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(images[place].colours for place in places), dtype=np.uint8).reshape(len(places), -1)
