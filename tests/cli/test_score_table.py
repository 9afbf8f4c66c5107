from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from minchange_eval.cli.score_table import print_record
from minchange_eval.core.answers import Answer
from minchange_eval.core.items import BytesImage, ChoiceQuestion
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import query_of_question, query_of_statement
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
        "scoring=letters: the log-probability of the candidates' labels, nothing was generated",
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
    answered = next(line for line in said.splitlines() if line.startswith("vsr ") and "answered" in line)
    assert answered.split()[6] == "-"
