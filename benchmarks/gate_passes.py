"""How often the gate lets an unchanged checkpoint through: `python -m benchmarks.gate_passes`, the table of docs/ci.md.

Unchanged means that a cluster that flips is as likely to turn right as to turn wrong: another seed of the same recipe,
another dtype, another batch size. One yes or no per cluster, equal clusters, one gated value; several must all pass.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.statistics import difference_bounds

CLUSTERS = (44, 165, 500, 2_000, 8_000)
FLIPS = (0.0, 0.01, 0.05, 0.10, 0.20)
MARGINS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.10)
_AT_ONCE = 2_000_000  # changes in memory


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=10_000, help="checkpoints a row")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"| clusters | flips | {' | '.join(f'margin {100 * margin:g}' for margin in MARGINS)} |")
    print("|---" * (2 + len(MARGINS)) + "|")
    for clusters in CLUSTERS:
        for share in FLIPS:
            passes = pass_rates(clusters, share, MARGINS, draws=args.draws, seed=args.seed)
            print(f"| {clusters:,} | {share:.0%} | {' | '.join(map(_percent, passes))} |")


def pass_rates(clusters: int, share: float, margins: Sequence[float], *, draws: int, seed: int) -> list[float]:
    """For each margin the share of unchanged checkpoints whose lower bound is above it."""
    rng = np.random.Generator(np.random.PCG64(seed))
    flips = rng.binomial(clusters, share, size=draws)
    to_wrong = rng.binomial(flips, 0.5)
    pairs, times = np.unique(np.stack([to_wrong, flips - to_wrong]), axis=1, return_counts=True)
    lower = lower_bounds(clusters, pairs[0], pairs[1])
    return [float(times[lower > -margin].sum() / draws) for margin in margins]


def lower_bounds(clusters: int, to_wrong: NDArray[np.int64], to_right: NDArray[np.int64]) -> NDArray[np.float64]:
    """The gate's lower bound where so many of equal clusters turned wrong, and so many right."""
    at_once = max(1, _AT_ONCE // clusters)
    place = np.arange(clusters)
    bounds = []
    for start in range(0, len(to_wrong), at_once):
        wrong, right = (counts[start : start + at_once, None] for counts in (to_wrong, to_right))
        changes = ((place < wrong + right).astype(float) - 2.0 * (place < wrong)) / clusters
        weights = np.full_like(changes, 1 / clusters)
        bounds.append(difference_bounds(changes, weights, np.full(len(changes), 1 / clusters))[0])
    return np.concatenate(bounds)


def _percent(rate: float) -> str:
    return "–" if rate == 0 else f"{100 * rate:.0f} %"


if __name__ == "__main__":
    main()
