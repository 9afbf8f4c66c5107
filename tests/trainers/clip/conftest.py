"""A CLIP of a few thousand weights and pictures of one colour each, so that a run takes a second."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from minchange_eval.trainers.clip.training import PixelScale, TrainingPairs, TrainingSets

_SMALL_CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32, "head_width": 32},
    "text_cfg": {"context_length": 4, "vocab_size": 40, "width": 16, "heads": 2, "layers": 1},
    "quick_gelu": False,
}


def _pictures(colours: torch.Tensor, seed: int) -> TrainingPairs:
    """Noisy pictures of the colours 0 to 7 (the corners of the RGB cube), each named by one token."""
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.stack([colours >> 2 & 1, colours >> 1 & 1, colours & 1], dim=1) * 160 + 40
    noise = torch.randint(-20, 20, (len(colours), 3, 32, 32), generator=generator)
    pixels = (rgb[:, :, None, None] + noise).to(torch.uint8)
    start, end = torch.full_like(colours, 38), torch.full_like(colours, 39)
    return TrainingPairs(pixels, torch.stack([start, colours + 1, end, torch.zeros_like(colours)], dim=1))


@pytest.fixture(scope="session")
def small_clip() -> dict[str, Any]:
    """A model configuration."""
    return _SMALL_CLIP


@pytest.fixture(scope="session")
def pixel_scale() -> PixelScale:
    return PixelScale((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.fixture(scope="session")
def pictures() -> Callable[[torch.Tensor, int], TrainingPairs]:
    """(colours, seed) to pictures of them."""
    return _pictures


@pytest.fixture(scope="session")
def pairs() -> TrainingPairs:
    return _pictures(torch.arange(160) % 8, seed=0)


@pytest.fixture(scope="session")
def sets() -> TrainingSets:
    return TrainingSets(_pictures(torch.arange(60) % 3, seed=1), torch.arange(60) // 3)
