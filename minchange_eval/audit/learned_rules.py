"""Rules learned from other items: who has seen enough answers guesses the next one without looking.

Every fit sees no item that shares a cluster with what it is judged on. Method: the stress test and the bias score of
Brown et al. 2025, arXiv:2511.04655, where features are hand-written for each benchmark; here they are generic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minchange_eval.audit.features import (
    Features,
    looks_of_images,
    shape_of_texts,
    words_of_texts,
)
from minchange_eval.audit.image_looks import LOOKS
from minchange_eval.audit.puzzles import Floats, Pile
from minchange_eval.audit.text_rules import stray_blanks
from minchange_eval.data.audit_results import Sees

FOLDS = 5
_TREES = 60
_ROWS_A_TREE = 20_000  # of a larger pile each tree sees a sample, so that time grows with the pile and no faster
_ROUNDED = 9  # digits: sums over trees must not depend on their order

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LearnedRule:
    """A rule to be learned: `linear` is logistic regression, `forest` a random forest."""

    name: str
    sees: Sees
    says: str
    model: Literal["linear", "forest"]
    features: Callable[[Pile], Features]


@dataclass(frozen=True)
class Fitted:
    """Scores [candidates] of the judged ones, 0 elsewhere, and the weight of each feature."""

    scores: Floats
    weights: Floats


def learned_rules(pile: Pile, looks: Mapping[str, Sequence[float]] | None = None) -> tuple[LearnedRule, ...]:
    """Every learned rule that has something to read in these puzzles.

    Args:
        looks: what was measured of the images, where the candidates are images.
    """
    rules: list[LearnedRule] = []
    if pile.puzzles and pile.puzzles[0].texts:
        rules.append(LearnedRule("words", "text", "logistic regression on TF-IDF of words", "linear", words_of_texts))
        rules.append(
            LearnedRule("shape", "text", "random forest on generic features of the texts", "forest", shape_of_texts)
        )
        if any(stray_blanks(text) for puzzle in pile.puzzles for text in puzzle.released):
            as_released = partial(shape_of_texts, as_released=True)
            says = "random forest on the texts as released, with stray blanks"
            rules.append(LearnedRule("released_shape", "released text", says, "forest", as_released))
    if looks is not None and pile.puzzles and pile.puzzles[0].images:
        measured = partial(looks_of_images, looks=looks, names=LOOKS)
        says = "random forest on size, file, compression, sharpness and noise of the images"
        rules.append(LearnedRule("looks", "image", says, "forest", measured))
    return tuple(rules)


def folds_of(clusters: NDArray[np.intp], *, folds: int = FOLDS, seed: int = 0) -> NDArray[np.intp]:
    """[items] a fold for each, clusters whole: in random order each cluster goes to the fold that holds least.

    Fewer clusters than folds leave folds empty.
    """
    numbers, member, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    fold = np.zeros(len(numbers), dtype=np.intp)
    load = np.zeros(folds, dtype=np.intp)
    for cluster in np.random.Generator(np.random.PCG64(seed)).permutation(len(numbers)).tolist():
        fold[cluster] = load.argmin()
        load[fold[cluster]] += sizes[cluster]
    return fold[member]


def fit(rule: LearnedRule, features: Features, pile: Pile, train: Mask, judged: Mask, seed: int) -> Fitted:
    """Learn from the puzzles of one mask, score those of another; one thread, the same numbers every time.

    Scores are positive and sum to 1 over a puzzle; where there is nothing to learn from, all are alike.

    Args:
        train, judged: [puzzles].
    """
    rows, out = train[pile.owner], judged[pile.owner]
    scores = np.zeros(len(rows))
    matrix: Any = features.matrix
    if not out.any():
        return Fitted(scores, np.zeros(len(features.names)))
    right = pile.right[rows]
    if not rows.any() or right.all() or not right.any():
        scores[out] = 1.0
        return Fitted(np.where(out, pile.shares(scores), 0.0), np.zeros(len(features.names)))
    if rule.model == "linear":
        from sklearn.linear_model import LogisticRegression

        linear = LogisticRegression(solver="liblinear", max_iter=1000, random_state=seed).fit(matrix[rows], right)
        said = linear.decision_function(matrix[out])
        scores[out] = np.exp(np.clip(said, -30, 30).round(_ROUNDED))
        weights = linear.coef_[0]
    else:
        scores[out], weights = _forest(matrix[rows], right, matrix[out], seed)
    return Fitted(np.where(out, pile.shares(scores), 0.0), np.asarray(weights, dtype=np.float64))


def _forest(seen: Any, right: Mask, judged: Any, seed: int) -> tuple[Floats, Floats]:
    """Mean over trees of the share of right candidates in a leaf, and the mean importances.

    The trees of a random forest (Breiman 2001): rows drawn with replacement, at each split some of the columns. Not
    sklearn's own forest, whose threads change the warning filters of the whole process.
    """
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.Generator(np.random.PCG64(seed))
    said, weights = np.zeros(len(judged)), np.zeros(seen.shape[1])
    for _ in range(_TREES):
        drawn = rng.integers(len(seen), size=min(len(seen), _ROWS_A_TREE))
        tree = DecisionTreeRegressor(
            max_depth=10, min_samples_leaf=5, max_features="sqrt", random_state=int(rng.integers(2**31))
        )
        tree.fit(seen[drawn], right[drawn].astype(np.float64))  # of two classes, variance and impurity split alike
        said += tree.predict(judged)
        weights += tree.feature_importances_
    return (said / _TREES).round(_ROUNDED), weights / _TREES


@dataclass(frozen=True)
class OutOfFold:
    """A learned rule's scores where it may not have seen the answers.

    Attributes:
        features: names of its columns.
        scores: [candidates] each from the fit on the other folds; sums to 1 over a puzzle.
        without: (fold f, fold g), f < g -> [candidates] scores of both from the fit on neither; for nested choice.
        weights: [columns] mean over the folds.
    """

    features: tuple[str, ...]
    scores: Floats
    without: Mapping[tuple[int, int], Floats]
    weights: Floats


def out_of_fold(
    rules: Sequence[LearnedRule], pile: Pile, folds: NDArray[np.intp], *, nested: bool, seed: int = 0, n_jobs: int = 2
) -> dict[str, OutOfFold]:
    """Learn every rule once for each fold, and for a nested choice once for each pair of folds.

    Args:
        folds: [puzzles] from `folds_of`.
        n_jobs: fits at a time; each has one thread.
    """
    numbers = range(int(folds.max()) + 1)
    pairs = [(f, g) for f in numbers for g in numbers if f < g] if nested else []
    left_out = [(f, f) for f in numbers] + pairs
    made = {rule.name: rule.features(pile) for rule in rules}
    with ThreadPoolExecutor(n_jobs) as pool:
        jobs = {
            (rule.name, out): pool.submit(
                fit, rule, made[rule.name], pile, ~np.isin(folds, out), np.isin(folds, out), seed
            )
            for rule in rules
            for out in left_out
        }
        fits = {key: job.result() for key, job in jobs.items()}
    return {
        rule.name: OutOfFold(
            features=made[rule.name].names,
            scores=np.sum([fits[rule.name, (f, f)].scores for f in numbers], axis=0),
            without={pair: fits[rule.name, pair].scores for pair in pairs},
            weights=np.mean([fits[rule.name, (f, f)].weights for f in numbers], axis=0),
        )
        for rule in rules
    }
