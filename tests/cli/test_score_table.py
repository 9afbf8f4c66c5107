from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from minchange_eval.cli.score_table import print_record
from minchange_eval.core.answers import Answer
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import queries_of_set, query_of_question, query_of_statement
from minchange_eval.core.record import ModelDescription, RunRecord, TaskRecord, make_record

CHAT = ModelDescription(adapter="hf_multi_image", name="tiny", settings={"scoring": "letters"})


def questions(answers: Sequence[Answer], subset: str = "Counting", slices: tuple[str, ...] = ()) -> list[QueryOutcome]:
    images = (BytesImage("0", b"0"), BytesImage("1", b"1"))
    return [
        outcome_of(
            query_of_question(ChoiceQuestion(f"{subset}/{n}", subset, images, "?", ("a", "b"), (0,))),
            subset,
            answer,
            slices,
        )
        for n, answer in enumerate(answers)
    ]


def cyclic() -> list[QueryOutcome]:
    query = query_of_question(ChoiceQuestion("q", "Counting", (BytesImage("0", b"0"),), "?", ("a", "b"), (0,)))
    forms = [
        replace(query, query_id=f"{query.query_id}@c{n}", form=f"c{n}", order=order, answers=(n,))
        for n, order in enumerate(((0, 1), (1, 0)))
    ]
    return [outcome_of(form, "Counting", Answer(choice=0, text="A")) for form in forms]


def record(
    outcomes: dict[str, list[QueryOutcome]], model: ModelDescription = CHAT, kind: Any = "questions", **more: Any
) -> RunRecord:
    """A task for each name; what comes after the data set's name is its variant."""
    tasks = [
        TaskRecord(
            name=name, kind=kind, dataset="med", subsets=tuple({line.subset for line in lines}), fingerprint="f" * 64,
            items=len({line.item_id for line in lines}), items_in_full=len({line.item_id for line in lines}),
            variant=name.partition("_")[2], queries=len(lines), **more,
        )
        for name, lines in outcomes.items()
    ]  # fmt: skip
    return make_record(tasks, outcomes, model)


def printed(one: RunRecord, capsys: pytest.CaptureFixture[str]) -> str:
    print_record(one)
    return capsys.readouterr().out


A, B = Answer(choice=0, text="A"), Answer(choice=1, text="B")


def test_what_is_blind_stands_directly_beneath_what_sees(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {"med": [A, A], "med_blank": [A, B], "med_otherpair": [B, B], "med_raw": [A, A]}
    said = printed(record({name: questions(answers) for name, answers in lines.items()}), capsys)
    table = [line.split()[:3] for line in said.splitlines() if line.startswith("med") and " - " in line]
    assert table == [
        ["med", "macro", "100.0"],
        ["med_blank", "macro", "50.0"],
        ["med_otherpair", "macro", "0.0"],
        ["med", "micro", "100.0"],
        ["med_blank", "micro", "50.0"],
        ["med_otherpair", "micro", "0.0"],
        ["med_raw", "macro", "100.0"],
        ["med_raw", "micro", "100.0"],
    ]
    assert "med_blank: blank images in place of the item's own, what the model scores without looking" in said
    assert "med: " not in said  # nothing is odd about it


def rows(said: str) -> list[list[str]]:
    """Label, metric and value of each row of the table."""
    lines = said.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("task "))
    return [re.split(r" {2,}", line)[:3] for line in lines[head + 2 :]]


def test_what_is_blind_on_other_items_has_rows_of_its_own_and_a_line_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = {"med": questions([A, A]), "med_blank": questions([A, B, B])}
    said = printed(record(lines), capsys)
    assert [row[:2] for row in rows(said)] == [
        ["med", "macro"], ["med", "micro"], ["med_blank", "macro"], ["med_blank", "micro"]
    ]  # fmt: skip
    assert "med_blank: asked of other items than med, so its rows cannot be read beside those" in said.splitlines()
    fewer = printed(record({"med": questions([A, A]), "med_blank": questions([A])}), capsys)
    assert "med_blank: asked of other items than med" in fewer


