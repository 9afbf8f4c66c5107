from __future__ import annotations

import json
from pathlib import Path

import pytest

from minchange_eval.core.errors import DataError, MinchangeError
from minchange_eval.trainers.clip.training_record import (
    TrainedOn,
    TrainingRecord,
    first_and_last_losses,
    is_finished,
    read_training_record,
    write_training_record,
)

RECORD = TrainingRecord(
    config={"seed": 0},
    base_model={"name": "minchange-tiny"},
    weights_sha256="0" * 64,
    data=(TrainedOn(name="spec_mini_train", kind="sets", fingerprint="f", items=3),),
    overlap={},
    steps=2,
    planned_steps=2,
    images=10,
    first_losses={"loss": 2.0},
    last_losses={"loss": 1.0},
    evaluations={0: {"zero_shot": 0.25}},
    seconds=1.5,
    packages={"torch": "2"},
)


def test_a_record_comes_back_as_it_was_and_says_that_the_training_is_finished(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    write_training_record(tmp_path, RECORD)
    assert is_finished(tmp_path)
    assert read_training_record(tmp_path) == RECORD


def test_a_record_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MinchangeError, match=r"training\.json: cannot be written .* run the same command again"):
        write_training_record(tmp_path / "gone", RECORD)


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), ("{}", "no training record")])
def test_a_missing_or_broken_record_is_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "training.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_training_record(tmp_path)


def test_losses_are_means_over_the_first_and_the_last_tenth(tmp_path: Path) -> None:
    lines = [{"step": n, "loss": float(n), "clip": 2.0 * n, "learning_rate": 1, "scale": 9} for n in range(1, 21)]
    (tmp_path / "losses.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, last = first_and_last_losses(tmp_path)
    assert first == {"loss": 1.5, "clip": 3.0}
    assert last == {"loss": 19.5, "clip": 39.0}
