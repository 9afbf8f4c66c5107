"""What `push` and `pull` need of the command line, before any Hub is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.cli.main import main


def run(*argv: object) -> int:
    try:
        return main([str(word) for word in argv])
    except SystemExit as leave:
        return int(leave.code or 0)


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_help_says_what_the_exit_codes_are(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, "--help") == 0
    said = capsys.readouterr().out
    assert "exit codes: 0" in said
    assert "docs/hub.md" in said


@pytest.mark.parametrize("to", ["clip", "ada/clip@main", "ada/clip/README.md", "http://huggingface.co/ada/clip"])
def test_a_push_goes_to_owner_and_name(to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("push", "records", tmp_path / "record.jsonl", "--to", to) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_is_not_there_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, path, code in (
        ("checkpoint", tmp_path / "none", 2),
        ("records", tmp_path / "none.jsonl", 5),
        ("records", tmp_path, 2),
        ("dataset", "none_mini", 2),
    ):
        assert run("push", kind, path, "--to", "ada/clip", "--dry-run") == code
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert "none" in error or "run records" in error


def test_a_checkpoint_is_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("push", "checkpoint", tmp_path, tmp_path, "--to", "ada/clip", "--dry-run") == 2
    assert "expected one PATH, got 2" in capsys.readouterr().err


def test_an_address_with_a_file_is_nothing_to_pull(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pull", "records", "hub:ada/records/one.jsonl", "--out", tmp_path / "new") == 2
    assert "expected owner/name or owner/name@revision" in capsys.readouterr().err
