from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.cli.main import main
from tests.data.official_layouts import write_med_release


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "vismn"], "did you mean vismin"),
        (["prepaer", "med"], "did you mean prepare"),
        (["prepare", "med"], "med needs --source PATH"),
        (["prepare", "med", "spec", "--source", "x"], "belong to one data set"),
        (["prepare", "med", "--source", "/nowhere"], "there is no such file or folder"),
        (["prepare", "spec_mini", "--source", "."], "is drawn, not read"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_prepare_says_what_it_made_and_what_is_there_already(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_med_release(tmp_path / "clone"))
    assert main(["prepare", "med", "--source", folder]) == 0
    assert "med: 11 questions, 22 images, fingerprint" in capsys.readouterr().out
    assert main(["prepare", "med", "--source", folder]) == 0
    assert "prepared already" in capsys.readouterr().out


def test_broken_data_end_with_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_med_release(tmp_path / "clone")
    (folder / "benchmark" / "images" / "0.jpg").unlink()
    assert main(["prepare", "med", "--source", str(folder)]) == 5
    assert "MED_bench.json row 1" in capsys.readouterr().err
    assert main(["prepare", "med", "--source", str(folder), "--skip-broken"]) == 0
    assert "1 broken rows left out" in capsys.readouterr().out
