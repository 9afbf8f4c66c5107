"""Changes between two models whose truth is known, many runs at once, for tests of paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

from minchange_eval.core.statistics import difference_bounds

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stratum:
    """One subset: how many clusters of how many queries, and how often queries turn.

    Attributes:
        clusters: number of clusters, each of one of the sizes, which are drawn.
        sizes: queries of a cluster: K queries of a set, and several items that share an image.
        gain, loss: share of queries that turn right, or wrong.
        alike: correlation of turning within a cluster; 1: all queries of a cluster turn, or none.
        one_way: all that turn in a cluster turn the same way.
    """

    clusters: int
    sizes: Sequence[int]
    gain: float
    loss: float
    alike: float
    one_way: bool = True


@dataclass(frozen=True)
class Misses:
    """How often the truth lay outside, over all runs; and the mean width of the interval."""

    passes: float  # true loss of the margin, passed: the lower bound is above the truth
    regressions: float  # the upper bound is below the truth
    interval: float
    width: float


def simulated(strata: Sequence[Stratum], *, runs: int, seed: int = 0) -> tuple[Floats, Floats, Floats, float]:
    """Changes and weights [runs, clusters], weight of the imagined cluster [runs], and the true difference."""
    rng = np.random.default_rng(seed)
    changes, weights, usual = [], [], []
    for stratum in strata:
        shape = runs, stratum.clusters
        sizes = rng.choice(np.array(stratum.sizes), size=shape)
        turning = _clustered(rng, stratum.gain + stratum.loss, stratum.alike, shape)
        to_wrong = stratum.loss / (stratum.gain + stratum.loss) if stratum.gain + stratum.loss else 0.0
        ways = (rng.random(shape) < to_wrong).astype(float) if stratum.one_way else np.full(shape, to_wrong)
        turned = rng.binomial(sizes, turning)
        wrong = rng.binomial(turned, ways)
        unit = sizes.sum(axis=1, keepdims=True) * len(strata)
        changes.append((turned - 2 * wrong) / unit)
        weights.append(sizes / unit)
        usual.append((weights[-1] ** 2).sum(axis=1) * len(strata))
    truth = sum(stratum.gain - stratum.loss for stratum in strata) / len(strata)
    return np.concatenate(changes, axis=1), np.concatenate(weights, axis=1), np.max(usual, axis=0), truth


def _clustered(rng: np.random.Generator, mean: float, alike: float, shape: tuple[int, int]) -> Floats:
    if alike == 0 or mean in (0, 1):
        return np.full(shape, mean)
    if alike == 1:
        return (rng.random(shape) < mean).astype(float)
    spread = (1 - alike) / alike
    return rng.beta(mean * spread, (1 - mean) * spread, shape)


def misses(strata: Sequence[Stratum], *, runs: int, seed: int = 0) -> Misses:
    """What `difference_bounds` makes of the changes."""
    changes, weights, usual, truth = simulated(strata, runs=runs, seed=seed)
    lower, upper = difference_bounds(changes, weights, usual, 0.95)
    low, high = difference_bounds(changes, weights, usual, 0.975)
    hair = 1e-9
    return Misses(
        passes=float((lower > truth + hair).mean()),
        regressions=float((upper < truth - hair).mean()),
        interval=float(((low > truth + hair) | (high < truth - hair)).mean()),
        width=float((high - low).mean()),
    )


def every_outcome(n: int) -> tuple[NDArray[np.int64], Floats]:
    """All numbers of n clusters that turned right and wrong, [outcomes, 2], and as changes [outcomes, clusters]."""
    counts = np.array([(right, wrong) for right in range(n + 1) for wrong in range(n + 1 - right)])
    place = np.arange(n)
    right, wrong = counts[:, :1], counts[:, 1:]
    changes = (place < right).astype(float) - ((place >= right) & (place < right + wrong))
    return counts, changes / n


def chance_of(counts: NDArray[np.int64], n: int, gain: float, loss: float) -> Floats:
    """Trinomial chance of each outcome."""
    all_counts = np.column_stack([counts, n - counts.sum(axis=1)])
    ways = gammaln(n + 1) - gammaln(all_counts + 1).sum(axis=1)
    return np.asarray(np.exp(ways + xlogy(all_counts, [gain, loss, max(0.0, 1 - gain - loss)]).sum(axis=1)))
