from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from minchange_eval.core.statistics import (
    Interval,
    bootstrap_shares,
    cluster_intervals,
    clusters_of,
    holm,
    share_interval,
    sign_flip_p_value,
    smallest_detectable_effect,
    statistic_interval,
    student_quantile,
    wilson_interval,
)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3), min_size=1, max_size=8))
def test_clusters_are_the_connected_components(keys: list[list[str]]) -> None:
    reach = {(i, j) for i, j in itertools.product(range(len(keys)), repeat=2) if set(keys[i]) & set(keys[j])}
    for middle, i, j in itertools.product(range(len(keys)), repeat=3):
        if (i, middle) in reach and (middle, j) in reach:
            reach.add((i, j))
    got = clusters_of(keys)
    for i, j in itertools.product(range(len(keys)), repeat=2):
        assert (got[i] == got[j]) == ((i, j) in reach)


def test_a_long_chain_of_shared_images_is_one_cluster() -> None:
    assert set(clusters_of([[f"i{n}", f"x{n}", f"x{n + 1}"] for n in range(20_000)]).tolist()) == {0}


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (1, 12), (7, 12), (12, 12), (500, 579)])
def test_wilsons_interval_is_scipys(hits: int, n: int) -> None:
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    ours = wilson_interval(hits, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    wider = share_interval(hits, n)
    assert wider.low <= ours.low <= ours.value <= ours.high <= wider.high


@pytest.mark.parametrize("n", [12, 13, 16, 20, 44, 100, 400])
def test_the_interval_of_yes_or_no_covers_at_least_93_percent_of_every_share(n: int) -> None:
    shares = np.linspace(0.0005, 0.9995, 999)
    covered = np.zeros_like(shares)
    for hits in range(n + 1):
        interval = share_interval(hits, n)
        inside = (interval.low <= shares) & (shares <= interval.high)
        covered += stats.binom.pmf(hits, n, shares) * inside
    assert covered.min() >= 0.93


def _coverage(strata: list[tuple[int, int, float]], likeness: float, runs: int, seed: int) -> float:
    """Share of runs whose interval holds the mean; strata of (clusters, queries each, share), alike within clusters."""
    rng = np.random.default_rng(seed)
    truth = float(np.mean([share for _, _, share in strata]))
    rows = np.cumsum([0, *(clusters for clusters, _, _ in strata)])
    covered = 0
    for run in range(runs):
        hits, totals = np.zeros((rows[-1], len(strata))), np.zeros((rows[-1], len(strata)))
        for s, (clusters, queries, share) in enumerate(strata):
            part = slice(rows[s], rows[s + 1])
            scale = (1 - likeness) / likeness if likeness else 1
            own = rng.beta(share * scale, (1 - share) * scale, clusters) if likeness else np.full(clusters, share)
            hits[part, s], totals[part, s] = rng.binomial(queries, own), queries
        _, mean = cluster_intervals(hits, totals, resamples=300, seed=run)
        covered += mean.low <= truth <= mean.high
    return covered / runs


@pytest.mark.parametrize(
    ("strata", "likeness"),
    [
        ([(12, 2, 0.5)], 0.3),
        ([(12, 9, 1 / 9)], 0.0),
        ([(12, 9, 1 / 9)], 0.3),
        ([(12, 9, 0.9)], 0.8),
        ([(20, 9, 0.25)], 0.1),
        ([(50, 9, 0.97)], 0.8),
        ([(2, 1, p) for p in (0.2, 0.3, 0.5, 0.6, 0.7, 0.95)], 0.0),  # 12 clusters in all
        ([(4, 1, p) for p in np.linspace(0.25, 0.95, 11)], 0.0),  # the size of the 44 pairs with images that MED has
        ([(15, 1, p) for p in np.linspace(0.2, 0.6, 11)], 0.0),
        ([(25, k, 1.2 / k) for k in (3, 3, 9, 4, 2, 9)], 0.2),
        ([(30, 3, p) for p in (0.99, 0.99, 0.6, 0.05)], 0.6),
        ([(20, 1, 0.3), *[(1, 1, 0.3)] * 5], 0.0),  # subsets of a single cluster
        ([(100, 2, 0.2), *[(1, 2, 0.2)] * 3], 0.8),
    ],
)
def test_cluster_intervals_cover_at_least_93_percent(strata: list[tuple[int, int, float]], likeness: float) -> None:
    runs = 1200
    # a true coverage of 93 % is seen below this bound in one of a thousand simulations
    assert _coverage(strata, likeness, runs, seed=len(strata)) >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / runs)


