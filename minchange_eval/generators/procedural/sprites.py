"""The bundled sprites as pixels: loading, scaling, turning round, shadows. Integers throughout.

Pillow reads the PNG files, which is lossless; its resampling is not used, because pixels must not depend on its
version.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.generators.procedural.colours import patterned, recoloured

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """What a sprite looks like before it has a place.

    Attributes:
        sprite: file name without its ending.
        width, height: in pixels, as drawn.
        colour: name of the colour it was painted in; empty keeps its own.
        mirrored: whether left and right are exchanged.
        pattern: `striped` or `spotted`; empty is plain.
    """

    sprite: str
    width: int
    height: int
    colour: str = ""
    mirrored: bool = False
    pattern: str = ""


@cache
def outline(sprite: str) -> tuple[int, int]:
    """Width and height of a sprite's own pixels; the longer of them is 256."""
    height, width = original(sprite).shape[:2]
    return width, height


@cache
def fill_permille(sprite: str) -> int:
    """How many thousandths of its box a sprite covers; a half-transparent pixel counts half."""
    alpha = original(sprite)[..., 3]
    return int(alpha.sum(dtype=np.int64)) * 1000 // (255 * alpha.size)


@cache
def original(sprite: str) -> Pixels:
    """A sprite as vendored: [height, width, RGBA], uint8."""
    path = files("minchange_eval.generators.procedural") / "assets" / "sprites" / f"{sprite}.png"
    with path.open("rb") as file, Image.open(file) as picture:
        return np.asarray(picture.convert("RGBA"))


@lru_cache(maxsize=256)
def _premultiplied(sprite: str, colour: str, mirrored: bool, pattern: str) -> Pixels:
    rgba = original(sprite)
    if colour:
        rgba = recoloured(rgba, colour)
    if pattern:
        rgba = patterned(rgba, pattern)
    if mirrored:
        rgba = rgba[:, ::-1]
    alpha = rgba[..., 3:].astype(np.uint16)
    colours = (rgba[..., :3] * alpha + 127) // 255
    return np.concatenate([colours, alpha], axis=2).astype(np.uint8)


@lru_cache(maxsize=8192)
def drawn(look: Look) -> Pixels:
    """A sprite in its size and colour: premultiplied RGBA, [height, width, 4], uint8."""
    return shrunk(_premultiplied(look.sprite, look.colour, look.mirrored, look.pattern), look.width, look.height)


@lru_cache(maxsize=4096)
def _weights(source: int, target: int) -> NDArray[np.float64]:
    """[target, source] overlaps of equal cells in units of 1/target source pixel; rows sum to `source`."""
    low = np.arange(target)[:, None] * source
    start = np.arange(source)[None, :] * target
    overlap = np.minimum(low + source, start + target) - np.maximum(low, start)
    weights: NDArray[np.float64] = np.maximum(overlap, 0).astype(np.float64)
    return weights


def shrunk(pixels: Pixels, width: int, height: int) -> Pixels:
    """Mean of the source pixels under each target pixel, rounded to nearest; also fit for enlarging a little.

    The matrix products are of whole numbers below 2**53 in float64, so they are exact whatever library or order
    of summation computes them.
    """
    rows, columns = pixels.shape[:2]
    flat = pixels.reshape(rows, -1).astype(np.float64)
    tall = (_weights(rows, height) @ flat).reshape(height, columns, -1)
    sums = np.matmul(_weights(columns, width), tall).astype(np.int64)
    area = rows * columns
    means: Pixels = ((sums + area // 2) // area).astype(np.uint8)
    return means


@lru_cache(maxsize=2048)
def soft_silhouette(look: Look, radius: int) -> Pixels:
    """Coverage of the shadow that a sprite throws on what it lies on: [height + 2r, width + 2r], uint8."""
    coverage = np.pad(drawn(look)[..., 3], 2 * radius).astype(np.int64)
    side = 2 * radius + 1
    for _ in range(2):  # rows, then columns: the mean over a square
        sums = np.pad(np.cumsum(coverage, axis=0), ((1, 0), (0, 0)))
        coverage = ((sums[side:] - sums[:-side]) // side).T
    return coverage.astype(np.uint8)


@lru_cache(maxsize=4096)
def soft_ellipse(width: int, height: int) -> Pixels:
    """Coverage of the shadow under something that stands: [height, width], uint8, 255 in the middle, 0 at the rim."""
    y = (2 * np.arange(height)[:, None] + 1 - height) * width
    x = (2 * np.arange(width)[None, :] + 1 - width) * height
    square = (width * height) ** 2
    left = np.maximum(square - x * x - y * y, 0)  # 1 - r**2, in units of 1/square
    coverage: Pixels = np.minimum(left * 400 // square, 255).astype(np.uint8)
    return coverage
