"""examples/draw_plain_pairs.py: plain scenes with ordinary captions, in both forms."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from minchange_eval.core.images import open_image
from minchange_eval.generators.procedural.categories import HELD_OUT
from minchange_eval.trainers.clip.sources import PairData, open_pairs

SCRIPT = Path(__file__).parents[2] / "examples" / "draw_plain_pairs.py"


def draw(output: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> PairData:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--output", str(output), "--n", "12", "--edge-px", "48", *more])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return open_pairs(str(output))


def test_both_forms_hold_the_same_pairs_and_nothing_that_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = draw(tmp_path / "plain.tar", monkeypatch)
    table = draw(tmp_path / "plain" / "pairs.csv", monkeypatch)
    other = draw(tmp_path / "other.tar", monkeypatch, "--seed", "5")
    assert len(tar) == len(table) == 12
    assert list(tar.captions()) == list(table.captions()) != list(other.captions())
    assert [tar.image(n).read() for n in range(12)] == [table.image(n).read() for n in range(12)]
    assert open_image(tar.image(0)).size == (48, 48)
    assert not any(name in caption for name in HELD_OUT for caption in tar.captions())


def test_the_same_flags_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "one.tar", monkeypatch)
    draw(tmp_path / "two.tar", monkeypatch)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_another_form_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        draw(tmp_path / "plain.zip", monkeypatch)
    assert caught.value.code == 2
