"""From a scene to pixels and to a lossless PNG file. Integers throughout, so pixels are the same on every machine."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.generators.procedural.backdrops import View, painted
from minchange_eval.generators.procedural.scene import Scene, Thing, contact_shadow_px, shadow_blur_px, shadow_box
from minchange_eval.generators.procedural.sprites import drawn, soft_ellipse, soft_silhouette

Pixels = NDArray[np.uint8]
_SHADOW = {View.GROUND: 95, View.SHELF: 80, View.SURFACE: 90}  # how much darker, of 256


def rendered(scene: Scene) -> Pixels:
    """The picture of a scene: [edge, edge, RGB], uint8."""
    view = scene.backdrop.view
    canvas = painted(scene.backdrop, scene.edge_px).copy()
    for thing in scene.things:
        _darken(canvas, thing, view)
    for thing in scene.things:
        paste(canvas, thing)
    return canvas


def png_bytes(pixels: Pixels) -> bytes:
    """A lossless PNG file of [height, width, RGB] pixels; its bytes may differ between zlib versions."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def _darken(canvas: Pixels, thing: Thing, view: View) -> None:
    box = shadow_box(thing, view)
    if box is None:
        return
    if view is View.SURFACE:
        coverage = soft_silhouette(thing.look, shadow_blur_px(thing.look))
    else:
        coverage = soft_ellipse(*contact_shadow_px(thing.look))
    left, top = max(0, box[0]), max(0, box[1])
    part = canvas[top : max(0, box[3]), left : max(0, box[2])]
    cut = coverage[top - box[1] :, left - box[0] :][: part.shape[0], : part.shape[1], None]
    light = 65280 - cut.astype(np.int32) * _SHADOW[view]
    part[:] = part * light // 65280


def paste(canvas: Pixels, thing: Thing) -> None:
    """Lay a thing without its shadow over a canvas [height, width, RGB], in place.

    Raises:
        ValueError: the thing is not wholly in the picture.
    """
    left, top, right, bottom = thing.box
    if left < 0 or top < 0 or right > canvas.shape[1] or bottom > canvas.shape[0]:
        raise ValueError(f"{thing.name} at {thing.box} is cut off by a picture of {canvas.shape[1]} px")
    sprite = drawn(thing.look)
    part = canvas[top:bottom, left:right]
    behind = part * (255 - sprite[..., 3:]).astype(np.uint16)
    part[:] = sprite[..., :3] + (behind + 127) // 255
