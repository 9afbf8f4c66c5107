"""Reading a drawn scene back from its pixels, without looking at the numbers in its description."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from minchange_eval.generators.procedural.backdrops import painted
from minchange_eval.generators.procedural.render import paste, rendered
from minchange_eval.generators.procedural.scene import Scene, Thing, shadow_box

Mask = NDArray[np.bool_]


def mask_of(scene: Scene, thing: Thing) -> Mask:
    """Which pixels of the picture a thing colours when it is alone and throws no shadow."""
    alone = replace(scene, things=(replace(thing, shadow=False),))
    changed: Mask = (rendered(alone) != painted(scene.backdrop, scene.edge_px)).any(axis=2)
    return changed


def covered_px(scene: Scene, thing: Thing) -> float:
    """How many pixels a thing covers, from how much of a black and of a white canvas it lets through."""
    black = np.zeros((scene.edge_px, scene.edge_px, 3), dtype=np.uint8)
    white = np.full_like(black, 255)
    paste(black, thing)
    paste(white, thing)
    return float((255 - (white.astype(int) - black)).sum()) / (3 * 255)


def opaque_mask(scene: Scene, thing: Thing) -> Mask:
    """Which pixels a thing covers so that nothing shines through."""
    black = np.zeros((scene.edge_px, scene.edge_px, 3), dtype=np.uint8)
    white = np.full_like(black, 255)
    paste(black, thing)
    paste(white, thing)
    same: Mask = (white == black).all(axis=2)
    return same


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is set, the last two exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def box_area(mask: Mask) -> int:
    left, top, right, bottom = box_of(mask)
    return (right - left) * (bottom - top)


def centre_of(mask: Mask) -> tuple[float, float]:
    left, top, right, bottom = box_of(mask)
    return (left + right) / 2, (top + bottom) / 2


def may_change(scenes: Iterable[Scene]) -> Mask:
    """Pixels in the boxes, or in the boxes of the shadows, of things that not all of the scenes have."""
    scenes = list(scenes)
    kept = set(scenes[0].things).intersection(*(scene.things for scene in scenes))
    allowed = np.zeros((scenes[0].edge_px,) * 2, dtype=bool)
    for scene in scenes:
        for thing in set(scene.things) - kept:
            for box in (thing.box, shadow_box(thing, scene.backdrop.view)):
                if box is not None:
                    left, top, right, bottom = (max(0, side) for side in box)
                    allowed[top:bottom, left:right] = True
    return allowed
