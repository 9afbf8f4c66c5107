"""Features of candidates: what they say of a candidate beside the others."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from minchange_eval.audit.features import beside_others
from minchange_eval.audit.puzzles import Pile, Puzzle


def pile_of(sizes: list[int]) -> Pile:
    return Pile("answer", [Puzzle(str(n), str(n), "", n, size, (0,)) for n, size in enumerate(sizes)])


@settings(deadline=None)  # the first example loads scipy
@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=6), min_size=1, max_size=8))
def test_a_rank_is_that_of_scipy_within_the_puzzle_from_0_to_1(puzzles: list[list[int]]) -> None:
    made = beside_others(pile_of(list(map(len, puzzles))), {"x": np.concatenate(puzzles).astype(float)})
    if "rank of x" in made.names:
        expected = np.concatenate([(rankdata(values) - 1) / (len(values) - 1) for values in puzzles])
        ranks = np.asarray(made.matrix)[:, made.names.index("rank of x")]
        assert np.allclose(ranks, expected, atol=1e-6)


def test_one_puzzle_with_thousands_of_candidates_costs_the_others_no_memory() -> None:
    sizes = [*[2] * 20_000, 5_000]
    made = beside_others(pile_of(sizes), {"x": np.arange(sum(sizes), dtype=float)})
    assert np.asarray(made.matrix).shape == (45_000, 3)
