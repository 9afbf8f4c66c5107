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


def _distribution(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """[0..items] probability of each number of hits: the binomials of the distinct chances, convolved."""
    from scipy.special import gammaln, xlog1py, xlogy

    whole = np.ones(1)
    for chance, n in zip(*np.unique(chances.round(12), return_counts=True), strict=True):
        k = np.arange(n + 1)
        ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        whole = np.convolve(whole, np.exp(ways + xlogy(k, chance) + xlog1py(n - k, -chance)))
    return whole
