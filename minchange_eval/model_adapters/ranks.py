"""Which of several processes this is, and where its model runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minchange_eval.core.errors import UsageError

if TYPE_CHECKING:
    import torch


def accelerator() -> Any:
    """accelerate's view of this process: its number, how many there are, its device."""
    from accelerate import Accelerator

    return Accelerator()


def chosen_device(asked: str | None, accelerator: Any) -> torch.device:
    """The device that `--device` names, or the one that accelerate gives this process.

    Raises:
        UsageError: no such device, or none of the kind that the processes were started for.
    """
    import torch

    if asked is None or (asked == "cuda" and accelerator.num_processes > 1):
        chosen: torch.device = accelerator.device
        return chosen
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise UsageError(f"--device {asked}: expected cpu, cuda, cuda:0, … or mps") from error
    if accelerator.num_processes > 1 and device.type != accelerator.device.type:
        raise UsageError(
            f"--device {asked}: the ranks were started for {accelerator.device.type}; "
            "set ACCELERATE_USE_CPU=true to run several ranks on CPU"
        )
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {asked}: this machine or this build of torch has no CUDA; use --device cpu")
    return device
