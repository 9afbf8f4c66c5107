"""A balanced subset: the largest that is found on which no rule that does not look is above or below chance.

Items are taken out where they carry most of what the rules get; then every rule is learned and tested anew on what is
left, until none is significant. At last as many as possible of the items taken out are put back. Pruning by bias score
is Brown et al.'s (2025, arXiv:2511.04655); here fixed rules are pruned along with learned ones, and both directions
count: a rule far below chance tells as much as one above.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minchange_eval.audit.image_looks import Progress, image_looks
from minchange_eval.audit.puzzles import Floats, Pile
from minchange_eval.audit.shortcuts import LEVEL, Judged, judge, piles_of
from minchange_eval.core.errors import DataError
from minchange_eval.core.items import CandidateSet, Item, item_id
from minchange_eval.core.statistics import holm, normal_quantile
from minchange_eval.data.audit_results import Asks, BalancedSubset

_MOST_ROUNDS = 25
_FEWEST = 10  # items; on fewer no rule could be told from chance, and the subset would prove nothing
_STRICTER = 0.93  # a round: rules learned anew find other ways, so each round must prune deeper than the last
_BISECTIONS = 6

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Tested:
    """Every rule on the kept items.

    Attributes:
        rules: key -> (hits, n, p after Holm).
        evidence: [rules, items] hits less chance of the puzzles that a rule decides, summed over an item.
        deviation: [rules] standard deviation of the whole by chance.
    """

    rules: dict[str, tuple[int, int, float]]
    evidence: Floats
    deviation: Floats

    @property
    def significant(self) -> list[int]:
        return [number for number, (_, _, p) in enumerate(self.rules.values()) if p < LEVEL]

    @property
    def telling(self) -> Mask:
        """[rules, items] whether the item is why a rule is above chance (it solves it), or below (it fails it)."""
        told: Mask = self.evidence * np.sign(self.evidence.sum(axis=1, keepdims=True)) > 0
        return told


def balanced_over(items: Sequence[Item], asked: Sequence[Asks]) -> tuple[Asks, ...]:
    """What a balanced subset is balanced over: what the benchmark asks, and what would answer it.

    In questions about images, which image is the original answers nothing by itself and cannot be pruned away: where
    the original always comes first, every item tells it.
    """
    return tuple(asks for asks in asked if isinstance(items[0], CandidateSet) or asks == "answer")


def balance(
    items: Sequence[Item],
    dataset: str,
    fingerprint: str,
    *,
    seed: int = 0,
    n_jobs: int = 2,
    progress: Progress | None = None,
) -> BalancedSubset:
    """Find a balanced subset.

    Args:
        items: all candidate sets, or all choice questions.

    Raises:
        DataError: none with at least 10 items is found.
    """
    piles = piles_of(items, dataset)
    over = balanced_over(items, list(piles))
    looks = None
    if "image" in over:
        pictures = (image for puzzle in piles["image"].puzzles for image in puzzle.images)
        looks = image_looks(pictures, n_jobs=n_jobs, progress=progress)
    number = {item_id(item): place for place, item in enumerate(items)}

    def test(kept: Mask) -> _Tested:
        # clusters and all are made of the kept items alone, so that an audit of them says the same
        part = piles_of([item for item, keep in zip(items, kept, strict=True) if keep], dataset)
        return _tested([part[asks] for asks in over if asks in part], number, looks, seed, n_jobs)

    first = test(np.ones(len(items), dtype=np.bool_))
    kept, last, rounds = _pruned(test, first, len(items), dataset)
    names, telling = [key.partition(":")[2] for key in first.rules], first.telling
    return BalancedSubset(
        dataset=dataset,
        fingerprint=fingerprint,
        over=over,
        ids=tuple(name for name, keep in zip(number, kept, strict=True) if keep),
        removed={
            name: tuple(names[rule] for rule in first.significant if telling[rule, place])
            for name, place in number.items()
            if not kept[place]
        },
        rounds=rounds,
        rules=last.rules,
    )


def _pruned(test: Callable[[Mask], _Tested], first: _Tested, items: int, dataset: str) -> tuple[Mask, _Tested, int]:
    kept, tested, rounds, order = np.ones(items, dtype=np.bool_), first, 0, list[int]()
    target = normal_quantile(1 - LEVEL / 2 / max(1, len(first.rules)))
    while tested.significant:
        rounds += 1
        target *= _STRICTER
        out = _taken_out(tested, kept, target)
        order += out
        kept[out] = False
        if rounds > _MOST_ROUNDS or kept.sum() < _FEWEST or not out:
            raise DataError(
                f"{dataset}: no subset of at least {_FEWEST} items was found on which no rule is above or below "
                "chance; the shortcuts are in every item, mend the data"
            )
        tested = test(kept)
    return (*_put_back(test, kept, tested, order), rounds)


def _put_back(test: Callable[[Mask], _Tested], kept: Mask, tested: _Tested, order: list[int]) -> tuple[Mask, _Tested]:
    """Those taken out last come back first, as many as leave no rule significant; found by bisection."""
    bad, good = 0, len(order)
    for _ in range(_BISECTIONS):
        middle = (bad + good) // 2
        if not bad < middle < good:
            break
        trial = np.ones(len(kept), dtype=np.bool_)
        trial[order[:middle]] = False
        again = test(trial)
        if again.significant:
            bad = middle
        else:
            good, kept, tested = middle, trial, again
    return kept, tested


def _taken_out(tested: _Tested, kept: Mask, target: float) -> list[int]:
    """Items to take out until no rule is further from chance than `target` standard deviations, as last learned.

    Each is the one that most lowers the sum over rules of the fourth power of their distance from chance, so that the
    worst rule counts most and none is pushed out on the other side.
    """
    left, total = kept.copy(), tested.evidence[:, kept].sum(axis=1)
    variance, one = tested.deviation**2, tested.deviation**2 / max(1, int(kept.sum()))
    out: list[int] = []
    while left.any():
        deviation = np.sqrt(np.maximum(variance, 1e-9))
        distance = total / deviation
        if np.abs(distance).max() <= target:
            break
        gain = (distance**3 / deviation) @ tested.evidence
        gain[~left] = -np.inf
        item = int(gain.argmax())
        if gain[item] <= 0:
            break
        left[item] = False
        out.append(item)
        total = total - tested.evidence[:, item]
        variance = variance - one
    return out


def _tested(
    piles: Sequence[Pile],
    number: Mapping[str, int],
    looks: Mapping[str, Sequence[float]] | None,
    seed: int,
    n_jobs: int,
) -> _Tested:
    judged: list[tuple[Judged, NDArray[np.intp]]] = []
    for pile in piles:
        owner = np.array([number[puzzle.item_id] for puzzle in pile.puzzles], dtype=np.intp)
        judged += [(rule, owner) for rule in judge(pile, looks, seed=seed, n_jobs=n_jobs)]
    evidence, deviation = np.zeros((len(judged), len(number))), np.zeros(len(judged))
    for row, (rule, owner) in enumerate(judged):
        hit, decided, chance = rule.choices.hit, rule.choices.decided, rule.pile.chance
        np.add.at(evidence[row], owner[decided], hit[decided] - chance[decided])
        folds_teach = 1 if rule.learned is None else 2  # as in `out_of_fold_p`
        deviation[row] = np.sqrt(folds_teach * (chance * (1 - chance))[decided].sum())
    p_values = holm([rule.p for rule, _ in judged])
    rules = {
        rule.key: (int(rule.choices.hit.sum()), len(rule.pile), p)
        for (rule, _), p in zip(judged, p_values, strict=True)
    }
    return _Tested(rules, evidence, deviation)