def test_one_yes_or_no_per_cluster_needs_no_resampling() -> None:
    hits = np.repeat([1, 0], [9, 3])[:, None]
    (alone,), mean = cluster_intervals(hits, np.ones((12, 1)), resamples=10)
    assert alone == mean == share_interval(9, 12)


def test_clusters_that_all_agree_count_as_clusters_not_as_queries() -> None:
    (alone,), _ = cluster_intervals(np.full((12, 1), 9), np.full((12, 1), 9))
    assert alone == share_interval(12, 12)
    assert alone.low < 0.8 < alone.high == 1.0


def test_a_single_cluster_says_almost_nothing() -> None:
    _, mean = cluster_intervals([[5]], [[9]])
    assert mean.low < 0.05
    assert mean.high > 0.95


def test_the_order_of_clusters_changes_nothing_and_the_seed_decides_the_rest() -> None:
    rng = np.random.default_rng(0)
    hits = rng.binomial(9, 0.4, (40, 1))
    totals = np.full((40, 1), 9)
    first = cluster_intervals(hits, totals, seed=1)
    assert first == cluster_intervals(hits[::-1], totals, seed=1)
    other = cluster_intervals(hits, totals, seed=2)
    assert first != other
    assert first[1].low == pytest.approx(other[1].low, abs=0.003)


def test_resamples_have_the_spread_of_drawing_clusters_one_by_one() -> None:
    rng = np.random.default_rng(0)
    totals = np.zeros((30, 2))
    totals[:12, 0], totals[12:25, 1], totals[25:] = 3, rng.integers(1, 5, 13), 2  # five lie in both subsets
    hits = rng.binomial(totals.astype(int), 0.4)
    slow = []
    for _ in range(4000):
        top, bottom = np.zeros(2), np.zeros(2)
        for part in (range(12), range(12, 25), range(25, 30)):
            for drawn in rng.choice(list(part), len(part) - 1):
                top += hits[drawn] * len(part) / (len(part) - 1)
                bottom += totals[drawn] * len(part) / (len(part) - 1)
        slow.append(top / bottom)
    fast = bootstrap_shares(hits, totals)
    assert fast.mean(axis=0) == pytest.approx(np.mean(slow, axis=0), abs=0.01)
    assert np.cov(fast, rowvar=False) == pytest.approx(np.cov(slow, rowvar=False), rel=0.15, abs=2e-4)


def _blocks(*parts: Any) -> Any:
    """Columns that share no cluster: one block a subset, zeros elsewhere."""
    rows = np.cumsum([0, *(len(part) for part in parts)])
    table = np.zeros((rows[-1], len(parts)))
    for column, part in enumerate(parts):
        table[rows[column] : rows[column + 1], column] = part
    return table


@given(st.integers(0, 100), st.integers(1, 4), st.integers(0, 9), st.booleans())
def test_a_subset_of_one_cluster_changes_nothing_for_the_subsets_beside_it(
    seed: int, lone: int, hits: int, first: bool
) -> None:
    rng = np.random.default_rng(seed)
    subsets = [rng.binomial(9, rng.random(40)), rng.binomial(9, rng.random(12))]
    alone = [[hits]] * lone
    ordered = [*alone, *subsets] if first else [*subsets, *alone]
    without, narrow = cluster_intervals(_blocks(*subsets), _blocks([9] * 40, [9] * 12), resamples=500)
    totals = _blocks(*([9] * len(part) for part in ordered))
    beside, wide = cluster_intervals(_blocks(*ordered), totals, resamples=500)
    own = slice(lone, None) if first else slice(0, 2)
    assert beside[own] == without
    assert (beside[:lone] if first else beside[2:]) == (share_interval(hits / 9, 1),) * lone
    assert min(wide.high - wide.low, 1 - 1e-9) >= narrow.high - narrow.low


