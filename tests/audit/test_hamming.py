from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.audit import hamming
from minchange_eval.audit.hamming import MOST_BITS, HashIndex, distances


def brute_force(first: list[int], second: list[int], radius: int) -> list[tuple[int, int, int]]:
    apart = [(i, j, (a ^ b).bit_count()) for i, a in enumerate(first) for j, b in enumerate(second)]
    return [pair for pair in apart if pair[2] <= radius]


def found(first: list[int], second: list[int], radius: int) -> list[tuple[int, int, int]]:
    index = HashIndex(np.array(second, dtype=np.uint64))
    return list(zip(*(part.tolist() for part in index.within(np.array(first, np.uint64), radius)), strict=True))


HASH = st.integers(0, 2**64 - 1)


@st.composite
def crowded(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Hashes that are a few flips away from a few centres, so that many pairs lie just inside and outside."""
    centres = draw(st.lists(HASH, min_size=1, max_size=3))
    near = st.builds(
        lambda centre, flips: centre ^ sum(1 << flip for flip in flips),
        st.sampled_from(centres),
        st.sets(st.integers(0, 63), max_size=14),
    )
    return draw(st.lists(near, max_size=30)), draw(st.lists(near, max_size=30))


@settings(max_examples=50, deadline=None)
@given(hashes=crowded(), radius=st.integers(0, MOST_BITS))
def test_the_index_finds_exactly_what_comparing_all_pairs_finds(
    hashes: tuple[list[int], list[int]], radius: int
) -> None:
    assert found(*hashes, radius) == brute_force(*hashes, radius)


@given(st.lists(HASH, max_size=20), st.lists(HASH, max_size=20))
@settings(max_examples=50, deadline=None)
def test_distances_are_counts_of_differing_bits(first: list[int], second: list[int]) -> None:
    table = distances(np.array(first, np.uint64)[:, None], np.array(second, np.uint64)[None])
    assert table.tolist() == [[(a ^ b).bit_count() for b in second] for a in first]


def test_many_candidates_are_checked_in_stretches_without_losing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 2**20, 200).tolist() for _ in range(2))  # most bands are equal
    expected = brute_force(first, second, 6)
    monkeypatch.setattr(hamming, "_CANDIDATES", 50)
    assert found(first, second, 6) == expected


@pytest.mark.parametrize("radius", [-1, MOST_BITS + 1])
def test_a_radius_out_of_range_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 16 bits"):
        found([1], [1], radius)
