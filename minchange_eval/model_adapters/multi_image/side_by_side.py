"""Several images as one, for models that take one image a prompt: side by side, with a marked gap."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from minchange_eval.core.images import open_image
from minchange_eval.core.items import ImageSource
from minchange_eval.core.prompts import Part

LAYOUT = "side by side, gap of 1/16 of the height in white with a black line, heights as the first"


@dataclass(frozen=True)
class SideBySide:
    """Images from left to right, each as high as the first; between two a white gap with a black line in its middle."""

    sources: tuple[ImageSource, ...]

    @cached_property
    def sha256(self) -> str:
        """Digest of the layout and of the images in their order."""
        return hashlib.sha256("\n".join([LAYOUT, *(source.sha256 for source in self.sources)]).encode()).hexdigest()

    @property
    def name(self) -> str:
        return " | ".join(source.name for source in self.sources)

    def read(self) -> bytes:
        """The whole as PNG.

        Raises:
            DataError: one of the images cannot be read.
        """
        pictures = [open_image(source) for source in self.sources]
        height = pictures[0].height
        scaled = [picture.resize((max(1, picture.width * height // picture.height), height)) for picture in pictures]
        gap = max(3, height // 16)
        whole = Image.new("RGB", (sum(p.width for p in scaled) + gap * (len(scaled) - 1), height), "white")
        line = Image.new("RGB", (max(1, gap // 3), height), "black")
        left = 0
        for place, picture in enumerate(scaled):
            if place:
                whole.paste(line, (left + (gap - line.width) // 2, 0))
                left += gap
            whole.paste(picture, (left, 0))
            left += picture.width
        buffer = io.BytesIO()
        whole.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def with_one_image(parts: Sequence[Part]) -> tuple[Part, ...]:
    """A turn with its images as one, where the first of them stood; a turn with one image or none stays as it is."""
    sources = tuple(part for part in parts if not isinstance(part, str))
    if len(sources) < 2:
        return tuple(parts)
    first = next(place for place, part in enumerate(parts) if not isinstance(part, str))
    words = [part for part in parts[first:] if isinstance(part, str)]
    return (*parts[:first], SideBySide(sources), *words)
