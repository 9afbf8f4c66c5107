"""One function per kind of change: from a stream of choices to scenes that differ in one thing only.

Sizes are by the area of an object's box, as a share of the picture or as a ratio of two boxes; where two objects are
compared their visible pixels keep the same thresholds. Positions are those of the box's centre.

Source of the kinds and thresholds of SPEC: arXiv:2312.00081, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import Any

from minchange_eval.core.errors import UsageError
from minchange_eval.generators.procedural.backdrops import Backdrop, View, boards_px, kinds_of
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.categories import CATEGORY, Home, Rest
from minchange_eval.generators.procedural.colours import PAINTABLE, PATTERNABLE
from minchange_eval.generators.procedural.scene import (
    Scene,
    centred,
    look_of_area,
    look_within,
    sprite_of,
    standing,
)
from minchange_eval.generators.procedural.sprites import fill_permille, outline

SIZES = ("small", "medium", "large")
RATIOS = ("smaller", "equal", "larger")
CELLS = ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right")
DIRECTIONS = ("left", "right", "above", "below")
PRESENCE = ("present", "absent")

Names = Sequence[str]


@dataclass(frozen=True)
class Change:
    """Scenes that differ in one thing, and what that thing is.

    Attributes:
        scenes: K of them.
        values: what is true of each scene and of no other (`small`, `top left`, `3`).
        names: the categories that the captions speak of, the changed one first.
        facts: whatever else is worth recording.
    """

    scenes: tuple[Scene, ...]
    values: tuple[str, ...]
    names: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    def exchanged(self) -> Change:
        """The same scenes in the opposite order."""
        return replace(self, scenes=self.scenes[::-1], values=self.values[::-1])


_FITTING = {
    View.GROUND: (Rest.STANDS,),
    View.SHELF: (Rest.STANDS,),
    View.SKY: (Rest.FLIES,),
    View.SURFACE: (Rest.STANDS, Rest.LIES, Rest.FLIES),
}
_TOO_LARGE_FOR_A_SHELF = ("person", "animal", "furniture", "vehicle", "street thing")


def resting(categories: Names, view: View) -> list[str]:
    """Those of the categories that look right in a view."""
    fitting = [name for name in categories if CATEGORY[name].rest in _FITTING[view]]
    if view is View.SHELF:
        return [name for name in fitting if CATEGORY[name].kind not in _TOO_LARGE_FOR_A_SHELF]
    return fitting


def home_of(names: Names) -> Home:
    """The home that all of them share; anywhere if they share none."""
    homes = {CATEGORY[name].home for name in names} - {Home.ANYWHERE}
    return homes.pop() if len(homes) == 1 else Home.ANYWHERE


def sample_together(stream: BitStream, categories: Names, number: int) -> list[str]:
    """Different categories that one may meet in one place, as far as there are enough of them."""
    first = stream.choice((Home.INDOORS, Home.OUTDOORS))
    for home in (first, Home.OUTDOORS if first is Home.INDOORS else Home.INDOORS):
        pool = [name for name in categories if CATEGORY[name].home in (home, Home.ANYWHERE)]
        if len(pool) >= max(number, 4):
            return stream.sample(pool, number)
    return stream.sample(categories, number)


def backdrop_for(stream: BitStream, names: Names, views: Sequence[View], horizon_percent: int = 42) -> Backdrop:
    """A background in which all these categories look right."""
    possible = [view for view in views if len(resting(names, view)) == len(names)]
    kind = stream.choice(kinds_of(stream.choice(possible), home_of(names)))
    return Backdrop(kind, stream.below(1 << 30), horizon_percent + stream.between(-4, 4))


def check_categories(categories: Names) -> None:
    """Whether every kind of change finds something to change among these.

    Raises:
        UsageError: a name is unknown, or some kind of change finds nothing.
    """
    unknown = [name for name in categories if name not in CATEGORY]
    if unknown:
        raise UsageError(f"unknown categories {', '.join(unknown)}; known are {', '.join(CATEGORY)}")
    found = {
        "8 that stand on the ground": len(resting(categories, View.GROUND)) >= 8,
        "one as wide as high": any(fills_a_square(name) for name in categories),
        "two of similar proportions": any(comparable_to(name, categories) for name in categories),
        "one that can be painted": any(name in PAINTABLE for name in categories),
        "one that can have a pattern": any(name in PATTERNABLE for name in categories),
    }
    require(found)


def require(found: dict[str, bool]) -> None:
    """Whether everything that is needed is among the categories to draw from.

    Raises:
        UsageError: something is missing.
    """
    missing = [what for what, there in found.items() if not there]
    if missing:
        raise UsageError(f"too few categories to draw from: expected also {'; '.join(missing)}; add some or pass None")


def absolute_size(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """One object that covers at most 0.2, 0.4 to 0.6, or at least 0.8 of the picture with its box; K = 3."""
    name = stream.choice([name for name in categories if fills_a_square(name)])
    backdrop = backdrop_for(stream, (name,), (View.GROUND, View.SURFACE))
    mirrored = stream.one_in(2)
    width, height = outline(sprite_of(name))
    longer = edge_px - 2 * (edge_px // 112)
    areas = (
        edge_px**2 * stream.between(90, 170) // 1000,
        edge_px**2 * stream.between(440, 540) // 1000,
        longer * (longer * min(width, height) // max(width, height)),
    )
    ground = (edge_px * stream.between(80, 90) // 100, edge_px * 93 // 100, edge_px - edge_px // 112)
    scenes = []
    for area, feet in zip(areas, ground, strict=True):
        look = look_of_area(name, area, mirrored=mirrored)
        if backdrop.view is View.GROUND:
            thing = standing(name, look, edge_px // 2, feet)
        else:
            thing = centred(name, look, edge_px // 2, edge_px // 2)
        scenes.append(Scene(edge_px, backdrop, (thing,)))
    return Change(tuple(scenes), SIZES, (name,))


def fills_a_square(name: str) -> bool:
    """Whether a category's box can cover 0.83 of a square picture, and the category enough of its box."""
    width, height = outline(sprite_of(name))
    return 100 * min(width, height) >= 85 * max(width, height) and fill_permille(sprite_of(name)) >= 450


