"""Exact intervals and p-values against scipy and against enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.audit.exact_tests import clustered_p, exact_interval, exact_p, out_of_fold_p


@settings(deadline=None)  # the first example loads scipy
@given(st.integers(1, 200), st.data())
def test_the_interval_and_p_value_are_scipys_where_all_chances_are_equal(n: int, data: st.DataObject) -> None:
    from scipy.stats import binomtest

    hits = data.draw(st.integers(0, n))
    chance = data.draw(st.sampled_from([1 / 2, 1 / 3, 1 / 4, 1 / 9]))
    oracle = binomtest(hits, n, chance)
    interval = exact_interval(hits, n)
    bounds = oracle.proportion_ci(0.95, method="exact")
    assert (interval.low, interval.high) == pytest.approx((bounds.low, bounds.high), abs=1e-9)
    assert exact_p(hits, [chance] * n) == pytest.approx(oracle.pvalue, rel=1e-6, abs=1e-12)


def test_with_chances_of_their_own_the_p_value_is_that_of_all_ways_counted_one_by_one() -> None:
    chances = [0.5, 0.5, 0.25, 0.25, 0.25, 1 / 9, 1.0]
    likely = np.zeros(len(chances) + 1)
    for way in product((0, 1), repeat=len(chances)):
        likely[sum(way)] += np.prod([c if hit else 1 - c for c, hit in zip(chances, way, strict=True)])
    for hits in range(len(chances) + 1):
        expected = likely[likely <= likely[hits] * (1 + 1e-7)].sum()
        assert exact_p(hits, chances) == pytest.approx(expected, abs=1e-12)


def test_no_items_prove_nothing_and_impossible_counts_are_errors() -> None:
    assert exact_p(0, []) == 1.0
    for hits, n in ((-1, 4), (5, 4), (0, 0)):
        with pytest.raises(ValueError, match="expected"):
            exact_interval(hits, n)
    with pytest.raises(ValueError, match="expected 0 to 2 hits"):
        exact_p(3, [0.5, 0.5])


def test_copies_in_a_cluster_are_no_evidence_and_p_values_of_clusters_are_honest() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.random((400, 50)) < 0.25
    clusters, chances = np.repeat(np.arange(50), 4), np.full(200, 0.25)
    p_values = np.array([clustered_p(np.repeat(hit, 4), chances, clusters, learned=False) for hit in drawn])
    assert 0.02 <= np.mean(p_values < 0.05) <= 0.08
    naive = np.array([exact_p(int(4 * hit.sum()), chances) for hit in drawn])
    assert np.mean(naive < 0.05) > 0.2


def test_without_copies_a_clustered_p_is_the_exact_one_or_that_of_folds() -> None:
    hit = np.arange(30) < 14
    assert clustered_p(hit, [0.25] * 30, range(30), learned=False) == exact_p(14, [0.25] * 30)
    assert clustered_p(hit, [0.25] * 30, range(30), learned=True) == out_of_fold_p(14, [0.25] * 30)
