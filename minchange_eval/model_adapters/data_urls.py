"""Images inside a request to a server: their stored bytes, as they are."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from minchange_eval.core.images import open_image
from minchange_eval.core.items import ImageSource

# What every server of this protocol decodes, by how its bytes begin; WebP has its name after the length.
_MEDIA_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


@dataclass(frozen=True)
class DataUrl:
    """An image as the text of a `data:` URL.

    Attributes:
        text: the URL.
        converted: the bytes are not the stored ones but a PNG of the same pixels, since servers do not take the format.
    """

    text: str
    converted: bool


def data_url(image: ImageSource) -> DataUrl:
    """The image for a request: exactly the stored bytes where servers take them, else the same pixels as PNG.

    Raises:
        DataError: the bytes cannot be read, or are in a format of ours that cannot be decoded.
    """
    data = image.read()
    media_type = _media_type(data)
    if media_type is not None:
        return DataUrl(f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}", converted=False)
    png = io.BytesIO()
    open_image(image).save(png, "PNG")
    return DataUrl(f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode('ascii')}", converted=True)


def _media_type(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((name for start, name in _MEDIA_TYPES.items() if data.startswith(start)), None)
