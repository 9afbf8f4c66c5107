"""What guessing gets: by metric, number of candidates and kind of answer.

A dual encoder that knows nothing gives scores that are exchangeable and never tie; a chat model that knows nothing
answers each query on its own. Single queries cannot tell the two apart, the group score can: four scores in random
order place both diagonals first more often (1/6) than four coins fall right (1/16).
"""

from __future__ import annotations

import math
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
    if metric in ("text_score", "image_score"):
        return (1 / k) ** k
    if metric == "group_score":
        return math.factorial(k - 1) / math.factorial(2 * k - 1) if kind == "scores" else (1 / k) ** (2 * k)
    if metric == "pair_mean":
        return sum(chance(name, k, kind) for name in ("text_score", "image_score", "group_score")) / 3
    raise ValueError(f"expected a metric of candidate sets, got {metric!r}")


def query_chance(answers: int, candidates: int) -> float:
    """Expected hits of one query for a scorer or answerer that knows nothing: `answers` of `candidates` are right.

    Raises:
        ValueError: not 1 <= answers <= candidates.

    >>> query_chance(1, 4)
    0.25
    """
    if not 1 <= answers <= candidates:
        raise ValueError(f"expected 1..{candidates} right answers, got {answers}")
    return answers / candidates
