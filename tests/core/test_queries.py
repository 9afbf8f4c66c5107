"""The typed queries of items."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.queries import queries_of_set, query_of_question, query_of_statement

IMAGES = tuple(BytesImage(f"{i}.png", bytes([i])) for i in range(3))
SET = CandidateSet("s", "x", IMAGES, ("a", "b", "c"), image_to_text=((2, 0, 1), (0, 1, 2), (1, 2, 0)))


def question(*options: str, answers: tuple[int, ...] = (0,)) -> ChoiceQuestion:
    return ChoiceQuestion("q", "x", IMAGES[:2], "?", options, answers, {"secret": "true"})


def test_a_set_has_a_query_for_each_image_and_each_caption_in_the_released_order() -> None:
    queries = queries_of_set(SET)
    assert [query.query_id for query in queries] == [f"s/{way}/{i}" for way in ("i2t", "t2i") for i in range(3)]
    assert [query.texts for query in queries[:3]] == [("c", "a", "b"), ("a", "b", "c"), ("b", "c", "a")]
    assert [query.answers for query in queries] == [(1,), (1,), (1,), (0,), (1,), (2,)]


def test_released_questions_go_to_their_queries_and_the_others_have_none() -> None:
    assert [query.question for query in queries_of_set(SET, ["one", "", "three"])] == ["one", "", "three", "", "", ""]


def test_options_lose_letters_and_blanks_and_of_equal_ones_the_first_stays() -> None:
    query = query_of_question(question("A. red  ", "B. blue", "C.red", "D. green", answers=(2,)))
    assert (query.texts, query.answers) == (("red", "blue", "green"), (0,))


def test_as_released_nothing_is_stripped_or_left_out() -> None:
    item = question("A. red  ", "B. blue", "C.red", answers=(2,))
    query = query_of_question(item, as_released=True)
    assert (query.texts, query.answers) == (item.options, (2,))


@given(st.lists(st.sampled_from(["red", "blue ", " green", "A. red", "(B) blue"]), min_size=2, max_size=6), st.data())
def test_a_right_option_stays_right(options: list[str], data: st.DataObject) -> None:
    answer = data.draw(st.integers(0, len(options) - 1))
    query = query_of_question(question(*options, answers=(answer,)))
    assert len(set(query.texts)) == len(query.texts)
    assert [query.texts[place] for place in query.answers] == [
        query_of_question(question(options[answer], "x")).texts[0]
    ]


@pytest.mark.parametrize("label", [0, 1])
def test_a_statement_has_the_candidates_false_and_true_and_the_fields_that_are_given(label: int) -> None:
    query = query_of_statement(question("false", "true", answers=(label,)), {"subject": "cat"})
    assert (query.query_id, query.texts, query.answers) == ("q/statement", ("false", "true"), (label,))
    assert query.fields == (("subject", "cat"),)  # facts of the release never reach a prompt by themselves
