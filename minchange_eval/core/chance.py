"""What guessing gets: by metric, number of candidates and kind of answer.

A dual encoder that knows nothing gives scores that are exchangeable and never tie; a chat model that knows nothing
answers each query on its own. Single queries cannot tell the two apart, the group score can: four scores in random
random order place both diagonals first more often (1/6) than four coins fall right (1/16). Where the answers of several
orders are votes, first place may be shared, which is a miss: coins then get less than 1/K.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Literal

AnswerKind = Literal["scores", "answers"]


def chance(metric: str, k: int, kind: AnswerKind) -> float:
    """Expected value of a set metric for a scorer that knows nothing, for sets of K images and K captions.

    The group score of exchangeable scores: all K^2 similarities are independent and continuous, and each true one
    d_1 < ... < d_K must exceed the others in its row and its column. A wrong one at (i, j) must lie below
    min(d_i, d_j), and the r-th smallest true one is that minimum for 2(K - r) of them; so with uniform scores

        P = K! * integral over u_1 < ... < u_K of prod_r u_r^(2(K - r)) du.

    Integrating from the inside, the exponents up to r sum to r(2K - r), so P = K! / prod_r r(2K - r)
    = 1 / prod_{r=1..K} (2K - r) = (K - 1)! / (2K - 1)!: 1/6, 1/60, 1/840 for K = 2, 3, 4. It holds where both
    directions read the same similarities. SPEC words the captions of its two directions differently, so there the
    true value lies between this and (1/K)^(2K).

    Args:
        metric: `i2t_accuracy`, `t2i_accuracy`, `text_score`, `image_score`, `group_score` or `pair_mean`.
        k: candidates of each query.
        kind: `scores` for one score per image and caption, `answers` for queries answered independently.

    Raises:
        ValueError: another metric or kind, or K below 2.

    >>> [round(1 / chance("group_score", 2, kind)) for kind in ("scores", "answers")]
    [6, 16]
    """
    if k < 2 or kind not in ("scores", "answers"):
        raise ValueError(f"expected K of at least 2 and scores or answers, got {k} and {kind!r}")
    if metric in ("i2t_accuracy", "t2i_accuracy"):
        return 1 / k
    together = math.factorial(k - 1) / math.factorial(2 * k - 1) if kind == "scores" else None
    return set_chance(metric, [1 / k] * k, [1 / k] * k, together)


def set_chance(
    metric: str, image_to_text: Sequence[float], text_to_image: Sequence[float], together: float | None = None
) -> float:
    """Expected value of a score of one candidate set from the chances of its queries, which are independent.

    Args:
        metric: `text_score`, `image_score`, `group_score` or `pair_mean`.
        image_to_text, text_to_image: the chance of each query of a direction.
        together: of the group score, where the two directions are not independent of each other.

    Raises:
        ValueError: another metric.
    """
    text, image = math.prod(image_to_text), math.prod(text_to_image)
    group = text * image if together is None else together
    scores = {"text_score": text, "image_score": image, "group_score": group, "pair_mean": (text + image + group) / 3}
    if metric not in scores:
        raise ValueError(f"expected a metric of candidate sets, got {metric!r}")
    return scores[metric]


@cache
def query_chance(answers: int, candidates: int, votes: int = 1) -> float:
    """Expected hits of one query for a scorer or answerer that knows nothing: `answers` of `candidates` are right.

    Several votes: each falls on any candidate alike, and a hit is a right candidate with more than every wrong one. Of
    the K^votes ways, those count in which the most that a right one has is m and every wrong one has fewer, for each m
    and each number of votes that fall on right ones. With one right candidate that is (1 - P(first place is shared))/K:
    1/4, 7/27, 49/256 for K = 2, 3, 4 with K votes.

    Raises:
        ValueError: not 1 <= answers <= candidates, or no votes.

    >>> query_chance(1, 4), query_chance(1, 4, votes=4)
    (0.25, 0.19140625)
    """
    if not 1 <= answers <= candidates or votes < 1:
        raise ValueError(f"expected 1..{candidates} right answers and 1 or more votes, got {answers} and {votes}")
    ways = sum(
        math.comb(votes, on_right)
        * (_ways(on_right, answers, most) - _ways(on_right, answers, most - 1))
        * _ways(votes - on_right, candidates - answers, most - 1)
        for most in range(1, votes + 1)
        for on_right in range(most, votes + 1)
    )
    return float(Fraction(ways, candidates**votes))


@cache
def _ways(votes: int, candidates: int, most: int) -> int:
    """In how many ways votes fall on candidates so that none has more than `most`."""
    if candidates == 0:
        return int(votes == 0)
    return sum(
        math.comb(votes, first) * _ways(votes - first, candidates - 1, most) for first in range(min(votes, most) + 1)
    )
