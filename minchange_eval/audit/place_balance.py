"""Do right answers stand where chance puts them: exact multinomial test, chi-square where outcomes are too many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import comb, lgamma, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from minchange_eval.audit.quality_report import PlaceBalance
from minchange_eval.core.items import CandidateSet, Item
from minchange_eval.core.statistics import holm

Test = Literal["exact", "chi-square"]
_MOST_OUTCOMES = 1_000_000
_ROUNDING = 1e-7  # outcomes as likely as the one seen must count as such


def place_balances(items: Iterable[Item]) -> tuple[PlaceBalance, ...]:
    """Balance per direction and subset, and over all subsets with as many candidates; Holm over all of them.

    Questions with several right answers are left out. A place is that of the released order of candidates.
    """
    places: dict[tuple[str, str, int], list[int]] = {}
    for item in items:
        for direction, candidates, place in _places(item):
            for subset in dict.fromkeys(("", item.subset)):
                places.setdefault((direction, subset, candidates), []).append(place)
    # a single subset is the whole; a sum over several is worth its own line
    whole = {(key[0], key[2], len(found)) for key, found in places.items() if key[1]}
    kept = {key: found for key, found in places.items() if key[1] or (key[0], key[2], len(found)) not in whole}
    tested = [(key, np.bincount(found, minlength=key[2])) for key, found in kept.items()]
    ps = [uniform_p(counts) for _, counts in tested]
    return tuple(
        PlaceBalance(direction=key[0], subset=key[1], counts=tuple(counts.tolist()), p=p, test=test, holm=corrected)
        for (key, counts), (p, test), corrected in zip(tested, ps, holm([p for p, _ in ps]), strict=True)
    )


def _places(item: Item) -> Iterable[tuple[str, int, int]]:
    if isinstance(item, CandidateSet):
        for direction, orders in (("i2t", item.image_to_text), ("t2i", item.text_to_image)):
            for query, order in enumerate(orders):
                yield direction, item.k, order.index(query)
    elif len(item.answers) == 1:
        yield "choice", len(item.options), item.answers[0]


def uniform_p(counts: Sequence[int] | NDArray[np.intp]) -> tuple[float, Test]:
    """p-value of counts where every place is as likely, and the test it comes from.

    Exact: the probability of all counts that are no likelier than these (Read & Cressie 1988); above a million
    possible counts, chi-square.

    >>> round(uniform_p([9, 1])[0], 6) == round(22 / 1024, 6)
    True
    """
    seen = np.asarray(counts, dtype=np.intp)
    n, k = int(seen.sum()), len(seen)
    if n == 0:
        return 1.0, "exact"
    if comb(n + k - 1, k - 1) > _MOST_OUTCOMES:
        from scipy.stats import chisquare

        return float(chisquare(seen).pvalue), "chi-square"
    likely = _log_probability(_compositions(n, k))
    here = _log_probability(seen[None])[0]
    return float(min(1.0, np.exp(likely[likely <= here + _ROUNDING]).sum())), "exact"


def _compositions(n: int, k: int) -> NDArray[np.intp]:
    """[outcomes, k] every way to share n among k places."""
    parts = np.zeros((1, 0), dtype=np.intp)
    left = np.array([n])
    for _ in range(k - 1):
        ways = left + 1
        taken = np.arange(ways.sum()) - np.repeat(np.cumsum(ways) - ways, ways)
        parts = np.column_stack([np.repeat(parts, ways, axis=0), taken])
        left = np.repeat(left, ways) - taken
    return np.column_stack([parts, left])


def _log_probability(counts: NDArray[np.intp]) -> NDArray[np.float64]:
    n, k = int(counts[0].sum()), counts.shape[1]
    factorials = np.array([lgamma(value + 1) for value in range(n + 1)])
    log_probability: NDArray[np.float64] = factorials[n] - factorials[counts].sum(axis=1) - n * log(k)
    return log_probability
