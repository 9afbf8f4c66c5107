"""What a picture is known by: SHA-256 of its released bytes, and a perceptual hash that survives re-encoding.

The perceptual hash is the 64-bit DCT hash ("pHash") of Zauner 2010, "Implementation and benchmarking of perceptual
image hash functions", as the package `imagehash` computes it (`imagehash.phash`), bit for bit: grey, 32 x 32 with
Lanczos, type-II DCT of rows and columns, the 8 x 8 lowest frequencies, one bit each for above their median.

It knows the layout of a picture and not its colours: drawings of other things in the same places collide. So an 8 x 8
picture in colour is kept beside it, and only pictures that agree in both are taken for one.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.errors import DataError
from minchange_eval.core.images import decode
from minchange_eval.core.items import ImageSource

if TYPE_CHECKING:
    from PIL.Image import Image

    from minchange_eval.audit.hash_file import HashFile

Owner = TypeVar("Owner")
Result = TypeVar("Result")

METHOD = "phash-1"  # raised whenever the same bytes get another hash: part of the name of the file that keeps them
BITS = 64
COLOUR_LEVELS = (
    8  # of 255: most difference of a block that is unchanged but for encoding; JPEGs of quality 20 reach 3.5
)
UNCHANGED_BLOCKS = 2 / 3  # so that a small edit is still the same picture
LEAST_CONTRAST = 2.0  # grey levels (of 255); below it the bits are noise: a blank image resembles no other
_GRID, _LOWEST = 32, 8
_WORKERS = min(4, os.cpu_count() or 1)
_AHEAD = 4 * _WORKERS  # images in memory at a time


@dataclass(frozen=True)
class ImageHash:
    """What was computed of one image.

    Attributes:
        name: as the release gives it; for messages and for comparing names.
        sha256: of the bytes, 64 hexadecimal digits; empty where there are none or they cannot be read.
        perceptual: 64 bits; None for a picture without contrast and for one that cannot be decoded.
        colours: 8 x 8 blocks of RGB, 192 bytes; empty where it cannot be decoded.
        size_px: width and height as shown (EXIF orientation applied); (0, 0) where it cannot be decoded.
        fault: why it cannot be read or decoded; empty where it can.
    """

    name: str
    sha256: str
    perceptual: int | None
    colours: bytes
    size_px: tuple[int, int]
    fault: str = ""


def perceptual_hash(picture: Image) -> int | None:
    """The 64-bit DCT hash of an RGB picture; bit 63 is the mean, the last bit the highest frequencies.

    Returns:
        None where the 32 x 32 grey picture has a standard deviation below `LEAST_CONTRAST`.
    """
    from PIL.Image import Resampling

    grey = np.asarray(picture.convert("L").resize((_GRID, _GRID), Resampling.LANCZOS), dtype=np.float64)
    if grey.std() < LEAST_CONTRAST:
        return None
    cosines = _cosines()
    lowest = cosines @ grey @ cosines.T
    bits = (lowest > np.median(lowest)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def colours(picture: Image) -> bytes:
    """Mean colours of 8 x 8 blocks of an RGB picture, row by row, 192 bytes."""
    from PIL.Image import Resampling

    return picture.resize((_LOWEST, _LOWEST), Resampling.BOX).tobytes()


def same_colours(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[pairs] whether most blocks have the same colour; arguments are [pairs, 192] bytes of `colours`."""
    apart = np.abs(first.astype(np.int16) - second).reshape(len(first), -1, 3).mean(axis=2)
    unchanged: NDArray[np.bool_] = (apart <= COLOUR_LEVELS).mean(axis=1) >= UNCHANGED_BLOCKS
    return unchanged


@cache
def _cosines() -> NDArray[np.float64]:
    """The lowest rows of the DCT matrix; their scale is common to all, so it changes no bit."""
    frequency, place = np.arange(_LOWEST)[:, None], np.arange(_GRID)[None, :]
    waves: NDArray[np.float64] = np.cos(np.pi * frequency * (2 * place + 1) / (2 * _GRID))
    return waves


def hash_image(image: ImageSource, kept: HashFile | None = None) -> ImageHash:
    """Hash one image, or look it up by content; a picture that cannot be read or decoded is described, not raised."""
    try:
        data = image.read()
    except (OSError, DataError) as error:
        return unreadable(image.name, "", error)
    sha256 = hashlib.sha256(data).hexdigest() if data else ""  # empty files are not one picture
    known = kept.get(sha256) if kept is not None and data else None
    if known is not None:
        return ImageHash(image.name, sha256, *known)
    try:
        picture = decode(data, image.name)
    except DataError as error:
        return unreadable(image.name, sha256, error)
    found = hash_picture(picture, image.name, sha256)
    if kept is not None:
        kept.put(found)
    return found


def hash_picture(picture: Image, name: str, sha256: str) -> ImageHash:
    """What is kept of a decoded RGB picture."""
    return ImageHash(name, sha256, perceptual_hash(picture), colours(picture), picture.size)


def unreadable(name: str, sha256: str, error: Exception) -> ImageHash:
    """What is kept of a picture that makes no pixels."""
    return ImageHash(name, sha256, None, b"", (0, 0), str(error))


def hash_images(
    owners: Iterable[tuple[Owner, Sequence[ImageSource]]], kept: HashFile | None = None
) -> Iterator[tuple[Owner, list[ImageHash]]]:
    """Hash the images of rows or items on a few threads; owners come back in their order.

    Args:
        owners: whose images they are, and the images.
        kept: hashes of an earlier run, keyed by content; what is new is added.
    """
    return each_image(owners, partial(hash_image, kept=kept))


def each_image(
    owners: Iterable[tuple[Owner, Sequence[ImageSource]]], job: Callable[[ImageSource], Result]
) -> Iterator[tuple[Owner, list[Result]]]:
    """Do a job for every image on a few threads; owners come back in their order, with the results.

    Owners are gone through as the work gets on, so that no more than the images of a few are in memory.
    """
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="images")
    window: deque[tuple[Owner, list[Future[Result]]]] = deque()
    waiting = 0
    try:
        for owner, images in owners:
            window.append((owner, [pool.submit(job, image) for image in images]))
            waiting += len(images)
            while waiting > _AHEAD or len(window) > _AHEAD:
                first, results = window.popleft()
                waiting -= len(results)
                yield first, [future.result() for future in results]
        for first, results in window:
            yield first, [future.result() for future in results]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
