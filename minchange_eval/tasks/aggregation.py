"""From the items' shares to the numbers of lmms-eval's own table; the full table is in the run record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

FEWER_IS_BETTER = frozenset({"unscored", "tied"})


def share(pairs: Sequence[tuple[int, int]]) -> float:
    """Hits over tries, pooled over items: [(hits, tries), ...] -> fraction in [0, 1]."""
    return sum(hits for hits, _ in pairs) / sum(tries for _, tries in pairs)


def mean_of_subsets(pairs: Sequence[tuple[str, int]]) -> float:
    """Macro average: [(subset, hit), ...] -> plain mean of the subsets' accuracies, in [0, 1]."""
    hits: dict[str, list[int]] = defaultdict(list)
    for subset, hit in pairs:
        hits[subset].append(hit)
    return sum(sum(of_subset) / len(of_subset) for of_subset in hits.values()) / len(hits)


def total(counts: Sequence[int]) -> int:
    """Sum over items."""
    return sum(counts)


def group_total(counts: Sequence[int], sizes: Sequence[int], weight_by_size: bool) -> int:
    """Sum over the tasks of a group, in the signature that lmms-eval gives to group aggregations."""
    return sum(counts)
