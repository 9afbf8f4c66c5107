"""The forms in which one question is asked: several orders of its candidates are merged, several wordings compared.

A question asked in every cyclic order puts each candidate once in each place, so a liking for a place or a label gives
all candidates the same and cancels: a model that always says D has a tie, and a tie is a miss.

Sources: Zheng et al. 2024, arXiv:2309.03882 (every cyclic order, probabilities averaged, against a liking for a
label); MMBench, arXiv:2307.06281 (right only where all cyclic orders agree).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.statistics import LEVEL, RESAMPLES, Interval, cluster_intervals

Forms = tuple[QueryOutcome, ...]
Floats = NDArray[np.float64]


def forms_of(outcomes: Iterable[QueryOutcome]) -> dict[str, Forms]:
    """The outcomes of each question by its identity, sorted by both, so that the order given changes nothing."""
    grouped: dict[str, list[QueryOutcome]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.query_id):
        grouped.setdefault(outcome.base_id, []).append(outcome)
    return {base_id: tuple(grouped[base_id]) for base_id in sorted(grouped)}


def in_orders(outcomes: Iterable[QueryOutcome]) -> bool:
    """Whether these are questions asked in orders of their candidates, which are merged, or as released."""
    return any(outcome.order for outcome in outcomes)


def merged(outcomes: Iterable[QueryOutcome]) -> Forms:
    """One outcome a question from those in its orders, candidates as released, judged by the one judge.

    Scores of labels or options: the mean over orders of each order's probabilities (softmax over the candidates of
    its log-probabilities). Scores of pairs: their mean. Replies in words: a vote each, the scores are the shares of
    the votes, and `votes` says how many there were; so too where some orders were answered in words and some by labels,
    as a server that lists too few log-probabilities makes a reply be read in words. Sums are exact before they are
    rounded, so equal ones tie whatever the order. A question of which one order is unscored is unscored. Questions with
    no order set come back as they are.

    Raises:
        ValueError: the orders of a question differ in their candidates or right answers, or only some have scores of
            pairs.
    """
    return tuple(
        one for forms in forms_of(outcomes).values() for one in (_merged(forms) if in_orders(forms) else forms)
    )


def _merged(forms: Forms) -> Forms:
    first = forms[0]
    answers = {tuple(sorted(_released(form, position) for position in form.answers)) for form in forms}
    if len({form.candidates for form in forms}) > 1 or len(answers) > 1:
        raise ValueError(f"{first.base_id}: its orders differ in their candidates or right answers")
    base = first.model_copy(
        update={
            "query_id": first.base_id,
            "form": "",
            "order": (),
            "answers": answers.pop(),
            "images": tuple(dict.fromkeys(image for form in forms for image in form.images)),
        }
    )
    return (base.answered(truncated=max(form.truncated for form in forms), **_together(forms)),)


def _together(forms: Forms) -> dict[str, Any]:
    """The answer of all orders as arguments of `QueryOutcome.answered`."""
    if any(form.unscored for form in forms):
        in_words = any(form.text is not None for form in forms)  # the others' votes were asked for all the same
        reason = next((form.reason for form in forms if form.reason), None)
        return {"reason": reason, "votes": len(forms) if in_words else 0}
    kinds = {"words" if form.scores is None else form.scored or "pairs" for form in forms}
    if len(kinds) > 1 and "pairs" in kinds:
        raise ValueError(f"{forms[0].base_id}: its orders were answered in different ways, {', '.join(sorted(kinds))}")
    votes = kinds == {"words"} or len(kinds) > 1
    shown = [_vote(form) if votes else _weights(form) for form in forms]
    released = [
        [weights[_order(form).index(candidate)] for form, weights in zip(forms, shown, strict=True)]
        for candidate in range(forms[0].candidates)
    ]
    scores = tuple(math.fsum(weights) / len(forms) for weights in released)
    return {"scores": scores, "scored": None if votes else kinds.pop(), "votes": len(forms) if votes else 0}


def _vote(form: QueryOutcome) -> list[float]:
    return [float(position == form.chosen) for position in range(form.candidates)]


def _weights(form: QueryOutcome) -> list[float]:
    """What the scores of one order add to each candidate as shown."""
    scores = [score for score in form.scores or () if score is not None]
    if form.of_pairs:
        return scores
    parts = [math.exp(score - max(scores)) for score in scores]
    whole = math.fsum(parts)
    return [part / whole for part in parts]


def _order(form: QueryOutcome) -> tuple[int, ...]:
    order = form.order or tuple(range(form.candidates))
    if sorted(order) != list(range(form.candidates)):
        raise ValueError(f"{form.query_id}: expected an order of {form.candidates} candidates, got {list(order)}")
    return order


def _released(form: QueryOutcome, position: int) -> int:
    return _order(form)[position]


def consistent(forms: Sequence[QueryOutcome]) -> bool:
    """Whether all forms of a question have the same released candidate alone in first place.

    A tie or an answer that cannot be read is no agreement.
    """
    chosen = {None if form.chosen is None else _released(form, form.chosen) for form in forms}
    return len(chosen) == 1 and None not in chosen


def consistency_chance(forms: Sequence[QueryOutcome]) -> float:
    """How often answers drawn at random agree in all forms: (1/K)^(forms - 1)."""
    return (1 / forms[0].candidates) ** (len(forms) - 1)


def balanced(forms: Sequence[QueryOutcome]) -> bool:
    """Whether each candidate of a question stands in each place equally often over its forms, two or more.

    Then whoever chooses by content chooses each place equally often, and what is left is a liking for a place.
    """
    orders = np.array([_order(form) for form in forms])
    places = range(orders.shape[1])
    counts = [np.bincount(orders[:, place], minlength=len(places)) for place in places]
    return len(forms) > 1 and bool((np.array(counts) == len(forms) / len(places)).all())


def chosen_places(forms: Sequence[QueryOutcome]) -> Floats:
    """[places] how often each place, as shown, was chosen; ties and unread answers choose none."""
    places = [form.chosen for form in forms if form.chosen is not None]
    return np.bincount(np.array(places, dtype=np.intp), minlength=forms[0].candidates).astype(np.float64)


def position_bias(groups: Sequence[Floats], *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """How far the most chosen place is above its share: 0 when all are chosen alike, 1 when one always is.

    (highest share of a place - 1/K) / (1 - 1/K) over the choices among K places; over several groups (another K or
    direction) their mean weighted by choices. Read: the share of choices that one place alone would explain, were the
    rest even. Defined here, on the shares that Zheng et al. plot. A maximum is above 0 by chance, by about
    1/sqrt(choices); the interval's lower end knows that: it is 0 unless some place is above 1/K by more than noise,
    at a level shared among the K. The ends are those of the places' shares; over groups they add up as if the groups
    rose and fell together, which is too wide rather than too narrow.

    Args:
        groups: [clusters, K] each: how often each place was chosen.

    Returns:
        In [0, 1]; 0 between 0 and 1 where nothing was chosen.
    """
    chosen = [group[group.any(axis=1)] for group in groups if group.any()]
    if not chosen:
        return Interval(0.0, 0.0, 1.0)
    parts = [_group_bias(group, resamples, seed) for group in chosen]
    weights = [float(group.sum()) for group in chosen]
    value, low, high = (
        math.fsum(weight * end for weight, end in zip(weights, ends, strict=True)) / math.fsum(weights)
        for ends in zip(*parts, strict=True)
    )
    return Interval(value, low, high)


def _group_bias(choices: Floats, resamples: int, seed: int) -> tuple[float, float, float]:
    k = choices.shape[1]
    totals = choices.sum(axis=1)[:, None]
    share = float(choices.sum(axis=0).max() / choices.sum())
    ends = [0.0, 0.0]
    for end, level in enumerate((1 - 2 * (1 - LEVEL) / k, LEVEL)):
        for place in range(k):
            (apart,), _ = cluster_intervals(choices[:, [place]], totals, level=level, resamples=resamples, seed=seed)
            ends[end] = max(ends[end], (apart.low, apart.high)[end])
    value, low, high = (max(0.0, (one - 1 / k) / (1 - 1 / k)) for one in (share, *ends))
    return value, low, high
