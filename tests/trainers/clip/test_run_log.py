from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from minchange_eval.core.errors import MinchangeError
from minchange_eval.trainers.clip.pace import Pace
from minchange_eval.trainers.clip.run_log import RunLog, StepReport


@pytest.fixture
def report() -> Callable[[int], StepReport]:
    return lambda step: StepReport(step, 9, 1.5, {"clip": 1.25}, 1e-3, 14.0, 100.0, 3.0, 0.0)


def test_a_training_that_goes_on_cuts_the_log_back_to_its_state(
    tmp_path: Path, report: Callable[[int], StepReport]
) -> None:
    log = RunLog(tmp_path, 0, 0, tensorboard=False)
    log.step(report(1))
    saved = log.position()
    log.step(report(2))
    log.close()
    log = RunLog(tmp_path, 1, saved, tensorboard=False)
    log.step(report(2))
    log.step(report(3))
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[0] == {"step": 1, "loss": 1.5, "clip": 1.25, "learning_rate": 1e-3, "scale": 14.0}


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MinchangeError, match=r"losses\.jsonl: cannot be written"):
        RunLog(tmp_path / "gone", 0, 0, tensorboard=False)


def test_rates_are_over_the_last_steps_and_the_total_over_all() -> None:
    pace = Pace()
    assert (pace.images_per_s, pace.waited) == (0, 0)
    pace.add(100.0, 1, 50.0)
    for step in range(50):
        pace.add(0.5, 10, 50.0 + 0.1 * (step + 1))
    assert pace.images_per_s == pytest.approx(20)
    assert pace.waited == pytest.approx(0.2)
    assert pace.step_s == pytest.approx(0.5)
    assert pace.total_s == pytest.approx(125)
