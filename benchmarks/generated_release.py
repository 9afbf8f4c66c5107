"""A release in SPEC's official layout, of any size, made in seconds; reading and decoding cost what they cost there.

Six subsets with SPEC's K (3, 3, 9, 4, 2, 9); captions after the paper's templates, so that strings repeat between sets
as they do there. Pictures are JPEGs of some 100 kB: a few hundred are drawn, and every file is one of them with its own
number in a JPEG comment, which makes its bytes distinct and leaves the cost of decoding as it was.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

_PLACES = [f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "center", "right")]
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CAPTIONS = {
    "absolute_size": [f"the {{0}} is {size} in the image" for size in ("large", "medium-sized", "small")],
    "relative_size": [f"the {{0}} is {than} the {{1}}" for than in ("smaller than", "equal-size with", "bigger than")],
    "absolute_spatial": [f"the {{0}} is in the {place} of the image" for place in _PLACES],
    "relative_spatial": [
        f"the {{0}} is {side} the {{1}}" for side in ("to the left of", "to the right of", "on top of", "below")
    ],
    "existence": [f"there {there} {{0}} in the image with a {{1}}" for there in ("is a", "is no")],
    "count": [f"a photo of {number} {{0}}" for number in _NUMBERS],
}
DRAWN = 200  # pictures


@dataclass(frozen=True)
class GeneratedRelease:
    """A release on disk and what is in it, counted from its own JSON files.

    Attributes:
        images: distinct pictures.
        captions: distinct texts of both directions.
        naive_images, naive_texts: what a loop over queries encodes: K^2 + K a set of each.
    """

    folder: Path
    sets_per_subset: int
    images: int
    captions: int
    naive_images: int
    naive_texts: int


def write_release(folder: Path, sets_per_subset: int, edge_px: int = 512) -> GeneratedRelease:
    """Write the release; 500 sets a subset give SPEC's 15,000 pictures."""
    pictures = _pictures(edge_px)
    for subset in _CAPTIONS:
        _write_subset(folder / subset, subset, sets_per_subset, pictures)
    return read_release(folder)


def read_release(folder: Path) -> GeneratedRelease:
    """Count what a release holds."""
    images: set[str] = set()
    captions: set[str] = set()
    naive_images = naive_texts = sets = 0
    for subset in _CAPTIONS:
        image_to_text = json.loads((folder / subset / "image2text.json").read_text())
        text_to_image = json.loads((folder / subset / "text2image.json").read_text())
        images.update(f"{subset}/{row['query']}" for row in image_to_text)
        captions.update(*(row["keys"] for row in image_to_text), (row["query"] for row in text_to_image))
        naive_images += len(image_to_text) + sum(len(row["keys"]) for row in text_to_image)
        naive_texts += len(text_to_image) + sum(len(row["keys"]) for row in image_to_text)
        sets = len(image_to_text) // len(_CAPTIONS[subset])
    return GeneratedRelease(folder, sets, len(images), len(captions), naive_images, naive_texts)


def _write_subset(folder: Path, subset: str, sets: int, pictures: Iterator[bytes]) -> None:
    (folder / "images").mkdir(parents=True)
    dice = random.Random(subset)
    nouns = files("minchange_eval.data").joinpath("coco_classes.txt").read_text().split("\n")
    image_to_text, text_to_image = [], []
    for number in range(sets):
        first, second = dice.sample([noun for noun in nouns if noun], 2)
        captions = [worded.format(first, second) for worded in _CAPTIONS[subset]]
        images = [f"images/{number:03d}_{i}.jpg" for i in range(len(captions))]
        for image, caption in zip(images, captions, strict=True):
            (folder / image).write_bytes(next(pictures))
            keys, texts = dice.sample(images, len(images)), dice.sample(captions, len(captions))
            text_to_image.append({"query": caption, "keys": keys, "label": keys.index(image)})
            image_to_text.append({"query": image, "keys": texts, "label": texts.index(caption)})
    (folder / "text2image.json").write_text(json.dumps(text_to_image))
    (folder / "image2text.json").write_text(json.dumps(image_to_text))


def _pictures(edge_px: int) -> Iterator[bytes]:
    drawn = [_picture(seed, edge_px) for seed in range(DRAWN)]
    for number in count():
        comment = b"picture %d" % number
        stamp = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment  # JPEG's COM segment, after its SOI
        data = drawn[number % DRAWN]
        yield data[:2] + stamp + data[2:]


def _picture(seed: int, edge_px: int) -> bytes:
    """Soft shapes with some grain: at 512 px about 100 kB, as a photograph."""
    random_state = np.random.default_rng(seed)
    shapes = Image.fromarray(random_state.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    grain = random_state.normal(0, 11, (edge_px, edge_px, 1))
    pixels = np.asarray(shapes.resize((edge_px, edge_px), Image.Resampling.BICUBIC)) + grain
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=88)
    return file.getvalue()
