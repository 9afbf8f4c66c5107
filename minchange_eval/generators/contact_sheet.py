"""Contact sheets: items of a data set with their texts on one picture, for a person to look at."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont

from minchange_eval.core.images import open_image
from minchange_eval.core.items import CandidateSet, Item

GAP_PX = 4
FONT_PX = 15  # smaller, Pillow's built-in font runs its words together
LINE_PX = 19
CHARACTER_PX = 7.5  # on average


def contact_sheet(items: Iterable[Item], cell_px: int = 224, text_px: int = 620) -> Image.Image:
    """One row an item: its images, then its captions or its question with a star at each right option.

    Args:
        cell_px: images are shrunk to fit a square of this side, never enlarged.
        text_px: width of the texts' column; sets of more than four images have their captions underneath.

    Raises:
        ValueError: there are no items.
        DataError: an image cannot be opened.
    """
    rows = [_row(item, cell_px, text_px) for item in items]
    if not rows:
        raise ValueError("a contact sheet needs at least one item")
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def texts_of(item: Item) -> list[str]:
    """What is written beside the images of an item."""
    if isinstance(item, CandidateSet):
        return [item.set_id, *(f"{i}: {caption}" for i, caption in enumerate(item.captions))]
    options = (f"{'*' if i in item.answers else ' '} {option}" for i, option in enumerate(item.options))
    return [item.question_id, item.question, *options]


def _row(item: Item, cell_px: int, text_px: int) -> Image.Image:
    images = []
    for source in item.images:
        image = open_image(source)
        image.thumbnail((cell_px, cell_px), Image.Resampling.LANCZOS)
        images.append(image)
    wide = len(images) * (cell_px + GAP_PX)
    beside = len(images) <= 4
    texts = texts_of(item) if beside else ["   ".join(texts_of(item))]
    lines = _wrapped(texts, int((text_px if beside else wide) / CHARACTER_PX))
    text_height = len(lines) * LINE_PX + GAP_PX
    size = (wide + text_px, max(cell_px, text_height)) if beside else (wide, cell_px + text_height)
    row = Image.new("RGB", (size[0], size[1] + GAP_PX), "white")
    for place, image in enumerate(images):
        row.paste(image, (place * (cell_px + GAP_PX), 0))
    corner = (wide + GAP_PX, 0) if beside else (GAP_PX, cell_px)
    font = ImageFont.load_default(FONT_PX)
    for place, line in enumerate(lines):
        ImageDraw.Draw(row).text((corner[0], corner[1] + place * LINE_PX), line, fill="black", font=font)
    return row


def _wrapped(texts: Sequence[str], characters: int) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, characters, subsequent_indent="    ") or [""]]
