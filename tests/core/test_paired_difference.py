from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar

from minchange_eval.core.statistics import (
    difference_bounds,
    paired_difference,
    sign_flip_p_value,
    smallest_detectable_effect,
)
from tests.core.paired_simulation import Floats, Stratum, chance_of, every_outcome, misses, simulated

RUNS = 2000
NOISE = 3 * math.sqrt(0.05 * 0.95 / RUNS)  # a rate of 5 % is seen above 5 % + NOISE in about one of 1,000 tests
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.9, 1.0)
WAYS = np.linspace(0, 1, 11)


@cache
def _bounds(n: int, level: float) -> tuple[Any, Floats, Floats]:
    counts, changes = every_outcome(n)
    return counts, *difference_bounds(changes, np.full(n, 1 / n), 1 / n, level)


def _pairs(before: int, after: int, both: int, neither: int) -> tuple[Floats, Floats, Floats]:
    first = [1] * before + [0] * after + [1] * both + [0] * neither
    second = [0] * before + [1] * after + [1] * both + [0] * neither
    totals = [1] * len(first)
    return tuple(np.array(column, dtype=float)[:, None] for column in (first, second, totals))  # type: ignore[return-value]


@pytest.mark.parametrize("n", [12, 13, 20, 44, 100])
def test_a_true_loss_of_the_margin_passes_in_at_most_5_percent_whatever_its_shape(n: int) -> None:
    """Exact sums over all outcomes of one yes or no per cluster; the truth is the margin."""
    counts, lower, _ = _bounds(n, 0.95)
    for share, way in itertools.product(SHARES, WAYS):
        chances = chance_of(counts, n, share * (1 - way), share * way)
        assert chances[lower > share * (1 - 2 * way) + 1e-9].sum() <= 0.05


@pytest.mark.parametrize("n", [12, 13, 20, 44, 100])
def test_no_loss_is_called_a_regression_in_at_most_5_percent(n: int) -> None:
    counts, _, upper = _bounds(n, 0.95)
    for share in SHARES:
        assert chance_of(counts, n, share / 2, share / 2)[upper < 0].sum() <= 0.05


@pytest.mark.parametrize("n", [12, 20, 44, 100])
def test_the_interval_of_one_yes_or_no_each_covers_95_percent_of_every_truth(n: int) -> None:
    counts, low, high = _bounds(n, 0.975)
    for share, way in itertools.product(SHARES, WAYS):
        truth = share * (1 - 2 * way)
        outside = (low > truth + 1e-9) | (high < truth - 1e-9)
        assert chance_of(counts, n, share * (1 - way), share * way)[outside].sum() <= 0.05


def test_walds_bound_would_fail_these_checks() -> None:
    counts, changes = every_outcome(44)
    mean, deviation = changes.sum(axis=1), np.sqrt(44) * changes.std(axis=1)
    lower = mean - 1.645 * deviation
    passed = max(chance_of(counts, 44, 0, loss)[lower > -loss + 1e-9].sum() for loss in (0.01, 0.02, 0.05))
    assert passed > 0.3


ALIKE = {
    f"{clusters} clusters of {sizes}, +{gain} -{loss}, alike {alike}": [Stratum(clusters, sizes, gain, loss, alike)]
    for clusters, sizes, (gain, loss), alike in itertools.product(
        (12, 44, 100),
        ((2,), (9,), (2, 4, 6, 18)),  # the last: sets that share images are one cluster
        ((0.0, 0.02), (0.05, 0.05), (0.0, 0.2), (0.2, 0.2)),
        (0.0, 0.3, 1.0),
    )
}
MEANS = {
    f"{' + '.join(map(str, clusters))} clusters of {sizes}, {where}, +{gain} -{loss}, alike {alike}": [
        Stratum(size, sizes, *((gain, loss) if where == "everywhere" or not place else (0.0, 0.0)), alike)
        for place, size in enumerate(clusters)
    ]
    for clusters, sizes, (gain, loss), alike, where in itertools.product(
        ((4,) * 11, (15,) * 11, (12, 50, 50, 50), (2,) * 6),
        ((1,), (2, 3, 4, 9)),
        ((0.0, 0.02), (0.0, 0.3), (0.2, 0.2)),
        (0.3, 1.0),
        ("everywhere", "in the first"),
    )
}


