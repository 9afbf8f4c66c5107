"""Intervals and paired tests whose unit is the cluster: items that share an image, and all queries of one item.

Every value is a share of yes/no results, or a plain mean of such shares over subsets. How the methods were chosen,
with the coverage that was measured, stands in docs/statistics.md.

Sources: Brown, Cai & DasGupta 2001, Statistical Science 16(2) (intervals of one share); Rao & Wu 1988, JASA 83(401)
(bootstrap with unbiased variance in small strata); Korn & Graubard 1998, Survey Methodology 24(2) (effective n);
Zou 2008, Statistics in Medicine 27(10) (intervals of a sum from intervals of its parts); Holm 1979.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
RESAMPLES = 10_000
_EXACT_CLUSTERS = 16  # 2^16 sign patterns are summed in about a millisecond
_EXACT_STEPS = 1 << 20
_FINEST = 12  # sizes are multiples of the smallest one's twelfth or more: of 1 for sets of up to nine
_DRAWN_AT_ONCE = 1 << 21  # bounds the memory of draws
_ROUNDING = 1e-9  # equal shares of different sums differ by less than this

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A share in [0, 1] between two bounds."""

    value: float
    low: float
    high: float


def clusters_of(keys: Iterable[Sequence[str]]) -> NDArray[np.intp]:
    """Number the clusters of items that share a key, directly or through other items.

    Args:
        keys: for each item what it shares with others: its own identity and its images' digests.

    Returns:
        [items] cluster numbers 0, 1, …, in order of first appearance.

    >>> clusters_of([["a", "x"], ["b", "y"], ["c", "x", "z"], ["d", "z"]]).tolist()
    [0, 1, 0, 0]
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]  # halving the path keeps chains of a million items short
            key = parent[key]
        return key

    firsts = []
    for item in keys:
        for key in item[1:]:
            parent[root(key)] = root(item[0])
        firsts.append(item[0])
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(root(key), len(numbers)) for key in firsts], dtype=np.intp)


def wilson_interval(hits: float, n: float, *, quantile: float | None = None) -> Interval:
    """Wilson's score interval of a share; 95 % unless another quantile is given.

    For reading beside other tools' intervals. Reported are `share_interval`s: Wilson's covers 91 % at a share of
    1/4 with n = 12, and 84 % near 0 with any n.

    Raises:
        ValueError: not 0 <= hits <= n with n above 0.

    >>> [round(bound, 4) for bound in (wilson_interval(9, 12).low, wilson_interval(9, 12).high)]
    [0.4677, 0.9111]
    """
    centre, total, z = _wilson_centre(hits, n, quantile)
    half = z / total * math.sqrt(hits * (n - hits) / n + z * z / 4)
    return Interval(hits / n, max(0.0, centre - half), min(1.0, centre + half))


def share_interval(hits: float, n: float, *, quantile: float | None = None) -> Interval:
    """Interval of a share at every n: Wilson's centre, with the binomial width at that centre (Agresti & Coull).

    Contains Wilson's interval. With Student's quantile for n - 1, which is used unless another is given, it covers
    at least 94 % for every share and n >= 12.

    Args:
        hits: yes results; need not be whole, for effective numbers are not.
        n: independent results.

    Raises:
        ValueError: not 0 <= hits <= n with n above 0.
    """
    centre, total, z = _wilson_centre(hits, n, student_quantile(n - 1) if quantile is None else quantile)
    half = z * math.sqrt(centre * (1 - centre) / total)
    return Interval(hits / n, max(0.0, centre - half), min(1.0, centre + half))


def _wilson_centre(hits: float, n: float, quantile: float | None) -> tuple[float, float, float]:
    if not (n > 0 and 0 <= hits <= n):
        raise ValueError(f"expected 0 <= hits <= n and n above 0, got {hits} of {n}")
    z = normal_quantile((1 + LEVEL) / 2) if quantile is None else quantile
    return (hits + z * z / 2) / (n + z * z), n + z * z, z


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(probability)


def student_quantile(degrees: float, level: float = LEVEL) -> float:
    """Two-sided quantile of Student's t; below one degree of freedom, as for one."""
    from scipy.special import stdtrit

    return float(stdtrit(max(degrees, 1.0), (1 + level) / 2))


