"""Reading the clauses of MED's questions, and saying from the pixels whether they are true of a picture.

Boxes come from the scene's description; what is in them is compared with the vendored files or named by its colours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from minchange_eval.generators.procedural.backdrops import Backdrop, painted
from minchange_eval.generators.procedural.categories import CATEGORY
from minchange_eval.generators.procedural.colours import pixel_colours
from minchange_eval.generators.procedural.render import rendered
from minchange_eval.generators.procedural.scene import Scene, Thing, shadow_box
from minchange_eval.generators.procedural.sprites import Look, drawn
from tests.generators.drawn import Mask, box_of, covered_px, mask_of

PLACES = {
    "in a meadow": "meadow",
    "on a beach": "beach",
    "in the snow": "snow",
    "on a street": "street",
    "in a room": "room",
    "on wooden boards": "boards",
    "on a lawn": "lawn",
    "on the sand": "sand",
    "on a tiled floor": "tiles",
    "on a plain background": "paper",
}
CELLS = {
    "in the top left corner": (0, 0),
    "at the top center": (1, 0),
    "in the top right corner": (2, 0),
    "at the middle left": (0, 1),
    "in the center": (1, 1),
    "at the middle right": (2, 1),
    "in the bottom left corner": (0, 2),
    "at the bottom center": (1, 2),
    "in the bottom right corner": (2, 2),
}
POSES = {  # all files face left
    "standing still": "person",
    "walking": "person_walking",
    "running": "person_running",
    "kneeling": "person_kneeling",
}
WORN = {"a top hat": "top_hat", "a crown": "crown", "a pink bow": "bow"}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Picture:
    """A scene with its pixels."""

    scene: Scene

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        return rendered(self.scene)

    def shows(self, thing: Thing, file: str, *, mirrored: bool | None = None, pattern: str | None = None) -> bool:
        """Whether the file is to be seen in a thing's box, painted as it is; most of it, since a hat may hide some."""
        look = thing.look
        side = look.mirrored if mirrored is None else mirrored
        expected = Look(file, look.width, look.height, look.colour, side, look.pattern if pattern is None else pattern)
        return self._share(replace(thing, look=expected)) >= 0.8

    def _share(self, thing: Thing) -> float:
        """Share of a thing's opaque pixels that the picture has exactly so."""
        sprite = drawn(thing.look)
        solid = sprite[..., 3] == 255
        left, top, right, bottom = thing.box
        return float((sprite[solid][:, :3] == self.pixels[top:bottom, left:right][solid]).all(axis=1).mean())

    def _inside(self, *boxes: tuple[int, int, int, int] | None) -> Mask:
        inside = np.zeros(self.pixels.shape[:2], dtype=bool)
        for box in boxes:
            if box is not None:
                left, top, right, bottom = (max(0, side) for side in box)
                inside[top:bottom, left:right] = True
        return inside

    def all(self, name: str) -> list[Thing]:
        """The things that are a car, whatever their description calls them."""
        return [thing for thing in self.scene.things if self.shows(thing, name.lower().replace(" ", "_"))]

    def colour(self, thing: Thing) -> str:
        """The commonest colour name among a thing's pixels."""
        left, top, right, bottom = thing.box
        solid = drawn(thing.look)[..., 3] == 255
        names = pixel_colours(self.pixels[top:bottom, left:right][solid])
        return str(Counter(names[names != ""].tolist()).most_common(1)[0][0])

    def is_at(self, kind: str) -> bool:
        """Whether a background of this kind is behind everything."""
        view = self.scene.backdrop.view
        boxes = [box for thing in self.scene.things for box in (thing.box, shadow_box(thing, view))]
        free = ~self._inside(*boxes)
        drawn = painted(Backdrop(kind, self.scene.backdrop.seed, self.scene.backdrop.horizon_percent), len(free))
        return bool((drawn[free] == self.pixels[free]).all())


def next_to(picture: Picture, thing: Thing, other: Thing) -> bool:
    """Whether the other thing is the closest, or hardly farther than the closest, by the centres of the boxes."""

    def distance(one: Thing) -> int:
        (x, y), (x0, y0) = one.doubled_centre, thing.doubled_centre
        return (x - x0) ** 2 + (y - y0) ** 2

    return distance(other) <= 2 * min(distance(one) for one in picture.scene.things if one is not thing)


def single(words: str) -> str:
    """`scissors` for `pair of scissors`."""
    return re.sub(r"^(pair|head) of ", "", words)


def named_by(plural: str) -> str:
    return next(category.name for category in CATEGORY.values() if category.plural == plural)


def _beside(picture: Picture, name: str, other: str) -> bool:
    found = picture.all(single(name))
    return len(found) == 1 and any(next_to(picture, found[0], thing) for thing in picture.all(other))


def _coloured(picture: Picture, name: str, colour: str) -> bool:
    found = picture.all(name)
    return len(found) == 1 and picture.colour(found[0]) == colour


def _patterned(picture: Picture, name: str, pattern: str) -> bool:
    plain, _, colour = pattern.partition(" ")
    found = [thing for thing in picture.scene.things if thing.name == name]
    shown = picture.shows(found[0], name, pattern="" if plain == "plain" else plain)
    return len(found) == 1 and shown and (not colour or picture.colour(found[0]) == colour)


def _placed(picture: Picture, names: str, place: str) -> bool:
    things = re.split(r", | and ", names)
    return all(picture.all(name.removeprefix("the ")) for name in things) and picture.is_at(PLACES[place])


