from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minchange_eval.core.answers import Answer
from minchange_eval.core.scores import (
    NEAR_TIE_MARGIN,
    Verdict,
    candidate_set_scores,
    judge,
    set_scores,
    verdict,
)

# few distinct values, so that ties are common; and the values that are no scores
_SCORE = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.5 + 3e-6, 1.0, 1e300, float("nan"), float("inf"), float("-inf")])
_REAL = st.floats(-1, 1, width=32)


def _similarity(elements: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    shapes = st.tuples(st.integers(1, 6), st.integers(2, 5)).map(lambda shape: (shape[0], shape[1], shape[1]))
    return shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=elements))


def _slow_verdict(scores: list[float], right: set[int]) -> Verdict:
    values = [np.float32(score) for score in scores]
    if any(not np.isfinite(value) for value in values):
        return Verdict(False, True, False, False, False)
    order = sorted(range(len(values)), key=lambda position: (-values[position], position))
    first = [position for position in order if values[position] == values[order[0]]]
    hit = set(first) <= right
    tie = len(first) > 1 and not hit
    near = not tie and any(
        position not in right and other in right and abs(float(values[position]) - float(values[other])) < 1e-5
        for position in [max((p for p in order if p not in right), key=lambda p: values[p], default=-1)]
        for other in [max((p for p in order if p in right), key=lambda p: values[p])]
        if position >= 0
    )
    return Verdict(hit, False, tie, near, order[0] in right)


@given(st.data(), st.lists(_SCORE, min_size=2, max_size=5))
def test_one_query_many_queries_and_a_slow_reference_agree(data: st.DataObject, scores: list[float]) -> None:
    right = data.draw(st.sets(st.integers(0, len(scores) - 1), min_size=1))
    with np.errstate(over="ignore"):
        expected = _slow_verdict(scores, right)
    answer = Answer(scores=tuple(None if np.isnan(score) else score for score in scores))
    assert verdict(answer, tuple(right), len(scores)) == expected
    many = judge([scores, scores], np.tile(np.isin(np.arange(len(scores)), list(right)), (2, 1)))
    for name, flags in vars(many).items():
        assert flags.tolist() == [getattr(expected, name)] * 2, name


def test_a_tie_for_first_place_is_a_miss_wherever_the_truth_lies() -> None:
    assert verdict(Answer(scores=(0.5, 0.5)), (0,), 2) == Verdict(False, False, True, False, True)
    assert verdict(Answer(scores=(0.5, 0.5)), (1,), 2) == Verdict(False, False, True, False, False)


def test_a_tie_among_right_answers_is_a_hit() -> None:
    assert verdict(Answer(scores=(0.5, 0.5, 0.1)), (0, 1), 3) == Verdict(True, False, False, False, True)


def test_a_near_tie_keeps_its_verdict_and_is_marked() -> None:
    assert verdict(Answer(scores=(0.5, 0.5 + NEAR_TIE_MARGIN / 2)), (1,), 2) == Verdict(True, False, False, True, True)


def test_a_missing_score_leaves_the_query_unscored_even_if_the_truth_is_highest() -> None:
    assert verdict(Answer(scores=(0.9, None)), (0,), 2) == Verdict(False, True, False, False, False)


def test_an_unread_reply_is_unscored_and_a_choice_is_judged() -> None:
    assert verdict(Answer(text="?"), (0,), 2).unscored
    assert verdict(Answer(choice=1, text="B"), (1,), 2).hit
    assert not verdict(Answer(choice=0, text="A"), (1,), 2).hit


def test_hand_worked_sets_give_the_five_scores() -> None:
    similarity = [
        [[0.9, 0.1], [0.2, 0.8]],  # all right
        [[0.9, 0.8], [0.7, 0.6]],  # image 0 twice, caption 0 twice
        [[0.5, 0.4], [0.6, 0.7]],  # every caption found, not every image
    ]
    scores = candidate_set_scores(similarity)
    assert scores.i2t_accuracy == pytest.approx(5 / 6)
    assert scores.t2i_accuracy == pytest.approx(4 / 6)
    assert (scores.text_score, scores.image_score) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert scores.group_score == pytest.approx(1 / 3)


@given(_similarity(_SCORE.filter(lambda value: abs(value) < 1e30 or value != value)))
def test_group_score_is_at_most_text_and_image_score(similarity: Any) -> None:
    scores = candidate_set_scores(similarity)
    assert scores.group_score <= min(scores.text_score, scores.image_score)
    assert scores.text_score <= scores.i2t_accuracy
    assert scores.image_score <= scores.t2i_accuracy


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, np.nan, np.inf])
@pytest.mark.parametrize("k", [2, 3, 9])
def test_a_constant_or_nan_scorer_gets_nothing(value: float, k: int) -> None:
    assert set(vars(candidate_set_scores(np.full((4, k, k), value))).values()) == {0.0}


@given(_similarity(_REAL), st.randoms(use_true_random=False))
def test_swapping_the_members_of_the_sets_changes_nothing(similarity: Any, random: Any) -> None:
    order = list(range(similarity.shape[1]))
    random.shuffle(order)
    assert candidate_set_scores(similarity[:, order][:, :, order]) == candidate_set_scores(similarity)


@given(_similarity(st.integers(-20, 20).map(float)))
def test_a_strictly_increasing_transform_changes_nothing(similarity: Any) -> None:
    before = candidate_set_scores(similarity)
    assert candidate_set_scores(np.exp(similarity / 8)) == before
    assert candidate_set_scores(3 * similarity - 7) == before


@given(_similarity(_SCORE.filter(lambda value: abs(value) < 1e30 or value != value)))
def test_set_scores_equal_a_naive_loop(similarity: Any) -> None:
    k, i2t, t2i = similarity.shape[1], [], []
    for one in similarity:
        i2t.append(
            [all(one[i, i] > one[i, j] and np.isfinite(one[i, j]) for j in range(k) if j != i) for i in range(k)]
        )
        t2i.append(
            [all(one[i, i] > one[j, i] and np.isfinite(one[j, i]) for j in range(k) if j != i) for i in range(k)]
        )
    assert candidate_set_scores(similarity) == set_scores(i2t, t2i)


@pytest.mark.parametrize(
    "call",
    [
        lambda: judge(np.zeros((0, 2)), []),
        lambda: judge(np.zeros(3), [0]),
        lambda: judge(np.zeros((1, 1)), [0]),
        lambda: judge(np.zeros((1, 2)), [2]),
        lambda: judge(np.zeros((1, 2)), [-1]),
        lambda: judge(np.zeros((1, 2)), [0.5]),
        lambda: judge(np.zeros((2, 2)), [[True, False], [False, False]]),
        lambda: candidate_set_scores(np.zeros((0, 2, 2))),
        lambda: candidate_set_scores(np.zeros((1, 2, 3))),
        lambda: set_scores(np.zeros((1, 2)), np.zeros((2, 2))),
        lambda: verdict(Answer(scores=(1.0,)), (0,), 2),
        lambda: verdict(Answer(choice=2), (0,), 2),
        lambda: verdict(Answer(choice=0), (), 2),
    ],
)
def test_wrong_shapes_and_empty_input_are_errors(call: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()
