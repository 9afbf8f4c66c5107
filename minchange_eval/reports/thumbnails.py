"""Small copies of pictures as data URIs, each once, for a page that shows them when they come into sight."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup
from PIL import Image

from minchange_eval.core.image_change import heat_map
from minchange_eval.core.images import open_image
from minchange_eval.core.items import ImageSource

_QUALITY = 80


@dataclass(frozen=True)
class Thumbnail:
    """One picture on the page; its data lies in `Thumbnails` under `key`."""

    key: str
    title: str
    width: int
    height: int


@dataclass
class Thumbnails:
    """Every small picture of a page by key."""

    data: dict[str, str] = field(default_factory=dict)

    def of(self, images: Sequence[ImageSource]) -> tuple[Thumbnail, ...]:
        """The pictures of one item and, of two or more, the map of where they differ.

        Raises:
            DataError: a picture cannot be decoded, or is refused as a bomb.
        """
        edge = _edge(len(images))
        pictures = [open_image(image) for image in images]
        shown = [
            self._add(f"{image.sha256[:20]}-{edge}", f"image {number}", _small(picture, edge))
            for number, (image, picture) in enumerate(zip(images, pictures, strict=True), start=1)
        ]
        if len(pictures) > 1:
            together = hashlib.sha256("".join(image.sha256 for image in images).encode()).hexdigest()
            shown.append(self._add(f"{together[:20]}-{edge}", "where they differ", heat_map(pictures, edge)))
        return tuple(shown)

    def as_json(self) -> Markup:
        """The data as JSON that may stand in a script element."""
        text = json.dumps(self.data, separators=(",", ":"), sort_keys=True)
        for sign in "<>&":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        return Markup(text)  # noqa: S704  # base64, hexadecimal digits, and the three signs escaped

    def _add(self, key: str, title: str, picture: Image.Image) -> Thumbnail:
        if key not in self.data:
            held = io.BytesIO()
            picture.save(held, "JPEG", quality=_QUALITY, optimize=True)
            self.data[key] = "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()
        return Thumbnail(key, title, picture.width, picture.height)


def _edge(images: int) -> int:
    """Pixels on the longer side: the more pictures, the smaller."""
    return 256 if images <= 2 else 176 if images <= 4 else 104


def _small(picture: Image.Image, edge: int) -> Image.Image:
    small = picture.copy()
    small.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return small
