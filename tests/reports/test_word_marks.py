from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.reports.word_marks import marked, tokens


def marks(*texts: str) -> list[list[str]]:
    return [[words for mark, words in runs if mark] for runs in marked(texts)]


@given(st.text(max_size=40))
def test_tokens_are_the_text_again(text: str) -> None:
    assert "".join(tokens(text)) == text


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_runs_are_the_texts_again(texts: list[str]) -> None:
    assert ["".join(words for _, words in runs) for runs in marked(texts)] == texts


@given(st.text(max_size=30))
def test_equal_texts_have_no_marks(text: str) -> None:
    assert marks(text, text) == [[], []]


def test_the_word_that_differs_is_marked() -> None:
    assert marks("A car in the snow.", "A train in the snow.") == [["car"], ["train"]]


def test_neighbours_are_marked_as_one() -> None:
    assert marks("a very small red cat sat", "a dog sat") == [["very small red cat"], ["dog"]]


def test_an_added_word_is_marked_on_one_side_only() -> None:
    assert marks("a cat", "a black cat") == [[], ["black "]] or marks("a cat", "a black cat") == [[], ["black"]]


def test_of_many_captions_what_all_share_is_plain() -> None:
    assert marks("the cat is small", "the cat is large", "the cat is medium-sized") == [
        ["small"],
        ["large"],
        ["medium-sized"],
    ]


def test_letters_are_compared_where_words_have_no_blanks() -> None:
    assert marks("左边有一只猫。", "右边有一只猫。") == [["左"], ["右"]]
    assert marks("猫は左にいます", "猫は右にいます") == [["左"], ["右"]]
    assert marks("แมวอยู่ซ้าย", "แมวอยู่ขวา")[0] != []


def test_right_to_left_words_are_whole() -> None:
    assert marks("القطة على اليمين", "القطة على اليسار") == [["اليمين"], ["اليسار"]]


def test_marks_above_letters_stay_with_them() -> None:
    assert marks("cafe\u0301 noir", "the\u0301 noir") == [["cafe\u0301"], ["the\u0301"]]
    assert tokens("कमरे में") == ["कमरे", " ", "में"]


def test_another_case_is_no_change() -> None:
    assert marks("The cat sits", "the cat stands") == [["sits"], ["stands"]]
