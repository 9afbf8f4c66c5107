from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.cli.main import main
from minchange_eval.core.errors import ExitCode


def test_the_doctor_finds_everything_in_place_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "FAIL" not in printed
    assert "names lead to this package" in printed
    assert "vismin is not prepared" in printed
    assert "-> " in printed


def test_the_doctor_names_a_missing_package_and_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from minchange_eval.cli import doctor

    monkeypatch.setattr(doctor, "_PACKAGES", ("no-such-package",))
    assert main(["doctor"]) == ExitCode.USAGE
    printed = capsys.readouterr().out
    assert "FAIL no-such-package is not installed" in printed
    assert "pip install 'minchange-eval[eval]'" in printed


def test_the_doctor_names_a_task_name_that_another_task_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from minchange_eval.tasks import hook

    (tmp_path / "gqa.yaml").write_text("task: gqa\nclass: ours\n")
    monkeypatch.setattr(hook, "TASKS_FOLDER", tmp_path)
    main(["doctor"])
    assert "gqa is another task's name here\n       -> use minchange_gqa" in capsys.readouterr().out


def test_tasks_path_is_the_folder_of_the_task_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks-path"]) == ExitCode.OK
    assert (Path(capsys.readouterr().out.strip()) / "spec" / "spec_count.yaml").is_file()