@pytest.mark.parametrize("cells", [ALIKE, MEANS], ids=["one subset", "macro means"])
def test_clustered_results_and_means_over_subsets_keep_the_levels_too(cells: dict[str, list[Stratum]]) -> None:
    for seed, (name, strata) in enumerate(cells.items()):
        seen = misses(strata, runs=RUNS, seed=seed)
        assert max(seen.passes, seen.regressions) <= 0.05 + NOISE, (name, seen)
        assert seen.interval <= 0.07, (name, seen)  # coverage of at least 93 %


def test_a_bootstrap_without_an_imagined_cluster_would_fail_this_check() -> None:
    changes, _, _, truth = simulated([Stratum(44, (9,), 0.0, 0.02, 1.0)], runs=RUNS)
    lower = changes.sum(axis=1) - 1.68 * math.sqrt(44) * changes.std(axis=1, ddof=1)  # what it comes near to
    assert (lower > truth + 1e-9).mean() > 0.3


@pytest.mark.parametrize("n", [1, 2, 12, 44, 1000])
@pytest.mark.parametrize("hits", [0, 1])
def test_without_any_change_the_bounds_are_what_n_clusters_could_have_missed(n: int, hits: int) -> None:
    same = np.full((n, 1), float(hits))
    found = paired_difference(same, same, np.ones((n, 1)))
    missed = 1 - 0.05 ** (1 / n)
    assert (found.lower, found.upper) == pytest.approx((-missed, missed))
    assert found.high == pytest.approx(1 - 0.025 ** (1 / n))
    assert (found.difference, found.p, found.p_worse, found.p_better, found.p_mcnemar) == (0, 1, 1, 1, 1)
    assert found.smallest_effect is None


def test_the_imagined_cluster_weighs_what_one_of_the_smallest_subset_weighs() -> None:
    """Without any change in subsets of 12 and 50, as much could be hidden as in the 12 alone."""
    totals = np.zeros((62, 2))
    totals[:12, 0] = totals[12:, 1] = 1
    found = paired_difference(totals, totals, totals)
    lower, upper = difference_bounds(np.zeros(62), totals @ [1 / 24, 1 / 100], 1 / 24, 0.95)
    assert (found.lower, found.upper) == pytest.approx((float(lower), float(upper)))
    assert -(1 - 0.05 ** (1 / 12)) / 2 > found.lower > -(1 - 0.05 ** (1 / 12))


@pytest.mark.parametrize(("lost", "n"), [(1, 12), (3, 12), (5, 44), (44, 44), (20, 500)])
def test_where_all_change_one_way_the_bounds_are_clopper_and_pearsons(lost: int, n: int) -> None:
    found = paired_difference(*_pairs(lost, 0, n - lost, 0))
    exact = stats.binomtest(lost, n).proportion_ci(0.95, method="exact")
    one_sided = stats.binomtest(lost, n, alternative="less").proportion_ci(0.95, method="exact")
    assert found.low == pytest.approx(-exact.high)
    assert found.lower == pytest.approx(-one_sided.high)


def _slow_bounds(changes: list[float], weights: list[float], imagined: float, level: float) -> tuple[float, float]:
    """The definition, written out cluster by cluster."""

    def share(parts: list[float], added: float, probability: float) -> float:
        total = 1 + imagined
        mean = (sum(parts) + added) / total
        squares = sum((part - mean * w) ** 2 for part, w in zip(parts, weights, strict=True))
        squares += (added - mean * imagined) ** 2
        variance = squares / total**2 * (len(parts) + 1) / (len(parts) + 2)
        if mean in (0.0, 1.0):
            return mean
        size = mean * (1 - mean) / variance - 1
        return float(stats.beta.ppf(probability, mean * size, (1 - mean) * size))

    gains, losses = [max(0.0, c) for c in changes], [max(0.0, -c) for c in changes]
    gain, loss = sum(gains), sum(losses)
    many = [*weights, imagined, imagined]
    one, other = [*gains, imagined, 0.0], [*losses, 0.0, imagined]
    means = [sum(side) / sum(many) for side in (one, other)]
    apart = [
        [part - mean * w for part, w in zip(side, many, strict=True)]
        for side, mean in zip((one, other), means, strict=True)
    ]
    product = sum(a * b for a, b in zip(*apart, strict=True))
    correlation = product / math.sqrt(sum(a * a for a in apart[0]) * sum(b * b for b in apart[1]))

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a + b * b - 2 * correlation * a * b))

    lower = gain - loss - distance(gain - share(gains, 0, 1 - level), share(losses, imagined, level) - loss)
    upper = gain - loss + distance(share(gains, imagined, level) - gain, loss - share(losses, 0, 1 - level))
    return max(-1.0, lower), min(1.0, upper)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-9, 9)), min_size=2, max_size=20))
