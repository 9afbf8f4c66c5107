from __future__ import annotations

import pytest

from minchange_eval.cli import progress


@pytest.mark.parametrize(("total", "end"), [(3, " left"), (None, " a second")])
def test_where_stderr_is_a_file_a_line_says_how_far_it_is(
    total: int | None, end: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    assert list(progress.shown("train.jsonl", "rows", "abc", total)) == ["a", "b", "c"]
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("train.jsonl: 1 rows, ")
    assert second.endswith(end)
    assert third.endswith(" a second")


def test_a_short_loop_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.shown("train.jsonl", "rows", "abc", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
