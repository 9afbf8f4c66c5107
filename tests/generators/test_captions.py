"""What is written under the pictures is English, and each caption names one value only."""

from __future__ import annotations

import re

import pytest

from minchange_eval.generators.procedural.backdrops import Backdrop
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.captions import captions_of, listed, pair_captions, plain_caption
from minchange_eval.generators.procedural.categories import CATEGORIES, CATEGORY, with_article
from minchange_eval.generators.procedural.changes import CELLS, DIRECTIONS, PRESENCE, RATIOS, SIZES, Change
from minchange_eval.generators.procedural.scene import Scene

VALUES = {
    "absolute_size": SIZES,
    "relative_size": RATIOS,
    "absolute_spatial": CELLS,
    "relative_spatial": DIRECTIONS,
    "existence": PRESENCE,
    "count": tuple("123456789"),
}
PAIRS = {
    "object": ("cat", "dog"),
    "attribute": ("orange", "striped blue"),
    "relation": ("in front", "behind"),
    "counting": ("1", "2"),
}
SCENE = Scene(64, Backdrop("meadow", 0), ())
WRONG = re.compile(
    r"\ba [aeiou]|\ban [^aeiou]|  |\bone \w+ (are|were)\b|scissors (is|appears)\b|sheeps|persons|mouses|knifes"
    r"|peoples|buss\b|sandwichs|couchs|toothbrushs|\btvs?\b| ,|\.\."
)


@pytest.mark.parametrize("subset", VALUES)
def test_every_wording_of_every_category_is_grammatical_and_distinct(subset: str) -> None:
    for name in CATEGORIES:
        for seed in range(8):
            other = "elephant" if name != "elephant" else "umbrella"
            change = Change((), VALUES[subset], (name, other))
            captions = captions_of(BitStream(seed), subset, change)
            assert len(set(captions)) == len(VALUES[subset])
            for caption in captions:
                assert not WRONG.search(caption), caption
                assert len(caption.split()) <= 14  # short enough for a small text tower


@pytest.mark.parametrize("subset", PAIRS)
def test_sentences_begin_with_a_capital_and_end_with_one_stop(subset: str) -> None:
    for name in CATEGORIES:
        for seed in range(8):
            change = Change((SCENE, SCENE), PAIRS[subset], (name, "umbrella"))
            captions = pair_captions(BitStream(seed), subset, change)
            assert len(set(captions)) == 2
            for caption in captions:
                assert re.fullmatch(r"[A-Z][^.]+\.", caption), caption
                assert not WRONG.search(caption.lower().replace("tv", "t v")), caption


@pytest.mark.parametrize(
    ("name", "one", "three"),
    [
        ("knife", "one knife", "three knives"),
        ("sheep", "one sheep", "three sheep"),
        ("person", "one person", "three people"),
        ("mouse", "one mouse", "three mice"),
        ("scissors", "one pair of scissors", "three pairs of scissors"),
        ("broccoli", "one head of broccoli", "three heads of broccoli"),
        ("bus", "one bus", "three buses"),
        ("tv", "one TV", "three TVs"),
    ],
)
def test_irregular_plurals_are_right(name: str, one: str, three: str) -> None:
    assert (CATEGORY[name].counted(1), CATEGORY[name].counted(3)) == (one, three)


def test_articles_follow_the_sound() -> None:
    assert [with_article(words) for words in ("apple", "orange car", "striped umbrella", "TV")] == [
        "an apple",
        "an orange car",
        "a striped umbrella",
        "a TV",
    ]


def test_lists_read_as_one_says_them() -> None:
    assert listed(["a cat"]) == "a cat"
    assert listed(["a cat", "a dog", "a car"]) == "a cat, a dog and a car"
    assert plain_caption(BitStream(0), ("apple", "tv")).endswith("an apple and a TV")
