"""Which rows share which beginnings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.model_adapters.multi_image.prefix_tree import Beginning, shared_beginnings

IMAGE = 30  # places that an image takes here


def row(*parts: int | str) -> tuple[list[int], list[tuple[int, int]]]:
    """Words as their tokens, images (`a`, `b`, …) as numbers of their own, and where the images stand."""
    content: list[int] = []
    spans = []
    for part in parts:
        if isinstance(part, str):
            spans.append((len(content), len(content) + IMAGE))
            content += [-1 - 1000 * (ord(part) - 97) - place for place in range(IMAGE)]
        else:
            content.append(part)
    return content, spans


def shared(rows: Sequence[tuple[list[int], list[tuple[int, int]]]]) -> tuple[tuple[Beginning, ...], tuple[int, ...]]:
    content = [np.array(tokens) for tokens, _ in rows]
    return shared_beginnings(content, [len(tokens) - 1 for tokens in content], [spans for _, spans in rows])


def test_four_questions_about_two_images_share_the_first_image_and_then_both() -> None:
    rows = [row(1, "a", 2, 3), row(1, "b", 2, 3), row(1, "a", "b", 4, 5), row(1, "a", "b", 6, 7)]
    (first,), alone = shared(rows)
    assert (first.start, first.stop, first.rows, first.leaves, alone) == (0, 31, (0, 2, 3), (0,), (1,))
    (second,) = first.branches
    assert (second.start, second.stop, second.leaves, second.branches) == (31, 61, (2, 3), ())


def test_another_image_or_another_order_shares_nothing() -> None:
    assert shared([row("a", 1, 2), row("b", 1, 2)]) == ((), (0, 1))
    assert shared([row("a", "b", 1, 2), row("b", "a", 1, 2)]) == ((), (0, 1))


def test_a_few_words_are_not_worth_a_forward_and_many_are() -> None:
    few, many = list(range(1, 20)), list(range(1, 80))
    assert shared([row(*few, 1000, 1), row(*few, 1001, 1)]) == ((), (0, 1))
    (beginning,), alone = shared([row(*many, 1000, 1), row(*many, 1001, 1)])
    assert (beginning.stop, alone) == (79, ())


def test_the_last_token_of_a_row_is_never_shared() -> None:
    (beginning,), _ = shared([row("a", 1), row("a", 1, 2), row("a", 1)])
    assert beginning.stop == IMAGE
    assert beginning.leaves == (0, 1, 2)


PARTS = st.lists(st.one_of(st.integers(1, 3), st.sampled_from("ab")), min_size=1, max_size=6)


@given(st.lists(PARTS, min_size=1, max_size=7))
def test_every_row_is_computed_whole_and_only_what_is_equal_is_shared(turns: list[list[int | str]]) -> None:
    rows = [row(*turn, 9) for turn in turns]
    beginnings, alone = shared(rows)
    seen = list(alone)

    def walk(beginning: Beginning, start: int) -> None:
        assert beginning.start == start < beginning.stop
        (one,) = {tuple(rows[member][0][: beginning.stop]) for member in beginning.rows}
        assert all(len(one) < len(rows[member][0]) for member in beginning.rows)
        assert all(end <= beginning.stop or first >= beginning.stop for first, end in rows[beginning.rows[0]][1])
        seen.extend(beginning.leaves)
        for deeper in beginning.branches:
            assert set(deeper.rows) <= set(beginning.rows)
            walk(deeper, beginning.stop)

    for beginning in beginnings:
        walk(beginning, 0)
    assert sorted(seen) == list(range(len(rows)))
