"""What a training leaves to be read while it runs: losses.jsonl and TensorBoard."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import DataError, MinchangeError, UsageError

LOSSES, TENSORBOARD = "losses.jsonl", "tensorboard"
EVENTS = "events.out.tfevents."  # how TensorBoard knows its files


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
    """The two logs of one output folder, cut back to where a state was saved; nothing is held back in memory.

    Args:
        output: the folder.
        step: of the state that the training goes on from; 0 for a new one.
        log_bytes: length of losses.jsonl then.
        tensorboard: whether to write for TensorBoard too.

    Raises:
        UsageError: TensorBoard is asked for and not installed.
        DataError: losses.jsonl is shorter than it was.
        MinchangeError: the logs cannot be written.
    """

    def __init__(self, output: Path, step: int, log_bytes: int, *, tensorboard: bool) -> None:
        self._path = output / LOSSES
        self._board: _Board | None = None
        with self._one_line():
            self._file = self._path.open("ab", buffering=0)
            if self._file.tell() < log_bytes:
                self._file.close()
                raise DataError(f"{self._path}: is shorter than when the state was saved; start anew with --force")
            self._file.truncate(log_bytes)
            if tensorboard:
                self._board = _Board(output / TENSORBOARD, step)

    def step(self, report: StepReport) -> None:
        """Note one step."""
        with self._one_line():
            _write(self._file, json.dumps(report.logged, allow_nan=False).encode() + b"\n")
            if self._board:
                of_loss = {f"train/{name}": value for name, value in report.logged.items() if name != "step"}
                of_speed = {"speed/images_per_s": report.images_per_s, "speed/waited": report.waited}
                self._board.add(report.step, of_loss | of_speed)

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Note what an evaluation measured, by name."""
        if self._board:
            with self._one_line():
                self._board.add(step, {f"evaluation/{name}": value for name, value in values.items()})

    def position(self) -> int:
        """Length of losses.jsonl, which is on disk up to there."""
        with self._one_line():
            os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Let the files go; twice is fine."""
        if self._board:
            self._board.close()
        self._file.close()

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MinchangeError(
                f"{self._path.parent}: the logs cannot be written ({error.strerror or error}); make room and run the "
                f"same command again"
            ) from error


class _Board:
    """A file that TensorBoard reads. Its own writer has a thread, which a full disk ends with a traceback."""

    def __init__(self, folder: Path, step: int) -> None:
        if find_spec("tensorboard") is None:
            raise UsageError(
                "tensorboard is not installed; run: pip install 'minchange-eval[train]', or train with --no-tensorboard"
            )
        from tensorboard.compat.proto.event_pb2 import SessionLog

        folder.mkdir(exist_ok=True)
        self._file = (folder / f"{EVENTS}{time.time_ns() / 1e9:020.9f}").open("xb", buffering=0)
        self._event(0, file_version="brain.Event:2")
        if step:  # forget what an earlier file has from here on
            self._event(step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Note numbers by name."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        numbers = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._event(step, summary=Summary(value=numbers))

    def close(self) -> None:
        self._file.close()

    def _event(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = BytesIO()
        RecordWriter(record).write(Event(wall_time=time.time(), step=step, **content).SerializeToString())
        _write(self._file, record.getvalue())


def _write(file: RawIOBase, data: bytes) -> None:
    """All of it: what fits on a disk that is nearly full is no error to the system."""
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
