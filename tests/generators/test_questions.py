"""MED's eleven types: exactly one option is true of the pictures, and the text alone does not tell which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.core.queries import option_text, speaks_of_first_image
from minchange_eval.generators.procedural.categories import CATEGORIES, HELD_OUT, TRAIN_CATEGORIES
from minchange_eval.generators.procedural.questions import KINDS, Question
from minchange_eval.generators.procedural.render import rendered
from minchange_eval.generators.procedural.suite import SEED, draw_med, plan_question
from tests.generators.drawn import box_of, covered_px, mask_of, may_change, opaque_mask

seeds = st.integers(0, 10**6)
kinds = st.sampled_from(sorted(KINDS))
some = settings(max_examples=66, deadline=None, derandomize=True)

SECOND_LEADS = re.compile(
    r"In the second image, (?P<second>.+), (?:whereas|while|but) in the first image, (?P<first>.+)\."
)
FIRST_LEADS = re.compile(
    r"In the first image, (?P<first>.+), (?:whereas|while|but) in the second image, (?P<second>.+)\."
)
ONE = re.compile(r"In the (?P<told>first|second) image, (?P<clause>[^,]+)\.")


def plan(kind: str, seed: int, categories: Sequence[str] = CATEGORIES) -> Question:
    return plan_question(seed, kind, 0, 224, categories)[0]


def is_true(option: str, first: str, second: str) -> bool:
    """Whether an option says of both pictures, or of the one that it speaks of, what is true of them."""
    both = SECOND_LEADS.fullmatch(option) or FIRST_LEADS.fullmatch(option)
    if both:
        return (both["first"], both["second"]) == (first, second)
    one = ONE.fullmatch(option)
    assert one, option
    return one["clause"] == (first if one["told"] == "first" else second)


@some
@given(kinds, seeds)
def test_exactly_one_option_is_true_of_the_pictures_as_shown(kind: str, seed: int) -> None:
    question = plan(kind, seed)
    assert [is_true(option, *question.clauses) for option in question.options].index(True) == question.answer
    assert sum(is_true(option, *question.clauses) for option in question.options) == 1
    assert len(set(question.options)) == 4
    assert (rendered(question.scenes[0]) != rendered(question.scenes[1])).any()


@some
@given(kinds, seeds)
def test_the_two_pictures_differ_only_where_something_changed(kind: str, seed: int) -> None:
    first, second = (rendered(scene) for scene in plan(kind, seed).scenes)
    if kind == "Scene":
        scenes = plan(kind, seed).scenes
        assert scenes[0].things == scenes[1].things
        for thing in scenes[0].things:
            solid = opaque_mask(scenes[0], thing)
            assert solid.any()
            assert (first[solid] == second[solid]).all()
    else:
        elsewhere = ~may_change(plan(kind, seed).scenes)
        assert (first[elsewhere] == second[elsewhere]).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seeds, st.sampled_from([64, 128, 336]))
def test_every_type_is_drawn_at_any_size(seed: int, edge_px: int) -> None:
    for kind in KINDS:
        for scene in plan_question(seed, kind, 0, edge_px, CATEGORIES)[0].scenes:
            assert rendered(scene).shape == (edge_px, edge_px, 3)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seeds)
def test_numbers_sizes_and_directions_in_the_answer_are_those_of_the_pixels(seed: int) -> None:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    counting = plan("Counting", seed)
    for clause, scene in zip(counting.clauses, counting.scenes, strict=True):
        assert words[len(scene.things)] == clause.split()[2]
    spatial = plan("Spatial Relation", seed)
    for clause, scene in zip(spatial.clauses, spatial.scenes, strict=True):
        if len(scene.things) == 2:
            anchor, moved = (box_of(mask_of(scene, thing)) for thing in scene.things)
            said = next(word for word in ("left", "right", "above", "below") if word in clause)
            beyond = {
                "left": anchor[0] - moved[2],
                "right": moved[0] - anchor[2],
                "above": anchor[1] - moved[3],
                "below": moved[1] - anchor[3],
            }
            assert max(beyond, key=beyond.__getitem__) == said
    comparison = plan("Comparison", seed)
    for clause, scene in zip(comparison.clauses, comparison.scenes, strict=True):
        if clause.startswith("there"):
            tally = Counter(thing.name for thing in scene.things)
            (_, first), (_, second) = sorted((clause.find(name), number) for name, number in _spelt(tally, clause))
            word = "fewer" if first < second else "more" if first > second else "as many"
            assert word in clause
        else:
            ordered = sorted(scene.things, key=lambda thing: clause.find(thing.name.replace("tv", "TV")))
            ratio = covered_px(scene, ordered[0]) / covered_px(scene, ordered[1])
            assert ("smaller" in clause, "larger" in clause) == (ratio <= 0.5, ratio >= 2)


def _spelt(tally: Counter[str], clause: str) -> list[tuple[str, int]]:
    from minchange_eval.generators.procedural.categories import CATEGORY

    return [(CATEGORY[name].plural, number) for name, number in tally.items() if CATEGORY[name].plural in clause]


@cache
def texts(seed: int, each: int) -> list[tuple[tuple[str, ...], int]]:
    plans = (plan_question(seed, kind, number, 64, CATEGORIES)[0] for kind in KINDS for number in range(each))
    return [(question.options, question.answer) for question in plans]


Rule = Callable[[Sequence[str]], Sequence[float]]  # scores of the options; the highest is taken


def overlap(options: Sequence[str]) -> list[float]:
    """Mean share of words that an option has in common with each other option."""
    bags = [set(re.findall(r"\w+", option.lower())) for option in options]
    shared = np.zeros((len(bags), len(bags)))
    for a, b in combinations(range(len(bags)), 2):
        shared[a, b] = shared[b, a] = len(bags[a] & bags[b]) / len(bags[a] | bags[b])
    return list(shared.sum(axis=1).round(9))


RULES: dict[str, Rule] = {
    **{f"always {letter}": lambda _, i=i: [float(i == j) for j in range(4)] for i, letter in enumerate("ABCD")},
    "longest": lambda options: [len(option) for option in options],
    "shortest": lambda options: [-len(option) for option in options],
    "most like the others": overlap,
    "least like the others": lambda options: [-score for score in overlap(options)],
    "begins with the first image": lambda options: [float(speaks_of_first_image(option)) for option in options],
    "begins with the second image": lambda options: [-float(speaks_of_first_image(option)) for option in options],
    "first in the alphabet": lambda options: [-sorted(options).index(option) for option in options],
}


def expected_hits(rule: Rule, items: Sequence[tuple[tuple[str, ...], int]]) -> float:
    """Hits of a rule that takes one of its best options at random."""
    hits = Fraction(0)
    for options, answer in items:
        scores = rule(options)
        best = [index for index, score in enumerate(scores) if score == max(scores)]
        hits += Fraction(int(answer in best), len(best))
    return float(hits)


@pytest.mark.parametrize("name", RULES)
def test_no_rule_that_reads_the_text_only_beats_chance_in_the_suite(name: str) -> None:
    items = texts(SEED, 20)
    hits = expected_hits(RULES[name], items)
    n = len(items)
    assert n == 220
    assert abs(hits / n - 1 / 4) <= 2 * (3 / 16 / n) ** 0.5


@pytest.mark.parametrize("name", RULES)
def test_no_rule_that_reads_the_text_only_beats_chance_over_many_seeds(name: str) -> None:
    items = [item for seed in range(100, 112) for item in texts(seed, 20)]
    hits = expected_hits(RULES[name], items)
    assert abs(hits / len(items) - 1 / 4) <= 2.5 * (3 / 16 / len(items)) ** 0.5


@settings(max_examples=30, deadline=None, derandomize=True)
@given(kinds, seeds)
def test_the_options_are_the_same_whichever_of_them_is_the_answer(kind: str, seed: int) -> None:
    from minchange_eval.generators.procedural.bits import BitStream
    from minchange_eval.generators.procedural.questions import ask

    asked = [ask(BitStream(seed), kind, answer, 64, CATEGORIES) for answer in range(4)]
    assert len({(question.options, question.question) for question in asked}) == 1
    assert len({question.clauses for question in asked}) == 4 or kind != "Negation"


def test_letters_and_orders_come_equally_often_in_each_type() -> None:
    letters: dict[str, Counter[int]] = {kind: Counter() for kind in KINDS}
    orders: dict[str, Counter[bool]] = {kind: Counter() for kind in KINDS}
    for kind in KINDS:
        for number in range(20):
            question, edit_first = plan_question(SEED, kind, number, 64, CATEGORIES)
            letters[kind][question.answer] += 1
            orders[kind][edit_first] += 1
    assert all(set(count.values()) == {5} and len(count) == 4 for count in letters.values())
    assert all(count[True] == count[False] == 10 for count in orders.values())


def test_questions_for_training_never_show_or_name_a_held_out_category() -> None:
    for kind in KINDS:
        for seed in range(30):
            question = plan(kind, seed, TRAIN_CATEGORIES)
            assert not {thing.name for scene in question.scenes for thing in scene.things} & set(HELD_OUT)
            said = " ".join(question.options)
            assert not [name for name in HELD_OUT if re.search(rf"\b{name}\b", said)]


def test_options_carry_letters_and_read_as_sentences() -> None:
    for item in draw_med(3, 3, 64):
        assert [option[:3] for option in item.options] == ["A. ", "B. ", "C. ", "D. "]
        for option in item.options:
            text = option_text(option)
            assert text.startswith("In the ")
            assert text.endswith(".")
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  |\bare no \w+ and\b", text), text
            assert not re.search(r"scissors is\b", text), text
