from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.core.answers import Answer
from minchange_eval.core.errors import ExitCode
from minchange_eval.core.items import BytesImage, ChoiceQuestion
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import query_of_question
from minchange_eval.core.record import ModelDescription, TaskRecord, make_record
from minchange_eval.tasks.run_recorder import FinishedRun, answered_with

WORDS, UNREAD, FAILED = Answer(choice=0, text="A"), Answer(text="?"), Answer(reason="the server answered 500")
PAIRS, LABELS, OPTIONS = (Answer(scores=(0.5, 0.1), scored=scored) for scored in ("pairs", "labels", "options"))
NAN = Answer(scores=(0.5, None), scored="labels")


def outcomes_of(*answers: Answer) -> list[QueryOutcome]:
    return [
        outcome_of(
            query_of_question(ChoiceQuestion(f"q{n}", "t", (BytesImage("i", b"%d" % n),), "?", ("a", "b"), (0,))),
            "t",
            answer,
        )
        for n, answer in enumerate(answers)
    ]


def model(scoring: str | None = None) -> ModelDescription:
    return ModelDescription(adapter="a", name="n", settings={"scoring": scoring} if scoring else {})


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([WORDS] * 19 + [UNREAD], ExitCode.OK),  # 5 %, the most there may be
        ([WORDS] * 18 + [UNREAD] * 2, ExitCode.INCOMPLETE),
        ([LABELS] * 18 + [FAILED] * 2, ExitCode.INCOMPLETE),
        ([WORDS] * 18 + [UNREAD, FAILED], ExitCode.INCOMPLETE),
        ([LABELS] * 19 + [FAILED], ExitCode.OK),
        ([LABELS] * 99 + [NAN], ExitCode.INCOMPLETE),  # one score that is not finite is one too many
        ([PAIRS] * 20, ExitCode.OK),
    ],
)
def test_a_run_with_too_much_unscored_or_a_broken_score_is_incomplete(answers: list[Answer], code: ExitCode) -> None:
    outcomes = outcomes_of(*answers)
    task = TaskRecord(
        name="t", kind="questions", dataset="d", subsets=("t",), fingerprint="f", items=len(outcomes),
        items_in_full=len(outcomes), queries=len(outcomes),
    )  # fmt: skip
    record = make_record([task], {"t": outcomes}, model())
    assert FinishedRun(record, Path("r")).exit_code is code


def in_orders(question: QueryOutcome, replies: list[int | None]) -> list[QueryOutcome]:
    """The question in both orders of its two candidates; None is a reply that cannot be read."""
    forms = [
        {"query_id": f"{question.query_id}@c{n}", "form": f"c{n}", "order": (n, 1 - n), "answers": (n,)} for n in (0, 1)
    ]
    return [
        question.model_copy(update=form).answered(choice=reply, text="?")
        for form, reply in zip(forms, replies, strict=True)
    ]


@pytest.mark.parametrize(("broken", "code"), [(1, ExitCode.OK), (2, ExitCode.INCOMPLETE)])
def test_a_question_that_lacks_one_of_its_orders_counts_whole_against_the_limit(broken: int, code: ExitCode) -> None:
    # of 40 answers in two orders 2 are unread, 5 %; of the 20 questions that the metrics read they are 10 %
    replies: list[list[int | None]] = [[0, 1]] * (20 - broken) + [[0, None]] * broken
    outcomes = [
        line
        for question, said in zip(outcomes_of(*[WORDS] * 20), replies, strict=True)
        for line in in_orders(question, said)
    ]
    task = TaskRecord(
        name="t", kind="questions", dataset="d", subsets=("t",), fingerprint="f", items=20, items_in_full=20, queries=40
    )
    assert FinishedRun(make_record([task], {"t": outcomes}, model()), Path("r")).exit_code is code


@pytest.mark.parametrize(
    ("answers", "scoring", "kind"),
    [
        ([WORDS, FAILED], None, "words"),
        ([UNREAD], "generate", "words"),
        ([FAILED], "generate", "words"),
        ([FAILED], "letters", "labels"),
        ([FAILED], None, "pairs"),
        ([LABELS, FAILED], "letters", "labels"),
        ([WORDS, LABELS], "letters", "words"),
        ([OPTIONS], "options", "options"),
        ([PAIRS], "options", "pairs"),
        ([PAIRS], None, "pairs"),
    ],
)
def test_a_task_is_of_the_kind_of_its_answers_and_without_any_of_the_kind_that_was_asked_for(
    answers: list[Answer], scoring: str | None, kind: str
) -> None:
    assert answered_with(outcomes_of(*answers), model(scoring)) == kind
