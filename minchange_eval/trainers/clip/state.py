"""The complete state of an unfinished training: written beside the last one, put in place by one rename.

    OUTPUT/.state/step-000120/weights.safetensors     all of the model
                              good.safetensors        the weights that an early stop falls back to, if there are any
                              optimizer.safetensors   AdamW's moments, by number of the parameter
                              state.json              all else

A folder whose name ends in `.part` was not finished and is never read. The last complete one is removed after the new
one is in place, so that a kill at any moment, or a full disk, leaves one that can be gone on from.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from torch import Tensor

from minchange_eval.core.errors import DataError, MinchangeError, UsageError
from minchange_eval.core.whole_files import sync

FOLDER = ".state"
VERSION = 1
FACTS, WEIGHTS, GOOD, OPTIMIZER = "state.json", "weights.safetensors", "good.safetensors", "optimizer.safetensors"


class Facts(BaseModel):
    """What a state holds beside tensors.

    Attributes:
        version: of this format; raised whenever a state of before cannot be gone on from.
        step: optimizer steps done.
        config: settings, as `TrainConfig.model_dump(mode="json")` gives them.
        data: what the training reads, with fingerprints.
        log_bytes: length of losses.jsonl after this step.
        evaluated_at: the step of the last evaluation; -1 before the first.
        good_step: the step of the weights that an early stop falls back to; None where there are none.
        evaluations: what was measured, by step.
        overlap: what the contamination guard found before the first step.
        seconds: that the steps took so far.
        images: that the steps went through so far.
        scaler: fp16's loss scale; empty in other precisions.
        random: of each process, the states of Python's, numpy's and torch's generators.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = VERSION
    step: int
    config: dict[str, JsonValue]
    data: dict[str, JsonValue]
    log_bytes: int
    evaluated_at: int = -1
    good_step: int | None = None
    evaluations: dict[int, dict[str, float]] = {}
    overlap: dict[str, JsonValue] = {}
    seconds: float = 0.0
    images: int = 0
    scaler: dict[str, JsonValue] = {}
    random: list[dict[str, JsonValue]] = []


class _Version(BaseModel):
    """What is read first; the rest may be of any form."""

    version: int = VERSION


class StateFolder:
    """The states of one output folder; of one process at a time."""

    def __init__(self, output: Path) -> None:
        self.folder = output / FOLDER
        self._lock: int | None = None  # a file descriptor

    def lock(self) -> None:
        """Keep other trainings out of the folder until `unlock` or the end of this process.

        Raises:
            UsageError: one is at work in it, or it cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{self.folder.parent}: another process is training into this folder") from error
        except OSError as error:
            raise UsageError(f"output {self.folder.parent}: cannot be written ({error.strerror or error})") from error

    def unlock(self) -> None:
        """Let others in; without a lock nothing happens."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def newest(self) -> Path | None:
        """The last complete state; None where there is none."""
        complete = [path for path in self.folder.glob("step-*") if path.suffix != ".part"]
        return max(complete, key=lambda path: (_step(path), not path.suffix), default=None)

    def save(
        self,
        facts: Facts,
        weights: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        good: Mapping[str, Tensor] | None,
    ) -> Path:
        """Write a state, put it in place, and remove the ones before.

        Raises:
            MinchangeError: it cannot be written, as on a full disk; the last complete state stays.
        """
        done = self.folder / f"step-{facts.step:09d}"
        building = done.with_suffix(".part")
        before = self.newest()
        try:
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            for name, tensors in ((WEIGHTS, weights), (OPTIMIZER, optimizer), (GOOD, good)):
                if tensors is not None:
                    _write_tensors(building / name, tensors)
            (building / FACTS).write_text(facts.model_dump_json(), encoding="utf-8")
            sync(building / FACTS)
            sync(building)
            if before == done:  # the same step again, after more was evaluated: aside, which a kill leaves readable
                before = done.rename(done.with_name(f"{done.name}.old"))
            building.rename(done)
            sync(self.folder)
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            kept = f"that of step {_step(before)} is kept" if before else "none was saved before"
            raise MinchangeError(
                f"{self.folder}: the state of step {facts.step} cannot be saved ({error.strerror or error}); {kept}; "
                f"make room and run the same command again"
            ) from error
        for path in self.folder.glob("step-*"):
            if path != done:
                shutil.rmtree(path, ignore_errors=True)
        return done

    def clear(self) -> None:
        """Take all states away; the lock stays."""
        for path in self.folder.glob("step-*"):
            shutil.rmtree(path, ignore_errors=True)

    def remove(self) -> None:
        """Take everything away: the training is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read_facts(state: Path) -> Facts:
    """What a state holds beside tensors.

    Raises:
        DataError: it is broken, or of another version.
    """
    try:
        content = (state / FACTS).read_bytes()
        version = _Version.model_validate_json(content).version
        if version != VERSION:
            raise DataError(
                f"{state / FACTS}: is of version {version}, expected {VERSION}; go on with the minchange-eval that "
                "wrote it, or start anew with --force"
            )
        return Facts.model_validate_json(content)
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error.errors()[0]["msg"])
        raise DataError(f"{state / FACTS}: no state of a training ({reason}); start anew with --force") from error


def read_tensors(state: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one of a state's files, on CPU; none where it has no such file.

    Raises:
        DataError: the file is broken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (state / name).exists():
        return {}
    try:
        tensors: dict[str, Tensor] = load_file(state / name)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{state / name}: cannot be read ({error}); start anew with --force") from error
    return tensors


def weights_of(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy on CPU of all parameters and buffers, each with memory of its own."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}


def moments_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's tensors by parameter number and name: `12.exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value).detach().cpu().clone().contiguous()
        for number, values in state.items()
        for name, value in values.items()
    }


def put_moments(optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]) -> None:
    """Give an optimizer over the same parameters the tensors that `moments_of` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in moments.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def random_states() -> dict[str, JsonValue]:
    """The generators of this process as JSON: Python's, numpy's, torch's on CPU and on each accelerator."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # the global one
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(name), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": [state.numpy().tobytes().hex() for state in devices],
    }


def put_random_states(states: Mapping[str, Any]) -> None:
    """Put the generators where `random_states` found them."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_of_hex(states["torch"]))
    if states["cuda"] and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_of_hex(state) for state in states["cuda"]])


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Whatever is drawn within changes nothing of what is drawn after."""
    states = random_states()
    try:
        yield
    finally:
        put_random_states(states)


def _of_hex(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8).clone()


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:  # how the library says that the disk is full
        raise OSError(str(error)) from error
    sync(path)


def _step(state: Path) -> int:
    return int(state.name.removeprefix("step-").split(".")[0])