def test_the_bounds_equal_a_slow_reading_of_their_definition(clusters: list[tuple[int, int]]) -> None:
    whole = sum(size for size, _ in clusters)
    weights = [size / whole for size, _ in clusters]
    changes = [max(-size, min(size, by)) / whole for size, by in clusters]
    imagined = sum(w * w for w in weights)
    lower, upper = difference_bounds(changes, weights, imagined, 0.95)
    assert (float(lower), float(upper)) == pytest.approx(_slow_bounds(changes, weights, imagined, 0.95), abs=1e-7)


def _tango(lost: int, won: int, n: int, z: float) -> tuple[float, float]:
    """Tango 1998, Statistics in Medicine 17(8): the differences that the score test does not reject, by bisection."""

    def score(delta: float) -> float:
        a, b, c = 2 * n, -won - lost + (2 * n - won + lost) * delta, -lost * delta * (1 - delta)
        q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = n * (2 * q + delta * (1 - delta))
        return (won - lost - n * delta) / math.sqrt(max(variance, 1e-300))

    mean = (won - lost) / n
    low = optimize.brentq(lambda delta: score(delta) - z, -1 + 1e-9, mean - 1e-9)
    high = optimize.brentq(lambda delta: score(delta) + z, mean + 1e-9, 1 - 1e-9)
    return float(low), float(high)


@pytest.mark.parametrize(("lost", "won", "n"), [(2, 1, 12), (5, 3, 44), (1, 9, 44), (20, 20, 200), (90, 60, 1000)])
def test_the_interval_holds_tangos_and_comes_near_it_as_n_grows(lost: int, won: int, n: int) -> None:
    found = paired_difference(*_pairs(lost, won, n - lost - won, 0))
    low, high = _tango(lost, won, n, 1.959964)
    assert found.low <= low + 1e-3
    assert found.high >= high - 1e-3
    assert found.high - found.low <= (high - low) * (1 + 3 / math.sqrt(n))


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 30), st.integers(0, 5))
def test_mcnemars_p_value_is_statsmodels_and_both_tests_agree(lost: int, won: int, both: int, neither: int) -> None:
    found = paired_difference(*_pairs(lost, won, both, neither + 1))
    table = [[both, lost], [won, neither + 1]]
    expected = float(mcnemar(table, exact=True).pvalue) if lost + won else 1.0
    assert found.p_mcnemar == pytest.approx(min(1.0, expected), abs=1e-9)
    assert found.p == pytest.approx(found.p_mcnemar, abs=1e-9)


def test_mcnemars_test_is_of_counts_and_the_sign_flips_are_of_the_mean() -> None:
    """Ten losses in a subset of 200 are five points of it, ten gains in one of 20 are fifty."""
    first, second, totals = np.zeros((3, 220, 2))
    totals[:200, 0] = totals[200:, 1] = 1
    first[:10, 0] = 1
    second[200:210, 1] = 1
    found = paired_difference(first, second, totals)
    assert found.difference == pytest.approx((0.5 - 0.05) / 2)
    assert found.p_mcnemar == pytest.approx(1.0)
    assert found.p < 0.01
    assert found.lower > 0


def test_several_results_a_cluster_have_no_mcnemar_test() -> None:
    found = paired_difference([[1], [0], [2]], [[2], [0], [1]], [[2], [1], [2]])
    assert found.p_mcnemar is None
    assert found.clusters == 3


