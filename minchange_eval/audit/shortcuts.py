"""The audit: what every rule that does not look gets, and what the best of them gets when it is chosen honestly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from minchange_eval.audit.exact_tests import clustered_p, exact_interval
from minchange_eval.audit.image_looks import Progress, image_looks
from minchange_eval.audit.learned_rules import OutOfFold, folds_of, learned_rules, out_of_fold
from minchange_eval.audit.puzzles import Choices, Floats, Pile, Puzzle, puzzles_of
from minchange_eval.audit.text_rules import fixed_rules
from minchange_eval.core.errors import DataError
from minchange_eval.core.items import CandidateSet, ChoiceQuestion, Item
from minchange_eval.core.metrics import Kind
from minchange_eval.core.statistics import cluster_intervals, holm
from minchange_eval.data.audit_results import (
    Asks,
    AuditResult,
    BestRule,
    Example,
    RuleResult,
    Sees,
    Share,
    Weight,
)

LEVEL = 0.05
_SHOWN_WEIGHTS = 8
_SHOWN_TEXT = 160
_METRICS: Mapping[Asks, tuple[str, ...]] = {
    "i2t_place": ("i2t_accuracy",),
    "t2i_place": ("t2i_accuracy",),
    "match": ("i2t_accuracy", "t2i_accuracy", "text_score", "image_score", "group_score", "pair_mean"),
    "caption": ("",),
    "image": ("",),
}


@dataclass(frozen=True)
class Judged:
    """One rule on one pile.

    Attributes:
        scores: [candidates] of a fixed rule its own, of a learned one out of fold.
        learned: what was learned; None for a fixed rule.
    """

    name: str
    sees: Sees
    says: str
    pile: Pile
    scores: Floats
    choices: Choices
    learned: OutOfFold | None = None

    @property
    def key(self) -> str:
        """Unique among the rules of an audit."""
        return f"{self.pile.asks}:{self.name}"

    @property
    def p(self) -> float:
        """Two-sided, against chance; over the puzzles that the rule decides, for a tie says nothing."""
        decided = self.choices.decided
        hit, chance, clusters = self.choices.hit[decided], self.pile.chance[decided], self.pile.clusters[decided]
        return clustered_p(hit, chance, clusters, learned=self.learned is not None)

    @property
    def bias(self) -> Floats | None:
        """[puzzles] out-of-fold probability of the answer; None for a fixed rule."""
        if self.learned is None:
            return None
        return np.asarray(np.add.reduceat(np.where(self.pile.right, self.scores, 0.0), self.pile.starts))


def audit(
    items: Sequence[Item],
    dataset: str,
    fingerprint: str,
    *,
    seed: int = 0,
    examples: int = 3,
    n_jobs: int = 2,
    progress: Progress | None = None,
) -> AuditResult:
    """Try every rule on every puzzle that the items make.

    Args:
        items: all candidate sets, or all choice questions.
        dataset: its name decides which image is known to be the original.
        examples: how many items to show for each rule.
        n_jobs: threads for fits and images; the result does not depend on it.

    Raises:
        DataError: no items, or an image that cannot be read.
    """
    if not items:
        raise DataError(f"{dataset}: expected items to audit, got none")
    piles, looks = piles_of(items, dataset), None
    if "image" in piles:
        looks = image_looks(
            (image for puzzle in piles["image"].puzzles for image in puzzle.images), n_jobs=n_jobs, progress=progress
        )
    judged = [rule for pile in piles.values() for rule in judge(pile, looks, seed=seed, nested=True, n_jobs=n_jobs)]
    results = _results(judged, examples)
    return AuditResult(
        dataset=dataset,
        fingerprint=fingerprint,
        kind=kind_of(items),
        items=len(items),
        seed=seed,
        rules=results,
        bests=tuple(_bests(piles, judged, kind_of(items), seed)),
        unread="" if looks is not None else "images: the data does not say which of them is the original",
    )


def kind_of(items: Sequence[Item]) -> Kind:
    """As the record calls them; a question with the options false and true is a statement."""
    if isinstance(items[0], CandidateSet):
        return "sets"
    options = {item.options for item in items if isinstance(item, ChoiceQuestion)}
    return "statements" if options == {("false", "true")} else "questions"


def piles_of(items: Sequence[Item], dataset: str) -> dict[Asks, Pile]:
    """The puzzles by what is to be found; places mean something wherever a query shows them."""
    sets = isinstance(items[0], CandidateSet)
    return {
        asks: Pile(asks, puzzles, ordered=not (sets and asks in ("caption", "image")))
        for asks, puzzles in puzzles_of(items, dataset).items()
    }


def judge(
    pile: Pile,
    looks: Mapping[str, Sequence[float]] | None,
    *,
    seed: int = 0,
    nested: bool = False,
    n_jobs: int = 2,
) -> list[Judged]:
    """Every rule that applies to a pile, the fixed ones first."""
    judged = []
    for rule in fixed_rules(pile):
        scores = rule.score(pile)
        judged.append(Judged(rule.name, rule.sees, rule.says, pile, scores, pile.choices(scores)))
    learnable = learned_rules(pile, looks)
    learned = out_of_fold(learnable, pile, folds_of(pile.clusters, seed=seed), nested=nested, seed=seed, n_jobs=n_jobs)
    for one in learnable:
        found = learned[one.name]
        judged.append(Judged(one.name, one.sees, one.says, pile, found.scores, pile.choices(found.scores), found))
    return judged


def _results(judged: Sequence[Judged], examples: int) -> tuple[RuleResult, ...]:
    p_values = [rule.p for rule in judged]
    return tuple(
        _result(rule, p, adjusted, examples) for rule, p, adjusted in zip(judged, p_values, holm(p_values), strict=True)
    )


def _result(rule: Judged, p: float, adjusted: float, examples: int) -> RuleResult:
    hit, decided = rule.choices.hit, rule.choices.decided
    interval = exact_interval(int(hit.sum()), len(hit))
    return RuleResult(
        name=rule.name,
        kind="fixed" if rule.learned is None else "learned",
        sees=rule.sees,
        asks=rule.pile.asks,
        says=rule.says,
        hits=int(hit.sum()),
        n=len(hit),
        value=interval.value,
        low=interval.low,
        high=interval.high,
        chance=float(rule.pile.chance.mean()),
        decided=int(decided.sum()),
        decided_hits=int(hit[decided].sum()),
        p=p,
        holm=adjusted,
        slices={name: (int(hit[mask].sum()), int(mask.sum())) for name, mask in slices_of(rule.pile).items()},
        bias=_bias_by_item(rule),
        carried_by=() if rule.learned is None else _heaviest(rule.learned),
        examples=_examples(rule, examples),
    )


def slices_of(pile: Pile) -> dict[str, NDArray[np.bool_]]:
    """Subset or slice -> [puzzles] which are in it, in the order of the data."""
    masks: dict[str, NDArray[np.bool_]] = {}
    for number, puzzle in enumerate(pile.puzzles):
        for name in filter(None, (puzzle.subset, *puzzle.slices)):
            masks.setdefault(name, np.zeros(len(pile), dtype=np.bool_))[number] = True
    return masks


def _bias_by_item(rule: Judged) -> dict[str, float]:
    bias = rule.bias
    if bias is None:
        return {}
    return {puzzle.item_id: round(float(one), 4) for puzzle, one in zip(rule.pile.puzzles, bias, strict=True)}


def _heaviest(learned: OutOfFold) -> tuple[Weight, ...]:
    total = float(np.abs(learned.weights).sum())
    heaviest = np.argsort(-np.abs(learned.weights), kind="stable")[:_SHOWN_WEIGHTS].tolist()
    return tuple(
        Weight(feature=learned.features[place], weight=round(float(learned.weights[place]) / total, 6))
        for place in heaviest
        if total and learned.weights[place]
    )


def _examples(rule: Judged, count: int) -> tuple[Example, ...]:
    """Items that the rule solves, the clearest first, and behind them about a third as many that it fails."""
    fails = count // 3
    bias = rule.bias
    clear = rule.choices.decided.astype(np.float64) if bias is None else bias
    order = np.argsort(-clear, kind="stable")
    solved = [number for number in order.tolist() if rule.choices.hit[number] and clear[number]][: count - fails]
    failed = [
        number for number in order[::-1].tolist() if not rule.choices.hit[number] and rule.choices.decided[number]
    ]
    return tuple(
        _example(rule.pile.puzzles[number], int(rule.choices.place[number]), None if bias is None else bias[number])
        for number in [*solved, *failed[:fails]]
    )


def _example(puzzle: Puzzle, chosen: int, bias: float | None) -> Example:
    shown = puzzle.texts or tuple(image.name for image in puzzle.images)
    return Example(
        item_id=puzzle.item_id,
        question=puzzle.context[:_SHOWN_TEXT],
        candidates=tuple(text[:_SHOWN_TEXT] for text in shown),
        answers=puzzle.answers,
        chosen=chosen,
        bias=None if bias is None else round(float(bias), 6),
    )


@dataclass(frozen=True)
class _Nested:
    """[puzzles] hits of the rules that were chosen on the other folds, and how often each rule was."""

    pile: Pile
    hit: NDArray[np.bool_]
    place: NDArray[np.intp]
    chosen: Counter[str]


def nested_best(judged: Sequence[Judged], seed: int = 0) -> _Nested:
    """For each fold the rule that is best on all other folds, judged on that fold only.

    Learned rules are compared on the other folds by fits that saw neither the fold judged on nor this one, so no answer
    of a fold has any say in what is chosen for it: on random answers the result is at chance however many rules there
    are. Of rules as good as each other the first is taken.

    Args:
        judged: rules on one pile, learned with `nested`.
    """
    pile = judged[0].pile
    folds = folds_of(pile.clusters, seed=seed)
    by_chance = pile.choices(np.zeros(len(pile.owner)))  # what stays where all is one cluster: nothing is chosen
    hit, place, chosen = by_chance.hit.copy(), by_chance.place.copy(), Counter[str]()
    for fold in range(int(folds.max()) + 1):
        inside = folds == fold
        if inside.all() or not inside.any():
            continue
        best = max(judged, key=lambda rule: int(_hits_without(rule, folds, fold)[~inside].sum()))
        hit[inside], place[inside] = best.choices.hit[inside], best.choices.place[inside]
        chosen[best.name] += 1
    return _Nested(pile, hit, place, chosen)


def _hits_without(rule: Judged, folds: NDArray[np.intp], left_out: int) -> NDArray[np.bool_]:
    """[puzzles] hits on the other folds of a rule that has seen no answer of `left_out`."""
    if rule.learned is None:
        return rule.choices.hit
    owner, scores = folds[rule.pile.owner], np.zeros(len(rule.scores))
    for (f, g), without in rule.learned.without.items():
        if left_out in (f, g):
            other = f + g - left_out
            scores[owner == other] = without[owner == other]
    return rule.pile.choices(scores).hit


def _bests(piles: Mapping[Asks, Pile], judged: Sequence[Judged], kind: Kind, seed: int) -> list[BestRule]:
    chosen: dict[Asks, _Nested] = {}
    bests = []
    for asks in piles:
        of_pile = [rule for rule in judged if rule.pile.asks == asks]
        shown = [rule for rule in of_pile if rule.sees != "released text"]
        chosen[asks] = nested_best(shown, seed)
        bests.append(_best(asks, chosen[asks], kind, ""))
        if len(shown) < len(of_pile):
            bests.append(_best(asks, nested_best(of_pile, seed), kind, "raw"))
    if "caption" in chosen and "image" in chosen:
        bests.insert(0, _best("match", _matched(chosen["caption"], chosen["image"]), kind, ""))
    return bests


def _matched(captions: _Nested, images: _Nested) -> _Nested:
    """Pairs of a set by which caption and which image look original: right if both are, or in a pair neither."""
    agree = (captions.place == images.place) & (captions.pile.sizes == 2) | (captions.hit & images.hit)
    names = Counter(
        {f"{a} + {b}": min(n, m) for a, n in captions.chosen.most_common(1) for b, m in images.chosen.most_common(1)}
    )
    pile = Pile("match", [replace(puzzle, texts=(), images=()) for puzzle in captions.pile.puzzles])
    return _Nested(pile, agree, captions.place, names)


def _best(asks: Asks, nested: _Nested, kind: Kind, variant: str) -> BestRule:
    return BestRule(
        asks=asks,
        variant=variant,
        name=min(nested.chosen, key=lambda name: (-nested.chosen[name], name), default=""),
        chosen=dict(nested.chosen.most_common()),
        p=clustered_p(nested.hit, nested.pile.chance, nested.pile.clusters, learned=True),
        shares=tuple(_shares(asks, nested, kind)),
    )


def _shares(asks: Asks, nested: _Nested, kind: Kind) -> list[Share]:
    """By metric of the record: whole, and of each subset; intervals over clusters, as in the record."""
    subsets = list(dict.fromkeys(puzzle.subset for puzzle in nested.pile.puzzles))
    named = [subset for subset in subsets if subset]  # a plain file need not have any
    if asks == "answer" and kind == "questions":
        shares = [_share(nested, "micro", ""), _share(nested, "macro", "", subsets)]
        return shares + [_share(nested, "accuracy", subset) for subset in named]
    metrics = ("accuracy",) if asks == "answer" else _METRICS[asks]
    return [_share(nested, metric, "", subsets) for metric in metrics] + [
        _share(nested, metric, subset) for metric in metrics for subset in named
    ]


def _share(nested: _Nested, metric: str, subset: str, strata: Sequence[str] = ()) -> Share:
    """A share of all puzzles, of those of a subset, or the plain mean of the shares of several subsets."""
    pile = nested.pile
    names = np.array([puzzle.subset for puzzle in pile.puzzles])
    wanted = [names == stratum for stratum in strata] or [(names == subset) if subset else np.ones(len(pile), bool)]
    inside = np.any(wanted, axis=0)
    member = np.unique(pile.clusters[inside], return_inverse=True)[1]
    hits, totals = np.zeros((2, member.max() + 1, len(wanted)))
    for column, mask in enumerate(wanted):
        np.add.at(hits[:, column], member[mask[inside]], nested.hit[mask])
        np.add.at(totals[:, column], member[mask[inside]], 1)
    interval = cluster_intervals(hits, totals)[1]
    return Share(
        metric=metric,
        subset=subset,
        hits=int(nested.hit[inside].sum()),
        n=int(inside.sum()),
        value=interval.value,
        low=interval.low,
        high=interval.high,
        chance=float(np.mean([pile.chance[mask].mean() for mask in wanted])),
    )
