from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.cli.main import main
from minchange_eval.core.record import write_record
from tests.reports.test_ledger import MODEL, QWEN, med_record

LEDGER = Path(__file__).parents[2] / "docs" / "ledger.md"
HOW_TO = Path(__file__).parents[2] / "docs" / "reproduce.md"


def recorded(folder: Path, **changes: Any) -> str:
    path = folder / "run.jsonl"
    write_record(med_record(**changes), path)
    return str(path)


def test_the_ledger_of_published_numbers_in_the_docs_is_what_the_command_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["reproduce", "all", "--format", "md"]) == 0
    printed = capsys.readouterr().out
    assert LEDGER.read_text(encoding="utf-8") == printed, (
        "docs/ledger.md: made by minchange-eval reproduce all --format md --out docs/ledger.md; run it again"
    )


def test_without_a_run_every_published_number_is_listed_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "vismin"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "vismin: 221 published numbers: 184 attainable, 8 not attainable, 16 no power, 13 not tested\n"
        "14 of 17 averages follow from their own columns\n"
    )
    assert sum("LLaVA-1.6 7B  " in line for line in printed.splitlines()) == 13
    assert main(["reproduce", "mmvp", "--format", "csv"]) == 0
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 36


def test_a_run_stands_beside_the_published_numbers_of_its_own_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path)
    assert main(["reproduce", "med", path, "--trust-data"]) == 0
    printed = capsys.readouterr().out
    assert f"med, {path}: 12 reproduced" in printed
    assert "labelling: published two in one table" in printed
    assert "Qwen2.5-VL-7B (ours)" not in printed


def test_every_form_holds_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recorded(tmp_path)
    assert main(["reproduce", "med", path, path, "--trust-data", "--format", "json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [len(run["rows"]) for run in runs] == [12, 12]
    assert {row["verdict"] for row in runs[0]["rows"]} == {"reproduced"}
    assert main(["reproduce", "med", path, "--trust-data", "--format", "csv"]) == 0
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 12
    assert main(["reproduce", "med", path, "--trust-data", "--format", "md"]) == 0
    assert capsys.readouterr().out.count("| reproduced |") == 12


def test_a_run_that_cannot_be_compared_is_shown_and_exits_4_or_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "med", recorded(tmp_path)]) == 4
    assert "not comparable (12): med is not prepared here" in capsys.readouterr().out
    assert main(["reproduce", "med", recorded(tmp_path, items=44, limit=44), "--trust-data"]) == 4
    assert "--limit 44" in capsys.readouterr().out
    assert main(["reproduce", "med", recorded(tmp_path, unscored=3), "--trust-data"]) == 3
    assert "the run is incomplete" in capsys.readouterr().out


