"""The processes of one training, one for each accelerator, and what they have to agree on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from minchange_eval.core.errors import ExitCode, MinchangeError, UsageError

Result = TypeVar("Result")
LONGEST_WAIT = timedelta(hours=12)  # an evaluation on the first process may take long, and the others wait for it
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


class OtherProcessError(MinchangeError):
    """Another process of this training stopped and has said why; this one has nothing to add."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"another process stopped with exit code {exit_code}")
        self.exit_code = ExitCode(exit_code)


class Processes:
    """This process among those that accelerate, torchrun or a cluster started; alone where nothing did.

    Args:
        precision: `fp32`, `bf16` or `fp16`, of the forwards.

    Raises:
        UsageError: a precision that the device does not have, or processes that cannot join.

    Attributes:
        accelerator: accelerate's own object.
        rank, world: this process's number, and how many there are.
        device: where its model runs.
    """

    def __init__(self, precision: str = "fp32") -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

        if precision == "fp16" and not torch.cuda.is_available():
            raise UsageError("--precision fp16: needs a CUDA accelerator; use bf16 or fp32")
        handlers = [
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
            DistributedDataParallelKwargs(broadcast_buffers=False),  # frozen ones are the same, synced ones stay so
        ]
        _forget_other_precision(PRECISIONS[precision])
        asked = int(os.environ.get("WORLD_SIZE", "1"))
        # on CPU accelerate joins ranks only when it is told that the CPU is meant
        on_cpu = asked > 1 and not (torch.cuda.is_available() or torch.xpu.is_available())
        try:
            self.accelerator: Any = Accelerator(
                cpu=on_cpu, mixed_precision=PRECISIONS[precision], kwargs_handlers=handlers
            )
        except ValueError as error:  # accelerate's state is one a process, and a precision that the device lacks
            raise UsageError(f"--precision {precision}: {' '.join(str(error).split())}") from error
        self.rank, self.world = int(self.accelerator.process_index), int(self.accelerator.num_processes)
        self.device: torch.device = self.accelerator.device
        if self.world != asked:
            raise UsageError(
                f"train: {asked} processes were started (WORLD_SIZE) and {self.world} joined; set "
                "ACCELERATE_USE_CPU=true to train on CPU, or start one process for each accelerator"
            )

    @property
    def is_first(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    def sums(self, *numbers: int) -> tuple[int, ...]:
        """Each number summed over the processes; all must ask at the same time."""
        if self.world == 1:
            return numbers
        totals = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        distributed.all_reduce(totals)
        return tuple(int(total) for total in totals.tolist())

    def on_first(self, work: Callable[[], Result]) -> Result | None:
        """Let the first process work while the others wait; what stops it stops them.

        Raises:
            OtherProcessError: on the others, where it failed.
        """
        if self.world == 1:
            return work()
        if not self.is_first:
            code = self._broadcast(None)
            if code:
                raise OtherProcessError(code)
            return None
        try:
            result = work()
        except BaseException as error:
            self._broadcast(int(_exit_code(error)))
            raise
        self._broadcast(0)
        return result

    def from_first(self, value: Any) -> Any:
        """A JSON value of the first process, on all of them."""
        return value if self.world == 1 else self._broadcast(value)

    def gathered(self, value: Any) -> list[Any]:
        """The JSON values of all processes, by rank, on all of them."""
        if self.world == 1:
            return [value]
        own = _bytes(value, self.device)
        sizes = [torch.zeros_like(_size(own)) for _ in range(self.world)]
        distributed.all_gather(sizes, _size(own))
        longest = max(int(size) for size in sizes)
        padded = torch.nn.functional.pad(own, (0, longest - len(own)))
        rows = [torch.empty_like(padded) for _ in range(self.world)]
        distributed.all_gather(rows, padded)
        return [_value(row[: int(size)]) for row, size in zip(rows, sizes, strict=True)]

    def tensors_from_first(self, tensors: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """The first process's tensors on all of them, on CPU.

        Args:
            tensors: on the first process; None on the others.
        """
        if self.world == 1:
            return dict(tensors or {})
        held = dict(tensors or {})
        shapes = {name: (str(held[name].dtype).removeprefix("torch."), list(held[name].shape)) for name in held}
        for name, (dtype, shape) in self._broadcast(shapes if self.is_first else None).items():
            there = held.get(name)
            sent = (torch.empty(shape, dtype=getattr(torch, dtype)) if there is None else there).to(self.device)
            distributed.broadcast(sent, src=0)
            held[name] = sent.cpu()
        return held

    def wait(self) -> None:
        """Until all are here."""
        self.accelerator.wait_for_everyone()

    def _broadcast(self, value: Any) -> Any:
        own = _bytes(value, self.device)
        size = _size(own)
        distributed.broadcast(size, src=0)
        sent = own if self.is_first else own.new_empty(int(size))
        distributed.broadcast(sent, src=0)
        return _value(sent)


def _forget_other_precision(precision: str) -> None:
    """accelerate keeps the precision of the first training of a process for all that follow."""
    from accelerate.state import AcceleratorState

    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()


def _exit_code(error: BaseException) -> ExitCode:
    if isinstance(error, MinchangeError):
        return error.exit_code
    return ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.INTERNAL


def _bytes(value: Any, device: torch.device) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(device)


def _size(content: Tensor) -> Tensor:
    return torch.tensor(len(content), dtype=torch.int64, device=content.device)


def _value(content: Tensor) -> Any:
    return json.loads(content.cpu().numpy().tobytes())
