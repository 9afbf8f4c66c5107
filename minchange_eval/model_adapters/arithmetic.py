"""Settings under which a row of a forward has the same bits whatever else is computed, and by how many processes.

What was measured, and why it is done this way: docs/decisions/0040-same-bits.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def lanes(device: torch.device) -> int:
    """How many forwards run side by side: on CPU one a core of this process's share, on an accelerator one."""
    if device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


@contextmanager
def same_bits(device: torch.device) -> Iterator[None]:
    """One thread a forward on CPU; on CUDA no choice of kernels by timing, and full float32 in convolutions.

    With several threads a kernel may split a sum between them, so that the bits depend on how many there are (a plain
    run takes all cores, torchrun one). Cores are kept busy by `lanes` instead.
    """
    import torch

    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    before = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    if device.type == "cpu":
        torch.set_num_threads(1)
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = False, True, False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = before


def hardware(device: torch.device) -> str:
    """What the bits of a forward depend on beside the software: instruction set or accelerator."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else device.type
