from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.tasks.aggregation import mean_of_subsets_share, share

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.just(3)), min_size=1, max_size=20)


def test_the_whole_of_several_subsets_is_the_plain_mean_of_their_shares() -> None:
    assert mean_of_subsets_share([("a", 1, 2), ("a", 2, 2), ("b", 0, 4)]) == (3 / 4 + 0) / 2


def test_an_item_without_tries_and_a_subset_of_such_items_add_nothing() -> None:
    assert mean_of_subsets_share([("a", 1, 2), ("a", 0, 0), ("b", 0, 0)]) == 0.5
    assert math.isnan(mean_of_subsets_share([("a", 0, 0)]))


@given(ROWS)
def test_the_mean_equals_the_shares_of_the_subsets_taken_apart(rows: list[tuple[str, int, int]]) -> None:
    subsets = sorted({subset for subset, _, _ in rows})
    apart = [share([(hits, tries) for subset, hits, tries in rows if subset == one]) for one in subsets]
    assert mean_of_subsets_share(rows) == pytest.approx(sum(apart) / len(apart))
