from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from minchange_eval.core.errors import DataError, MinchangeError
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


def test_a_state_that_is_saved_before_the_next_step_has_the_log_of_the_state_before(
    tmp_path: Path, report: Callable[[int], StepReport]
) -> None:
    log = RunLog(tmp_path, 0, 0, tensorboard=False)
    log.step(report(1))
    saved = log.position()
    log.step(report(2))
    log.close()
    log = RunLog(tmp_path, 1, saved, tensorboard=False)
    assert log.position() == saved
    log.close()
    with pytest.raises(DataError, match=r"losses\.jsonl: is shorter than when the state was saved"):
        RunLog(tmp_path, 1, saved + 1, tensorboard=False)


def test_tensorboard_reads_losses_and_evaluations_and_forgets_what_came_after_the_state(
    tmp_path: Path, report: Callable[[int], StepReport]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path, 0, 0, tensorboard=True)
    saved = 0
    for step in (1, 2, 3):
        log.step(report(step))
        saved = saved or log.position()
    log.close()
    log = RunLog(tmp_path, 1, saved, tensorboard=True)
    log.step(report(2))
    log.evaluation(2, {"spec_mini/i2t_accuracy": 0.5})
    log.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("train/clip")] == [(1, 1.25), (2, 1.25)]
    assert [event.value for event in board.Scalars("evaluation/spec_mini/i2t_accuracy")] == [0.5]
    assert [event.value for event in board.Scalars("speed/images_per_s")] == [100, 100]


@pytest.mark.parametrize("tensorboard", [False, True])
def test_a_full_disk_is_one_line_and_closing_afterwards_is_fine(
    tmp_path: Path, report: Callable[[int], StepReport], tensorboard: bool
) -> None:
    log = RunLog(tmp_path, 0, 0, tensorboard=tensorboard)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))
    try:
        with pytest.raises(MinchangeError, match="the logs cannot be written"):
            list(map(log.step, map(report, range(1, 4))))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.close()
    log.close()


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MinchangeError, match="gone: the logs cannot be written"):
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
