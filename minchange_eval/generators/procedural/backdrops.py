"""What lies behind the objects: places with a ground, surfaces seen from above, the sky, a shelf. Integers throughout.

Calm on purpose: soft gradients, broad shapes and a little grain, so that the objects are what one sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.categories import Home

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]
_Field = NDArray[np.int32]


class View(StrEnum):
    """From where a scene is seen, which decides what may be in it and how shadows fall."""

    GROUND = "ground"  # things stand below the horizon, with a shadow at their feet
    SURFACE = "surface"  # seen from above, things lie anywhere, with their silhouette as shadow
    SKY = "sky"  # things fly, without shadow
    SHELF = "shelf"  # three boards, things stand on them


@dataclass(frozen=True)
class Backdrop:
    """A background.

    Attributes:
        kind: a key of `KINDS`.
        seed: of its shapes and tints; the same seed and kind are the same pixels.
        horizon_percent: where the ground begins, from the top.
    """

    kind: str
    seed: int
    horizon_percent: int = 45

    @property
    def view(self) -> View:
        return KINDS[self.kind][0]

    @property
    def words(self) -> str:
        """How one says where things are: `on a beach`."""
        return KINDS[self.kind][1]


def boards_px(edge_px: int) -> tuple[int, int, int]:
    """Upper edges of a shelf's three boards."""
    return (edge_px * 320 // 1000, edge_px * 640 // 1000, edge_px * 960 // 1000)


@lru_cache(maxsize=512)
def painted(backdrop: Backdrop, edge_px: int) -> Pixels:
    """The background: [edge, edge, RGB], uint8; read-only, shared by every scene that has it."""
    stream = BitStream(backdrop.seed, "backdrop", backdrop.kind)
    picture = KINDS[backdrop.kind][2](stream, edge_px, edge_px * backdrop.horizon_percent // 100)
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels


def _tinted(stream: BitStream, colour: Colour, by: int = 10) -> Colour:
    shade = stream.between(-by, by)
    r, g, b = (channel + shade + stream.between(-by // 2, by // 2) for channel in colour)
    return r, g, b


def _gradient(rows: int, columns: int, top: Colour, bottom: Colour) -> _Field:
    """[rows, columns, 3], from one colour at the top to another at the bottom."""
    steps = np.arange(rows, dtype=np.int32)[:, None]
    last = max(rows - 1, 1)
    line = (np.array(top) * (last - steps) + np.array(bottom) * steps) // last
    return np.repeat(line[:, None, :], columns, axis=1).astype(np.int32)


def _mottle(stream: BitStream, rows: int, columns: int, cells: int, depth: int) -> _Field:
    """[rows, columns, 1] smooth light and dark of -depth..depth: a coarse grid of values, interpolated."""
    down = max(2, cells * rows // max(rows, columns) + 1)
    values = [[stream.between(-depth, depth) for _ in range(cells + 2)] for _ in range(down + 1)]
    grid = np.array(values, dtype=np.int32) * 256
    y = np.arange(rows, dtype=np.int32) * (down - 1) * 256 // rows
    x = np.arange(columns, dtype=np.int32) * cells * 256 // columns
    fy, fx = (y % 256)[:, None], (x % 256)[None, :]
    y0, x0 = (y // 256)[:, None], (x // 256)[None, :]
    upper = grid[y0, x0] * (256 - fx) + grid[y0, x0 + 1] * fx
    lower = grid[y0 + 1, x0] * (256 - fx) + grid[y0 + 1, x0 + 1] * fx
    smooth: _Field = ((upper * (256 - fy) + lower * fy) // (1 << 24)).astype(np.int32)[..., None]
    return smooth


def _blob(picture: _Field, x: int, y: int, width: int, height: int, colour: Colour, strength: int) -> None:
    """Blend a soft-edged ellipse into a picture, in place; strength in 1/256."""
    rows, columns = picture.shape[:2]
    top, bottom = max(0, y - height), min(rows, y + height)
    left, right = max(0, x - width), min(columns, x + width)
    if top >= bottom or left >= right or width < 1 or height < 1:
        return
    dy = (np.arange(top, bottom) - y)[:, None] * width
    dx = (np.arange(left, right) - x)[None, :] * height
    square = (width * height) ** 2
    inside = np.clip((square - dx * dx - dy * dy) * 768 // square, 0, 256)[..., None] * strength // 256
    part = picture[top:bottom, left:right]
    part += (np.array(colour) - part) * inside // 256


def _sky(stream: BitStream, rows: int, edge_px: int, clouds: int) -> _Field:
    top, bottom = stream.choice(_SKIES)
    picture = _gradient(rows, edge_px, _tinted(stream, top), _tinted(stream, bottom, 6))
    for _ in range(clouds):
        x, y = stream.below(edge_px), rows * stream.between(8, 62) // 100
        size = edge_px * stream.between(6, 11) // 100
        for part in range(3):
            dx = (part - 1) * size * 9 // 10
            lift = size // 4 if part == 1 else 0
            _blob(picture, x + dx, y - lift, size, size // 2, (250, 252, 255), 190)
    return picture


_SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((120, 180, 235), (205, 230, 248)),
    ((150, 200, 240), (225, 238, 246)),
    ((165, 190, 215), (225, 228, 230)),
    ((130, 170, 225), (248, 226, 205)),
)


def _outdoors(stream: BitStream, edge_px: int, horizon: int, far: Colour, near: Colour, grain: int) -> _Field:
    """Sky above a ground that is lighter in the distance."""
    ground = _gradient(edge_px - horizon, edge_px, _tinted(stream, far), _tinted(stream, near))
    ground += _mottle(stream, edge_px - horizon, edge_px, 9, grain)
    return np.concatenate([_sky(stream, horizon, edge_px, stream.between(1, 3)), ground])


def _meadow(stream: BitStream, edge_px: int, horizon: int) -> _Field:
    picture = _outdoors(stream, edge_px, horizon, (168, 205, 120), (112, 168, 78), 7)
    for _ in range(2):  # hills on the horizon
        width = edge_px * stream.between(30, 55) // 100
        part = picture[:horizon]
        _blob(part, stream.below(edge_px), horizon, width, edge_px * stream.between(6, 11) // 100, (140, 186, 120), 230)
    return picture


def _beach(stream: BitStream, edge_px: int, horizon: int) -> _Field:
    picture = _outdoors(stream, edge_px, horizon, (238, 220, 176), (222, 196, 146), 5)
    sea = max(2, edge_px * stream.between(5, 8) // 100)
    picture[horizon - sea : horizon] = _gradient(sea, edge_px, (70, 145, 190), (125, 195, 210))
    return picture


def _snow(stream: BitStream, edge_px: int, horizon: int) -> _Field:
    picture = _outdoors(stream, edge_px, horizon, (232, 239, 247), (212, 222, 235), 4)
    part = picture[:horizon]
    for _ in range(stream.between(4, 7)):  # firs far away
        x, height = stream.below(edge_px), edge_px * stream.between(6, 10) // 100
        for row in range(height):
            half = (row + 1) * height // (3 * height)
            y = horizon - height + row
            if y >= 0:
                part[y, max(0, x - half) : x + half + 1] = (96, 128, 118)
    return picture


def _street(stream: BitStream, edge_px: int, horizon: int) -> _Field:
    picture = _outdoors(stream, edge_px, horizon, (172, 174, 178), (140, 142, 147), 3)
    x = -stream.below(max(1, edge_px // 8))
    while x < edge_px:  # a row of houses
        width, height = edge_px * stream.between(13, 24) // 100, horizon * stream.between(40, 78) // 100
        colour = _tinted(stream, stream.choice(_HOUSES), 8)
        picture[horizon - height : horizon, max(0, x) : max(0, x + width)] = colour
        pane = max(2, edge_px // 40)
        for top in range(horizon - height + pane, horizon - 2 * pane, 3 * pane):
            for left in range(x + pane, x + width - pane, 3 * pane):
                picture[top : top + pane + pane // 2, max(0, left) : max(0, left + pane)] = (228, 232, 236)
        x += width
    kerb = max(1, edge_px // 60)
    picture[horizon : horizon + 2 * kerb] = (205, 205, 205)
    return picture


_HOUSES: tuple[Colour, ...] = ((206, 170, 150), (196, 184, 164), (172, 182, 196), (214, 202, 182), (186, 164, 164))


def _room(stream: BitStream, edge_px: int, horizon: int) -> _Field:
    wall = _tinted(stream, stream.choice(_WALLS))
    upper = _gradient(horizon, edge_px, wall, (wall[0] - 10, wall[1] - 10, wall[2] - 10))
    lower = _planks(stream, edge_px, edge_px - horizon, stream.choice(_WOODS))
    if stream.one_in(2):  # a window
        width, height = edge_px * stream.between(20, 30) // 100, horizon * stream.between(50, 62) // 100
        left, top = stream.below(edge_px - width), horizon // 8
        frame = max(1, edge_px // 60)
        upper[top : top + height, left : left + width] = (246, 246, 244)
        pane = _gradient(height - 2 * frame, width - 2 * frame, (160, 205, 238), (220, 236, 246))
        upper[top + frame : top + height - frame, left + frame : left + width - frame] = pane
        middle = left + width // 2 - frame // 2
        upper[top : top + height, middle : middle + frame] = (246, 246, 244)
    board = max(1, edge_px // 50)
    upper[horizon - board :] = (244, 242, 238)
    return np.concatenate([upper, lower])


_WALLS: tuple[Colour, ...] = ((214, 224, 222), (232, 222, 204), (205, 216, 232), (226, 212, 216), (218, 226, 206))
_WOODS: tuple[Colour, ...] = ((198, 160, 118), (176, 134, 96), (216, 186, 148), (190, 168, 144))


def _planks(stream: BitStream, columns: int, rows: int, wood: Colour) -> _Field:
    """Boards that run from left to right, each in its own tint."""
    picture = np.zeros((rows, columns, 3), dtype=np.int32)
    board = max(3, columns * stream.between(8, 12) // 100)
    for top in range(0, rows, board):
        picture[top : top + board] = _tinted(stream, wood, 7)
        picture[top] -= 16
    return picture + _mottle(stream, rows, columns, 5, 3)


def _boards(stream: BitStream, edge_px: int, _: int) -> _Field:
    return _planks(stream, edge_px, edge_px, stream.choice(_WOODS))


def _lawn(stream: BitStream, edge_px: int, _: int) -> _Field:
    picture = _gradient(edge_px, edge_px, _tinted(stream, (142, 190, 98)), _tinted(stream, (126, 176, 86)))
    return picture + _mottle(stream, edge_px, edge_px, 12, 8)


def _sand(stream: BitStream, edge_px: int, _: int) -> _Field:
    picture = _gradient(edge_px, edge_px, _tinted(stream, (234, 214, 170)), _tinted(stream, (226, 202, 154)))
    return picture + _mottle(stream, edge_px, edge_px, 10, 6)


def _tiles(stream: BitStream, edge_px: int, _: int) -> _Field:
    base = _tinted(stream, stream.choice(_WALLS))
    picture = _gradient(edge_px, edge_px, base, (base[0] - 8, base[1] - 8, base[2] - 8))
    tile = edge_px * stream.between(16, 24) // 100
    joint = max(1, edge_px // 110)
    start = stream.below(tile)
    for line in range(start, edge_px, tile):
        picture[line : line + joint] -= 20
        picture[:, line : line + joint] -= 20
    return picture


def _paper(stream: BitStream, edge_px: int, _: int) -> _Field:
    tint = _tinted(stream, stream.choice(_PAPERS), 6)
    return _gradient(edge_px, edge_px, tint, (tint[0] - 14, tint[1] - 14, tint[2] - 14))


_PAPERS: tuple[Colour, ...] = (
    (240, 238, 232),
    (212, 226, 240),
    (236, 222, 230),
    (222, 236, 220),
    (242, 232, 206),
    (206, 210, 216),
)


def _open_sky(stream: BitStream, edge_px: int, _: int) -> _Field:
    return _sky(stream, edge_px, edge_px, stream.between(3, 6))


def _shelf(stream: BitStream, edge_px: int, _: int) -> _Field:
    wall = _tinted(stream, stream.choice(_WALLS))
    picture = _gradient(edge_px, edge_px, wall, (wall[0] - 12, wall[1] - 12, wall[2] - 12))
    wood = _tinted(stream, stream.choice(_WOODS), 6)
    thick = max(2, edge_px * 26 // 1000)
    for top in boards_px(edge_px):
        picture[top : top + thick] = wood
        picture[top : top + max(1, thick // 4)] += 18
        picture[top + thick : top + thick + max(1, thick // 2)] -= 22
    return picture


_Painter = Callable[[BitStream, int, int], _Field]
KINDS: dict[str, tuple[View, str, _Painter, Home]] = {
    "meadow": (View.GROUND, "in a meadow", _meadow, Home.OUTDOORS),
    "beach": (View.GROUND, "on a beach", _beach, Home.OUTDOORS),
    "snow": (View.GROUND, "in the snow", _snow, Home.OUTDOORS),
    "street": (View.GROUND, "on a street", _street, Home.OUTDOORS),
    "room": (View.GROUND, "in a room", _room, Home.INDOORS),
    "boards": (View.SURFACE, "on wooden boards", _boards, Home.INDOORS),
    "lawn": (View.SURFACE, "on a lawn", _lawn, Home.OUTDOORS),
    "sand": (View.SURFACE, "on the sand", _sand, Home.OUTDOORS),
    "tiles": (View.SURFACE, "on a tiled floor", _tiles, Home.INDOORS),
    "paper": (View.SURFACE, "on a plain background", _paper, Home.ANYWHERE),
    "sky": (View.SKY, "in the sky", _open_sky, Home.ANYWHERE),
    "shelf": (View.SHELF, "on a shelf", _shelf, Home.INDOORS),
}


def kinds_of(view: View, home: Home = Home.ANYWHERE) -> tuple[str, ...]:
    """Names of the backgrounds seen from there that suit things of that home."""
    return tuple(
        kind
        for kind, (seen_from, _, _, place) in KINDS.items()
        if seen_from is view and (home is Home.ANYWHERE or place in (home, Home.ANYWHERE))
    )
