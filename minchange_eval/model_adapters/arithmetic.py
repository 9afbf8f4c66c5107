"""Settings under which a row of a forward has the same bits whatever else is computed, and by how many processes.

What was measured, and why it is done this way: docs/decisions/0040-same-bits.md.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CONTROL_GROUPS = Path("/sys/fs/cgroup")


def lanes(device: torch.device) -> int:
    """How many forwards run side by side: on CPU one a core of this process's share, on an accelerator one."""
    if device.type != "cpu":
        return 1
    return max(1, cores() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def cores() -> int:
    """How many cores this process may use, whatever other processes of the run share them."""
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(present, cores_of_quota() or present)


def cores_of_quota() -> int | None:
    """The cores' worth of time that a container is given, rounded up; None where nothing limits it."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # version 2, version 1
        try:
            quota, period = " ".join((CONTROL_GROUPS / file).read_text() for file in files).split()
            return -(-int(quota) // int(period)) if int(quota) > 0 else None
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
    return None


@contextmanager
def same_bits(device: torch.device, threads: int = 1) -> Iterator[None]:
    """A fixed number of threads a forward on CPU; full float32 everywhere; on CUDA no choice of kernels by timing.

    With several threads a kernel may split a sum between them, so that the bits depend on how many there are (a plain
    run takes all cores, torchrun one). Dual encoders take one and keep the cores busy by `lanes`; chat models take
    `cores`, on every rank, and say so in their settings. The other switches belong to the whole process, and whatever
    was imported before may have turned them.
    """
    import torch

    switches: list[tuple[Callable[[], Any], Callable[[Any], Any], Any]] = [
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest")
    ]
    if device.type == "cpu":
        switches.append((torch.get_num_threads, torch.set_num_threads, threads))
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    for owner, name, value in (
        (cudnn, "benchmark", False),
        (cudnn, "deterministic", True),
        (cudnn, "allow_tf32", False),
        (matmul, "allow_fp16_reduced_precision_reduction", True),  # torch's own defaults
        (matmul, "allow_bf16_reduced_precision_reduction", True),
    ):
        switches.append((partial(getattr, owner, name), partial(setattr, owner, name), value))
    with ExitStack() as held:
        for read, write, value in switches:
            held.enter_context(_held(read, write, value))
        yield


@contextmanager
def _held(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> Iterator[None]:
    try:
        before = read()
    except RuntimeError:  # turned by torch's newer switches, which these cannot tell: they stay at full precision
        before = value
    write(value)
    try:
        yield
    finally:
        write(before)


def hardware(device: torch.device) -> str:
    """What the bits of a forward depend on beside the software: processor and instruction set, or accelerator."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else device.type


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
