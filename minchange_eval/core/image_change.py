"""How much of a picture changed, and where: pictures of one set compared pixel by pixel.

Pictures are brought to the first one's shape and made small before they are compared, so that neither the noise of JPEG
nor another size of file counts as a change.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEASURED_PX = 128
STEP = 24  # of 255: re-encoded JPEGs of one picture differ by less nearly everywhere

Pixels = NDArray[np.int16]


def in_one_shape(pictures: Sequence[Image.Image], edge_px: int) -> list[Pixels]:
    """The pictures as [3, height, width] in the first one's shape, at most `edge_px` on the longer side."""
    width, height = pictures[0].size
    scale = min(1.0, edge_px / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    coloured = (picture if picture.mode == "RGB" else picture.convert("RGB") for picture in pictures)
    small = (picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0) for picture in coloured)
    # channels apart: the widest of three is then two comparisons of whole planes
    return [np.stack([np.asarray(channel, dtype=np.int16) for channel in picture.split()]) for picture in small]


def changed_share(pictures: Sequence[Image.Image]) -> float:
    """Share of the area in which two pictures differ by more than `STEP` in any channel; the mean over all pairs.

    Measured at `MEASURED_PX` on the longer side.

    Returns:
        In [0, 1]; 0 for copies.

    Raises:
        ValueError: fewer than two pictures.
    """
    _require_two(pictures)
    shares = [
        float((_widest(np.abs(one - other)) > STEP).mean())
        for one, other in combinations(in_one_shape(pictures, MEASURED_PX), 2)
    ]
    return sum(shares) / len(shares)


def difference(pictures: Sequence[Image.Image], edge_px: int) -> NDArray[np.float64]:
    """[height, width] how far the pictures are apart at each pixel: the widest channel, from 0 to 1.

    Raises:
        ValueError: fewer than two pictures.
    """
    _require_two(pictures)
    shown = in_one_shape(pictures, edge_px)
    apart: NDArray[np.float64] = _widest(reduce(np.maximum, shown) - reduce(np.minimum, shown)) / 255
    return apart


def heat_map(pictures: Sequence[Image.Image], edge_px: int) -> Image.Image:
    """The first picture in pale grey, and over it where the pictures differ, from yellow through red to violet.

    Colours also darken as the difference grows, so that the map can be read in print and without colour vision.
    """
    apart = difference(pictures, edge_px)
    grey = in_one_shape(pictures[:1], edge_px)[0].mean(axis=0)
    ground = np.repeat((190 + grey * 0.25)[:, :, None], 3, axis=2)
    steps = np.array([0.0, 0.35, 0.7, 1.0])
    colours = np.array([[255, 214, 79], [240, 110, 40], [190, 20, 80], [60, 0, 90]], dtype=np.float64)
    heat = np.stack([np.interp(apart, steps, colours[:, channel]) for channel in range(3)], axis=2)
    over = np.clip(apart / 0.12, 0, 1)[:, :, None] ** 2  # noise below a tenth stays pale
    return Image.fromarray(np.rint(ground * (1 - over) + heat * over).astype(np.uint8))


def _widest(channels: NDArray[np.int16]) -> NDArray[np.int16]:
    widest: NDArray[np.int16] = np.maximum(np.maximum(channels[0], channels[1]), channels[2])
    return widest


def _require_two(pictures: Sequence[Image.Image]) -> None:
    if len(pictures) < 2:
        raise ValueError(f"expected two or more pictures, got {len(pictures)}")
