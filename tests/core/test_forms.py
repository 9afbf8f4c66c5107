from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.core.answers import Answer
from minchange_eval.core.forms import (
    balanced,
    consistency_chance,
    consistent,
    forms_of,
    in_orders,
    merged,
    position_bias,
)
from minchange_eval.core.items import BytesImage, ChoiceQuestion
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import query_of_question

Order = tuple[int, ...]


def cyclic(k: int) -> list[Order]:
    return [tuple((place + by) % k for place in range(k)) for by in range(k)]


def asked(
    answer: Callable[[Order], Answer], orders: Sequence[Order], right: int = 0, number: int = 0
) -> list[QueryOutcome]:
    """One question in several orders; `answer` gets the released position of each candidate shown."""
    item = ChoiceQuestion(
        f"q{number}", "t", (BytesImage("i", f"{number}".encode()),), "?", tuple("abcdefghi"[: len(orders[0])]), (right,)
    )
    query = query_of_question(item)
    forms = [
        replace(
            query,
            query_id=f"{query.query_id}@o{n}",
            form=f"o{n}",
            order=order,
            texts=tuple(query.texts[place] for place in order),
            answers=(order.index(right),),
        )
        for n, order in enumerate(orders)
    ]
    return [outcome_of(form, "t", answer(form.order)) for form in forms]


def letter(position: int) -> Callable[[Order], Answer]:
    """A model that says the same letter whatever it is shown."""
    return lambda order: Answer(choice=position, text="?")


def content(candidate: int) -> Callable[[Order], Answer]:
    """A model that finds the same candidate wherever it stands."""
    return lambda order: Answer(choice=order.index(candidate), text="?")


def labels(log_probabilities: Sequence[float], scored: Any = "labels") -> Callable[[Order], Answer]:
    """The same log-probabilities of the places in every order."""
    return lambda order: Answer(scores=tuple(log_probabilities), scored=scored)


def the(outcomes: Sequence[QueryOutcome]) -> QueryOutcome:
    (only,) = merged(outcomes)
    return only


@given(st.integers(2, 9), st.data())
def test_a_constant_letter_is_a_tie_and_a_miss_however_it_is_answered(k: int, data: st.DataObject) -> None:
    right, place = data.draw(st.integers(0, k - 1)), data.draw(st.integers(0, k - 1))
    log_probabilities = data.draw(st.lists(st.floats(-30, 0), min_size=k, max_size=k))
    for model in (letter(place), labels(log_probabilities), labels(log_probabilities, "options")):
        one = the(asked(model, cyclic(k), right))
        assert (one.hit, one.tie, one.unscored) == (False, True, False)
    assert not consistent(asked(letter(place), cyclic(k), right))


def test_a_model_that_reads_the_options_loses_nothing_by_their_orders() -> None:
    for k, right in ((2, 1), (4, 3), (9, 0)):
        forms = asked(content(right), cyclic(k), right)
        one = the(forms)
        assert (one.query_id, one.form, one.order, one.answers) == ("q0/choice", "", (), (right,))
        assert (one.hit, one.chosen, consistent(forms)) == (True, right, True)


def test_probabilities_are_averaged_in_the_released_order() -> None:
    first, second = (math.log(0.7), math.log(0.2), math.log(0.1)), (math.log(0.5), math.log(0.1), math.log(0.4))
    scores = {(0, 1, 2): first, (1, 2, 0): second}
    one = the(asked(lambda order: Answer(scores=scores[order], scored="labels"), list(scores), right=1))
    assert one.scores == pytest.approx(((0.7 + 0.4) / 2, (0.2 + 0.5) / 2, (0.1 + 0.1) / 2))
    assert (one.scored, one.votes, one.hit, one.chosen) == ("labels", 0, False, 0)


def test_log_probabilities_of_part_of_the_vocabulary_are_made_to_add_up_to_one() -> None:
    one = the(asked(labels([-700.0, -701.0]), cyclic(2)))
    assert one.scores == (0.5, 0.5)
    rising = the(
        asked(lambda order: Answer(scores=tuple(-900.0 - place for place in order), scored="options"), cyclic(3))
    )
    assert rising.hit
    assert sum(score or 0.0 for score in rising.scores or ()) == pytest.approx(1)


