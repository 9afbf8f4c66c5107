from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from minchange_eval.core.record import ModelDescription
from minchange_eval.reports.leaderboard import Report, leaderboards
from minchange_eval.reports.run_results import results_in
from minchange_eval.reports.tables import as_csv, as_json, as_latex, as_markdown
from tests.reports.made_records import questions, record

HOSTILE = "=1+1|a_b<script>&%$#{}~^\\`\u202e\nnew"


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))


def report(name: str = "clip") -> Report:
    made = record(
        model=ModelDescription(adapter="open_clip", name=name), quiz=questions([True, False, None] * 10, ("x", "ي"))
    )
    runs = [results_in(made, Path("r.jsonl"))]
    return Report(leaderboards(runs), "ours", len(runs))


def test_markdown_has_every_number_of_the_headline() -> None:
    text = as_markdown(report())
    (line,) = [line for line in text.splitlines() if line.startswith("| clip ")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2].startswith("33.3 (")
    assert "10 unscored" in cells[2]
    assert cells[-3:] == ["30", "10", "0"]
    assert "| x | ي |" in text


@pytest.mark.parametrize("name", [HOSTILE, "מודל", "a" * 5000])
def test_names_break_no_table(name: str) -> None:
    text = as_markdown(report(name))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len([c for i, c in enumerate(line) if c == "|" and line[i - 1 : i] != "\\"]) for line in table}) == 1
    latex = as_latex(report(name))
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in rows}) == 1
    (held,) = {line["model"] for line in csv.DictReader(io.StringIO(as_csv(report(name)))) if line["role"] == "model"}
    assert not held.startswith(("=", "+", "-", "@"))


def test_csv_and_json_hold_every_metric_and_slice() -> None:
    made = report()
    (board,) = made.boards
    wanted = {(row.label, metric, subset) for row in board.rows for metric, subset in row.cells}
    lines = list(csv.DictReader(io.StringIO(as_csv(made))))
    assert {(line["model"], line["metric"], line["subset"]) for line in lines} == wanted
    (held,) = json.loads(as_json(made))["benchmarks"]
    assert {
        (row["label"], value["metric"], value["subset"]) for row in held["rows"] for value in row["values"]
    } == wanted


def test_a_lone_surrogate_reaches_no_file() -> None:
    made = report("a\ud800b")
    for text in (as_markdown(made), as_latex(made), as_csv(made), as_json(made)):
        text.encode("utf-8")


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "＝1+1", "\t@SUM(A1)", "clip; =1+1", "clip;-1", "\r\n+1"])
def test_no_cell_of_a_csv_file_is_a_formula_wherever_a_spreadsheet_parts_cells(name: str) -> None:
    for line in as_csv(report(name)).splitlines():
        for cell in (cell for row in csv.reader([line]) for part in row for cell in part.split(";")):
            assert not cell.strip().startswith(tuple("=+-@＝＋－＠"))


def test_a_name_is_no_argument_of_the_end_of_a_line_of_latex() -> None:
    for name in ("[1in] clip", "* clip"):
        lines = as_latex(report(name)).splitlines()
        assert any("clip" in line for line in lines if not line.startswith("%"))
        assert not any(line.startswith(("[", "*")) for line in lines)


def test_numbers_of_the_published_reading_say_so_in_csv_and_json() -> None:
    published = replace(report(), reading="published")
    assert {line["protocol"] for line in csv.DictReader(io.StringIO(as_csv(published)))} == {"published"}
    assert json.loads(as_json(published))["protocol"] == "published"


def test_every_value_has_its_chance_beside_it() -> None:
    made = report()
    values = {value["metric"]: value for value in json.loads(as_json(made))["benchmarks"][0]["rows"][0]["values"]}
    assert values["macro"]["chance"] == 0.25
    assert {line["chance"] for line in csv.DictReader(io.StringIO(as_csv(made))) if line["role"] == "model"} == {"0.25"}
