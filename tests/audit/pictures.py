"""Pictures for tests: no two alike, drawn from a seed."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from minchange_eval.core.items import BytesImage


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Coloured shapes on a gradient: layout and colours differ from seed to seed."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        width, height = rng.integers(20, 120, 2)
        draw.ellipse((x, y, x + width, y + height), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def encoded(image: Image.Image, form: str = "PNG", **options: int) -> BytesImage:
    file = io.BytesIO()
    image.save(file, form, **options)
    return BytesImage(f"picture.{form.lower()}", file.getvalue())
