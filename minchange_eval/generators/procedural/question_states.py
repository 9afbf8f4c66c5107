"""What may be true of a picture for each of MED's eleven kinds of question: a clause and the scene that it is true of.

The first state of a kind is the original: the scene as it was laid out, or, where none comes before the others (a
colour, a number, a place), any of them. The others are its edits.

Source of the kinds: MED, arXiv:2506.07227; the wordings are our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from minchange_eval.generators.procedural.backdrops import View, kinds_of
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.captions import CELL_WORDS, RELATION_WORDS, listed
from minchange_eval.generators.procedural.categories import CATEGORY, with_article
from minchange_eval.generators.procedural.changes import (
    Names,
    absolute_spatial,
    backdrop_for,
    group_of,
    nine_of,
    relative_size,
    relative_spatial,
    require,
    resting,
    sample_together,
)
from minchange_eval.generators.procedural.colours import PAINTABLE, PATTERNABLE, PATTERNS
from minchange_eval.generators.procedural.pair_changes import (
    distinct_colours,
    group_with,
    in_place_of,
    repainted,
)
from minchange_eval.generators.procedural.scene import Scene, Thing, centred, look_within, sprite_of
from minchange_eval.generators.procedural.sprites import Look, outline


@dataclass(frozen=True)
class State:
    """One way in which the scene can be: a clause that is true of it, and the scene."""

    clause: str
    scene: Scene


def _object(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """Another object stands in the place of one."""
    scene = group_with(stream, edge_px, categories, stream.between(2, 3))
    index = stream.below(len(scene.things))
    old = scene.things[index]
    neighbour = nearest(scene, index).name
    shown = {thing.name for thing in scene.things}
    pool = [name for name in resting(categories, scene.backdrop.view) if name not in shown]
    others = [name for name in pool if CATEGORY[name].kind != CATEGORY[old.name].kind]
    chosen = [old.name, *sample_together(stream, others if len(others) >= 3 else pool, 3)]
    preposition = stream.choice(("next to", "beside"))
    states = []
    for name in chosen:
        thing = old if name == old.name else in_place_of(old, name, scene)
        clause = f"there is {CATEGORY[name].a_name} {preposition} the {CATEGORY[neighbour].said}"
        states.append(State(clause, scene.with_thing(index, thing)))
    return states


def nearest(scene: Scene, index: int) -> Thing:
    """The thing whose centre is closest to that of another one."""
    x, y = scene.things[index].doubled_centre

    def distance(thing: Thing) -> int:
        return (thing.doubled_centre[0] - x) ** 2 + (thing.doubled_centre[1] - y) ** 2

    return min((thing for place, thing in enumerate(scene.things) if place != index), key=distance)


def _attribute(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """An object has another colour, or another pattern."""
    pattern = stream.below(10) < 3
    name = stream.choice([name for name in (PATTERNABLE if pattern else PAINTABLE) if name in categories])
    scene = group_with(stream, edge_px, categories, stream.between(2, 3), including=name)
    index = [thing.name for thing in scene.things].index(name)
    said = CATEGORY[name].said
    if not pattern:
        colours = distinct_colours(stream, 4)
        return [State(f"the {said} is {colour}", repainted(scene, index, colour)) for colour in colours]
    colour = stream.choice(("red", "blue", "green", "purple"))
    looks = [(f"the {said} is plain {colour}", ""), *((f"the {said} is {one}", one) for one in PATTERNS)]
    return stream.shuffled([State(clause, repainted(scene, index, colour, one)) for clause, one in looks])


def _scene(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """The same objects are somewhere else."""
    scene = group_with(stream, edge_px, categories, stream.between(1, 2))
    backdrop = scene.backdrop
    kinds = [kind for kind in kinds_of(backdrop.view) if kind != backdrop.kind]
    chosen = [backdrop, *(replace(backdrop, kind=kind) for kind in stream.sample(kinds, 3))]
    things = listed([f"the {CATEGORY[thing.name].said}" for thing in scene.things])
    are = "are" if len(scene.things) > 1 else CATEGORY[scene.things[0].name].verb
    return [State(f"{things} {are} {place.words}", replace(scene, backdrop=place)) for place in chosen]


def _spatial_relation(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """An object is somewhere else: seen from another one, or in the picture."""
    if stream.below(10) < 3:
        return _somewhere_else(stream, edge_px, categories)
    change = relative_spatial(stream, edge_px, categories)
    first, second = (CATEGORY[name] for name in change.names)
    states = [
        State(f"the {first.said} {first.verb} {RELATION_WORDS[value]} the {second.said}", scene)
        for value, scene in zip(change.values, change.scenes, strict=True)
    ]
    return stream.shuffled(states)


def _somewhere_else(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    change = absolute_spatial(stream, edge_px, categories)
    moved = CATEGORY[change.names[0]]
    cells = stream.sample(range(9), 4)
    return [
        State(f"the {moved.said} {moved.verb} {CELL_WORDS[change.values[cell]]}", change.scenes[cell]) for cell in cells
    ]


_POSES = {
    "person": ("standing still", False),
    "person_walking": ("walking", True),
    "person_running": ("running", True),
    "person_kneeling": ("kneeling", True),
}


def _action_relation(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """A person does something else, towards something or away from it."""
    pool = [name for name in resting(categories, View.GROUND) if name != "person"]
    name = stream.choice(pool)
    said = CATEGORY[name].said
    scene = group_of(stream, edge_px, ("person", name), View.GROUND)
    index = [thing.name for thing in scene.things].index("person")
    person, other = scene.things[index], scene.things[1 - index]
    towards_right = other.left > person.left
    near = stream.one_in(2)
    if near:
        ways = [(pose, True, f"the person is {doing} beside the {said}") for pose, (doing, _) in _POSES.items()]
    else:
        ways = stream.shuffled(
            [
                (f"person_{doing}", to, f"the person is {doing} {'towards' if to else 'away from'} the {said}")
                for doing in ("walking", "running")
                for to in (True, False)
            ]
        )
    states = []
    for pose, towards, clause in ways:
        mirrored = (towards == towards_right) and _POSES[pose][1]
        states.append(State(clause, scene.with_thing(index, _posed(person, pose, mirrored))))
    return states


def _posed(person: Thing, pose: str, mirrored: bool) -> Thing:
    """The person in another pose, on the same spot, no taller than before."""
    width, height = outline(pose)
    tall = person.look.height
    look = Look(pose, tall * width // height, tall, mirrored=mirrored)
    return replace(person, look=look, left=person.left + (person.look.width - look.width) // 2)


# Where a hat ends on a head, in thousandths of the sprite's box (unmirrored), and how wide a hat is there.
_HEADS = {
    "dog": (385, 90, 380),
    "cat": (255, 175, 330),
    "teddy bear": (500, 85, 420),
    "person": (500, 75, 620),
    "bird": (250, 75, 300),
}
_WORN = {"top hat": "a top hat", "crown": "a crown", "bow": "a pink bow"}
_PARTS = {"bed": "blanket of the bed", "bicycle": "frame of the bicycle", "clock": "case of the clock"}


def _part_relation(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """Something that belongs to an object is another one: what it wears on its head, the colour of one part."""
    if stream.below(10) < 4:
        name = stream.choice([name for name in _PARTS if name in categories])
        scene = group_with(stream, edge_px, categories, 2, including=name)
        index = [thing.name for thing in scene.things].index(name)
        colours = distinct_colours(stream, 4)
        return [State(f"the {_PARTS[name]} is {colour}", repainted(scene, index, colour)) for colour in colours]
    name = stream.choice([name for name in _HEADS if name in categories])
    others = [other for other in resting(categories, View.GROUND) if other != name and CATEGORY[other].kind != "person"]
    scene = group_of(stream, edge_px, stream.shuffled((name, stream.choice(others))), View.GROUND)
    holder = next(thing for thing in scene.things if thing.name == name)
    bare = State(f"the {name} is wearing nothing on its head", scene)
    if name == "person":
        bare = State("the person is wearing nothing on the head", scene)
    dressed = [
        State(f"the {name} is wearing {said}", replace(scene, things=(*scene.things, _worn(holder, worn))))
        for worn, said in _WORN.items()
    ]
    return [bare, *dressed]


def _worn(holder: Thing, worn: str) -> Thing:
    x, y, wide = _HEADS[holder.name]
    look = holder.look
    width, height = outline(sprite_of(worn))
    drawn = Look(sprite_of(worn), look.width * wide // 1000, look.width * wide // 1000 * height // width)
    middle = look.width * (1000 - x if look.mirrored else x) // 1000
    left = holder.left + middle - drawn.width // 2
    return Thing(worn, drawn, left, holder.top + look.height * y // 1000 - drawn.height, shadow=False)


def _counting(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """There are more or fewer of something; four numbers in a row."""
    scene = nine_of(stream, edge_px, stream.choice(categories))
    category = CATEGORY[scene.things[0].name]
    order = stream.shuffled(range(9))
    start = stream.between(1, 6)
    states = []
    for number in range(start, start + 4):
        things = tuple(scene.things[place] for place in sorted(order[:number]))
        verb = "is" if number == 1 else "are"
        states.append(State(f"there {verb} {category.counted(number)}", replace(scene, things=things)))
    return stream.shuffled(states)


# Look-alikes: word in the text -> sprite; all of one question are of one family.
_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("animal", ("cat", "tiger", "leopard", "dog")),
    ("animal", ("horse", "zebra", "cow", "goat")),
    ("animal", ("sheep", "goat", "cow", "dog")),
    ("vehicle", ("bus", "truck", "train", "car")),
    ("thing to eat", ("apple", "orange", "donut", "cake")),
    ("vessel", ("bottle", "vase", "wine glass", "cup")),
    ("piece of luggage", ("backpack", "handbag", "suitcase")),
)


def _differentiation(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """Something has become what is easily taken for it: a look-alike, or a neighbouring colour."""
    if stream.below(10) < 4:
        return _close_colours(stream, edge_px, categories)
    family, members = stream.choice(_families_of(categories))
    first = next(name for name in members if name in CATEGORY)
    scene = group_with(stream, edge_px, [name for name in categories if name not in members], 2, including=first)
    index = [thing.name for thing in scene.things].index(first)
    old = scene.things[index]
    neighbour = CATEGORY[scene.things[1 - index].name].said
    states = []
    for name in members:
        thing = in_place_of(old, name, scene)
        said = CATEGORY[name].a_name if name in CATEGORY else with_article(name)
        states.append(State(f"the {family} beside the {neighbour} is {said}", scene.with_thing(index, thing)))
    return stream.shuffled(states)


def _families_of(categories: Names) -> list[tuple[str, tuple[str, ...]]]:
    """The families without the categories that may not be used, as far as three members are left."""
    allowed = [(word, tuple(n for n in names if n in categories or n not in CATEGORY)) for word, names in _FAMILIES]
    return [(word, names) for word, names in allowed if len(names) >= 3 and any(n in categories for n in names)]


# A colour, then the two that it is most easily taken for.
_NEIGHBOURS = (
    ("orange", "red", "yellow"),
    ("purple", "blue", "pink"),
    ("pink", "red", "purple"),
    ("red", "orange", "pink"),
)


def _close_colours(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    name = stream.choice([name for name in PAINTABLE if name in categories])
    scene = group_with(stream, edge_px, categories, 2, including=name)
    index = [thing.name for thing in scene.things].index(name)
    said = CATEGORY[name].said
    return [
        State(f"the color of the {said} is {colour}", repainted(scene, index, colour))
        for colour in stream.choice(_NEIGHBOURS)
    ]


def _comparison(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """One object is larger or smaller than another, or there are more or fewer of one kind than of another."""
    if stream.one_in(2):
        change = relative_size(stream, edge_px, categories)
        first, second = (CATEGORY[name] for name in change.names)
        words = ("smaller than", "the same size as", "larger than")
        states = [
            State(f"the {first.said} {first.verb} {word} the {second.said}", scene)
            for word, scene in zip(words, change.scenes, strict=True)
        ]
        return stream.shuffled(states)
    names = sample_together(stream, [name for name in categories if not CATEGORY[name].unit], 2)
    return stream.shuffled(_more_or_fewer(stream, edge_px, names))


def _more_or_fewer(stream: BitStream, edge_px: int, names: Sequence[str]) -> list[State]:
    """Some of the second kind on the right; one less, as many or one more of the first kind on the left."""
    backdrop = backdrop_for(stream, names, (View.SURFACE,))
    side, third = edge_px * 22 // 100, edge_px // 3
    few = stream.between(2, 3)
    columns = []
    for column, name in enumerate(names):
        look = look_within(name, side, side, mirrored=stream.one_in(2))
        x0 = edge_px * (14 + 50 * column) // 100
        columns.append(
            [centred(name, look, x0 + edge_px * 23 // 100 * (i % 2), third * (i // 2) + third // 2) for i in range(6)]
        )
    first, second = (CATEGORY[name] for name in names)
    right = tuple(columns[1][: few + 1])
    words = (f"fewer {first.plural} than", f"as many {first.plural} as", f"more {first.plural} than")
    return [
        State(f"there are {word} {second.plural}", Scene(edge_px, backdrop, (*columns[0][: few + step], *right)))
        for step, word in enumerate(words)
    ]


def _negation(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """Something is taken away. States come in pairs of the original and an edit: there, not there."""
    scene = group_with(stream, edge_px, categories, stream.between(2, 4))
    states = []
    for index in stream.sample(range(len(scene.things)), 2):
        category = CATEGORY[scene.things[index].name]
        states.append(State(f"there is {category.a_name}", scene))
        states.append(State(f"there {category.verb} no {category.said}", scene.without(index)))
    return states


_GROUPS = ("car", "book", "umbrella", "backpack", "bird", "vase")


def _universality(stream: BitStream, edge_px: int, categories: Names) -> list[State]:
    """Something holds of all of a group, of all but one, of only one, of none."""
    name = stream.choice([name for name in _GROUPS if name in categories])
    full = nine_of(stream, edge_px, name)
    number = stream.between(4, 6)
    things = tuple(full.things[place] for place in sorted(stream.sample(range(9), number)))
    special, usual = distinct_colours(stream, 2)
    plural = CATEGORY[name].plural
    lucky = stream.below(number)
    states = []
    for words, painted in (
        (f"all of the {plural} are {special}", set(range(number))),
        (f"all of the {plural} but one are {special}", set(range(number)) - {lucky}),
        (f"only one of the {plural} is {special}", {lucky}),
        (f"none of the {plural} is {special}", set()),
    ):
        scene = replace(full, things=things)
        for index in range(number):
            scene = repainted(scene, index, special if index in painted else usual)
        states.append(State(words, scene))
    return stream.shuffled(states)


_Kind = Callable[[BitStream, int, Names], list[State]]
KINDS: dict[str, _Kind] = {
    "Object": _object,
    "Attribute": _attribute,
    "Scene": _scene,
    "Spatial Relation": _spatial_relation,
    "Action Relation": _action_relation,
    "Part Relation": _part_relation,
    "Counting": _counting,
    "Differentiation": _differentiation,
    "Comparison": _comparison,
    "Negation": _negation,
    "Universality": _universality,
}
OPPOSITES_ONLY = frozenset({"Negation"})  # its states are true or false in pairs, not one at a time


def check_categories(categories: Names) -> None:
    """Whether every kind of question finds what it needs among categories that every kind of change can be drawn from.

    Raises:
        UsageError: some kind finds nothing.
    """
    require(
        {
            f"one with a part to paint ({', '.join(_PARTS)})": any(name in categories for name in _PARTS),
            f"one that can wear something ({', '.join(_HEADS)})": any(name in categories for name in _HEADS),
            f"one to make a group of ({', '.join(_GROUPS)})": any(name in categories for name in _GROUPS),
            "three look-alikes (for example cat and dog)": bool(_families_of(categories)),
        }
    )
