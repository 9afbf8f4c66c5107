from __future__ import annotations

import math

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
