"""One digest of a whole data set: two stores with the same fingerprint hold the same benchmark."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from minchange_eval.core.images import decode
from minchange_eval.core.items import CandidateSet, ImageSource, Item


class Fingerprint:
    """SHA-256 over items in their order, fed one at a time.

    An image counts by its bytes as released, or for generated data by size and decoded RGB pixels (compressors
    differ between machines, pixels do not). File names do not count: a zip and its unpacked folder are the same data.
    """

    def __init__(self, *, over_pixels: bool) -> None:
        self._over_pixels = over_pixels
        self._digest = hashlib.sha256()

    def add(self, item: Item) -> None:
        """Take one item in."""
        content = {**item_texts(item), "images": [self._image(image) for image in item.images]}
        self._digest.update(json.dumps(content, sort_keys=True, ensure_ascii=True).encode() + b"\n")

    def hexdigest(self) -> str:
        """64 hexadecimal digits for what was taken in so far."""
        return self._digest.hexdigest()

    def _image(self, image: ImageSource) -> str:
        if not self._over_pixels:
            return image.sha256
        pixels = decode(image.read(), image.name)
        size = f"{pixels.width}x{pixels.height} ".encode()
        return hashlib.sha256(size + pixels.tobytes()).hexdigest()


def item_texts(item: Item) -> dict[str, Any]:
    """Everything of an item but its pixels, as plain JSON values."""
    if isinstance(item, CandidateSet):
        return {
            "id": item.set_id,
            "subset": item.subset,
            "captions": list(item.captions),
            "query_captions": list(item.query_captions),
            "image_to_text": [list(order) for order in item.image_to_text],
            "text_to_image": [list(order) for order in item.text_to_image],
            "facts": dict(item.facts),
        }
    return {
        "id": item.question_id,
        "subset": item.subset,
        "question": item.question,
        "options": list(item.options),
        "answers": list(item.answers),
        "facts": dict(item.facts),
    }