def test_words_are_votes_and_shared_votes_a_tie() -> None:
    votes = {(0, 1, 2, 3): 0, (1, 2, 3, 0): 0, (2, 3, 0, 1): 3, (3, 0, 1, 2): 2}  # candidates 0, 1, 1, 1
    one = the(asked(lambda order: Answer(choice=votes[order], text="?"), list(votes), right=1))
    assert one.scores == (0.25, 0.75, 0.0, 0.0)
    assert one.hit
    shared = {(0, 1): 0, (1, 0): 0}
    tied = the(asked(lambda order: Answer(choice=shared[order], text="?"), list(shared)))
    assert (tied.hit, tied.tie, tied.scores) == (False, True, (0.5, 0.5))
    assert not tied.of_pairs  # four votes are no exchangeable scores: chance of a group score is that of answers


def test_words_in_some_orders_and_scores_in_others_are_votes_and_a_tied_order_has_none() -> None:
    said = {
        (0, 1, 2): Answer(choice=2, text="C"),
        (1, 2, 0): Answer(scores=(-3.0, -0.1, -3.0), scored="labels"),
        (2, 0, 1): Answer(scores=(-1.0, -1.0, -1.5), scored="labels"),
    }
    one = the(asked(said.__getitem__, list(said), right=2))
    assert (one.scores, one.scored, one.hit) == ((0.0, 0.0, 2 / 3), None, True)
    assert (one.votes, one.of_pairs) == (3, False)


def test_scores_of_pairs_are_averaged_as_they_are() -> None:
    raw = {(0, 1): (0.5, 0.25), (1, 0): (0.125, 1.0)}
    one = the(asked(lambda order: Answer(scores=raw[order], scored="pairs"), list(raw)))
    assert (one.scores, one.scored, one.of_pairs) == (((0.5 + 1.0) / 2, (0.25 + 0.125) / 2), "pairs", True)


def test_one_unscored_order_leaves_the_question_unscored_with_its_reason() -> None:
    said = {(0, 1): Answer(choice=0, text="A"), (1, 0): Answer(reason="the prompt is too long")}
    one = the(asked(said.__getitem__, list(said)))
    assert (one.unscored, one.hit, one.scores, one.reason) == (True, False, None, "the prompt is too long")
    nan = {(0, 1): Answer(scores=(0.5, None), scored="labels"), (1, 0): Answer(scores=(0.5, 0.1), scored="labels")}
    assert the(asked(nan.__getitem__, list(nan))).unscored
    assert not consistent(asked(nan.__getitem__, list(nan)))


def test_one_order_alone_is_read_back_as_released() -> None:
    (swapped,) = asked(lambda order: Answer(choice=0, text="A"), [(1, 0)], right=1)
    one = the([swapped])
    assert (one.answers, one.scores, one.hit, one.query_id) == ((1,), (0.0, 1.0), True, "q0/choice")


def test_questions_as_released_and_in_wordings_come_back_as_they_are() -> None:
    item = ChoiceQuestion("q", "t", (BytesImage("i", b"i"),), "?", ("a", "b"), (0,))
    query = query_of_question(item)
    outcomes = (
        outcome_of(replace(query, query_id=f"{query.query_id}@s01", form="s01"), "t", Answer(choice=0)),
        outcome_of(replace(query, query_id=f"{query.query_id}@s02", form="s02"), "t", Answer(choice=1)),
    )
    assert merged(outcomes) == outcomes
    assert not in_orders(outcomes)
    assert list(forms_of(outcomes)) == ["q/choice"]


def _reference(outcomes: Sequence[QueryOutcome]) -> list[float]:
    """Mean probability of each released candidate, by plain loops over positions."""
    k = outcomes[0].candidates
    sums = [0.0] * k
    for outcome in outcomes:
        scores = np.array(outcome.scores, dtype=np.float64)
        probabilities = np.exp(scores) / np.exp(scores).sum()
        for place in range(k):
            sums[outcome.order[place]] += probabilities[place] / len(outcomes)
    return sums


