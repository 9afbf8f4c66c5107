"""Memory that runs out in a step, and what to turn then."""

from __future__ import annotations

import torch

from minchange_eval.trainers.clip.config import TrainConfig


def out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator or the machine had no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def memory_advice(config: TrainConfig, step: int, rows: int) -> str:
    """What to turn, the cheapest first."""
    precision = "" if config.precision != "fp32" else "set precision bf16, or "
    return (
        f"clip training, step {step}: out of memory with {rows} images in this process; {precision}raise "
        f"accumulate={config.accumulate} (same result, less memory), or lower {_sizes(config)}"
    )


def loading_advice(config: TrainConfig, step: int) -> str:
    """What to turn where it ran out before the model had a batch."""
    return (
        f"clip training, step {step}: out of memory while images were loaded; lower cache_mb={config.cache_mb} or "
        f"workers={config.workers}, or {_sizes(config)}"
    )


def _sizes(config: TrainConfig) -> str:
    sizes = [name for name in ("pairs_per_batch", "sets_per_batch") if getattr(config, name)]
    return " and ".join(f"{name}={getattr(config, name)}" for name in sizes)
