from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from minchange_eval.core.answers import Answer
from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.core.queries import Query
from minchange_eval.core.record import RunRecord
from minchange_eval.core.slim_records import slim
from minchange_eval.reports.answered import answers_in
from minchange_eval.reports.gallery import GalleryData, gallery
from minchange_eval.reports.gallery import _shared_out as shared_out
from tests.reports.pictured_runs import (
    by_scores,
    in_words,
    picture,
    questions,
    run,
    sets,
    statements,
    stored,
    three_runs,
)


@pytest.fixture(autouse=True)
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path))


def of(records: Sequence[RunRecord], limit: int = 24) -> GalleryData:
    labels = [record.model.name for record in records]
    found = gallery([answers_in(record) for record in records], labels, limit, records.__getitem__)
    assert found is not None
    return found


def right(query: Query) -> Answer:
    return Answer(scores=tuple(float(place in query.answers) for place in range(query.candidates)), scored="pairs")


def test_failures_come_first() -> None:
    shapes = stored("shapes", sets(30))
    shown = of([run("m", (shapes, "sets", by_scores(0.5, 4)))], 12).parts[0].items
    wrong = [sum(not chosen.right for chosen in item.answers[0].chosen) for item in shown]
    assert wrong == sorted(wrong, reverse=True)
    assert wrong[0] > 0


def test_every_subset_has_its_turn() -> None:
    shapes = stored("shapes", sets(60))
    shown = of([run("m", (shapes, "sets", by_scores(0.0, 4)))], 8).parts[0].items
    assert {item.subset for item in shown} == {"moved", "still"}


def test_what_all_got_right_has_a_place_too() -> None:
    shapes = stored("shapes", sets(60))
    shown = of([run("m", (shapes, "sets", by_scores(0.7, 4)))], 16).parts[0].items
    assert {item.outcomes for item in shown} >= {"R", "W"}


@pytest.mark.parametrize(
    ("limit", "wanted", "expected"),
    [
        (10, [100, 100], [5, 5]),
        (10, [2, 100], [2, 8]),
        (3, [5, 5, 5, 5], [1, 1, 1, 0]),
        (9, [0, 4], [0, 4]),
        (5, [], []),
    ],
)
def test_places_are_shared_out_evenly(limit: int, wanted: list[int], expected: list[int]) -> None:
    assert shared_out(limit, wanted) == expected


def test_the_limit_holds_for_the_page_as_a_whole(three: list[RunRecord]) -> None:
    assert of(three, 10).count == 10


def test_none_are_wanted_none_is_made() -> None:
    assert gallery([], [], 0, [].__getitem__) is None


def test_every_picture_on_the_page_has_small_data_that_decodes(three: list[RunRecord]) -> None:
    shown = of(three)
    data = json.loads(shown.pictures)
    wanted = {picture.key for part in shown.parts for item in part.items for picture in item.pictures}
    assert wanted == set(data)
    for uri in data.values():
        head, _, body = uri.partition(",")
        assert head == "data:image/jpeg;base64"
        assert max(Image.open(io.BytesIO(base64.b64decode(body))).size) <= 256


def test_two_pictures_have_a_map_of_where_they_differ_and_one_has_none(three: list[RunRecord]) -> None:
    parts = {part.title: part for part in of(three).parts}
    assert [picture.title for picture in parts["spots"].items[0].pictures] == [
        "image 1",
        "image 2",
        "where they differ",
    ]
    assert [picture.title for picture in parts["claims"].items[0].pictures] == ["image 1"]


def test_choices_are_named_as_released_whatever_the_order_shown() -> None:
    item = CandidateSet(
        "set/0",
        "a",
        tuple(BytesImage(f"{n}.png", picture(n, 10 * n)) for n in range(3)),
        ("one", "two", "three"),
        image_to_text=((2, 1, 0), (1, 2, 0), (0, 1, 2)),
        text_to_image=((2, 0, 1), (0, 1, 2), (1, 0, 2)),
    )
    (shown,) = of([run("m", (stored("shapes", iter([item])), "sets", right))]).parts[0].items
    assert [chosen.words for chosen in shown.answers[0].chosen] == ["1", "2", "3", "1", "2", "3"]
    for matrix in shown.answers[0].matrices:
        assert matrix.columns == ("1", "2", "3")
        for row, (_, cells) in enumerate(matrix.rows):
            assert [cell.truth for cell in cells] == [place == row for place in range(3)]
            assert [cell.words for cell in cells] == ["1" if place == row else "0" for place in range(3)]