def relative_size(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """Two objects; the first one's area is at most 0.5, 0.9 to 1.1, or at least 2 times the second one's; K = 3."""
    first, second = _comparable(stream, categories)
    backdrop = backdrop_for(stream, (first, second), (View.GROUND, View.SURFACE), 40)
    left_first, mirrored = stream.one_in(2), (stream.one_in(2), stream.one_in(2))
    # ratio of boxes b and of visible pixels b * fill, both inside the thresholds
    fill = fill_permille(sprite_of(first)) * 1000 // fill_permille(sprite_of(second))
    low, high = min(1000, 1000 * 1000 // fill), max(1000, 1000 * 1000 // fill)
    ratios = (low * stream.between(380, 450) // 1000, isqrt(low * high), high * stream.between(2150, 2400) // 1000)
    base = edge_px**2 * stream.between(75, 95) // 1000
    widest = look_of_area(first, base * ratios[2] // 1000).width + look_of_area(second, base).width
    allowed = edge_px * 92 // 100
    if widest > allowed:
        base = base * allowed * allowed // (widest * widest)
    looks = [look_of_area(first, base * ratio // 1000, mirrored=mirrored[0]) for ratio in ratios]
    other = look_of_area(second, base, mirrored=mirrored[1])
    room = edge_px - looks[2].width - other.width
    x_first, x_other = room // 3 + looks[2].width // 2, edge_px - room // 3 - other.width // 2
    if not left_first:
        x_first, x_other = edge_px - x_first, edge_px - x_other
    feet = edge_px * stream.between(82, 90) // 100
    if backdrop.view is View.SURFACE:
        feet = edge_px // 2 + max(looks[2].height, other.height) // 2
    second_thing = standing(second, other, x_other, feet)
    scenes = (Scene(edge_px, backdrop, (second_thing, standing(first, look, x_first, feet))) for look in looks)
    return Change(tuple(scenes), RATIOS, (first, second))


def _comparable(stream: BitStream, categories: Names) -> tuple[str, str]:
    """Two categories that one may meet in one place and whose sizes compare at a glance."""
    first = stream.choice([name for name in categories if comparable_to(name, categories)])
    others = comparable_to(first, categories)
    homes = (CATEGORY[first].home, Home.ANYWHERE)
    at_home = [name for name in others if Home.ANYWHERE is homes[0] or CATEGORY[name].home in homes]
    return first, stream.choice(at_home or others)


def comparable_to(name: str, categories: Names) -> list[str]:
    """Other categories that cover their boxes well and alike and have similar proportions."""
    wide, fill = _proportions(name)
    if fill < 450:  # the size of something as thin as a bicycle is hard to judge
        return []
    return [
        other
        for other in categories
        if other != name
        and 87 * _proportions(other)[1] <= 100 * fill <= 115 * _proportions(other)[1]
        and 2 * max(wide, _proportions(other)[0]) <= 3 * min(wide, _proportions(other)[0])
        and max(wide, _proportions(other)[0]) <= 160
    ]


def _proportions(name: str) -> tuple[int, int]:
    """Width in percent of the height, and how many thousandths of its box a category covers."""
    width, height = outline(sprite_of(name))
    return width * 100 // height, fill_permille(sprite_of(name))


def absolute_spatial(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """One object with its centre in each of the nine cells of a 3 x 3 grid; K = 9."""
    name = stream.choice(categories)
    backdrop = backdrop_for(stream, (name,), _PLACES)
    if backdrop.view is View.SHELF:
        look = look_within(name, edge_px * 27 // 100, edge_px * 25 // 100, mirrored=stream.one_in(2))
        centres = [(column, row) for row in range(3) for column in range(3)]
        boards = boards_px(edge_px)
        things = [standing(name, look, edge_px * (2 * column + 1) // 6, boards[row]) for column, row in centres]
    else:
        side = edge_px * stream.between(24, 28) // 100
        look = look_within(name, side, side, mirrored=stream.one_in(2))
        slack = edge_px * 2 // 100
        dx, dy = stream.between(-slack, slack), stream.between(-slack, slack)
        places = [
            (edge_px * (2 * c + 1) // 6 + dx, edge_px * (2 * r + 1) // 6 + dy) for r in range(3) for c in range(3)
        ]
        things = [centred(name, look, x, y) for x, y in places]
    return Change(tuple(Scene(edge_px, backdrop, (thing,)) for thing in things), CELLS, (name,))


_PLACES = (View.SURFACE, View.SURFACE, View.SKY, View.SHELF)


def relative_spatial(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """Two objects; the first one's centre lies left, right, above or below of the second one's; K = 4."""
    first, second = sample_together(stream, categories, 2)
    backdrop = backdrop_for(stream, (first, second), _PLACES)
    mirrored = stream.one_in(2), stream.one_in(2)
    x = edge_px // 2
    if backdrop.view is View.SHELF:
        boards = boards_px(edge_px)
        looks = [
            look_within(n, edge_px * 27 // 100, edge_px * 25 // 100, mirrored=m)
            for n, m in zip((first, second), mirrored, strict=True)
        ]
        step = edge_px // 3
        middle = standing(second, looks[1], x, boards[1])
        places = ((x - step, 1), (x + step, 1), (x, 0), (x, 2))
        moved = [standing(first, looks[0], place, boards[row]) for place, row in places]
    else:
        side = edge_px * stream.between(25, 28) // 100
        looks = [look_within(n, side, side, mirrored=m) for n, m in zip((first, second), mirrored, strict=True)]
        middle = centred(second, looks[1], x, x)
        step = edge_px * stream.between(31, 34) // 100
        slack = edge_px * 2 // 100
        off = stream.between(-slack, slack)
        places = ((x - step, x + off), (x + step, x + off), (x + off, x - step), (x + off, x + step))
        moved = [centred(first, looks[0], *place) for place in places]
    scenes = (Scene(edge_px, backdrop, (middle, thing)) for thing in moved)
    return Change(tuple(scenes), DIRECTIONS, (first, second))


def existence(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """Two to four objects of different categories, and the same scene with one of them taken away; K = 2."""
    ground = stream.one_in(2)
    view = View.GROUND if ground else View.SURFACE
    names = sample_together(stream, resting(categories, view), stream.between(2, 4))
    scene = group_of(stream, edge_px, names, view)
    gone = stream.below(len(names))
    absent = scene.without(gone)
    others = [thing.name for thing in absent.things]
    return Change((scene, absent), PRESENCE, (scene.things[gone].name,), {"others": others})


def group_of(stream: BitStream, edge_px: int, names: Names, view: View) -> Scene:
    """Two to four different objects side by side on the ground, or spread over a surface; none overlaps."""
    backdrop = backdrop_for(stream, names, (view,))
    if view is View.GROUND and len(names) <= 3:
        slot = edge_px // len(names)
        things = []
        for index, name in enumerate(names):
            look = look_within(name, slot * 86 // 100, edge_px * 44 // 100, mirrored=stream.one_in(2))
            feet = edge_px * stream.between(76, 92) // 100
            things.append(standing(name, look, slot * index + slot // 2, feet))
        return Scene(edge_px, backdrop, tuple(things))
    side = edge_px * 38 // 100
    half, slack = edge_px // 2, edge_px * 3 // 100
    things = []
    for place, name in zip(stream.shuffled(range(4)), names, strict=False):
        x = half * (place % 2) + half // 2 + stream.between(-slack, slack)
        look = look_within(name, side, side, mirrored=stream.one_in(2))
        if view is View.GROUND:
            row = 58 if place < 2 else 96
            look = look_within(name, side, edge_px * 34 // 100, mirrored=look.mirrored)
            things.append(standing(name, look, x, edge_px * (row - stream.between(0, 2)) // 100))
        else:
            y = half * (place // 2) + half // 2 + stream.between(-slack, slack)
            things.append(centred(name, look, x, y))
    return Scene(edge_px, backdrop, tuple(sorted(things, key=lambda thing: thing.box[3])))


def count(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """One to nine objects of one category; each scene has one more than that before it; K = 9."""
    scene = nine_of(stream, edge_px, stream.choice(categories))
    order = stream.shuffled(range(9))
    scenes = []
    for number in range(1, 10):
        shown = sorted(order[:number])
        scenes.append(Scene(edge_px, scene.backdrop, tuple(scene.things[place] for place in shown)))
    return Change(tuple(scenes), tuple(str(number) for number in range(1, 10)), (scene.things[0].name,))


def nine_of(stream: BitStream, edge_px: int, name: str) -> Scene:
    """Nine alike objects, three by three and not quite in line, from the back to the front."""
    backdrop = backdrop_for(stream, (name,), (View.GROUND, *_PLACES), 26)
    mirrored = stream.one_in(2)
    side = edge_px * stream.between(22, 25) // 100
    slack = edge_px * 3 // 100
    things = []
    for row in range(3):
        for column in range(3):
            x = edge_px * (2 * column + 1) // 6 + stream.between(-slack, slack)
            if backdrop.view is View.SHELF:
                thing = standing(name, look_within(name, side, side, mirrored=mirrored), x, boards_px(edge_px)[row])
            elif backdrop.view is View.GROUND:
                look = look_within(name, side, edge_px * 22 // 100, mirrored=mirrored)
                feet = edge_px * (42 + 26 * row + stream.between(-1, 1)) // 100
                thing = standing(name, look, x, feet)
            else:
                look = look_within(name, side, side, mirrored=mirrored)
                thing = centred(name, look, x, edge_px * (2 * row + 1) // 6 + stream.between(-slack, slack))
            things.append(thing)
    return Scene(edge_px, backdrop, tuple(things))
