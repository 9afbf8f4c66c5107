"""Tables of questions: every way to write them, and what is said of rows that are none."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.audit.plain_files import questions_of_file
from minchange_eval.core.errors import DataError, UsageError

ROW = {"question": "Which?", "options": ["a cat", "a dog", "a cow"], "answer": "B"}


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / "quiz.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def parquet(folder: Path, *rows: dict[str, Any]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "quiz.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.mark.parametrize("answer", ["B", "b", "(B)", "a dog", " a dog ", 1, "1"])
def test_an_answer_is_an_options_text_its_letter_or_its_place(tmp_path: Path, answer: Any) -> None:
    (question,) = questions_of_file(jsonl(tmp_path, {**ROW, "answer": answer}))
    assert question.answers == (1,)


def test_a_text_is_an_options_own_words_before_it_is_a_letter_or_a_number(tmp_path: Path) -> None:
    rows = [{**ROW, "options": ["B", "A"], "answer": "B"}, {**ROW, "options": ["3", "0"], "answer": "0"}]
    assert [question.answers for question in questions_of_file(jsonl(tmp_path, *rows))] == [(0,), (1,)]


def test_jsonl_csv_and_parquet_of_the_same_questions_are_read_alike(tmp_path: Path) -> None:
    apart = {"question": "Which?", "option_a": "a cat", "option_b": "a dog", "option_c": "a cow", "answer": "B"}
    listed = {**ROW, "options": json.dumps(ROW["options"])}
    letters = {"question": "Which?", "A": "a cat", "B": "a dog", "C": "a cow", "answer": "B"}
    read = [questions_of_file(path)[0] for path in (jsonl(tmp_path, ROW), parquet(tmp_path, ROW))] + [
        questions_of_file(table(tmp_path, row))[0] for row in (apart, listed, letters)
    ]
    assert {(one.question, one.options, one.answers) for one in read} == {("Which?", tuple(ROW["options"]), (1,))}


def test_json_and_tables_with_tabs_are_read_like_the_others(tmp_path: Path) -> None:
    (tmp_path / "quiz.json").write_text(json.dumps([ROW]))
    (tmp_path / "quiz.tsv").write_text("question\tA\tB\tanswer\nWhich?\ta cat\ta dog\tB\n")
    assert [questions_of_file(tmp_path / name)[0].answers for name in ("quiz.json", "quiz.tsv")] == [(1,), (1,)]


def test_parquet_may_hold_dates_pixels_and_whole_numbers_beside_missing_ones(tmp_path: Path) -> None:
    pixels = {"bytes": b"pixels", "path": None}
    made = datetime(2020, 1, 1, tzinfo=UTC)
    rows: list[dict[str, Any]] = [
        {**ROW, "answer": 1.0, "made": made, "image": pixels, "image_2": b"pixels"},
        {**ROW, "answer": 2.0, "made": made, "image": {"bytes": None, "path": "far.png"}, "image_2": None},
    ]
    first, second = questions_of_file(parquet(tmp_path, *rows))
    assert (first.answers, second.answers) == ((1,), (2,))
    assert [image.read() for image in first.images] == [b"pixels", b"pixels"]
    assert [image.name for image in second.images] == ["far.png"]


def test_rows_of_a_group_and_rows_that_share_an_image_are_one_cluster(tmp_path: Path) -> None:
    from minchange_eval.audit.shortcuts import piles_of

    rows = [
        {**ROW, "group": 0}, {**ROW, "group": 0}, {**ROW, "image": "one.png"}, {**ROW, "image_1": "one.png"}, ROW,
    ]  # fmt: skip
    pile = piles_of(questions_of_file(jsonl(tmp_path, *rows)), "quiz")["answer"]
    assert pile.clusters.tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**ROW, "answer": "D"}, "field 'answer'"),
        ({**ROW, "answer": 3}, "field 'answer': expected a place from 0 to 2, got 3"),
        ({**ROW, "answer": None}, "field 'answer'"),
        ({**ROW, "answer": True}, "field 'answer'"),
        ({**ROW, "options": ["only one"]}, "field 'options'"),
        ({**ROW, "options": ["a", " "]}, "field 'options'"),
        ({**ROW, "options": "no list"}, "field 'options': expected a JSON list"),
        ({"question": "Which?", "answer": "A"}, "field 'options'"),
        ({**ROW, "question": 7}, "field 'question'"),
        ({**ROW, "id": "1"}, "id '1' stands twice"),
        ({**ROW, "original": "first"}, "field 'original': expected a place from 0, got 'first'"),
        ({**ROW, "original": 0}, "field 'original': expected no place, for there are no images, got 0"),
        ({**ROW, "image_1": "a", "image_2": "b", "original": 2}, "expected a place from 0 to 1, got 2"),
        ({**ROW, "answer": 1.5}, "field 'answer'"),
        (["no row"], "expected an object"),
    ],
)
def test_a_row_that_is_no_question_is_named_by_its_number(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(DataError) as error:
        questions_of_file(jsonl(tmp_path, {**ROW, "id": 1}, row))
    assert "row 2: " in str(error.value)
    assert said in str(error.value)


def test_files_that_are_none_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        questions_of_file(tmp_path / "none.csv")
    (tmp_path / "quiz.txt").write_text("x")
    with pytest.raises(UsageError, match="expected a file of"):
        questions_of_file(tmp_path / "quiz.txt")
    for name, content, said in (
        ("empty.jsonl", b"", "got none"), ("broken.jsonl", b"{", "line 1"), ("latin.csv", b"question\n\xff", "UTF-8"),
        ("short.csv", b'question,answer\n"a"\n', "line 2"), ("broken.parquet", b"PAR1", "Parquet"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=said):
            questions_of_file(tmp_path / name)
