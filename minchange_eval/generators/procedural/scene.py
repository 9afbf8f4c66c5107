"""A scene as facts: what stands where, how large, in which colour, on which background."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt

from minchange_eval.generators.procedural.backdrops import Backdrop, View
from minchange_eval.generators.procedural.categories import CATEGORY
from minchange_eval.generators.procedural.sprites import Look, outline

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are the first pixel outside


@dataclass(frozen=True)
class Thing:
    """One object in its place.

    Attributes:
        name: its category, or the word for a part or a look-alike that is no category.
        look: sprite, size in pixels, colour, mirrored or not.
        left, top: of its box, in pixels.
        shadow: whether it throws one (a hat on a head does not).
    """

    name: str
    look: Look
    left: int
    top: int
    shadow: bool = True

    @property
    def box(self) -> Box:
        return self.left, self.top, self.left + self.look.width, self.top + self.look.height

    @property
    def doubled_centre(self) -> tuple[int, int]:
        """Twice the centre of the box, so that it stays a whole number."""
        return 2 * self.left + self.look.width, 2 * self.top + self.look.height

    @property
    def area_px(self) -> int:
        return self.look.width * self.look.height


@dataclass(frozen=True)
class Scene:
    """A picture before it is drawn; later things are drawn over earlier ones."""

    edge_px: int
    backdrop: Backdrop
    things: tuple[Thing, ...]

    def with_thing(self, index: int, thing: Thing) -> Scene:
        """The same scene with one thing exchanged."""
        return replace(self, things=(*self.things[:index], thing, *self.things[index + 1 :]))

    def without(self, index: int) -> Scene:
        """The same scene with one thing less."""
        return replace(self, things=(*self.things[:index], *self.things[index + 1 :]))


def look_of_area(name: str, area_px: int, *, colour: str = "", mirrored: bool = False) -> Look:
    """A category's sprite in its own proportions, whose box has about that area."""
    sprite = sprite_of(name)
    width, height = outline(sprite)
    wide = max(1, isqrt(area_px * width // height))
    return Look(sprite, wide, max(1, (wide * height + width // 2) // width), colour, mirrored)


def look_within(name: str, width_px: int, height_px: int, *, colour: str = "", mirrored: bool = False) -> Look:
    """A category's sprite in its own proportions, as large as fits."""
    sprite = sprite_of(name)
    width, height = outline(sprite)
    wide = min(width_px, height_px * width // height)
    return Look(sprite, max(1, wide), max(1, min(height_px, wide * height // width)), colour, mirrored)


def sprite_of(name: str) -> str:
    """The file that draws a category, a part or a look-alike."""
    return CATEGORY[name].sprite if name in CATEGORY else name.replace(" ", "_")


def centred(name: str, look: Look, x: int, y: int) -> Thing:
    """A thing whose box has its centre there."""
    return Thing(name, look, x - look.width // 2, y - look.height // 2)


def standing(name: str, look: Look, x: int, feet: int) -> Thing:
    """A thing whose box ends at `feet`, with its middle at x."""
    return Thing(name, look, x - look.width // 2, feet - look.height)


def shadow_box(thing: Thing, view: View) -> Box | None:
    """Where the shadow of a thing may change pixels; None without shadow."""
    if not thing.shadow or view is View.SKY:
        return None
    left, top, right, bottom = thing.box
    if view is View.SURFACE:
        radius, offset = shadow_blur_px(thing.look), shadow_offset_px(thing.look)
        return left - radius + offset, top - radius + offset, right + radius + offset, bottom + radius + offset
    width, height = contact_shadow_px(thing.look)
    x = left + (thing.look.width - width) // 2
    y = bottom - height * 13 // 20
    return x, y, x + width, y + height


def shadow_blur_px(look: Look) -> int:
    """Half the side of the square over which a silhouette's shadow is blurred."""
    return max(1, min(look.width, look.height) // 22)


def shadow_offset_px(look: Look) -> int:
    """How far to the right and down a silhouette's shadow lies."""
    return max(1, min(look.width, look.height) // 20)


def contact_shadow_px(look: Look) -> tuple[int, int]:
    """Width and height of the shadow at the feet of something that stands."""
    return look.width * 21 // 20, max(2, min(look.width, look.height) // 6)
