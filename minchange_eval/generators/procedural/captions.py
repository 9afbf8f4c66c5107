"""What is written under a picture: several wordings of each fact, in plain grammatical English."""

from __future__ import annotations

from collections.abc import Sequence

from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.categories import CATEGORY, with_article
from minchange_eval.generators.procedural.changes import Change

_SIZE = (
    "the {x} {is_} {size} in the image",
    "a picture in which the {x} {is_} {size}",
    "the {x} in the picture {is_} {size}",
)
_SIZE_WORDS = {"small": ("small",), "medium": ("medium-sized",), "large": ("large",)}

_RATIO = {
    "smaller": ("the {x} {is_} smaller than the {y}", "the {x} {seems_} smaller than the {y}"),
    "equal": ("the {x} {is_} the same size as the {y}", "the {x} {is_} equal in size to the {y}"),
    "larger": ("the {x} {is_} larger than the {y}", "the {x} {seems_} larger than the {y}"),
}
_CELL = ("the {x} {is_} {where} of the image", "{a_x} {where} of the picture", "{a_x} placed {where} of the image")
CELL_WORDS = {
    "top left": "in the top left corner",
    "top": "at the top center",
    "top right": "in the top right corner",
    "left": "at the middle left",
    "center": "in the center",
    "right": "at the middle right",
    "bottom left": "in the bottom left corner",
    "bottom": "at the bottom center",
    "bottom right": "in the bottom right corner",
}
_DIRECTION = {
    "left": ("{is_} to the left of", "{is_} on the left side of", "{is_} placed to the left of"),
    "right": ("{is_} to the right of", "{is_} on the right side of", "{is_} placed to the right of"),
    "above": ("{is_} above", "{is_} higher up than", "{is_} placed above"),
    "below": ("{is_} below", "{is_} lower down than", "{is_} placed below"),
}
_PRESENCE = {
    "present": ("there is {a_x} in the image", "a photo with {a_x}", "{a_x} can be seen in the picture"),
    "absent": ("there {is_} no {x} in the image", "a photo with no {x}", "no {x} can be seen in the picture"),
}
_COUNT = ("a photo of {n}", "a picture of {n}", "a photo with {n}")


def captions_of(stream: BitStream, subset: str, change: Change) -> tuple[str, ...]:
    """One caption per scene of a SPEC change; caption i is true of scene i only.

    One wording serves the whole set, so that what differs between its captions is the changed thing.
    """
    wording = stream.below(6)
    return tuple(_CAPTION[subset](wording, value, change.names) for value in change.values)


def varied_captions(stream: BitStream, subset: str, change: Change) -> tuple[str, ...]:
    """As `captions_of`, each caption in a wording of its own, as in some of SPEC's sets."""
    return tuple(_CAPTION[subset](stream.below(6), value, change.names) for value in change.values)


def _words(name: str) -> dict[str, str]:
    category = CATEGORY[name]
    return {
        "x": category.said,
        "a_x": category.a_name,
        "is_": category.verb,
        "seems_": "appear" if category.verb == "are" else "appears",
    }


def _picked(wordings: Sequence[str], wording: int) -> str:
    return wordings[wording % len(wordings)]


def _absolute_size(wording: int, value: str, names: Sequence[str]) -> str:
    return _picked(_SIZE, wording).format(size=_picked(_SIZE_WORDS[value], wording), **_words(names[0]))


def _relative_size(wording: int, value: str, names: Sequence[str]) -> str:
    return _picked(_RATIO[value], wording).format(y=CATEGORY[names[1]].said, **_words(names[0]))


def _absolute_spatial(wording: int, value: str, names: Sequence[str]) -> str:
    return _picked(_CELL, wording).format(where=CELL_WORDS[value], **_words(names[0]))


def _relative_spatial(wording: int, value: str, names: Sequence[str]) -> str:
    words = _words(names[0])
    relation = _picked(_DIRECTION[value], wording).format(**words)
    return f"the {words['x']} {relation} the {CATEGORY[names[1]].said}"


def _existence(wording: int, value: str, names: Sequence[str]) -> str:
    return _picked(_PRESENCE[value], wording).format(**_words(names[0]))


def _count(wording: int, value: str, names: Sequence[str]) -> str:
    return _picked(_COUNT, wording).format(n=CATEGORY[names[0]].counted(int(value)))


_CAPTION = {
    "absolute_size": _absolute_size,
    "relative_size": _relative_size,
    "absolute_spatial": _absolute_spatial,
    "relative_spatial": _relative_spatial,
    "existence": _existence,
    "count": _count,
}


def listed(phrases: Sequence[str]) -> str:
    """`a cat, a dog and a car`."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def plain_caption(stream: BitStream, names: Sequence[str]) -> str:
    """An ordinary caption that names what is there and nothing finer."""
    phrases = listed([CATEGORY[name].a_name for name in names])
    return stream.choice(("a photo of {}", "a picture of {}", "{}", "an image of {}")).format(phrases)


def pair_captions(stream: BitStream, subset: str, change: Change) -> tuple[str, ...]:
    """One caption for each of the two scenes of a VisMin change; each is true of its scene only."""
    wording = stream.below(6)
    where = change.scenes[0].backdrop.words
    return tuple(_PAIR_CAPTION[subset](wording, value, change.names, where) for value in change.values)


def varied_pair_captions(stream: BitStream, subset: str, change: Change) -> tuple[str, ...]:
    """As `pair_captions`, each caption in a wording of its own."""
    where = change.scenes[0].backdrop.words
    return tuple(_PAIR_CAPTION[subset](stream.below(6), value, change.names, where) for value in change.values)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _object(wording: int, value: str, names: Sequence[str], where: str) -> str:
    phrases = listed([CATEGORY[name].a_name for name in (value, *names)])
    return _sentence(_picked((f"{phrases} {where}", f"a picture of {phrases}", f"{phrases}"), wording))


def _attribute(wording: int, value: str, names: Sequence[str], where: str) -> str:
    name, other = CATEGORY[names[0]].said, CATEGORY[names[1]].a_name
    thing = with_article(f"{value} {name}")
    wordings = (f"{thing} and {other} {where}", f"{thing} next to {other}", f"{other} beside {thing} {where}")
    return _sentence(_picked(wordings, wording))


RELATION_WORDS = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
    "in front": "in front of",
    "behind": "behind",
}


def _relation(wording: int, value: str, names: Sequence[str], where: str) -> str:
    first, second = CATEGORY[names[0]], CATEGORY[names[1]]
    relation = RELATION_WORDS[value]
    wordings = (
        f"{first.a_name} {relation} {second.a_name} {where}",
        f"the {first.said} {first.verb} {relation} the {second.said}",
        f"{first.a_name} {relation} {second.a_name}",
    )
    return _sentence(_picked(wordings, wording))


def _counting(wording: int, value: str, names: Sequence[str], where: str) -> str:
    number = int(value)
    things = CATEGORY[names[0]].counted(number)
    there_is = "is" if number == 1 else "are"
    wordings = (f"{things} {where}", f"there {there_is} {things} {where}", f"a picture of {things}")
    return _sentence(_picked(wordings, wording))


_PAIR_CAPTION = {
    "object": _object,
    "attribute": _attribute,
    "relation": _relation,
    "counting": _counting,
}
