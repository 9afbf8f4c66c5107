"""Painting a sprite in another colour, and the name of the colour that is to be seen. Integers throughout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
HUE = 1536  # steps of a full turn: six times 256

# name -> hue (0 red, 256 yellow, 512 green, 768 cyan, 1024 blue, 1280 magenta), brightness and saturation in percent
PAINTS: dict[str, tuple[int, int, int]] = {
    "red": (0, 100, 100),
    "orange": (118, 112, 105),
    "yellow": (210, 118, 100),
    "green": (520, 92, 90),
    "blue": (915, 105, 95),
    "purple": (1165, 95, 85),
    "pink": (1395, 118, 62),
}
COLOURS: tuple[str, ...] = tuple(PAINTS)
PATTERNS: tuple[str, ...] = ("striped", "spotted")
PAINTABLE: tuple[str, ...] = (  # things of one colour that a person would accept in any
    "car",
    "motorcycle",
    "bird",
    "backpack",
    "umbrella",
    "suitcase",
    "frisbee",
    "bottle",
    "chair",
    "couch",
    "book",
    "clock",
    "vase",
    "toothbrush",
)
PATTERNABLE: tuple[str, ...] = ("backpack", "umbrella", "suitcase", "frisbee", "bottle", "book", "car")
ALIKE: tuple[frozenset[str], ...] = (  # pairs that are told apart only with care
    frozenset({"red", "orange"}),
    frozenset({"orange", "yellow"}),
    frozenset({"red", "pink"}),
    frozenset({"pink", "purple"}),
    frozenset({"purple", "blue"}),
)

# The hue at which each name ends, in the order of the hues; between two names lies a band that has none.
_BANDS = (("red", -60, 38), ("orange", 78, 150), ("yellow", 178, 275), ("green", 400, 640), ("blue", 790, 1050))
_BANDS_ABOVE = (("purple", 1090, 1240), ("pink", 1300, 1460))


def hue_saturation_value(rgb: Pixels) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Hue in 0..1535, saturation and value in 0..255, of [..., 3] pixels; grey has hue 0."""
    r, g, b = (rgb[..., channel].astype(np.int32) for channel in range(3))
    value = np.maximum(np.maximum(r, g), b)
    spread = value - np.minimum(np.minimum(r, g), b)
    safe = np.maximum(spread, 1)
    hue = np.where(value == r, (g - b) * 256 // safe, np.where(value == g, 512 + (b - r) * 256 // safe, 0))
    hue = np.where((value != r) & (value != g), 1024 + (r - g) * 256 // safe, hue) % HUE
    hue = np.where(spread == 0, 0, hue)
    return hue, spread * 255 // np.maximum(value, 1), value


def rgb_of(hue: NDArray[np.int32], saturation: NDArray[np.int32], value: NDArray[np.int32]) -> Pixels:
    """The inverse of `hue_saturation_value`, to within rounding."""
    channels = []
    for strongest in (0, 512, 1024):  # red, green, blue
        distance = np.abs((hue - strongest + HUE // 2) % HUE - HUE // 2)
        strength = np.clip(512 - distance, 0, 256)
        channels.append(value - value * saturation * (256 - strength) // (255 * 256))
    pixels: Pixels = np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)
    return pixels


def recoloured(rgba: Pixels, colour: str) -> Pixels:
    """A sprite whose main hue is turned into that of a paint; greys, whites and other hues stay.

    Raises:
        KeyError: no such paint.
    """
    target, brightness, saturation_percent = PAINTS[colour]
    hue, saturation, value = hue_saturation_value(rgba[..., :3])
    off = (hue - main_hue(rgba) + HUE // 2) % HUE - HUE // 2
    painted = (np.abs(off) <= 200) & (saturation >= 40)
    new_hue = np.where(painted, (target + off // 4) % HUE, hue)
    new_value = np.where(painted, np.minimum(value * brightness // 100, 255), value)
    new_saturation = np.where(painted, np.minimum(saturation * saturation_percent // 100, 255), saturation)
    return np.concatenate([rgb_of(new_hue, new_saturation, new_value), rgba[..., 3:]], axis=2)


def patterned(rgba: Pixels, pattern: str) -> Pixels:
    """A sprite with white stripes or spots on the parts that have its main hue.

    Raises:
        KeyError: the pattern is neither `striped` nor `spotted`.
    """
    hue, saturation, _ = hue_saturation_value(rgba[..., :3])
    off = (hue - main_hue(rgba) + HUE // 2) % HUE - HUE // 2
    white = _PATTERNS[pattern](*rgba.shape[:2]) & (np.abs(off) <= 200) & (saturation >= 40)
    lighter = (rgba[..., :3].astype(np.int32) + 2 * 255) // 3
    colours = np.where(white[..., None], lighter, rgba[..., :3]).astype(np.uint8)
    return np.concatenate([colours, rgba[..., 3:]], axis=2)


def _stripes(rows: int, columns: int) -> NDArray[np.bool_]:
    band: NDArray[np.bool_] = (np.arange(rows)[:, None] + np.arange(columns)[None, :]) // 16 % 2 == 0
    return band


def _spots(rows: int, columns: int) -> NDArray[np.bool_]:
    pitch = 40
    y, x = np.arange(rows)[:, None], np.arange(columns)[None, :]
    x = x + (y // pitch % 2) * (pitch // 2)  # every other row between those of the one before
    near: NDArray[np.bool_] = (y % pitch - pitch // 2) ** 2 + (x % pitch - pitch // 2) ** 2 <= 12**2
    return near


_PATTERNS = {"striped": _stripes, "spotted": _spots}


def main_hue(rgba: Pixels) -> int:
    """The commonest hue among the strong colours of a sprite, by 24 bins of 64 and their neighbours' mean."""
    hue, saturation, value = hue_saturation_value(rgba[..., :3])
    strong = (rgba[..., 3] >= 200) & (saturation >= 90) & (value >= 70)
    bins = np.bincount(hue[strong] // 64, minlength=24)
    fullest = int(np.argmax(bins))
    return fullest * 64 + 32


def colour_name(rgba: Pixels) -> str | None:
    """The colour that a person would call a sprite by, from its pixels.

    Args:
        rgba: not premultiplied.

    Returns:
        The name that at least six in ten of the named pixels have, if these are a quarter of all visible ones.
    """
    seen = rgba[..., 3] >= 128
    names = pixel_colours(rgba[..., :3][seen])
    named = int((names != "").sum())
    for name in COLOURS:
        share = int((names == name).sum())
        if share * 10 >= 6 * named and share * 4 >= int(seen.sum()):
            return name
    return None


def pixel_colours(rgb: Pixels) -> NDArray[np.str_]:
    """The colour name of each of [n, 3] pixels; empty for greys, darks and hues between two names."""
    hue, saturation, value = hue_saturation_value(rgb)
    signed = np.where(hue > HUE - 61, hue - HUE, hue)
    names = np.full(hue.shape, "", dtype="<U8")
    coloured = (saturation >= 60) & (value >= 60)
    for name, low, high in (*_BANDS, *_BANDS_ABOVE):
        names[coloured & (signed >= low) & (signed <= high)] = name
    return names
