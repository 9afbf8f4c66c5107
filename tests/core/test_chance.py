from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from minchange_eval.core.chance import chance, query_chance
from minchange_eval.core.scores import candidate_set_scores, set_scores

METRICS = ("i2t_accuracy", "t2i_accuracy", "text_score", "image_score", "group_score")


@pytest.mark.parametrize(("k", "sets"), [(2, 100_000), (3, 100_000), (4, 200_000)])
def test_chance_of_scores_is_what_a_random_scorer_gets(k: int, sets: int) -> None:
    got = candidate_set_scores(np.random.default_rng(k).random((sets, k, k), dtype=np.float32))
    for metric in METRICS:
        expected = chance(metric, k, "scores")
        assert abs(getattr(got, metric) - expected) < 4 * math.sqrt(expected / sets), metric


def test_chance_of_answers_is_what_coins_get() -> None:
    rng = np.random.default_rng(0)
    got = set_scores(rng.random((100_000, 2)) < 0.5, rng.random((100_000, 2)) < 0.5)
    for metric in METRICS:
        assert getattr(got, metric) == pytest.approx(chance(metric, 2, "answers"), abs=0.005), metric


def test_pairs_have_the_chances_of_the_papers() -> None:
    assert [chance(metric, 2, "scores") for metric in METRICS[2:]] == [1 / 4, 1 / 4, 1 / 6]
    assert chance("pair_mean", 2, "scores") == pytest.approx(0.2222, abs=1e-4)
    assert chance("group_score", 2, "answers") == 1 / 16


@pytest.mark.parametrize("k", range(2, 10))
def test_the_closed_form_of_the_group_score_is_the_product_that_was_derived(k: int) -> None:
    assert chance("group_score", k, "scores") == pytest.approx(1 / math.prod(2 * k - j for j in range(1, k + 1)))


def test_several_right_answers_add_up_and_wrong_arguments_are_errors() -> None:
    assert query_chance(4, 80) == 0.05
    for call in (lambda: query_chance(0, 2), lambda: query_chance(3, 2), lambda: chance("text_score", 1, "scores")):
        with pytest.raises(ValueError, match="expected"):
            call()
    with pytest.raises(ValueError, match="metric"):
        chance("macro", 2, "scores")


def _votes_that_hit(answers: int, candidates: int, votes: int) -> float:
    """Every way in which votes can fall, judged one by one: a right candidate has more than every wrong one."""
    hits = 0
    for way in itertools.product(range(candidates), repeat=votes):
        count = Counter(way)
        right, wrong = (max((count[c] for c in of), default=-1) for of in (range(answers), range(answers, candidates)))
        hits += right > wrong
    return hits / candidates**votes


@pytest.mark.parametrize(
    ("answers", "candidates", "votes"),
    [(1, 2, 1), (1, 2, 2), (1, 2, 3), (1, 3, 2), (1, 3, 3), (2, 3, 3), (3, 3, 3), (1, 4, 4), (2, 4, 4), (2, 5, 6)],
)
def test_chance_of_votes_is_the_share_of_all_ways_in_which_they_can_fall(
    answers: int, candidates: int, votes: int
) -> None:
    assert query_chance(answers, candidates, votes) == pytest.approx(_votes_that_hit(answers, candidates, votes))


def test_a_shared_first_place_is_a_miss_so_votes_get_less_than_one_in_k() -> None:
    assert [query_chance(1, k, votes=k) for k in (2, 3, 4)] == [1 / 4, 7 / 27, 49 / 256]
    assert query_chance(1, 9, votes=9) == pytest.approx(0.0595, abs=5e-5)
    assert query_chance(1, 9, votes=1) == 1 / 9
    with pytest.raises(ValueError, match="1 or more votes"):
        query_chance(1, 2, votes=0)
