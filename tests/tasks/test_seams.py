from __future__ import annotations

import pytest

from minchange_eval.tasks import seams


def test_lmms_eval_is_where_this_package_holds_on_to_it() -> None:
    assert seams.moved_seams() == []


def test_a_seam_that_moved_is_named_with_what_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = seams.Seam("lmms_eval.tasks", "TaskManager.no_such_thing", (), "finding our tasks")
    changed = seams.Seam("lmms_eval.evaluator", "evaluate", ("no_such_parameter",), "making the run record")
    monkeypatch.setattr(seams, "SEAMS", (gone, changed))
    first, second = seams.moved_seams()
    assert "no_such_thing is gone" in first
    assert "finding our tasks" in first
    assert "lacks no_such_parameter" in second