def _seen_from(picture: Picture, name: str, side: str, other: str) -> bool:
    (moved,), (anchor,) = picture.all(name), picture.all(other)
    one, two = (box_of(mask_of(picture.scene, thing)) for thing in (moved, anchor))
    beyond = {
        "to the left of": two[0] - one[2],
        "to the right of": one[0] - two[2],
        "above": two[1] - one[3],
        "below": one[1] - two[3],
    }
    return max(beyond, key=beyond.__getitem__) == side


def _in_cell(picture: Picture, name: str, cell: str) -> bool:
    (thing,) = picture.all(name)
    x, y = thing.doubled_centre
    edge = picture.scene.edge_px
    return (3 * x // (2 * edge), 3 * y // (2 * edge)) == CELLS[cell]


def _does(picture: Picture, doing: str, where: str, name: str) -> bool:
    person = next(thing for thing in picture.scene.things if thing.name == "person")
    (other,) = picture.all(name)
    if where == "beside":
        return picture.shows(person, POSES[doing])
    to_the_right = other.left > person.left
    return picture.shows(person, POSES[doing], mirrored=to_the_right == (where == "towards"))


def _wears(picture: Picture, name: str, what: str) -> bool:
    worn = [thing for file in WORN.values() for thing in picture.all(file)]
    if what.startswith("nothing"):
        return not worn and bool(picture.all(name))
    (holder,) = picture.all(name)
    on_head = [
        thing
        for thing in picture.all(WORN[what])
        if holder.left <= thing.doubled_centre[0] / 2 <= holder.box[2]
        and holder.top <= thing.box[3] <= holder.top + holder.look.height / 4
    ]
    return len(on_head) == len(worn) == 1


def _number(picture: Picture, number: str, things: str) -> bool:
    name = single(things) if number == "one" else named_by(things)
    return len(picture.all(name)) == len(picture.scene.things) == NUMBERS.index(number)


def _compared(picture: Picture, name: str, word: str, other: str) -> bool:
    (first,), (second,) = picture.all(name), picture.all(other)
    ratio = covered_px(picture.scene, first) / covered_px(picture.scene, second)
    return {"smaller than": ratio <= 0.5, "the same size as": 0.9 <= ratio <= 1.1, "larger than": ratio >= 2}[word]


def _tallied(picture: Picture, word: str, things: str, others: str) -> bool:
    first, second = (len(picture.all(named_by(plural))) for plural in (things, others))
    assert first + second == len(picture.scene.things)
    return {"fewer": first < second, "as many": first == second, "more": first > second}[word]


def _of_all(picture: Picture, how_many: str, things: str, but_one: str, colour: str) -> bool:
    found = picture.all(named_by(things))
    assert len(found) == len(picture.scene.things) >= 4
    so = sum(picture.colour(thing) == colour for thing in found)
    return so == {"all": len(found) - bool(but_one), "only one": 1, "none": 0}[how_many]


def _there(picture: Picture, name: str) -> bool:
    return len(picture.all(single(name))) == 1


def _not_there(picture: Picture, name: str) -> bool:
    return not picture.all(name)


PLACE, CELL = "|".join(PLACES), "|".join(CELLS)
Reader = Callable[..., bool]
READERS: dict[str, tuple[tuple[str, Reader], ...]] = {
    "Object": ((r"there is an? (.+) (?:next to|beside) the (.+)", _beside),),
    "Attribute": (
        (r"the (.+) is (striped|spotted|plain \w+)", _patterned),
        (r"the (.+) is (\w+)", _coloured),
    ),
    "Scene": ((rf"(the .+) (?:is|are) ({PLACE})", _placed),),
    "Spatial Relation": (
        (r"the (.+) (?:is|are) (to the left of|to the right of|above|below) the (.+)", _seen_from),
        (rf"the (.+) (?:is|are) ({CELL})", _in_cell),
    ),
    "Action Relation": ((r"the person is (.+) (beside|towards|away from) the (.+)", _does),),
    "Part Relation": (
        (r"the (?:blanket|frame|case) of the (.+) is (\w+)", _coloured),
        (r"the (.+) is wearing (.+)", _wears),
    ),
    "Counting": ((r"there (?:is|are) (\w+) (.+)", _number),),
    "Differentiation": (
        (r"the color of the (.+) is (\w+)", _coloured),
        (r"the [\w ]+ beside the (?P<other>.+) is an? (?P<name>.+)", _beside),
    ),
    "Comparison": (
        (r"the (.+) (?:is|are) (smaller than|the same size as|larger than) the (.+)", _compared),
        (r"there are (fewer|more|as many) (.+) (?:than|as) (.+)", _tallied),
    ),
    "Negation": (
        (r"there (?:is|are) no (.+)", _not_there),
        (r"there is an? (.+)", _there),
    ),
    "Universality": ((r"(all|only one|none) of the (.+?)( but one)? (?:is|are) (\w+)", _of_all),),
}


def holds(kind: str, clause: str, picture: Picture) -> bool:
    """Whether a clause of a kind is true of a picture.

    Raises:
        ValueError: the clause cannot be read.
    """
    for pattern, reader in READERS[kind]:
        read = re.fullmatch(pattern, clause)
        if read:
            return reader(picture, **read.groupdict()) if read.groupdict() else reader(picture, *read.groups())
    raise ValueError(f"no reader of {kind} for {clause!r}")
