from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.core.answers import Answer
from minchange_eval.core.items import BytesImage, ChoiceQuestion
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import query_of_question
from minchange_eval.reports.answered import NOT_ASKED, answered, answers_in
from minchange_eval.reports.answered import _place as place
from tests.reports.made_records import questions as asked
from tests.reports.made_records import record, sets
from tests.reports.pictured_runs import by_scores, questions, run, stored


def outcome(answers: Sequence[int], answer: Answer) -> QueryOutcome:
    item = ChoiceQuestion("q", "all", (BytesImage("i", b"i"),), "Which?", ("a", "b", "c"), tuple(answers))
    return outcome_of(query_of_question(item), "all", answer)


SCORES = st.tuples(*[st.sampled_from([-2.0, -1.0, 0.0, 1.0, 1.00000001, None])] * 3)


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
    st.one_of(
        SCORES.map(lambda scores: Answer(scores=scores, scored="labels")),
        st.one_of(st.none(), st.integers(0, 2)).map(lambda choice: Answer(choice=choice, text="x")),
    ),
)
def test_the_place_from_verdicts_is_the_one_that_is_judged(answers: list[int], answer: Answer) -> None:
    line = outcome(answers, answer)
    assert place(line) == line.chosen


def test_an_item_is_as_right_as_its_worst_query() -> None:
    answers = answers_in(record(quiz=asked([True, False, None]), pairs=sets([True, False])))
    letters = {name: one.letter(name) for one in answers for name in one.item_ids}
    assert letters == {"q00000": "R", "q00001": "W", "q00002": "U", "s00000": "R", "s00001": "W"}
    assert answers[0].letter("nobody") == NOT_ASKED


def test_a_tie_is_told_from_a_wrong_answer() -> None:
    lines = asked([True])
    tied = lines[0].answered(scores=(1.0, 1.0, 0.0, 0.0), scored="labels")
    assert answers_in(record(quiz=[tied]))[0].letter("q00000") == "T"


def test_counts_are_those_of_the_lines() -> None:
    (answers,) = answers_in(record(pairs=sets([True, False, True])))
    assert (answers.right_of.tolist(), answers.asked_of.tolist()) == ([4, 0, 4], [4, 4, 4])


def test_runs_of_one_benchmark_stand_together_and_of_other_data_apart() -> None:
    one, other = (record(quiz=asked([True, False])) for _ in range(2))
    elsewhere = record(changes={"fingerprint": "e" * 64}, quiz=asked([True]))
    found = answered([answers_in(each) for each in (one, other, elsewhere)], ["a", "a", "b"])
    assert [of.models for of in found] == [["b"], ["a", "a (2)"]]


def test_a_partial_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path))
    whole = run("m", (stored("spots", questions(4)), "questions", by_scores(0.5, 1)))
    part = whole.model_copy(update={"tasks": (whole.tasks[0].model_copy(update={"items_in_full": 9}),)})
    (of,) = answered([answers_in(each) for each in (whole, part)], ["m", "m"])
    assert of.models == ["m", "m, partial run"]


def test_data_of_one_name_is_told_apart_by_fingerprint() -> None:
    lines = asked([True, False])
    runs = [record(changes={"fingerprint": sign * 64}, quiz=lines) for sign in ("a", "b")]
    assert [of.title for of in answered([answers_in(one) for one in runs], ["m", "n"])] == [
        "quiz [aaaaaaaa]",
        "quiz [bbbbbbbb]",
    ]
    assert [of.title for of in answered([answers_in(runs[0])], ["m"])] == ["quiz"]
