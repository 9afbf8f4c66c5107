"""What training asks of a model, and an untrained one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class ContrastiveModel(Protocol):
    """A dual encoder with a learned temperature, as open_clip's `CLIP` is one."""

    logit_scale: nn.Parameter

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """float [n, 3, edge, edge] to [n, width]."""

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """int64 [n, context] to [n, width]."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def train(self) -> object: ...

    def eval(self) -> object: ...


def new_model(model_cfg: Mapping[str, Any], seed: int) -> ContrastiveModel:
    """An untrained open_clip `CLIP`, float32; the same weights for the same seed. Leaves torch's own seed alone.

    Args:
        model_cfg: embed_dim, vision_cfg, text_cfg, quick_gelu, as open_clip's own configurations.
    """
    from open_clip.model import CLIP

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: ContrastiveModel = CLIP(**json.loads(json.dumps(model_cfg)))
    return model
