"""From the items' shares to the numbers of lmms-eval's own table; the full table is in the run record."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

FEWER_IS_BETTER = frozenset({"unscored", "tied"})


def share(pairs: Sequence[tuple[int, int]]) -> float:
    """Hits over tries, pooled over items: [(hits, tries), ...] -> fraction in [0, 1]."""
    return sum(hits for hits, _ in pairs) / sum(tries for _, tries in pairs)


def mean_of_subsets_share(rows: Iterable[tuple[str, int, int]]) -> float:
    """The whole of a task over several subsets as the record has it: plain mean of the subsets' shares, in [0, 1].

    Args:
        rows: (subset, hits, tries) of each item; an item without tries (a true statement for `accuracy_false`) adds
            nothing, nor does a subset without any.

    Returns:
        NaN where nothing was tried.
    """
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for subset, hits, tries in rows:
        sums[subset] = (sums[subset][0] + hits, sums[subset][1] + tries)
    shares = [hits / tries for hits, tries in sums.values() if tries]
    return math.fsum(shares) / len(shares) if shares else math.nan


def total(counts: Sequence[int]) -> int:
    """Sum over items."""
    return sum(counts)


def group_total(counts: Sequence[int], sizes: Sequence[int], weight_by_size: bool) -> int:
    """Sum over the tasks of a group, in the signature that lmms-eval gives to group aggregations."""
    return sum(counts)
