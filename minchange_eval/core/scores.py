"""From scores or choices to hits: the one judge for every benchmark and every family of models.

Rules: the highest score is the answer; a tie for first place between a right and a wrong candidate, or between any two
others, is a miss and counted; a query with a score that is missing or not finite, or with an unreadable reply, is
unscored: a miss for itself and its set, counted, never guessed. Scores are float32, as models give them.

`judge` holds these rules and nothing else does. A run's outcomes come through `verdict`, one query at a time; whoever
has a matrix of similarities, as audits, trainers and notebooks do, calls `candidate_set_scores`; `set_scores` is for
whoever has hits already.

Sources: SPEC, arXiv:2312.00081; VisMin, arXiv:2407.16772; Thrush et al. 2022, arXiv:2204.03162.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minchange_eval.core.answers import Answer

NEAR_TIE_MARGIN = 1e-5  # scores of one model agree to this between batch sizes, so a smaller margin may turn over


@dataclass(frozen=True)
class Verdict:
    """What one query came to.

    Attributes:
        hit: the answer is right.
        unscored: there is no answer that can be judged; then not a hit.
        tie: first place is shared and not all that share it are right; then not a hit.
        near_tie: no tie, but the best right and the best wrong candidate differ by less than `NEAR_TIE_MARGIN`.
        published_hit: right under SPEC's reading, argmax in the released order: the lowest position wins a tie.
    """

    hit: bool
    unscored: bool
    tie: bool
    near_tie: bool
    published_hit: bool


@dataclass(frozen=True)
class Verdicts:
    """What many queries came to: as `Verdict`, one boolean array of [queries] each."""

    hit: NDArray[np.bool_]
    unscored: NDArray[np.bool_]
    tie: NDArray[np.bool_]
    near_tie: NDArray[np.bool_]
    published_hit: NDArray[np.bool_]


def judge(scores: ArrayLike, right: ArrayLike) -> Verdicts:
    """Judge queries that have the same number of candidates.

    Args:
        scores: [queries, candidates], any monotone unit; compared as float32.
        right: [queries] position of the right candidate, or a mask of [queries, candidates] with one or more right.

    Raises:
        ValueError: wrong shapes, no queries, fewer than two candidates, a position out of range, none right.

    >>> judge([[0.9, 0.1], [0.5, 0.5], [0.5, float("nan")]], [0, 0, 0]).hit.tolist()
    [True, False, False]
    """
    with np.errstate(over="ignore"):  # a score beyond float32 is infinite there, and so unscored
        values = np.asarray(scores, dtype=np.float32)
    if values.ndim != 2 or values.shape[0] == 0 or values.shape[1] < 2:
        raise ValueError(f"expected scores of shape [queries, candidates], at least 1 x 2, got {values.shape}")
    mask = _right_mask(np.asarray(right), values.shape)
    unscored: NDArray[np.bool_] = np.logical_not(np.isfinite(values).all(axis=1))
    finite = np.where(unscored[:, None], np.float32(0), values)
    best_right = np.where(mask, finite, -np.inf).max(axis=1)
    best_wrong = np.where(mask, -np.inf, finite).max(axis=1)  # -inf where every candidate is right
    shared = (finite == finite.max(axis=1)[:, None]).sum(axis=1) > 1
    margin = np.abs(best_right.astype(np.float64) - best_wrong)
    tie = ~unscored & shared & (best_right <= best_wrong)
    first = mask[np.arange(len(values)), finite.argmax(axis=1)]
    return Verdicts(
        hit=~unscored & (best_right > best_wrong),
        unscored=unscored,
        tie=tie,
        near_tie=~unscored & ~tie & (margin < NEAR_TIE_MARGIN),
        published_hit=~unscored & first,
    )


def _right_mask(right: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if right.dtype == np.bool_ and right.shape == shape:
        if not right.any(axis=1).all():
            raise ValueError("expected at least one right candidate for each query, got a query with none")
        return np.asarray(right, dtype=np.bool_)
    if right.shape != shape[:1] or right.dtype.kind not in "iu":
        raise ValueError(f"expected right positions of shape {shape[:1]} or a mask of {shape}, got {right.shape}")
    positions = right.astype(np.intp)
    if positions.min() < 0 or positions.max() >= shape[1]:
        raise ValueError(f"expected right positions in 0..{shape[1] - 1}, got {positions.min()}..{positions.max()}")
    return np.asarray(np.arange(shape[1]) == positions[:, None], dtype=np.bool_)


def verdict(answer: Answer, answers: Sequence[int], candidates: int) -> Verdict:
    """Judge one query.

    Args:
        answer: what the model said; neither scores nor a choice is unscored.
        answers: the right positions, one or more.
        candidates: how many there are.

    Raises:
        ValueError: no right answer, a position out of range, or another number of scores than candidates.

    >>> verdict(Answer(choice=1), answers=(1,), candidates=2).hit
    True
    """
    if not answers or not set(answers) <= set(range(candidates)):
        raise ValueError(f"expected right positions in 0..{candidates - 1}, got {list(answers)}")
    right = [position in answers for position in range(candidates)]
    judged = judge([_scores_of(answer, candidates)], np.array([right]))
    return Verdict(**{name: bool(flags[0]) for name, flags in vars(judged).items()})


def first_place(answer: Answer, candidates: int) -> int | None:
    """The candidate that an answer puts first, right or wrong; None where first place is shared or it is unscored.

    Raises:
        ValueError: another number of scores than candidates, or a choice out of range.

    >>> [first_place(Answer(scores=scores), 2) for scores in ((0.1, 0.2), (0.2, 0.2), (0.1, None))]
    [1, None, None]
    """
    with np.errstate(over="ignore"):
        values = np.asarray(_scores_of(answer, candidates), dtype=np.float32)
    if not np.isfinite(values).all() or (values == values.max()).sum() > 1:
        return None
    return int(values.argmax())


def _scores_of(answer: Answer, candidates: int) -> Sequence[float]:
    """One score a candidate: a choice is 1 for the chosen one and 0 for the others, what is missing is NaN."""
    if answer.scores is not None:
        if len(answer.scores) != candidates:
            raise ValueError(f"expected {candidates} scores, one a candidate, got {len(answer.scores)}")
        return [math.nan if score is None else score for score in answer.scores]
    if answer.choice is None:
        return [math.nan] * candidates
    if not 0 <= answer.choice < candidates:
        raise ValueError(f"expected a choice in 0..{candidates - 1}, got {answer.choice}")
    return [float(position == answer.choice) for position in range(candidates)]


@dataclass(frozen=True)
class SetScores:
    """The five scores of candidate sets, fractions in [0, 1].

    Attributes:
        i2t_accuracy: over queries: the right caption is found for an image.
        t2i_accuracy: over queries: the right image is found for a caption.
        text_score: over sets: the right caption is found for each of the K images.
        image_score: over sets: the right image is found for each of the K captions.
        group_score: over sets: both.
    """

    i2t_accuracy: float
    t2i_accuracy: float
    text_score: float
    image_score: float
    group_score: float


def set_scores(image_to_text: ArrayLike, text_to_image: ArrayLike) -> SetScores:
    """Scores of candidate sets of one size from the hits of their queries.

    Args:
        image_to_text: [sets, K], true where the caption of image i was found.
        text_to_image: [sets, K], true where the image of caption i was found.

    Raises:
        ValueError: wrong or unequal shapes, or no sets.

    >>> set_scores([[True, True], [True, False]], [[True, True], [True, True]])
    SetScores(i2t_accuracy=0.75, t2i_accuracy=1.0, text_score=0.5, image_score=1.0, group_score=0.5)
    """
    i2t, t2i = np.asarray(image_to_text, dtype=np.bool_), np.asarray(text_to_image, dtype=np.bool_)
    if i2t.ndim != 2 or i2t.shape != t2i.shape or i2t.size == 0:
        raise ValueError(f"expected hits of shape [sets, K] twice, got {i2t.shape} and {t2i.shape}")
    text, image = i2t.all(axis=1), t2i.all(axis=1)
    return SetScores(*(float(hits.mean()) for hits in (i2t, t2i, text, image, text & image)))


def candidate_set_scores(similarity: ArrayLike) -> SetScores:
    """Scores of candidate sets of one size from a similarity for each image and caption.

    Args:
        similarity: [sets, image, caption]; caption i is true of image i; any monotone unit.

    Returns:
        Chance for continuous random scores: 1/K, 1/K, (1/K)^K, (1/K)^K, and for the group score 1/6 with K = 2
        (`core.chance`). A tie is a miss, so a constant scorer gets 0; a score that is not finite is a miss for the
        queries that see it, and for their set.

    Raises:
        ValueError: wrong shape or no sets.

    >>> candidate_set_scores([[[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.8], [0.7, 0.6]]])
    SetScores(i2t_accuracy=0.75, t2i_accuracy=0.75, text_score=0.5, image_score=0.5, group_score=0.5)
    """
    values = np.asarray(similarity, dtype=np.float32)
    if values.ndim != 3 or values.shape[1] != values.shape[2] or values.shape[1] < 2 or not len(values):
        raise ValueError(f"expected similarities of shape [sets, K, K] with K of at least 2, got {values.shape}")
    sets, k, _ = values.shape
    right = np.tile(np.arange(k), sets)
    i2t = judge(values.reshape(-1, k), right).hit
    t2i = judge(values.transpose(0, 2, 1).reshape(-1, k), right).hit
    return set_scores(i2t.reshape(sets, k), t2i.reshape(sets, k))
