"""What a training leaves to be read while it runs: losses.jsonl and TensorBoard."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import MinchangeError, UsageError

LOSSES, TENSORBOARD = "losses.jsonl", "tensorboard"


@dataclass(frozen=True)
class StepReport:
    """What one step did.

    Attributes:
        step, steps: done, and in all.
        loss: of the global batch.
        parts: of the loss, unweighted, by name.
        learning_rate: of this step.
        scale: what cosines are multiplied by, after the step.
        images_per_s: over all processes, of the last steps; evaluations and saving apart.
        remaining_s: at that rate, evaluations apart.
        waited: share of the time that the model waited for data.
    """

    step: int
    steps: int
    loss: float
    parts: Mapping[str, float]
    learning_rate: float
    scale: float
    images_per_s: float
    remaining_s: float
    waited: float

    @property
    def logged(self) -> dict[str, Any]:
        """The line of losses.jsonl: what is the same in every run of this training, so no times."""
        return {
            "step": self.step,
            "loss": self.loss,
            **self.parts,
            "learning_rate": self.learning_rate,
            "scale": self.scale,
        }


class RunLog:
    """The two logs of one output folder, cut back to where a state was saved.

    Args:
        output: the folder.
        step: of the state that the training goes on from; 0 for a new one.
        log_bytes: length of losses.jsonl then.
        tensorboard: whether to write for TensorBoard too.

    Raises:
        UsageError: TensorBoard is asked for and not installed.
        MinchangeError: the logs cannot be written.
    """

    def __init__(self, output: Path, step: int, log_bytes: int, *, tensorboard: bool) -> None:
        self._path = output / LOSSES
        self._board: Any = None
        try:
            self._file = self._path.open("ab")
            self._file.truncate(log_bytes)
            if tensorboard:
                self._board = _board(output / TENSORBOARD, step)
        except OSError as error:
            raise self._failed(error) from error

    def step(self, report: StepReport) -> None:
        """Note one step."""
        line = json.dumps(report.logged, allow_nan=False) + "\n"
        self._write(line.encode())
        if self._board:
            for name, value in report.logged.items():
                if name != "step":
                    self._board.add_scalar(f"train/{name}", value, report.step)
            self._board.add_scalar("speed/images_per_s", report.images_per_s, report.step)
            self._board.add_scalar("speed/waited", report.waited, report.step)

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Note what an evaluation measured, by name."""
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(f"evaluation/{name}", value, step)

    def position(self) -> int:
        """Length of losses.jsonl, which is on disk up to there."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            if self._board:
                self._board.flush()
            return self._file.tell()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Write what is held back; twice is fine."""
        if self._board:
            self._board.close()
        self._file.close()

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> MinchangeError:
        return MinchangeError(f"{self._path}: cannot be written ({error.strerror or error}); make room")


def _board(folder: Path, step: int) -> Any:
    if find_spec("tensorboard") is None:
        raise UsageError(
            "tensorboard is not installed; run: pip install 'minchange-eval[train]', or train with --no-tensorboard"
        )
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
