from __future__ import annotations

from itertools import product
from math import factorial, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.audit.place_balance import place_balances, uniform_p
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion

IMAGE = BytesImage("x", b"x")


def slow_p(counts: list[int]) -> float:
    n, k = sum(counts), len(counts)

    def likely(parts: tuple[int, ...]) -> float:
        return factorial(n) / prod(map(factorial, parts)) / k**n

    outcomes = [likely(parts) for parts in product(range(n + 1), repeat=k) if sum(parts) == n]
    return sum(value for value in outcomes if value <= likely(tuple(counts)) * (1 + 1e-9))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=4))
def test_the_exact_p_value_is_the_sum_over_all_outcomes_no_likelier(counts: list[int]) -> None:
    p, test = uniform_p(counts)
    assert test == "exact"
    assert p == pytest.approx(slow_p(counts))


def test_two_places_are_the_binomial_test_and_many_outcomes_the_chi_square_test() -> None:
    from scipy.stats import binomtest, chisquare

    assert uniform_p([70, 30])[0] == pytest.approx(binomtest(70, 100, 0.5).pvalue)
    assert uniform_p([300, 250, 270, 290]) == (pytest.approx(chisquare([300, 250, 270, 290]).pvalue), "chi-square")


def test_med_s_letters_are_balanced_and_med_real_s_are_not() -> None:
    assert uniform_p([42, 30, 41, 52])[0] > 0.05
    assert uniform_p([2, 4, 7, 22])[0] < 1e-4


def question(number: int, subset: str, *answers: int) -> ChoiceQuestion:
    return ChoiceQuestion(f"q{number}", subset, (IMAGE,), "?", ("a", "b", "c"), answers)


def test_balances_are_of_each_subset_and_of_the_whole_with_holm_over_all() -> None:
    items = [question(n, "xy"[n % 2], n % 2) for n in range(40)] + [question(99, "x", 0, 1)]
    whole, x, y = place_balances(items)
    assert (whole.subset, whole.counts) == ("", (20, 20, 0))
    assert (x.subset, x.counts, y.counts) == ("x", (20, 0, 0), (0, 20, 0))
    assert all(one.p <= one.holm for one in (whole, x, y))


def test_places_of_sets_are_those_of_the_released_order() -> None:
    one = CandidateSet(
        "s", "x", (IMAGE,) * 3, ("a", "b", "c"), image_to_text=((2, 1, 0), (1, 0, 2), (0, 1, 2)),
    )  # fmt: skip
    i2t, t2i = place_balances([one])
    assert (i2t.direction, i2t.counts) == ("i2t", (1, 0, 2))
    assert (t2i.direction, t2i.counts) == ("t2i", (1, 1, 1))


def test_nothing_to_place_is_no_balance() -> None:
    assert place_balances([]) == ()
    assert np.isclose(uniform_p([0, 0])[0], 1.0)