def bootstrap_shares(hits: ArrayLike, totals: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Shares per subset in resamples of whole clusters, stratified by the subsets that a cluster lies in.

    From a stratum of C clusters C - 1 are drawn and weigh C / (C - 1) each (Rao & Wu), so the variance over resamples
    is unbiased in strata of any size. Clusters with equal counts are drawn together, as one multinomial: the same
    distribution as drawing one by one, at the price of the distinct rows. A cluster alone in its stratum has no
    variance to show: it is drawn with the smallest stratum that shares a subset with it, and where no other cluster
    lies in any of its subsets it stays as it is.

    Args:
        hits: [clusters, subsets] yes results.
        totals: [clusters, subsets] results, 0 where a cluster does not lie in a subset.

    Returns:
        [resamples, subsets]; NaN where a resample holds nothing of a subset.

    Raises:
        ValueError: wrong shapes, no clusters, a subset without results.
    """
    yes, all_ = _counts(hits, totals)
    top, bottom = np.hsplit(_resampled_sums(np.hstack([yes, all_]), _strata(all_ > 0), resamples, seed), 2)
    shares: Floats = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    return shares


def _resampled_sums(values: Floats, strata: Sequence[NDArray[np.intp]], resamples: int, seed: int) -> Floats:
    """[resamples, columns] sums over clusters, drawn within each stratum as `bootstrap_shares` says."""
    rng = np.random.Generator(np.random.PCG64(seed))
    sums = np.zeros((resamples, values.shape[1]))
    for members in strata:
        rows, counts = np.unique(values[members], axis=0, return_counts=True)
        size = len(members)
        if len(rows) == 1:
            sums += rows[0] * size
        else:
            drawn = rng.multinomial(size - 1, counts / size, size=resamples)
            sums += drawn @ rows * (size / (size - 1))
    return sums


def _counts(hits: ArrayLike, totals: ArrayLike) -> tuple[Floats, Floats]:
    yes, all_ = np.asarray(hits, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    if yes.ndim != 2 or yes.shape != all_.shape or yes.size == 0:
        raise ValueError(f"expected hits and totals of shape [clusters, subsets], got {yes.shape} and {all_.shape}")
    if (yes < 0).any() or (yes > all_).any() or (all_.sum(axis=0) == 0).any():
        raise ValueError("expected 0 <= hits <= totals and at least one result in each subset")
    return yes, all_


def _strata(present: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Rows by combination of subsets; one that occurs once goes to the smallest stratum that it shares a subset with.

    The smallest, so that a small subset keeps its number of clusters over the resamples.
    """
    combinations, stratum = np.unique(present, axis=0, return_inverse=True)
    groups = {number: np.flatnonzero(stratum == number) for number in range(len(combinations))}
    for lone in [number for number, group in groups.items() if len(group) == 1]:
        sharing = np.flatnonzero((combinations & combinations[lone]).any(axis=1)).tolist()
        linked = [other for other in sharing if other != lone and other in groups]
        if len(groups[lone]) == 1 and linked:
            into = min(linked, key=lambda other: len(groups[other]))
            groups[into] = np.append(groups[into], groups.pop(lone))
            combinations[into] |= combinations[lone]
    return list(groups.values())


def cluster_intervals(
    hits: ArrayLike, totals: ArrayLike, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[tuple[Interval, ...], Interval]:
    """The interval of each subset's share, and of their plain mean, over clusters.

    One yes or no per cluster, or clusters that all agree: n is the number of clusters. Else the bootstrap's variance
    gives the effective n, with one imagined cluster that is wholly right or wholly wrong, since few clusters rarely
    hold the rare ones that differ most. Either n enters `share_interval`. The mean's bounds lie as far from it as the
    root of the squared distances of the subsets' bounds, with the bootstrap's correlations (Zou).

    Args:
        hits: [clusters, subsets] yes results.
        totals: [clusters, subsets] results, 0 where a cluster does not lie in a subset.
        level: how often the interval is to hold the truth.

    Raises:
        ValueError: as in `bootstrap_shares`.
    """
    yes, all_ = _counts(hits, totals)
    replicates = bootstrap_shares(yes, all_, resamples=resamples, seed=seed)
    covariance = _covariance(replicates)
    sizes = (all_ > 0).sum(axis=0)

    def subset_interval(s: int, degrees: int) -> Interval:
        return _subset_interval(yes[:, s], all_[:, s], float(covariance[s, s]), student_quantile(degrees, level))

    apart = tuple(subset_interval(s, size - 1) for s, size in enumerate(sizes))
    if len(apart) == 1:
        return apart, apart[0]
    # each part with the mean's own degrees of freedom, except a single cluster: it has none to share
    several = sizes > 1
    pooled = int((all_[:, several] > 0).any(axis=1).sum() - several.sum())
    parts = [subset_interval(s, pooled) if several[s] else apart[s] for s in range(len(apart))]
    return apart, _mean_interval(parts, _correlation(covariance, all_ > 0))


def _covariance(replicates: Floats) -> Floats:
    """Each pair of columns over the resamples that hold both of them."""
    held = np.isfinite(replicates)
    mean = np.sum(replicates, axis=0, where=held) / np.maximum(held.sum(axis=0), 1)
    apart = np.where(held, replicates - mean, 0.0)
    together = np.einsum("rs,rt->st", held, held, dtype=np.float64)
    # not a BLAS product: its last bits depend on the number of threads, and records must not
    return np.asarray(np.einsum("rs,rt->st", apart, apart) / np.maximum(together - 1, 1))


def _subset_interval(hits: Floats, totals: Floats, variance: float, quantile: float) -> Interval:
    inside = totals > 0
    shares, clusters = hits[inside] / totals[inside], int(inside.sum())
    value = float(hits.sum() / totals.sum())
    n = float(clusters)
    if (totals[inside] > 1).any() and np.ptp(shares) > 0:
        centre = _wilson_centre(value * clusters, clusters, quantile)[0]
        spread = ((clusters - 1) * variance + centre * (1 - centre) / clusters) / clusters
        n = min(value * (1 - value) / spread, float(totals.sum()))
    return share_interval(value * n, n, quantile=quantile)


def _correlation(covariance: Floats, present: NDArray[np.bool_]) -> Floats:
    """The bootstrap's, and where a subset does not vary that of results which agree in every shared cluster."""
    deviation = np.sqrt(np.diag(covariance))
    varies = np.minimum.outer(deviation, deviation) > _ROUNDING
    common = np.einsum("cs,ct->st", present, present, dtype=np.float64)
    alike: Floats = common / np.sqrt(np.outer(np.diag(common), np.diag(common)))
    correlation: Floats = np.divide(covariance, np.outer(deviation, deviation), out=alike, where=varies)
    return correlation


def _mean_interval(parts: Sequence[Interval], correlation: Floats) -> Interval:
    value = math.fsum(part.value for part in parts) / len(parts)
    below = np.array([part.value - part.low for part in parts]) / len(parts)
    above = np.array([part.high - part.value for part in parts]) / len(parts)
    # rounding may leave the quadratic form a hair below 0
    low = value - math.sqrt(max(0.0, float(below @ correlation @ below)))
    high = value + math.sqrt(max(0.0, float(above @ correlation @ above)))
    return Interval(value, max(0.0, low), min(1.0, high))


def statistic_interval(
    counts: ArrayLike, statistic: Callable[[Floats], Floats], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The interval of any statistic in [0, 1] of counts summed over clusters.

    Centred on the value less what the bootstrap finds it to be too high (a maximum or a variance grows with noise),
    as wide as Student's quantile times the bootstrap's deviation; it always holds the value itself. Clusters of which
    no resample gives another value are read as a share with n the number of clusters, as in `cluster_intervals`.

    Args:
        counts: [clusters, columns].
        statistic: from sums over clusters, [..., columns], to values in [0, 1], [...].

    Raises:
        ValueError: not two-dimensional, or no clusters.
    """
    rows = np.asarray(counts, dtype=np.float64)
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"expected counts of shape [clusters, columns], got {rows.shape}")
    rows = rows[rows.any(axis=1)] if rows.any() else rows[:1]
    value = min(1.0, max(0.0, float(statistic(rows.sum(axis=0)))))
    drawn = statistic(_resampled_sums(rows, [np.arange(len(rows))], resamples, seed))
    if np.ptp(drawn) < _ROUNDING:
        return share_interval(value * len(rows), len(rows))
    centre = 2 * value - float(drawn.mean())
    half = student_quantile(len(rows) - 1) * float(drawn.std(ddof=1))
    return Interval(value, max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


def sign_flip_p_value(differences: ArrayLike, *, draws: int = 100_000, seed: int = 0) -> float:
    """Two-sided p-value of no difference between two models: each cluster's difference could have either sign.

    Exact where all differences are of one size (then it is McNemar's exact test), where they are whole multiples of a
    common one (a twelfth of the smallest, or more), or where at most 16 are not 0; else from seeded draws, where the
    observed signs count as one of them, so that it is never 0.

    Args:
        differences: [clusters] first model minus second, in the weight that the claimed mean gives each cluster.

    Raises:
        ValueError: not one-dimensional, empty, or not finite.

    >>> round(sign_flip_p_value([1, 1, 1, 1, 1, 0, 0, -1]), 6) == 2 * (1 + 6) / 2**6
    True
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"expected finite differences of shape [clusters], got {values.shape}")
    sizes = np.abs(values[values != 0])
    if sizes.size == 0:
        return 1.0
    observed = abs(values.sum()) - 1e-9 * sizes.sum()  # equal sums must count as equal whatever their rounding
    kinds, counts = np.unique(sizes, return_counts=True)
    if len(kinds) == 1:
        return _mcnemar(int((values > 0).sum()), int((values < 0).sum()))
    for unit in kinds[0] / np.arange(1, _FINEST + 1):
        steps = np.rint(kinds / unit)
        if np.abs(kinds / unit - steps).max() < _ROUNDING and steps @ counts <= _EXACT_STEPS:
            return _sign_flip_of_steps(steps, counts, observed / unit)
    if sizes.size <= _EXACT_CLUSTERS:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums + size, sums - size])
        return float((np.abs(sums) >= observed).mean())
    return _sign_flip_by_draws(kinds, counts, observed, draws, seed)


def _sign_flip_of_steps(steps: Floats, counts: NDArray[np.intp], observed: float) -> float:
    """Exact: the distribution of a sum of whole steps of either sign, from its characteristic function."""
    most = int(steps @ counts)
    length = 1 << most.bit_length()
    angles = np.pi * np.arange(length // 2 + 1) / length
    waves = np.ones_like(angles, dtype=np.complex128)
    for step, count in zip(steps, counts, strict=True):
        waves *= np.cos(step * angles) ** count
    waves *= np.exp(-1j * most * angles)  # the sum of the positive ones is counted, 0 to `most`
    chances = np.fft.irfft(waves, length)[: most + 1]
    sums = np.abs(2 * np.arange(most + 1) - most)
    extreme = float(chances[sums >= observed].sum())
    least = 2 * math.pow(0.5, int(counts.sum()))  # all of one sign; rounding may leave less
    return min(1.0, max(extreme, least))


def _sign_flip_by_draws(kinds: Floats, counts: NDArray[np.intp], observed: float, draws: int, seed: int) -> float:
    rng = np.random.Generator(np.random.PCG64(seed))
    extreme, at_once = 0, max(1, _DRAWN_AT_ONCE // len(kinds))
    for start in range(0, draws, at_once):
        positive = rng.binomial(counts, 0.5, size=(min(at_once, draws - start), len(counts)))
        extreme += int((np.abs((2 * positive - counts) @ kinds) >= observed).sum())
    return (extreme + 1) / (draws + 1)


def _mcnemar(first_only: int, second_only: int) -> float:
    from scipy.special import bdtr

    fewer, discordant = min(first_only, second_only), first_only + second_only
    return min(1.0, 2 * float(bdtr(fewer, discordant, 0.5)))


@dataclass(frozen=True)
class PairedDifference:
    """How far a second model is ahead of a first one on the same clusters.

    Attributes:
        clusters: that hold a result.
        first, second: the two values, in [0, 1].
        difference: second less first, in [-1, 1].
        low, high: two-sided interval of the difference, 95 % unless another level was asked for.
        lower, upper: one-sided bounds, each of that level on its own.
        p: two-sided, of the sign-flip permutation over clusters.
        p_worse, p_better: one-sided, that the second is no worse, or no better.
        p_mcnemar: two-sided, McNemar's exact test, every cluster counted alike; None where a cluster holds several
            results.
        smallest_effect: the smallest true difference that as many clusters, differing as often, show with 80 % power;
            None where no difference could have been shown.
    """

    clusters: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    lower: float
    upper: float
    p: float
    p_worse: float
    p_better: float
    p_mcnemar: float | None
    smallest_effect: float | None


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    totals: ArrayLike,
    *,
    level: float = LEVEL,
    draws: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """The difference of two models' shares, or of their plain means over subsets, over clusters that both answered.

    Each cluster adds a difference in the weight that it has in the mean. What the clusters gained that rose, and lost
    that fell, are two shares, each with Clopper and Pearson's bounds for weighted clusters (`_share_bounds`), and the
    bounds of their difference lie as far from it as the root of the squared distances, with the correlation of the two
    (Zou). So clusters that do not differ at all leave an interval that is not empty: they bound gain and loss by what
    n clusters could have missed. No bound excludes 0 unless the sign-flip test does.

    Args:
        first, second: [clusters, subsets] yes results of each model.
        totals: [clusters, subsets] results, 0 where a cluster does not lie in a subset.
        level: how often the interval, and each one-sided bound, is to hold the truth.
        draws, seed: of the sign-flip test, where it is not exact.

    Raises:
        ValueError: wrong shapes, no clusters, a subset without results.
    """
    before, all_ = _counts(first, totals)
    after, _ = _counts(second, totals)
    held = all_.any(axis=1)
    before, after, all_ = before[held], after[held], all_[held]
    subset_weights = 1 / (all_.shape[1] * all_.sum(axis=0))
    changes = (after - before) @ subset_weights
    values = [_plain_mean(hits.sum(axis=0) / all_.sum(axis=0)) for hits in (before, after)]
    alike, one_each = bool((subset_weights == subset_weights[0]).all()), bool((all_.sum(axis=1) == 1).all())
    p = sign_flip_p_value((after - before).sum(axis=1) if alike else changes, draws=draws, seed=seed)
    difference = _plain_mean((after - before).sum(axis=0) / all_.sum(axis=0))
    weights = all_ @ subset_weights
    heaviest = float(((all_ * subset_weights) ** 2).sum(axis=0).max() * all_.shape[1])
    low, high = map(float, difference_bounds(changes, weights, heaviest, (1 + level) / 2))
    lower, upper = map(float, difference_bounds(changes, weights, heaviest, level))
    worse, better = (p / 2 if sign * difference > 0 else 1.0 for sign in (-1, 1))
    return PairedDifference(
        clusters=len(changes),
        first=values[0],
        second=values[1],
        difference=difference,
        low=min(low, 0.0) if p > 1 - level else low,
        high=max(high, 0.0) if p > 1 - level else high,
        lower=min(lower, 0.0) if better > 1 - level else lower,
        upper=max(upper, 0.0) if worse > 1 - level else upper,
        p=p,
        p_worse=worse,
        p_better=better,
        p_mcnemar=_mcnemar(int((changes < 0).sum()), int((changes > 0).sum())) if one_each else None,
        smallest_effect=_smallest_effect(changes, weights),
    )


def _plain_mean(shares: Floats) -> float:
    return math.fsum(shares) / len(shares)


def difference_bounds(
    changes: ArrayLike, weights: ArrayLike, heaviest: ArrayLike, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """One-sided bounds of a paired difference, each of the level on its own, for any number of comparisons at once.

    Args:
        changes: [..., clusters] what each cluster adds to the difference, at most its weight either way.
        weights: [..., clusters] what it could add; they add up to 1.
        heaviest: [...] weight of an imagined cluster: that of the clusters that a result usually lies in, in the subset
            where it is highest. For equal clusters 1 divided by their number.

    Returns:
        Lower and upper bounds, [...], in [-1, 1].
    """
    by, weigh, imagined = (np.asarray(values, dtype=np.float64) for values in (changes, weights, heaviest))
    gains, losses = np.maximum(by, 0.0), np.maximum(-by, 0.0)
    gain, loss = gains.sum(axis=-1), losses.sum(axis=-1)
    gain_low, gain_high = _share_bounds(gains, weigh, imagined, level)
    loss_low, loss_high = _share_bounds(losses, weigh, imagined, level)
    correlation = _gain_loss_correlation(gains, losses, weigh, imagined)

    def distance(of_gain: Floats, of_loss: Floats) -> Floats:
        square = of_gain**2 + of_loss**2 - 2 * correlation * of_gain * of_loss
        return np.asarray(np.sqrt(np.maximum(square, 0.0)))  # rounding may leave a square a hair below 0

    lower = gain - loss - distance(gain - gain_low, loss_high - loss)
    upper = gain - loss + distance(gain_high - gain, loss - loss_low)
    return np.maximum(lower, -1.0), np.minimum(upper, 1.0)


def _share_bounds(parts: Floats, weights: Floats, imagined: Floats, level: float) -> tuple[Floats, Floats]:
    """One-sided bounds of a sum of parts, each between 0 and its cluster's weight.

    One more cluster is imagined, wholly yes for the upper bound and wholly no for the lower one; the bounds are the
    quantiles of the beta distribution with the mean and variance of all. With equal weights and one yes or no per
    cluster these are Clopper and Pearson's; with weights they are to them what Fay and Feuer's are to Poisson's.
    """
    from scipy.special import betaincinv

    n, share = parts.shape[-1], parts.sum(axis=-1)

    def quantile(added: Floats | float, probability: float) -> Floats:
        mean = (share + added) / (1 + imagined)
        squares = ((parts - mean[..., None] * weights) ** 2).sum(axis=-1) + (added - mean * imagined) ** 2
        variance = squares / (1 + imagined) ** 2 * ((n + 1) / (n + 2))
        inside = (mean > _ROUNDING) & (mean < 1 - _ROUNDING)
        # the mean of what is all yes or all no has no beta distribution, it is its own bound
        size = np.divide(mean * (1 - mean), variance, out=np.full_like(mean, 3.0), where=inside) - 1
        middle = np.where(inside, mean, 0.5)
        bound: Floats = np.where(inside, betaincinv(middle * size, (1 - middle) * size, probability), mean)
        return bound

    return np.minimum(share, quantile(0.0, 1 - level)), np.maximum(share, quantile(imagined, level))


def _gain_loss_correlation(gains: Floats, losses: Floats, weights: Floats, imagined: Floats) -> Floats:
    """Over clusters, with one imagined that is all gain and one that is all loss, so that it is there at every n."""
    sides = []
    for parts, first, second in ((gains, 1.0, 0.0), (losses, 0.0, 1.0)):
        mean = (parts.sum(axis=-1) + imagined) / (1 + 2 * imagined)
        apart = parts - mean[..., None] * weights
        more = [((part - mean) * imagined)[..., None] for part in (first, second)]
        sides.append(np.concatenate([apart, *more], axis=-1))
    deviations = [np.sqrt((side**2).sum(axis=-1)) for side in sides]
    return np.asarray((sides[0] * sides[1]).sum(axis=-1) / (deviations[0] * deviations[1]))


def _smallest_effect(changes: Floats, weights: Floats) -> float | None:
    """In units of the usual size of a change, so that a set of which one query in nine turns is no ninth of a turn."""
    size = float(np.abs(changes).sum())
    if size == 0:
        return None
    kish = float((weights**2).sum())
    jump = float((changes**2).sum()) / kish / size
    effect = smallest_detectable_effect(max(1, int(1 / kish + _ROUNDING)), min(1.0, size / jump))
    return None if effect is None else effect * jump


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted for the family that is claimed (Holm's step-down), in the order given.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return tuple(adjusted)


def smallest_detectable_effect(
    clusters: int, discordant: float, *, power: float = 0.8, level: float = 0.05
) -> float | None:
    """The smallest true difference of two shares that a paired test on so many clusters would show.

    Solves delta * sqrt(n) = z_level * sqrt(psi) + z_power * sqrt(psi - delta^2) (Miettinen 1968; Connor 1987), with the
    discordant share psi alone: an observed difference says nothing of the power of the test that observed it.

    Args:
        clusters: n.
        discordant: psi, the share of clusters on which the two differ; in general the mean squared difference.
        power: chance to show it.
        level: two-sided level of the test.

    Returns:
        A difference in (0, psi], or None where even psi itself, all of it one way, would not be shown.

    Raises:
        ValueError: no clusters, or psi outside [0, 1].

    >>> round(smallest_detectable_effect(1000, 0.2), 3)
    0.04
    """
    if clusters < 1 or not 0 <= discordant <= 1:
        raise ValueError(f"expected at least one cluster and a share in [0, 1], got {clusters} and {discordant}")
    z_level, z_power = normal_quantile(1 - level / 2), normal_quantile(power)
    if 2 * 0.5 ** (clusters * discordant) > level:  # the exact test cannot reject, even with all of them one way
        return None
    # the positive root of the quadratic that squaring gives
    root = z_level * math.sqrt(clusters) + z_power * math.sqrt(clusters + z_power**2 - z_level**2)
    effect = math.sqrt(discordant) * root / (clusters + z_power**2)
    return effect if effect <= discordant else None