def test_clusters_that_alone_link_subsets_are_drawn_with_those_they_share_a_subset_with() -> None:
    rng = np.random.default_rng(0)
    totals = np.zeros((26, 4))
    totals[:12, 0], totals[12:15, 1], totals[15:25, 2] = 1, 1, 1
    totals[24, 2], totals[24, 0:2] = 0, 1  # the only one of subsets 0 and 1; with those of 1, the fewest
    totals[25, 3] = 1  # the only one of subset 3
    hits = rng.binomial(1, 0.5, totals.shape) * totals
    hits[12:15, 1], hits[24, 1] = [0, 0, 1], 1
    shares = bootstrap_shares(hits, totals)
    assert np.isfinite(shares).all()
    assert np.ptp(shares[:, 3]) == 0
    # the unbiased variance of a mean of four, two of them right
    assert np.var(shares[:, 1]) == pytest.approx((4 * 0.25 / 3) / 4, rel=0.05)
    alone = bootstrap_shares(hits[15:24, 2:3], totals[15:24, 2:3])
    assert np.var(shares[:, 2]) == pytest.approx(np.var(alone), rel=0.05)


@given(st.integers(0, 1000), st.integers(2, 5), st.integers(1, 12))
def test_any_pattern_of_shared_images_gives_intervals_without_a_warning(seed: int, subsets: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    present = np.vstack([np.eye(subsets), rng.random((more, subsets)) < 0.4])  # some clusters may lie nowhere
    totals = present * rng.integers(1, 10, present.shape)
    apart, mean = cluster_intervals(rng.binomial(totals.astype(int), 0.4), totals, resamples=20)
    for column, interval in enumerate(apart):
        assert interval.high - interval.low > 0.5 / np.sqrt((totals[:, column] > 0).sum())
    assert mean.low < mean.value < mean.high or mean.value in (0, 1)


def test_subsets_on_the_same_clusters_that_all_agree_are_one_piece_of_evidence() -> None:
    (alone, _), mean = cluster_intervals(np.ones((30, 2)), np.ones((30, 2)))
    assert mean.low == pytest.approx(share_interval(30, 30, quantile=student_quantile(28)).low)
    assert mean.low < alone.low + 0.001


def test_subsets_that_share_their_images_widen_the_interval_of_their_mean() -> None:
    column = np.random.default_rng(0).binomial(1, 0.5, 200)[:, None]
    both = np.hstack([column, column])
    _, together = cluster_intervals(both, np.ones((200, 2)))
    apart = np.vstack([np.hstack([column, 0 * column]), np.hstack([0 * column, column])])
    present = np.vstack([np.tile([1, 0], (200, 1)), np.tile([0, 1], (200, 1))])
    _, separate = cluster_intervals(apart, present)
    ratio = (together.high - together.low) / (separate.high - separate.low)
    assert ratio == pytest.approx(math.sqrt(2), abs=0.03)


def _variance_of_shares(sums: Any) -> Any:
    hits, totals = np.split(np.asarray(sums), 2, axis=-1)
    return (hits / totals).var(axis=-1)


@pytest.mark.parametrize(
    ("clusters", "columns", "spread", "likeness"),
    [
        (12, 3, 0.1, 0.5),
        (44, 3, 0.1, 0.5),
        (44, 10, 0.0, 0.5),
        (44, 10, 0.1, 0.5),
        (200, 8, 0.05, 0.8),
        (200, 3, 0.3, 0),
    ],
)
def test_intervals_of_a_variance_of_shares_cover_at_least_91_percent(
    clusters: int, columns: int, spread: float, likeness: float
) -> None:
    rng = np.random.default_rng(0)
    steps = np.linspace(-1, 1, columns)
    shares = 0.55 + spread * steps / steps.std()
    runs, covered = 300, 0
    for run in range(runs):
        alike = rng.random((clusters, 1)) < likeness
        drawn = np.where(alike, rng.random((clusters, 1)), rng.random((clusters, columns)))
        counts = np.hstack([drawn < shares, np.ones((clusters, columns))])
        interval = statistic_interval(counts, _variance_of_shares, resamples=200, seed=run)
        covered += interval.low <= spread**2 + 1e-12 and spread**2 <= interval.high + 1e-12
    assert covered / runs >= 0.91 - 3 * math.sqrt(0.91 * 0.09 / runs)


def test_a_statistic_that_no_resample_changes_is_read_as_a_share_of_the_clusters() -> None:
    interval = statistic_interval(np.ones((30, 4)), _variance_of_shares)
    assert interval == share_interval(0, 30)
    assert statistic_interval(np.zeros((3, 2)), lambda sums: sums[..., 0]) == share_interval(0, 1)


def test_a_share_as_a_statistic_has_the_bootstraps_own_interval() -> None:
    rng = np.random.default_rng(0)
    counts = np.hstack([rng.binomial(9, 0.4, (200, 1)), np.full((200, 1), 9)])
    got = statistic_interval(counts, lambda sums: sums[..., 0] / sums[..., 1])
    (expected,), _ = cluster_intervals(counts[:, :1], counts[:, 1:])
    assert (got.low, got.value, got.high) == pytest.approx((expected.low, expected.value, expected.high), abs=0.003)


def test_a_higher_level_gives_a_wider_interval_and_95_percent_is_the_usual_one() -> None:
    rng = np.random.default_rng(0)
    hits, totals = rng.binomial(4, 0.4, (50, 2)), np.full((50, 2), 4)
    widths = []
    for level in (0.9, 0.95, 0.99):
        apart, mean = cluster_intervals(hits, totals, level=level)
        widths.append((apart[0].high - apart[0].low, mean.high - mean.low))
    assert widths == sorted(widths)
    assert cluster_intervals(hits, totals, level=0.95) == cluster_intervals(hits, totals)


def _enumerated(differences: list[int]) -> float:
    observed = abs(sum(differences))
    signs = list(itertools.product((1, -1), repeat=len(differences)))
    return sum(abs(sum(s * d for s, d in zip(sign, differences, strict=True))) >= observed for sign in signs) / len(
        signs
    )


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_the_sign_flip_test_equals_the_full_enumeration(differences: list[int]) -> None:
    assert sign_flip_p_value(differences) == pytest.approx(_enumerated(differences), abs=1e-12)
    assert sign_flip_p_value([d / 7 for d in differences]) == pytest.approx(_enumerated(differences), abs=1e-12)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5))