def test_a_swapped_task_has_beneath_it_the_full_one_on_its_items_and_how_often_both_agree(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = questions([A, A, B, B])
    said_swapped = [A, B, B]  # the last item cannot be exchanged
    swapped = [
        line.model_copy(update={"query_id": f"{line.query_id}@swapped", "form": "swapped", "order": (0, 1)}).answered(
            choice=answer.choice, text=answer.text
        )
        for line, answer in zip(full, said_swapped, strict=False)
    ]
    said = printed(record({"med": full, "med_swapped": swapped}), capsys)
    assert rows(said) == [
        ["med", "macro", "50.0"],
        ["med", "micro", "50.0"],
        ["med_swapped", "macro", "33.3"],
        ["med_swapped", "micro", "33.3"],
        ["med (same items)", "macro", "66.7"],
        ["med (same items)", "micro", "66.7"],
        ["med, med_swapped", "consistency", "66.7"],
    ]
    other_words = record({"med": full, "med_swapped": swapped})
    tasks = [task.model_copy(update={"prompt_sha256": task.name}) for task in other_words.tasks]
    assert len(rows(printed(other_words.model_copy(update={"tasks": tuple(tasks)}), capsys))) == 4
    apart = printed(record({"med": full[1:], "med_swapped": swapped}), capsys)
    assert "med_swapped: asked of other items than med" in apart
    assert len(rows(apart)) == 4


@pytest.mark.parametrize(("left_out", "prepared"), [(7, 44), (0, 37)])
def test_items_that_are_left_out_are_prepared_all_the_same(
    left_out: int, prepared: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = questions([A] * 37)
    said = printed(record({"med_swapped": lines}, left_out=left_out, items_released=165), capsys)
    assert f"med_swapped: {prepared} of the 165 released items are prepared" in said.splitlines()
    assert ("7 items whose wording cannot be exchanged were left out" in said) == bool(left_out)
    all_there = printed(record({"med_swapped": lines}, left_out=left_out, items_released=37 + left_out), capsys)
    assert "are prepared" not in all_there


def test_scores_of_sets_say_what_is_counted_where_that_would_puzzle(capsys: pytest.CaptureFixture[str]) -> None:
    def pair(*answers: Answer) -> list[QueryOutcome]:
        item = CandidateSet("a", "s", (BytesImage("0", b"0"), BytesImage("1", b"1")), ("zero", "one"))
        return [outcome_of(query, "s", said) for query, said in zip(queries_of_set(item), answers, strict=True)]

    said = printed(record({"vismin": pair(A, Answer(text="?"), A, Answer(text="?"))}, kind="sets"), capsys)
    counted = "text_score, image_score, group_score, pair_mean: n counts sets, unscored and ties count their queries"
    assert counted in said.splitlines()
    assert "n counts sets" not in printed(record({"vismin": pair(A, A, A, A)}, kind="sets"), capsys)


def test_an_order_without_an_answer_is_counted_as_its_question(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*cyclic(), *(line.model_copy(update={"query_id": f"other{line.query_id}"}) for line in cyclic())]
    lines[0] = lines[0].answered(text="?")
    lines[1] = lines[1].answered(text="??")
    said = printed(record({"med_cyclic": lines}), capsys)
    assert (
        "med_cyclic: 1 of 2 queries are unscored in one order or more, misses; the reply names no answer, or several"
        in said.splitlines()
    )


def test_a_blind_task_without_its_full_one_has_rows_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(record({"med_blank": questions([A, B])}), capsys)
    assert [line.split()[1] for line in said.splitlines() if line.startswith("med_blank ")] == ["macro", "micro"]


def test_orders_have_their_consistency_and_a_bias_without_chance(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(record({"med_cyclic": cyclic()}, left_out=12, prompt_source="rebuilt"), capsys)
    rows = {line.split()[1]: line.split() for line in said.splitlines() if line.startswith("med_cyclic ")}
    assert rows["position_bias"][2:] == ["100.0", "0.0", "-", "100.0", "-", "2", "0", "0"]
    assert rows["consistency"][6] == "50.0"
    assert "med_cyclic: each question once in every cyclic order" in said
    assert "med_cyclic: 12 items whose wording cannot be exchanged were left out" in said
    assert "med_cyclic: prompt rebuilt from the parts of the paper's prompt" in said
    assert "position_bias: 0: all places chosen alike, 100: always the same one" in said


def test_settings_that_change_what_was_asked_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {
        "images": "none",
        "image_position": "first",
        "images_per_prompt": "one",
        "several_images": "side by side",
    }
    model = CHAT.model_copy(update={"settings": {**CHAT.settings, **settings}})
    said = printed(record({"med": questions([A])}, model), capsys)
    for line in (
        "scoring=letters: the log-probability of the candidates' labels decides",
        "images=none: no image was sent, what the model scores blind",
        "image_position=first: images before all words, wherever the prompt has them",
        "one image a prompt: several are stitched into one (side by side)",
    ):
        assert line in said.splitlines()


def test_unscored_queries_are_counted_with_their_most_frequent_reason(capsys: pytest.CaptureFixture[str]) -> None:
    long, silent = Answer(reason="the prompt has 5012 tokens,\nthe context 4096"), Answer(text="?")
    said = printed(record({"med": questions([A, long, silent, long])}), capsys)
    assert r"med: 3 of 4 queries are unscored, misses; 2 of them: the prompt has 5012 tokens,\nthe context" in said
    said = printed(record({"med": questions([A, silent])}), capsys)
    assert "med: 1 of 2 queries are unscored, misses; the reply names no answer, or several" in said
    said = printed(record({"med": questions([Answer(scores=(0.5, None), scored="labels")])}), capsys)
    assert "med: 1 of 1 queries are unscored, misses; a score is not finite" in said


def test_a_dual_encoder_on_two_images_is_marked_and_labels_of_a_chat_model_are_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = {scored: Answer(scores=(0.5, 0.1), scored=scored) for scored in ("pairs", "labels")}
    assert "a dual encoder on two images" in printed(record({"med": questions([scores["pairs"]])}), capsys)
    assert "a dual encoder on two images" not in printed(record({"med": questions([scores["labels"]])}), capsys)


def test_few_slices_are_shown_and_many_stay_in_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = []
    for n in range(30):
        item = ChoiceQuestion(f"s{n}", "t", (BytesImage("i", b"%d" % n),), "It is.", ("false", "true"), (n % 2,))
        slices = (f"group: {n % 7}", f"relation: {n}")
        outcomes.append(outcome_of(query_of_statement(item), "t", Answer(choice=1, text="True"), slices))
    said = printed(record({"vsr": outcomes}, kind="statements"), capsys)
    assert sum("vsr/group: " in line for line in said.splitlines()) == 7
    assert "relation: " not in said
    assert "vsr/t" not in said  # the one subset is the whole
    assert {row[1] for row in rows(said) if row[0].startswith("vsr/")} == {"accuracy"}
    answered = next(line for line in said.splitlines() if line.startswith("vsr ") and "answered" in line)
    assert answered.split()[6] == "-"