def test_a_model_that_nothing_is_published_of_can_be_read_beside_one_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.jsonl"
    write_record(med_record().model_copy(update={"model": MODEL.model_copy(update={"name": "my/own"})}), path)
    assert main(["reproduce", "med", str(path), "--trust-data"]) == 2
    assert "nothing is known to be published on med of its model my/own; name the model" in capsys.readouterr().err
    assert main(["reproduce", "med", str(path), "--trust-data", "--model", "qwen2.5-vl-7b"]) == 0
    assert "12 reproduced" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spex"], "no published results of 'spex' are known here; there are med"),
        (["spec_mini"], "no published results of 'spec_mini'"),
        (["med", "--model", "GPT-4o"], "--model and --trust-data are about a run"),
        (["all", "RUN"], "all is for published numbers alone"),
        (
            ["med", "RUN", "--model", "VL-7B"],
            "--model 'VL-7B' fits several of the published models of med: Qwen2-VL-7B",
        ),
        (["med", "RUN", "--model", "PaLI"], "--model 'PaLI' fits none of the published models of med: "),
    ],
)
def test_what_is_asked_wrongly_is_one_line_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    path = recorded(tmp_path)
    assert main(["reproduce", *(path if one == "RUN" else one for one in arguments)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""


def test_a_record_that_is_broken_is_one_line_and_nothing_is_printed_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = recorded(tmp_path)
    bad = tmp_path / "bad.jsonl"
    for content, code in (("", 5), ("[]\n", 5), ("\ufeffnot json\n", 5), ('{"schema_version": 99}\n', 5)):
        bad.write_text(content, encoding="utf-8")
        assert main(["reproduce", "med", good, str(bad), "--trust-data"]) == code
        printed = capsys.readouterr()
        assert len(printed.err.splitlines()) == 1
        assert printed.out == ""
    half = Path(good).read_bytes()
    bad.write_bytes(half[: len(half) // 2])
    assert main(["reproduce", "med", str(bad), "--trust-data"]) in (3, 5)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_captions_and_names_in_a_record_cannot_move_the_terminals_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run\x1b[2J\n.jsonl"
    record = med_record(QWEN, prompt_source="\x1b[31mred\u202e")
    write_record(record, path)
    for form in ("text", "md", "csv", "json"):
        assert main(["reproduce", "med", str(path), "--trust-data", "--format", form]) == 0
        printed = capsys.readouterr().out
        assert "\x1b" not in printed
        assert "\u202e" not in printed


def test_out_writes_the_file_whole_and_says_in_one_line_where_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("value,n\n50.0,2\n")
    for arguments in (["reproduce", "med_real"], ["reproduce", "med", recorded(tmp_path), "--trust-data"]):
        assert main([*arguments, "--out", str(tmp_path / "out.txt")]) == 0
        assert "attainable" in (tmp_path / "out.txt").read_text()
    assert main(["grim", str(table), "--out", str(tmp_path / "out.txt")]) == 0
    assert (tmp_path / "out.txt").read_text().startswith("1 values: 1 attainable")
    assert capsys.readouterr().out == ""
    for arguments in (["reproduce", "med_real"], ["grim", str(table)]):
        assert main([*arguments, "--out", str(tmp_path / "none" / "out.txt")]) == 2
        assert main([*arguments, "--out", "/dev/full"]) == 70
        first, second = capsys.readouterr().err.splitlines()
        assert "cannot be written (No such file or directory)" in first
        assert "cannot be written (No space left on device)" in second


@pytest.mark.parametrize("verb", ["reproduce", "grim"])
def test_help_imports_nothing_heavy(verb: str) -> None:
    script = (
        "import sys; from minchange_eval.cli.main import main\n"
        f"try: main(['{verb}', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'datasets', 'transformers', 'scipy', 'sklearn', 'pyarrow', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_the_outputs_in_the_docs_are_what_the_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The how-to's first lines of `reproduce` and its whole table of `grim`."""
    how_to = HOW_TO.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    table = how_to.split("```csv\n")[1].split("```")[0]
    Path("table.csv").write_text(table, encoding="utf-8")
    assert main(["grim", "table.csv"]) == 0
    assert capsys.readouterr().out in how_to
    assert main(["reproduce", "med"]) == 0
    assert "\n".join(capsys.readouterr().out.splitlines()[:5]) in how_to


@pytest.mark.parametrize("record", sorted((Path(__file__).parents[1] / "core" / "records").glob("v*.jsonl")))
def test_records_of_every_earlier_version_are_read(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "vismin", str(record), "--model", "CoCa"]) == 4
    assert "13 not comparable" in capsys.readouterr().out


def test_a_record_without_tasks_has_nothing_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.jsonl"
    model = {"adapter": "a", "name": "n"}
    path.write_text(json.dumps({"schema_version": 2, "tasks": [], "model": model, "metrics": {}}) + "\n")
    assert main(["reproduce", "vismin", str(path), "--model", "CoCa"]) == 4
    assert "the run has no task on vismin" in capsys.readouterr().out


def test_a_slim_record_comes_to_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recorded(tmp_path)
    assert main(["slim", path, "--out", str(tmp_path / "slim.jsonl.gz")]) == 0
    capsys.readouterr()
    printed = []
    for one in (path, str(tmp_path / "slim.jsonl.gz")):
        assert main(["reproduce", "med", one, "--trust-data"]) == 0
        printed.append(capsys.readouterr().out.replace(one, "RUN"))
    assert printed[0] == printed[1]
