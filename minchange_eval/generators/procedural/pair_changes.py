"""VisMin's four kinds of change: an original scene and a minimally edited one.

Source of the kinds: VisMin, arXiv:2407.16772.
"""

from __future__ import annotations

from dataclasses import replace

from minchange_eval.generators.procedural.backdrops import View
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.categories import CATEGORY, Home
from minchange_eval.generators.procedural.changes import (
    Change,
    Names,
    backdrop_for,
    count,
    group_of,
    relative_spatial,
    resting,
    sample_together,
)
from minchange_eval.generators.procedural.colours import ALIKE, COLOURS, PAINTABLE, PATTERNABLE, PATTERNS
from minchange_eval.generators.procedural.scene import Scene, Thing, look_within, standing
from minchange_eval.generators.procedural.sprites import drawn

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def object_replaced(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """One of two or three objects becomes one of another category, of the same kind where there is one."""
    scene = group_with(stream, edge_px, categories, stream.between(2, 3))
    index = stream.below(len(scene.things))
    old = scene.things[index]
    shown = {thing.name for thing in scene.things}
    candidates = [name for name in resting(categories, scene.backdrop.view) if name not in shown]
    new = stream.choice(of_the_same_kind(candidates, old.name) or candidates)
    edited = scene.with_thing(index, in_place_of(old, new, scene))
    others = tuple(thing.name for thing in scene.things if thing is not old)
    return Change((scene, edited), (old.name, new), others)


def of_the_same_kind(names: Names, name: str) -> list[str]:
    """Those that are of the same kind as a category: other animals for an animal."""
    return [other for other in names if CATEGORY[other].kind == CATEGORY[name].kind and other != name]


def in_place_of(old: Thing, name: str, scene: Scene) -> Thing:
    """A thing of another category in the box of an old one, on the same ground, in about the same size."""
    edge = max(old.look.width, old.look.height)
    tall = min(edge, max(old.look.height * 5 // 4, edge * 3 // 4))
    look = look_within(name, min(edge, old.look.width * 5 // 4), tall, mirrored=old.look.mirrored)
    x = old.left + old.look.width // 2
    if scene.backdrop.view is View.SURFACE:
        y = old.top + old.look.height // 2
        top = y - look.height // 2
    else:
        top = old.top + old.look.height - look.height
    left = x - look.width // 2
    left = min(max(left, 0), scene.edge_px - look.width)
    return Thing(name, look, left, min(max(top, 0), scene.edge_px - look.height))


def attribute_changed(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """One object gets another colour, or another pattern in the same colour."""
    pattern = stream.below(10) < 3
    name = stream.choice([name for name in (PATTERNABLE if pattern else PAINTABLE) if name in categories])
    scene = group_with(stream, edge_px, categories, 2, including=name)
    index = next(i for i, thing in enumerate(scene.things) if thing.name == name)
    if pattern:
        colour = stream.choice(("red", "blue", "green", "purple"))
        looks = [("", colour), *((one, colour) for one in PATTERNS)]
        chosen = stream.sample(looks, 2)
        values = tuple(f"{one or 'plain'} {paint}" for one, paint in chosen)
    else:
        first, second = distinct_colours(stream, 2)
        chosen, values = [("", first), ("", second)], (first, second)
    scenes = tuple(repainted(scene, index, paint, one) for one, paint in chosen)
    others = tuple(thing.name for thing in scene.things if thing.name != name)
    return Change(scenes, values, (name, *others))


def distinct_colours(stream: BitStream, number: int) -> list[str]:
    """Colours of which no two are easily taken for each other."""
    chosen: list[str] = []
    for colour in stream.shuffled(COLOURS):
        if len(chosen) < number and all(frozenset({colour, other}) not in ALIKE for other in chosen):
            chosen.append(colour)
    return chosen if len(chosen) == number else distinct_colours(stream, number)


def repainted(scene: Scene, index: int, colour: str, pattern: str = "") -> Scene:
    """The same scene with one thing in another colour and pattern."""
    thing = scene.things[index]
    return scene.with_thing(index, replace(thing, look=replace(thing.look, colour=colour, pattern=pattern)))


def relation_changed(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """One of two objects moves to the other side of the other one, or from before it to behind it."""
    if stream.below(10) < 3:  # at times in depth
        return depth_changed(stream, edge_px, categories)
    change = relative_spatial(stream, edge_px, categories)
    first = stream.choice(change.values)
    chosen = (first, OPPOSITE[first])
    scenes = tuple(change.scenes[change.values.index(value)] for value in chosen)
    return Change(scenes, chosen, change.names)


def depth_changed(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """A smaller object stands partly in front of a larger one, or partly hidden behind it."""
    change = _in_depth(stream, edge_px, categories)
    while change is None:  # ends: every two categories that stand fit within a few tries
        change = _in_depth(stream, edge_px, categories)
    return change


def _in_depth(stream: BitStream, edge_px: int, categories: Names) -> Change | None:
    """Such a pair if one sees which hides which and what is hidden; shapes with holes often fail."""
    first, second = sample_together(stream, resting(categories, View.GROUND), 2)
    backdrop = backdrop_for(stream, (first, second), (View.GROUND,))
    large = look_within(second, edge_px * 50 // 100, edge_px * 48 // 100, mirrored=stream.one_in(2))
    small = look_within(first, edge_px * 36 // 100, edge_px * 36 // 100, mirrored=stream.one_in(2))
    order = (0, 1) if stream.one_in(2) else (1, 0)
    side = 1 if stream.one_in(2) else -1
    feet = edge_px * stream.between(78, 82) // 100
    middle, down = edge_px // 2 - side * edge_px * 8 // 100, edge_px * 7 // 100
    anchor = standing(second, large, middle, feet)
    for inward in range(-10, 50, 5):
        x = middle + side * (large.width // 2 - small.width * inward // 100)
        before, behind = standing(first, small, x, feet + down), standing(first, small, x, feet - down)
        shared = sorted(_shared_px(anchor, thing) * 100 // _shared_px(before, before) for thing in (before, behind))
        if shared[0] >= 22 and shared[1] <= 65:
            scenes = (Scene(edge_px, backdrop, (anchor, before)), Scene(edge_px, backdrop, (behind, anchor)))
            values = ("in front", "behind")
            return Change(tuple(scenes[i] for i in order), tuple(values[i] for i in order), (first, second))
    return None


def _shared_px(one: Thing, other: Thing) -> int:
    """How many pixels both of two things cover."""
    left, top = max(one.left, other.left), max(one.top, other.top)
    right, bottom = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    if left >= right or top >= bottom:
        return 0
    seen = [
        drawn(thing.look)[top - thing.top : bottom - thing.top, left - thing.left : right - thing.left, 3] >= 128
        for thing in (one, other)
    ]
    return int((seen[0] & seen[1]).sum())


def number_changed(stream: BitStream, edge_px: int, categories: Names) -> Change:
    """Some of several alike objects are taken away, or some are added; numbers from 1 to 9, one to three apart."""
    change = count(stream, edge_px, categories)
    fewer = stream.between(1, 8)
    more = min(9, fewer + stream.between(1, 3))
    chosen = (fewer, more) if stream.one_in(2) else (more, fewer)
    scenes = tuple(change.scenes[number - 1] for number in chosen)
    return Change(scenes, tuple(str(number) for number in chosen), change.names)


def group_with(stream: BitStream, edge_px: int, categories: Names, number: int, including: str = "") -> Scene:
    """Different objects on the ground or on a surface."""
    view = View.GROUND if stream.below(3) else View.SURFACE
    if including and including not in resting(categories, view):
        view = View.SURFACE
    pool = [name for name in resting(categories, view) if name != including]
    if including:
        homes = (CATEGORY[including].home, Home.ANYWHERE)
        at_home = [name for name in pool if Home.ANYWHERE in homes[:1] or CATEGORY[name].home in homes]
        names = [including, *stream.sample(at_home if len(at_home) >= number else pool, number - 1)]
    else:
        names = sample_together(stream, pool, number)
    return group_of(stream, edge_px, stream.shuffled(names), view)
