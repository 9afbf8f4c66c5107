"""Log-probabilities of labels, read from the likeliest tokens of a reply."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.model_adapters.reply_scores import NEVER, SPELLINGS, label_scores, tokens_of_words


def place(*top: tuple[str, float], own: tuple[str, float] | None = None) -> dict[str, Any]:
    token, value = own or top[0]
    listed = [{"token": token, "logprob": value} for token, value in top]
    return {"token": token, "logprob": value, "top_logprobs": listed}


def p(probability: float) -> float:
    return math.log(probability)


def scores(tokens: Any, labels: Any = "AB", prefix: str = "") -> list[float] | None:
    found = label_scores(tokens, labels, prefix)
    return None if found is None else np.exp(found.scores.astype(float)).round(4).tolist()


def test_all_spellings_of_a_label_are_summed() -> None:
    tokens = [place(("A", p(0.4)), (" B", p(0.2)), (" A", p(0.1)), ("(B", p(0.15)), ("B.", p(0.1)), ("a", p(0.05)))]
    assert scores(tokens) == [0.5, 0.45]


def test_words_are_labels_in_any_case_and_small_letters_are_articles() -> None:
    tokens = [place(("first", p(0.4)), ("Second", p(0.35)), (" FIRST", p(0.1)), ("The", p(0.15)))]
    assert scores(tokens, ("First", "Second")) == [0.5, 0.35]
    articles = [place((" a", p(0.3)), ("B", p(0.5)), ("A", p(0.2)), own=("B", p(0.5)))]
    assert scores(articles) == [0.2, 0.5]


def test_two_tokens_with_the_same_text_are_summed_and_the_replys_own_is_counted_once() -> None:
    assert scores([place(("A", p(0.3)), ("B", p(0.4)), ("A", p(0.25)), own=("B", p(0.4)))]) == [0.55, 0.4]
    assert scores([place(("A", p(0.3)), ("A", p(0.2)), own=("B", p(0.4)))]) == [0.5, 0.4]


def said(*texts: str) -> list[dict[str, Any]]:
    """A reply in these tokens; at each place A, B, First and Second are listed."""
    others = [("A", p(0.2)), ("B", p(0.15)), ("First", p(0.1)), ("Second", p(0.05))]
    return [place((text, p(0.5)), *others) for text in texts]


@pytest.mark.parametrize(
    "tokens",
    [
        said("A", " closer", " look", ".", " Answer", ":", " B"),
        said("First", ",", " let", " me", " look"),
        said("First", " the", " left"),
        said("<think>", "A", "</think>", "B"),
        said("b"),
        said("A", ",", " actually", " B"),
        said("A", " or", " B"),
        said("A:", " no"),
        said("The", " answer", " is", " B"),
    ],
)
def test_a_reply_that_does_not_say_a_whole_label_at_that_place_is_not_scored(tokens: Any) -> None:
    assert label_scores(tokens, "AB", "Answer:") is None
    assert label_scores(tokens, ("First", "Second"), "Answer:") is None


@pytest.mark.parametrize(
    "rest", [[], ["."], [")"], ["**"], ["\n", "because"], [" ", "\n"], [".", " The", " cat"], [") the", " dog"], ["▁"]]
)
def test_a_label_ends_at_the_end_at_a_mark_and_at_the_end_of_the_line(rest: list[str]) -> None:
    found = label_scores(said("Answer", ":", " B", *rest), "AB", "Answer:")
    assert found is not None
    assert found.said == 1


def test_the_tokens_of_the_words_are_told_from_thinking_before_and_marks_behind() -> None:
    def of(*tokens: str, text: str, words: str | None = None, ends: tuple[str, ...] = ()) -> list[str] | None:
        found = tokens_of_words([{"token": token} for token in tokens], text, text if words is None else words, ends)
        return None if found is None else [str(token["token"]) for token in found]

    assert of("Answer", ":", " B", text="Answer: B") == ["Answer", ":", " B"]
    assert of("\n", "▁Answer", ":", "B", "</s>", text=" Answer: B\n") == ["\n", "▁Answer", ":", "B"]
    assert of("B", "##", "#", text="B", ends=("\n", "###")) == ["B"]
    assert of("B", ";", "more", text="B;more", words="B") == ["B"]
    for thinking in (["So", ":", "A", "</think>", "B"], ["B", "oth", " differ", ".", "B"], ["A"], []):
        assert of(*thinking, text="B", ends=("\n",)) is None
    assert of("A", text="") is None
    assert tokens_of_words(None, "B", "B") is None
    assert tokens_of_words(["B"], "B", "B") is None


@pytest.mark.parametrize(
    "before",
    [[], ["Answer", ":"], ["answer:"], ["\n", "Answer", ": "], ["**", "Answer", ":**", " ("], ["▁Answer", ":", "▁"]],
)
def test_the_place_is_the_first_behind_prefix_blanks_and_marks(before: list[str]) -> None:
    tokens = [place((token, -0.01), ("A", p(0.001))) for token in before]
    tokens += [place(("B", p(0.7)), ("A", p(0.3))), place((".", 0.0), ("A", -9.0))]
    assert scores(tokens, prefix="Answer:") == [0.3, 0.7]


def test_a_label_that_begins_the_prefix_is_a_label_where_the_reply_has_no_prefix() -> None:
    assert scores([place(("A", p(0.7)), ("B", p(0.3)))], prefix="Answer:") == [0.7, 0.3]


def test_an_unlisted_label_gets_its_bound_where_that_is_below_the_best() -> None:
    found = label_scores([place(("A", p(0.6)), ("the", p(0.38)), ("x", p(0.001)))], "ABC", "")
    assert found is not None
    assert found.listed.tolist() == [True, False, False]
    # 0.019 is left over; eight spellings of at most 0.001 each are less
    assert np.exp(found.scores.astype(float)) == pytest.approx([0.6, 0.008, 0.008], rel=1e-4)
    rest = label_scores([place(("A", p(0.6)), ("the", p(0.38)))], "AB", "")
    assert rest is not None
    assert np.exp(rest.scores.astype(float)) == pytest.approx([0.6, 0.02], rel=1e-4)


@pytest.mark.parametrize(
    "tokens",
    [
        [place(("A", p(0.3)), ("the", p(0.25)))],  # 0.45 are left over: more than A has
        [place(("the", p(0.9)), ("a", p(0.1)))],  # none listed
        [place(("A", p(0.4)), ("(", p(0.5)), ("x", p(0.001)))],  # an opening bracket may begin a B
        [place(("A", p(0.6)), ("(", p(0.3)), ("B", p(0.31)))],  # or add to a B
        [place(("\n", p(0.9)), ("A", p(0.1)))],  # the reply ends before any label
        [],
        None,
        "tokens",
        [None, 3, {"token": 7}],
        [{"token": "A"}],
        [{"token": "A", "logprob": "high", "top_logprobs": {}}],
    ],
)
def test_what_does_not_decide_gives_no_scores(tokens: Any) -> None:
    assert label_scores(tokens, "AB", "") is None


def test_a_listed_beginning_of_a_label_keeps_it_from_being_called_unlikely() -> None:
    split = [place((" Fir", p(0.3)), ("Second", p(0.29)), ("z", p(0.00001)), ("the", p(0.40)))]
    assert label_scores(split, ("First", "Second"), "") is None
    listed = [place(("First", p(0.3)), ("Second", p(0.25)), ("Sec", p(0.2)))]
    assert label_scores(listed, ("First", "Second"), "") is None
    assert scores([place(("First", p(0.5)), ("Second", p(0.25)), ("Sec", p(0.2)))], ("First", "Second")) == [0.5, 0.25]
    unlikely = [place(("Second", p(0.9)), (" Fir", p(0.09)), ("z", p(0.00001)))]
    assert scores(unlikely, ("First", "Second")) == [0.0901, 0.9]


def test_a_server_that_reports_only_the_replys_own_token_decides_where_it_is_likely() -> None:
    assert scores([{"token": "B", "logprob": p(0.9)}]) == [0.1, 0.9]
    assert label_scores([{"token": "B", "logprob": p(0.4)}], "AB", "") is None


def test_never_is_a_finite_score() -> None:
    found = label_scores([place(("A", 0.0), ("B", -math.inf), ("C", NEVER))], "ABC", "")
    assert found is not None
    assert found.scores.tolist() == [0.0, NEVER, NEVER]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.5, 10**400, -(10**400)], ids=lambda v: str(v)[:5])
def test_numbers_that_are_no_log_probabilities_make_no_score(value: float) -> None:
    found = label_scores([place(("A", -0.1), ("B", value))], "AB", "")
    assert found is not None
    assert np.isnan(found.scores).all()


@settings(deadline=None)
@given(
    weights=st.lists(st.floats(1e-6, 1), min_size=3 * SPELLINGS + 5, max_size=3 * SPELLINGS + 5),
    top=st.integers(1, 3 * SPELLINGS + 5),
)
def test_a_label_that_is_not_listed_never_has_more_than_its_score_and_never_wins(
    weights: list[float], top: int
) -> None:
    marks = ["", " ", "(", "\n", "**", '"', "▁", "["]
    spellings = [mark + label for label in "ABC" for mark in marks] + ["the", "x", "No", "12", "D"]
    distribution = dict(zip(spellings, np.array(weights) / sum(weights), strict=True))
    listed = sorted(distribution.items(), key=lambda item: -item[1])[:top]
    found = label_scores([place(*[(token, math.log(value)) for token, value in listed])], "ABC", "")
    if found is None:
        return
    best = found.scores.argmax()
    assert found.listed[best]
    for number, label in enumerate("ABC"):
        true = math.log(sum(distribution[mark + label] for mark in marks))
        if found.listed[number]:
            assert found.scores[number] <= true + 1e-4
        else:
            assert true <= found.scores[number] + 1e-4
            assert found.scores[number] < found.scores[best]
