from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from minchange_eval.cli.main import main

TABLE = """label,value,n,group
Idefics2 object,95.4,579,a
human object,95.50,579,b
MED scene,53.84,13,c
MED counting,55.56,18,c
SPEC count,25.1,4500,
mean of three,33.3,2+3+4,
"""


def grim(folder: Path, table: str | bytes, *flags: str) -> int:
    file = folder / "table.csv"
    file.write_bytes(table.encode() if isinstance(table, str) else table)
    return main(["grim", str(file), *flags])


def test_every_line_of_a_table_gets_its_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert grim(tmp_path, TABLE, "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in rows] == [
        *("not attainable", "attainable", "not attainable", "attainable", "no power", "attainable")
    ]
    assert (rows[1]["k"], rows[1]["roundings"]) == ([553], ["truncation"])
    assert [row["line"] for row in rows] == [2, 3, 4, 5, 6, 7]
    assert rows[5]["n"] == [2, 3, 4]


def test_the_text_says_how_many_and_the_csv_is_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert grim(tmp_path, TABLE) == 0
    assert capsys.readouterr().out.startswith("6 values: 3 attainable, 1 no power, 2 not attainable\n")
    assert grim(tmp_path, TABLE, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[3]["k"] == "10"
    assert rows[5]["n"] == "2+3+4"


@pytest.mark.parametrize("form", ["text", "csv", "json"])
def test_labels_cannot_move_the_terminals_cursor(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert grim(tmp_path, "value,n,label,group\n42.5,40,\x1b[2J\x9b31m,\x9b1m\n", "--format", form) == 0
    assert not set(capsys.readouterr().out) & {"\x1b", "\x9b"}


def test_without_a_group_a_value_stands_alone_and_may_be_truncated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grim(tmp_path, "value,n\n53.84,13\n55.56,18\n", "--format", "json") == 0
    assert [row["verdict"] for row in json.loads(capsys.readouterr().out)] == ["attainable", "attainable"]


def test_shares_of_one_and_lost_zeros_are_read_as_they_were_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grim(tmp_path, "value,n\n.7762,579\n", "--fractions", "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["decimals"], row["verdict"]) == (2, "not attainable")  # 449 and 450 are 77.55 and 77.72
    assert grim(tmp_path, "value,n,decimals\n55.1 %,294,2\n55.1,294,1\n", "--format", "json") == 0
    assert [row["decimals"] for row in json.loads(capsys.readouterr().out)] == [2, 1]


def test_a_table_from_a_spreadsheet_with_a_mark_and_quotes_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grim(tmp_path, b'\xef\xbb\xbf"value","n","label"\r\n"50.0","2","\xd8\xb3\xd8\xb7\xd8\xb1, one"\r\n') == 0
    assert "سطر, one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "line 1: expected a header with the columns value, n"),
        ("model,score\na,1\n", "line 1: expected a header with the columns value, n"),
        ("value,n,n\n1,2,3\n", "line 1: expected each column once, got n twice"),
        ("value,n\n", "expected lines below the header, got none"),
        ("value,n\n50,10\nabc,10\n", "line 3: expected a number as value, got 'abc'"),
        ("value,n\nnan,10\n", "line 2: expected a number as value, got 'nan'"),
        ("value,n\n1e1,10\n", "line 2: expected a number as value, got '1e1'"),
        ("value,n\n101,10\n", "line 2: expected a percentage from 0 to 100 as value, got 101"),
        ("value,n\n-3,10\n", "line 2: expected a percentage from 0 to 100 as value, got -3"),
        ("value,n\n50,0\n", "line 2: expected a whole number from 1 to"),
        ("value,n\n50,12.5\n", "line 2: expected a whole number from 1 to"),
        ("value,n\n50,10+\n", "line 2: expected a whole number from 1 to"),
        (f"value,n\n50,{'9' * 5000}\n", "line 2: expected a whole number from 1 to"),
        (f"value,n\n50.{'1' * 400},10\n", "line 2: expected at most 12 decimals"),
        ("value,n,decimals\n50.12,10,1\n", "line 2: expected a value of 1 decimals"),
        ("value,n,decimals\n50.1,10,99\n", "line 2: expected a whole number from 0 to 12 as decimals"),
        ("value,n\n50\n", "line 2: expected 2 fields, as in the header"),
        ("value,n\n1,234,10\n", "line 2: expected 2 fields, as in the header"),
        ('value,n\n"50,10\n', "not CSV"),
        (b"value,n\n\xff\xfe,10\n", "expected CSV in UTF-8"),
        ("value,n\n\x1b[2J,10\n", r"line 2: expected a number as value"),
    ],
)
def test_a_wrong_line_is_named_in_one_line_with_exit_code_5(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str | bytes, said: str
) -> None:
    assert grim(tmp_path, table) == 5
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert said in printed.err
    assert len(printed.err) < 500


def test_a_file_that_is_not_there_or_a_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        assert main(["grim", str(path)]) == 5
        assert "cannot be read" in capsys.readouterr().err


def test_a_field_of_ten_megabytes_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert grim(tmp_path, f"label,value,n\n{'x' * 10_000_000},50,10\n") == 5
    assert "near line 1: not CSV (field larger than field limit" in capsys.readouterr().err
