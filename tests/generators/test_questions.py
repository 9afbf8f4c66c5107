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

from minchange_eval.core.errors import UsageError
from minchange_eval.core.images import open_image
from minchange_eval.core.queries import option_text, speaks_of_first_image
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.categories import CATEGORIES, HELD_OUT, TRAIN_CATEGORIES
from minchange_eval.generators.procedural.question_states import KINDS, check_categories
from minchange_eval.generators.procedural.questions import Question, ask
from minchange_eval.generators.procedural.render import rendered
from minchange_eval.generators.procedural.scene import Scene
from minchange_eval.generators.procedural.suite import SEED, checked, draw_med, draw_spec, plan_question
from tests.generators.drawn import may_change, opaque_mask
from tests.generators.reading import Picture, holds

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
    return plan_question(seed, kind, 0, 224, categories)


def claims(option: str) -> list[tuple[int, str]]:
    """What an option says: of which picture (0 or 1), and the clause."""
    both = SECOND_LEADS.fullmatch(option) or FIRST_LEADS.fullmatch(option)
    if both:
        return [(0, both["first"]), (1, both["second"])]
    one = ONE.fullmatch(option)
    assert one, option
    return [(int(one["told"] == "second"), one["clause"])]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=seeds)
def test_exactly_one_option_is_true_of_the_pixels_of_the_two_pictures(kind: str, seed: int) -> None:
    question = plan(kind, seed)
    pictures = [Picture(scene) for scene in question.scenes]
    true = [all(holds(kind, clause, pictures[i]) for i, clause in claims(option)) for option in question.options]
    assert true == [place == question.answer for place in range(4)], (question.options, question.answer)
    for i, clause in enumerate(question.clauses):
        assert [holds(kind, clause, picture) for picture in pictures] == [i == 0, i == 1], clause
    assert len(set(question.options)) == 4
    assert (pictures[0].pixels != pictures[1].pixels).any()


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
        for scene in plan_question(seed, kind, 0, edge_px, CATEGORIES).scenes:
            assert rendered(scene).shape == (edge_px, edge_px, 3)


@cache
def texts(seed: int, each: int) -> list[tuple[tuple[str, ...], int]]:
    plans = (plan_question(seed, kind, number, 64, CATEGORIES) for kind in KINDS for number in range(each))
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


def asked(kind: str, seed: int, number: int) -> list[Question]:
    """What one stream asks for each answer and each order."""
    return [
        ask(BitStream(seed, "med", kind, number), kind, answer, edit_first, 64, CATEGORIES)
        for answer in range(4)
        for edit_first in (False, True)
    ]


def original_of(questions: Sequence[Question]) -> Scene:
    """The one scene that is in all questions of a stream, whichever edit of it the answer asks for."""
    (original,) = set.intersection(*(set(question.scenes) for question in questions))
    return original


@settings(max_examples=66, deadline=None, derandomize=True)
@given(kinds, seeds)
def test_each_text_is_drawn_for_each_of_the_four_answers_equally_often(kind: str, seed: int) -> None:
    questions = asked(kind, seed, 0)
    answers: dict[tuple[str, ...], list[int]] = {}
    for question in questions:
        answers.setdefault((question.question, *question.options), []).append(question.answer)
    assert len(answers) == 2
    assert all(sorted(drawn) == [0, 1, 2, 3] for drawn in answers.values())


def test_letters_and_orders_of_the_pictures_come_equally_often_in_each_type() -> None:
    letters: dict[str, Counter[int]] = {kind: Counter() for kind in KINDS}
    edit_first: dict[str, int] = dict.fromkeys(KINDS, 0)
    drawn = list(draw_med(SEED, 20, 64))
    for place, item in enumerate(drawn):
        original = rendered(original_of(asked(item.subset, SEED, place % 20)))
        originals = [bool((np.asarray(open_image(image)) == original).all()) for image in item.images]
        assert originals in ([True, False], [False, True])
        assert item.facts["edit_first"] == originals[1]
        edit_first[item.subset] += originals[1]
        letters[item.subset][item.answers[0]] += 1
    assert len(drawn) == 20 * len(KINDS)
    assert all(set(count.values()) == {5} and len(count) == 4 for count in letters.values())
    assert edit_first == dict.fromkeys(KINDS, 10)


def test_the_original_is_the_scene_before_something_was_taken_away_put_on_or_done() -> None:
    for number in range(20):
        negation = plan_question(SEED, "Negation", number, 64, CATEGORIES)
        things = [len(scene.things) for scene in negation.scenes]
        assert (things[0] < things[1]) == negation.edit_first
        part = plan_question(SEED, "Part Relation", number, 64, CATEGORIES)
        if "wearing" in part.clauses[0]:
            assert ["wearing nothing" in clause for clause in part.clauses] == [not part.edit_first, part.edit_first]
        action = plan_question(SEED, "Action Relation", number, 64, CATEGORIES)
        if "beside" in action.clauses[0]:
            assert ["standing" in clause for clause in action.clauses] == [not action.edit_first, action.edit_first]


GENERAL = (
    *("bus", "train", "truck", "traffic light", "horse", "cow", "elephant", "zebra"),
    *("chair", "bottle", "apple", "orange", "potted plant"),
)


def test_categories_without_a_part_a_head_or_a_group_are_a_usage_error_that_names_what_to_add() -> None:
    assert len(list(draw_spec(0, 1, 64, GENERAL))) == 6
    with pytest.raises(UsageError, match=r"part to paint \(bed, .+wear something \(dog, .+group of \(car, "):
        list(draw_med(0, 1, 64, GENERAL))
    with pytest.raises(UsageError, match=r"expected also one with a part to paint \(bed, bicycle, clock\); add some"):
        list(draw_med(0, 1, 64, (*GENERAL, "dog", "vase")))
    assert len(list(draw_med(0, 2, 64, (*GENERAL, "dog", "vase", "clock")))) == 22


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sets(st.sampled_from(CATEGORIES), min_size=9, max_size=24), seeds)
def test_categories_that_are_accepted_serve_every_type(names: set[str], seed: int) -> None:
    categories = sorted(names | {"bed", "dog", "vase"})
    try:
        checked(categories)
        check_categories(categories)
    except UsageError:
        return
    for kind in KINDS:
        assert len(set(plan_question(seed, kind, 0, 64, categories).options)) == 4


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
