"""Released bytes to pixels: one way to decode for every benchmark and every model.

A broken picture is an error with its name and reason, never a grey square. What people see is what models get:
EXIF orientation is applied, transparency lies on white, 16-bit grey is scaled (Pillow's own conversion clips it),
CMYK becomes RGB. Pillow's limit on decompression bombs is an error here, not a warning.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from minchange_eval.core.errors import DataError
from minchange_eval.core.items import ImageSource

DECODING = 1  # raised whenever the same bytes decode to other pixels: part of the key of logged embeddings
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # what benchmarks release; no format that runs a program


def open_image(source: ImageSource) -> Image.Image:
    """Decode an image to RGB.

    Raises:
        DataError: the bytes are no picture, are cut off, or would unpack to more pixels than Pillow's limit.
    """
    return decode(source.read(), source.name)


def decode(data: bytes, name: str) -> Image.Image:
    """Decode the bytes of one image to RGB; `name` is for the message.

    Raises:
        DataError: as in `open_image`.
    """
    picture = _opened(data, name)
    try:
        with _whole_files_only():
            picture.load()
        upright = ImageOps.exif_transpose(picture)
        upright.format = picture.format
        return _as_rgb(upright)
    except Exception as error:  # damaged files make Pillow's decoders raise whatever it may be
        raise DataError(f"image {name}: is cut off or damaged ({error}); get the file again") from error


class _WholeFilesOnly:
    """While any thread is inside, Pillow does not fill what is missing of a file with grey.

    The switch is Pillow's own and of the whole process; lmms-eval and others turn it on where they are imported.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_whole_files_only = _WholeFilesOnly()


def check(data: bytes, name: str) -> tuple[int, int]:
    """Width and height in pixels after a full decode; the check that `prepare` makes of every image.

    Raises:
        DataError: as in `open_image`; also for an animation, of which no single frame is the picture that was meant.
    """
    picture = _opened(data, name)
    try:
        frames = getattr(picture, "n_frames", 1)
    except Exception as error:  # as in `decode`
        raise DataError(f"image {name}: is cut off or damaged ({error}); get the file again") from error
    # MPO is what phones write as JPEG: the picture, and a preview or depth map behind it
    if frames != 1 and picture.format != "MPO":
        raise DataError(f"image {name}: expected one picture, got an animation of {frames} frames")
    return decode(data, name).size


def _opened(data: bytes, name: str) -> Image.Image:
    if not data:
        raise DataError(f"image {name}: the file is empty (0 bytes); get it again")
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(_bomb(name)) from error
    except UnidentifiedImageError as error:
        raise DataError(f"image {name}: expected {', '.join(FORMATS)}, got bytes that begin {data[:12]!r}") from error
    except Exception as error:  # as in `decode`
        raise DataError(f"image {name}: cannot be opened ({error}); get the file again") from error
    # Pillow only warns up to twice its limit; turning the warning into an error is not safe in threads
    if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise DataError(_bomb(name))
    return picture


def _bomb(name: str) -> str:
    return f"image {name}: would unpack to more than {Image.MAX_IMAGE_PIXELS:,} pixels, refused as a bomb"


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        grey = picture.convert("I").point(lambda value: value / 257)  # Pillow's own conversion clips at 255
        return grey.convert("L").convert("RGB")
    if picture.mode in {"I", "F"}:
        raise ValueError(f"mode {picture.mode}: 32-bit values have no fixed white; release it with 8 or 16 bits")
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        on_white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(on_white, picture.convert("RGBA")).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")