def test_one_yes_or_no_per_cluster_is_mcnemars_exact_test(first: int, second: int, same: int) -> None:
    p_value = sign_flip_p_value([1] * first + [-1] * second + [0] * (same + 1))
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert p_value == pytest.approx(expected, abs=1e-9)


def test_draws_come_near_the_exact_value_and_never_give_zero() -> None:
    size = math.sqrt(2)  # no multiple of 1: drawn
    differences = [1] * 14 + [size] * 4 + [-1] * 3 + [-size] * 2
    exact = 0.0
    for ones, others in itertools.product(range(18), range(7)):
        if abs((2 * ones - 17) + size * (2 * others - 6)) >= 11 + 2 * size - 1e-9:
            exact += math.comb(17, ones) * math.comb(6, others) / 2**23
    assert sign_flip_p_value(differences) == pytest.approx(exact, abs=0.003)
    assert sign_flip_p_value([1.0, size] * 500) == pytest.approx(1 / 100_001)
    assert sign_flip_p_value(differences) == sign_flip_p_value(differences[::-1])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=17, max_size=40))
@example([2] * 16 + [3])
def test_whole_steps_are_exact_at_any_number_of_clusters(differences: list[int]) -> None:
    sums = {0: 1}
    for size in (abs(difference) for difference in differences if difference):
        sums = {
            total: sums.get(total - size, 0) + sums.get(total + size, 0)
            for total in {one + sign * size for one in sums for sign in (1, -1)}
        }
    extreme = sum(ways for total, ways in sums.items() if abs(total) >= abs(sum(differences)))
    assert sign_flip_p_value(differences) == pytest.approx(extreme / sum(sums.values()), abs=1e-10)