@st.composite
def _compared(draw: st.DrawFn) -> tuple[Floats, Floats, Floats]:
    clusters, subsets = draw(st.integers(1, 14)), draw(st.integers(1, 3))
    totals = np.array(draw(st.lists(st.integers(0, 4), min_size=clusters * subsets, max_size=clusters * subsets)))
    totals = totals.reshape(clusters, subsets)
    totals[0] += totals.sum(axis=0) == 0
    hits = [
        np.array([[draw(st.integers(0, int(total))) for total in row] for row in totals], dtype=float) for _ in range(2)
    ]
    return hits[0], hits[1], totals.astype(float)


@settings(max_examples=60, deadline=None)
@given(_compared())
def test_exchanging_the_models_exchanges_the_answer(compared: tuple[Floats, Floats, Floats]) -> None:
    first, second, totals = compared
    one, other = paired_difference(first, second, totals), paired_difference(second, first, totals)
    assert one.difference == pytest.approx(-other.difference)
    assert (one.low, one.high, one.lower, one.upper) == pytest.approx(
        (-other.high, -other.low, -other.upper, -other.lower)
    )
    assert (one.p, one.p_worse) == pytest.approx((other.p, other.p_better))
    assert one.smallest_effect == pytest.approx(other.smallest_effect)


@settings(max_examples=60, deadline=None)
@given(_compared())
def test_the_bounds_hold_the_difference_and_exclude_zero_only_where_the_test_does(
    compared: tuple[Floats, Floats, Floats],
) -> None:
    found = paired_difference(*compared)
    assert -1 <= found.low <= found.lower <= found.difference + 1e-9
    assert found.difference - 1e-9 <= found.upper <= found.high <= 1
    assert found.low < found.high
    assert found.p <= 0.05 or found.low <= 0 <= found.high
    assert found.p_worse <= 0.05 or found.upper >= 0
    assert found.p_better <= 0.05 or found.lower <= 0


def _power(n: int, share: float, effect: float) -> float:
    counts, changes = every_outcome(n)
    rejected = np.array([sign_flip_p_value(change) <= 0.05 for change in changes])
    chances = chance_of(counts, n, (share - effect) / 2, (share + effect) / 2)
    return float(chances[rejected].sum())


@pytest.mark.parametrize(("n", "share"), [(44, 0.5), (100, 0.2), (150, 0.3)])
def test_the_power_at_the_smallest_effect_is_as_predicted(n: int, share: float) -> None:
    """Exact sums. The exact test spends less than its level, so a little less than 80 % is left."""
    effect = smallest_detectable_effect(n, share)
    assert effect is not None
    assert 0.70 <= _power(n, share, effect) <= 0.82


@pytest.mark.parametrize(("size", "clusters", "alike"), [(2, 200, 0.3), (9, 100, 0.0), (9, 200, 0.3), (4, 400, 1.0)])
def test_the_power_on_clusters_of_several_queries_is_as_predicted(size: int, clusters: int, alike: float) -> None:
    turning = 0.15
    changes, *_ = simulated([Stratum(clusters, (size,), turning / 2, turning / 2, alike)], runs=1)
    results = np.rint(changes[0] * clusters * size)  # one run without a true difference tells how often they differ
    found = paired_difference(
        np.maximum(-results, 0)[:, None], np.maximum(results, 0)[:, None], np.full((clusters, 1), size)
    )
    assert found.smallest_effect is not None
    half = found.smallest_effect / 2
    shifted, *_ = simulated(
        [Stratum(clusters, (size,), turning / 2 - half, turning / 2 + half, alike)], runs=500, seed=1
    )
    rejected = [sign_flip_p_value(np.rint(run * clusters * size)) <= 0.05 for run in shifted]
    assert 0.65 <= np.mean(rejected) <= 0.92  # the one run's share is itself uncertain


@pytest.mark.parametrize(
    "arguments",
    [
        ([], [], []),
        ([[1]], [[1, 0]], [[1]]),
        ([[2]], [[1]], [[1]]),
        ([[0]], [[0]], [[0]]),
        ([1], [1], [1]),
    ],
)
def test_wrong_shapes_and_impossible_counts_are_errors(arguments: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        paired_difference(*arguments)


def test_one_cluster_says_next_to_nothing() -> None:
    found = paired_difference([[0]], [[1]], [[1]])
    assert (found.difference, found.p, found.p_better, found.smallest_effect) == (1.0, 1.0, 0.5, None)
    assert max(found.low, found.lower) <= 0
    assert found.high == found.upper == 1