@given(st.integers(2, 5), st.integers(0, 10_000))
def test_merging_equals_plain_loops_and_the_order_of_the_forms_changes_nothing(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    orders = [tuple(int(place) for place in rng.permutation(k)) for _ in range(4)]
    forms = asked(lambda order: Answer(scores=tuple(map(float, rng.normal(size=k))), scored="labels"), orders)
    one = the(forms)
    assert one.scores == pytest.approx(_reference(forms))
    assert one.hit == (int(np.argmax(_reference(forms))) == 0)
    random.Random(seed).shuffle(forms)
    assert the(forms) == one


def test_orders_that_do_not_go_together_are_errors() -> None:
    two = asked(letter(0), cyclic(2))
    with pytest.raises(ValueError, match="answered in different ways, pairs, words"):
        merged([two[0], two[1].answered(scores=(0.1, 0.2), scored="pairs")])
    with pytest.raises(ValueError, match="differ in their candidates or right answers"):
        merged([two[0], two[1].model_copy(update={"answers": (0,)})])
    with pytest.raises(ValueError, match="differ in their candidates or right answers"):
        merged([two[0], asked(letter(0), cyclic(3))[1]])
    with pytest.raises(ValueError, match="expected an order of 2 candidates"):
        merged([two[0].model_copy(update={"order": (0, 0)})])


def test_consistency_by_chance_is_what_random_answers_get() -> None:
    rng = random.Random(0)
    for k, forms in ((2, 2), (3, 3), (4, 2)):
        questions = [
            asked(lambda order: Answer(choice=rng.randrange(len(order)), text="?"), cyclic(k)[:forms])
            for _ in range(4000)
        ]
        expected = consistency_chance(questions[0])
        assert expected == (1 / k) ** (forms - 1)
        share = sum(map(consistent, questions)) / 4000
        assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / 4000)


def test_orders_are_balanced_where_each_candidate_stands_in_each_place_equally_often() -> None:
    assert balanced(asked(letter(0), cyclic(4)))
    assert balanced(asked(letter(0), list(itertools.permutations(range(3)))))
    assert not balanced(asked(letter(0), cyclic(4)[:3]))
    assert not balanced(asked(letter(0), [(0, 1), (0, 1)]))
    assert not balanced(asked(letter(0), [(1, 0)]))


def _one_each(choices: Sequence[int], k: int) -> Any:
    """One cluster a choice."""
    return np.eye(k)[list(choices)]


def test_position_bias_of_hand_worked_choices() -> None:
    assert position_bias([_one_each([0] * 6 + [1] * 2, 4)]).value == pytest.approx((6 / 8 - 1 / 4) / (3 / 4))
    assert position_bias([_one_each([2] * 12, 4)]).value == 1
    assert position_bias([_one_each([0, 1, 2, 3] * 3, 4)]).value == 0
    both = [_one_each([1] * 30, 2), _one_each([0, 1, 2] * 3 + [0], 3)]
    assert position_bias(both).value == pytest.approx((30 * 1 + 10 * (0.4 - 1 / 3) / (2 / 3)) / 40)


def test_position_bias_where_nothing_was_chosen_is_unknown() -> None:
    nothing = position_bias([np.zeros((5, 4))])
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 1)
    assert position_bias([np.zeros((5, 4)), _one_each([0] * 9, 2)]) == position_bias([_one_each([0] * 9, 2)])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.permutations(range(4)))
def test_position_bias_equals_its_definition_and_does_not_know_which_place_it_is(
    choices: list[int], renamed: list[int]
) -> None:
    got = position_bias([_one_each(choices, 4)], resamples=50)
    most = Fraction(max(Counter(choices).values()), len(choices))
    assert got.value == pytest.approx(float((most - Fraction(1, 4)) / Fraction(3, 4)))
    assert 0 <= got.low <= got.value <= got.high <= 1
    other = position_bias([_one_each([renamed[choice] for choice in choices], 4)], resamples=50)
    assert other == got


@pytest.mark.parametrize(
    ("clusters", "k", "alike", "truth"),
    [(12, 2, 0.3, 0.0), (44, 4, 0.3, 0.0), (44, 4, 0.3, 0.2), (12, 4, 0.3, 0.9), (44, 4, 0.0, 0.97), (44, 9, 0.3, 0.0)],
)
def test_intervals_of_position_bias_cover_at_least_93_percent(
    clusters: int, k: int, alike: float, truth: float
) -> None:
    rng = np.random.default_rng(0)
    places = np.full(k, (1 - truth) / k)
    places[0] += truth
    runs, covered = 200, 0
    for run in range(runs):
        stubborn = k * np.eye(k)[rng.choice(k, clusters, p=places)]
        choices = np.where(rng.random((clusters, 1)) < alike, stubborn, rng.multinomial(k, places, clusters))
        interval = position_bias([choices], resamples=200, seed=run)
        covered += interval.low <= truth + 1e-12 and truth <= interval.high + 1e-12
    assert covered / runs >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / runs)
