"""What can be measured of an image without knowing what it shows: size, file, compression, sharpness, noise.

Source of the noise measure: Immerkaer 1996, Computer Vision and Image Understanding 64(2).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.core.images import FORMATS, decode
from minchange_eval.core.items import ImageSource

LOOKS = (
    "width",
    "height",
    "pixels",
    "aspect",
    "file size",
    "bytes a pixel",
    "JPEG",
    "JPEG luma quantisation",
    "JPEG chroma quantisation",
    "JPEG progressive",
    "JPEG EXIF",
    "JPEG colour profile",
    "sharpness",
    "noise",
    "JPEG block edges",
)
_EDGE_PX = 640  # sharpness and noise are of the middle, at the image's own resolution

Progress = Callable[[Iterable[Any], int | None], Iterable[Any]]


def image_looks(
    images: Iterable[ImageSource], *, n_jobs: int = 2, progress: Progress | None = None
) -> dict[str, tuple[float, ...]]:
    """`LOOKS` of every distinct image, by its SHA-256.

    Sizes and counts as natural logarithms, so that differences are ratios. Decoded under the limits of `core.images`;
    no more than a few images are in memory.

    Args:
        n_jobs: threads; decoders and numpy let go of the interpreter, so two cores are used.

    Raises:
        DataError: an image is damaged, or too large to unpack.
    """
    from concurrent.futures import ThreadPoolExecutor

    distinct = {image.sha256: image for image in images}
    with ThreadPoolExecutor(n_jobs) as pool:
        looks: Iterable[tuple[float, ...]] = pool.map(look_of, distinct.values())
        if progress is not None:
            looks = progress(looks, len(distinct))
        return dict(zip(distinct, looks, strict=True))


def look_of(image: ImageSource) -> tuple[float, ...]:
    """`LOOKS` of one image, in their order."""
    data = image.read()
    picture = decode(data, image.name)
    width, height = picture.size
    grey = _middle(np.asarray(picture.convert("L"), dtype=np.float32))
    return (
        math.log(width),
        math.log(height),
        math.log(width * height),
        math.log(width / height),
        math.log(len(data)),
        math.log(len(data) / (width * height)),
        *_compression(data),
        *_grain(grey),
    )


def _compression(data: bytes) -> tuple[float, ...]:
    with Image.open(io.BytesIO(data), formats=FORMATS) as header:
        tables = [sum(table) / len(table) for table in getattr(header, "quantization", {}).values()]
        if header.format not in {"JPEG", "MPO"} or not tables:
            return (0.0,) * 6
        info = header.info
        known = (float("progressive" in info), float("exif" in info), float("icc_profile" in info))
        return (1.0, math.log(tables[0]), math.log(tables[-1]), *known)


def _middle(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    top, left = (max(0, (edge - _EDGE_PX) // 2) // 8 * 8 for edge in grey.shape)  # on the grid of JPEG's blocks
    return grey[top : top + _EDGE_PX, left : left + _EDGE_PX]


def _grain(grey: NDArray[np.float32]) -> tuple[float, float, float]:
    """Sharpness, noise and block edges; 0 for images too small to have any."""
    if min(grey.shape) < 9:
        return 0.0, 0.0, 0.0
    cross = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1]
    corners = grey[:-2, :-2] + grey[:-2, 2:] + grey[2:, :-2] + grey[2:, 2:]
    middle = grey[1:-1, 1:-1]
    sharpness = float(np.var(4 * middle - cross))
    noise = float(np.abs(4 * middle - 2 * cross + corners).mean()) * math.sqrt(math.pi / 2) / 6
    steps = np.abs(np.diff(grey, axis=1))
    at_edges = float(steps[:, 7::8].mean())
    return math.log1p(sharpness), math.log1p(noise), at_edges / (float(steps.mean()) + 1e-3)