def test_no_p_value_is_lower_than_that_of_all_of_one_sign() -> None:
    assert sign_flip_p_value([1, 2] * 30) == 2 * 0.5**60
    assert sign_flip_p_value([1, 2] * 5000) >= 0


def test_the_sign_flip_test_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    rejected = [sign_flip_p_value(rng.integers(-3, 4, 40), draws=2000, seed=run) <= 0.05 for run in range(1000)]
    assert np.mean(rejected) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


def _slow_holm(p_values: list[float]) -> list[float]:
    adjusted = []
    for p in p_values:
        steps = [(sum(other >= q for other in p_values)) * q for q in p_values if q <= p]
        adjusted.append(min(1.0, max(steps)))
    return adjusted


@given(st.lists(st.floats(0, 1), max_size=8, unique=True))
def test_holm_equals_a_naive_reading_of_its_definition(p_values: list[float]) -> None:
    assert list(holm(p_values)) == pytest.approx(_slow_holm(p_values))


@pytest.mark.parametrize(("clusters", "discordant"), [(200, 0.3), (600, 0.1), (2000, 0.25)])
def test_the_smallest_detectable_effect_is_found_in_four_of_five_simulations(clusters: int, discordant: float) -> None:
    effect = smallest_detectable_effect(clusters, discordant)
    assert effect is not None
    rng = np.random.default_rng(0)
    first = rng.binomial(clusters, (discordant + effect) / 2, 2000)
    second = rng.binomial(clusters - first, (discordant - effect) / 2 / (1 - (discordant + effect) / 2))
    # the test without the exact one's discreteness: the effect is an approximation for large n
    found = np.abs(first - second) / np.sqrt(np.maximum(first + second, 1)) >= 1.96
    assert found.mean() == pytest.approx(0.8, abs=0.035)


def test_an_n_too_small_for_any_effect_is_none() -> None:
    assert smallest_detectable_effect(3, 0.2) is None
    assert smallest_detectable_effect(1000, 0.0) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson_interval(1, 0),
        lambda: share_interval(3, 2),
        lambda: bootstrap_shares(np.zeros((0, 1)), np.zeros((0, 1))),
        lambda: cluster_intervals([[2]], [[1]]),
        lambda: cluster_intervals([[0, 0]], [[1, 0]]),
        lambda: cluster_intervals([0], [1]),
        lambda: statistic_interval([1, 2], lambda sums: sums),
        lambda: sign_flip_p_value([]),
        lambda: sign_flip_p_value([float("nan")]),
        lambda: smallest_detectable_effect(0, 0.5),
        lambda: smallest_detectable_effect(10, 1.5),
    ],
)
def test_wrong_shapes_and_impossible_counts_are_errors(call: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()


@given(st.integers(1, 6), st.integers(1, 3), st.randoms(use_true_random=False))
def test_every_interval_holds_its_value_and_stays_in_its_range(clusters: int, subsets: int, random: Any) -> None:
    totals = [[random.randint(1, 4) for _ in range(subsets)] for _ in range(clusters)]
    hits = [[random.randint(0, total) for total in row] for row in totals]
    apart, mean = cluster_intervals(hits, totals, resamples=50)
    for interval in (*apart, mean):
        assert isinstance(interval, Interval)
        assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_core_is_imported_without_scipy() -> None:
    code = "import sys, minchange_eval.core; sys.exit('scipy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
