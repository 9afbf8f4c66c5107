"""Intervals and tests of a count of hits against chance.

Sources: Clopper & Pearson 1934, Biometrika 26(4) (interval); the two-sided p-value sums all outcomes that are no
likelier than the one seen, as scipy's `binomtest` does.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minchange_eval.core.statistics import LEVEL, Interval

_ROUNDING = 1e-7  # outcomes as likely as the one seen must count as such, as in scipy


def exact_interval(hits: int, n: int) -> Interval:
    """Clopper and Pearson's 95 % interval of a share; it covers at least that often at every share and n.

    Raises:
        ValueError: not 0 <= hits <= n with n above 0.

    >>> interval = exact_interval(20, 44)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.304, 0.612)
    """
    from scipy.special import betaincinv

    if not (n > 0 and 0 <= hits <= n):
        raise ValueError(f"expected 0 <= hits <= n and n above 0, got {hits} of {n}")
    tail = (1 - LEVEL) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return Interval(hits / n, low, high)


def exact_p(hits: int, chances: ArrayLike) -> float:
    """Two-sided p-value of a number of hits where each item has its own chance; 1 where there are no items.

    Args:
        hits: seen.
        chances: [items] probability of each hit; a few distinct values are quick, each is one binomial.

    Raises:
        ValueError: hits outside 0 to the number of items.

    >>> round(exact_p(9, [0.5] * 10), 6) == round(22 / 1024, 6)
    True
    """
    p = np.asarray(chances, dtype=np.float64)
    if not 0 <= hits <= p.size:
        raise ValueError(f"expected 0 to {p.size} hits, got {hits}")
    if p.size == 0:
        return 1.0
    likely = _distribution(p)
    return float(min(1.0, likely[likely <= likely[hits] * (1 + _ROUNDING)].sum()))


def out_of_fold_p(hits: int, chances: ArrayLike) -> float:
    """Two-sided p-value of hits that were learned out of fold; 1 where there are no items.

    Folds teach each other, so on random answers hits are not independent: a chance majority in one fold is bet on in
    the others, and pays there too. Their mean is that of the binomial, their variance was up to 1.7 times as large in
    simulation (docs/audit.md); twice is taken here, with the normal distribution and a correction for continuity.

    Args:
        hits, chances: as in `exact_p`.

    Raises:
        ValueError: as in `exact_p`.
    """
    p = np.asarray(chances, dtype=np.float64)
    if not 0 <= hits <= p.size:
        raise ValueError(f"expected 0 to {p.size} hits, got {hits}")
    variance = 2 * float((p * (1 - p)).sum())
    if variance == 0:
        return 1.0
    distance = max(0.0, abs(hits - float(p.sum())) - 0.5) / math.sqrt(variance)
    return min(1.0, math.erfc(distance / math.sqrt(2)))


def clustered_p(hit: ArrayLike, chances: ArrayLike, clusters: ArrayLike, *, learned: bool) -> float:
    """`exact_p`, or `out_of_fold_p` of a learned rule; never below what clusters of several items say.

    Items of a cluster may be copies of each other (a question with its options in every order), and copies are no
    evidence. Each cluster then counts as one draw of its hits less chance, with the normal distribution and the
    variance that such draws show around 0 (Liang & Zeger 1986, Biometrika 73(1), at the null).

    Args:
        hit: [items] whether it was solved.
        chances: [items] as in `exact_p`.
        clusters: [items] number of the cluster of each.
        learned: whether folds taught each other.

    >>> copies = np.repeat([1, 1, 1, 0], 5)
    >>> round(clustered_p(copies, [0.25] * 20, range(20), learned=False), 6)
    4e-06
    >>> round(clustered_p(copies, [0.25] * 20, np.repeat(range(4), 5), learned=False), 2)
    0.13
    """
    hits, p = np.asarray(hit, dtype=np.float64), np.asarray(chances, dtype=np.float64)
    alone = (out_of_fold_p if learned else exact_p)(int(hits.sum()), p)
    member, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)[1:]
    if (sizes == 1).all():
        return alone
    excess = np.bincount(member, weights=hits - p)
    spread = math.sqrt((2 if learned else 1) * float((excess**2).sum()))
    if spread < _ROUNDING:  # every cluster exactly at chance
        return 1.0
    return max(alone, math.erfc(abs(float(excess.sum())) / spread / math.sqrt(2)))


def _distribution(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """[0..items] probability of each number of hits: the binomials of the distinct chances, convolved."""
    from scipy.special import gammaln, xlog1py, xlogy

    whole = np.ones(1)
    for chance, n in zip(*np.unique(chances.round(12), return_counts=True), strict=True):
        k = np.arange(n + 1)
        ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        whole = np.convolve(whole, np.exp(ways + xlogy(k, chance) + xlog1py(n - k, -chance)))
    return whole