def test_a_chat_model_has_its_reply_and_what_was_read() -> None:
    spots = stored("spots", questions(12))
    shown = of([run("m", (spots, "questions", in_words(0.5, 3)))]).parts[0].items
    said = {(item.answers[0].chosen[0].words, item.answers[0].replies[0][1]) for item in shown}
    assert ("A", "I choose number 0.") in said
    assert ("no answer: no letter", "I would rather not say.") in said
    assert not any(item.answers[0].matrices for item in shown)


def test_a_reply_of_ten_megabytes_is_cut() -> None:
    spots = stored("spots", questions(1))
    long = run("m", (spots, "questions", lambda query: Answer(choice=0, text="x" * 10_000_000)))
    (item,) = of([long]).parts[0].items
    assert len(item.answers[0].replies[0][1]) < 1000


def test_a_statement_is_shown_with_its_truth() -> None:
    claims = stored("claims", statements(2))
    shown = of([run("m", (claims, "statements", right))]).parts[0].items
    assert {item.answers[0].chosen[0].words for item in shown} == {"false", "true"}
    assert [("".join(words for _, words in runs), answer) for runs, answer in shown[0].texts] == [
        ("false", True),
        ("true", False),
    ]


def test_questions_in_several_orders_say_how_many_were_right() -> None:
    spots = stored("spots", questions(4))
    record = run("m", (spots, "questions", right), variant="cyclic")
    lines = [
        line.model_copy(update={"query_id": f"{line.query_id}@cyclic{by}", "form": f"cyclic{by}", "hit": by != 2})
        for line in record.outcomes["spots"]
        for by in range(4)
    ]
    task = record.tasks[0].model_copy(update={"queries": len(lines)})
    cyclic = record.model_copy(update={"tasks": (task,), "outcomes": {"spots": tuple(lines)}})
    part = of([cyclic]).parts[0]
    assert "cyclic" in part.note
    assert part.items[0].answers[0].chosen[0].words == "3 of 4 right"


def test_without_the_store_a_line_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, three: list[RunRecord]
) -> None:
    records = three
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "elsewhere"))
    for part in of(records).parts:
        assert part.items == ()
        assert f"minchange-eval prepare {part.title}" in part.note


def test_with_other_data_of_the_same_name_nothing_is_shown() -> None:
    records = three_runs()
    stored("spots", questions(3))
    part = next(part for part in of(records).parts if part.title == "spots")
    assert part.items == ()
    assert "fingerprint" in part.note


def test_a_bomb_in_the_store_is_refused_and_said(monkeypatch: pytest.MonkeyPatch, three: list[RunRecord]) -> None:
    records = three
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for part in of(records).parts:
        assert part.items == ()
        assert "refused as a bomb" in part.note


def test_runs_that_saw_other_pictures_are_not_shown() -> None:
    spots = stored("spots", questions(3))
    (part,) = of([run("m", (spots, "questions", right), variant="blank")]).parts
    assert (part.items, "other pictures" in part.note) == ((), True)


def test_a_slim_record_still_shows_what_was_chosen(three: list[RunRecord]) -> None:
    records = [slim(record) for record in three]
    shown = of(records)
    assert shown.count == 24
    assert all("Slim records hold no scores and replies: good-clip" in part.note for part in shown.parts)
    assert not any("Slim" in part.note for part in of(three).parts)
    assert not any(answer.replies for part in shown.parts for item in part.items for answer in item.answers)


def test_of_many_models_twelve_are_shown_and_the_others_counted() -> None:
    spots = stored("spots", questions(4))
    records = [run(f"m{number}", (spots, "questions", by_scores(0.5, number))) for number in range(20)]
    item = of(records).parts[0].items[0]
    assert len(item.answers) == 12
    assert sum(int(part.split()[0]) for part in item.left_out.split(", ")) == 8
    assert len(item.outcomes) == 20


def test_two_runs_of_one_name_are_told_apart() -> None:
    spots = stored("spots", questions(2))
    shown = of([run("m", (spots, "questions", by_scores(0.5, number))) for number in range(2)])
    assert shown.models == ("m", "m (2)")


@pytest.mark.parametrize(
    "lie",
    [
        {"candidates": 9, "answers": (8,), "choice": 8, "scores": None},
        {"order": (0, 0, 7, 1)},
        {"direction": "i2t"},
        {"choice": 99, "scores": None},
        {"scores": (1.0, 2.0)},
        {"query_id": "q/000/nothing"},
    ],
)
def test_a_record_that_lies_about_a_question_is_shown_as_not_asked(lie: dict[str, object]) -> None:
    record = run("m", (stored("spots", questions(1)), "questions", right))
    line = record.outcomes["spots"][0].model_copy(update=lie)
    (item,) = of([record.model_copy(update={"outcomes": {"spots": (line,)}})]).parts[0].items
    assert [chosen.words for chosen in item.answers[0].chosen] == ["not asked"]
