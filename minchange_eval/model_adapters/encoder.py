"""What a family of models has to provide to be evaluated as a dual encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL import Image


@dataclass(frozen=True)
class Tokens:
    """Captions as a model's tokenizer gives them.

    Attributes:
        inputs: name -> [captions, tokens]; always the same number of tokens, so that forwards have one shape.
        truncated: per caption, whether it was longer than the model's context.
    """

    inputs: dict[str, torch.Tensor]
    truncated: tuple[bool, ...]


class Encoder(ABC):
    """Two towers and their preparation. Everything here must give a row the same value in any batch of one shape.

    Attributes:
        model: in evaluation mode, on `device`, in the dtype asked for.
        device: where it runs.
        name: as a reader would look for it.
        weights_sha256: digest of the weights as loaded in float32 or as stored, before any conversion to `dtype`.
        settings: whatever else may change an embedding; plain JSON values, for the record and the log's key.
        packages: versions that matter.
    """

    model: torch.nn.Module
    device: torch.device
    name: str
    weights_sha256: str
    settings: dict[str, Any]
    packages: dict[str, str]

    @abstractmethod
    def prepare_image(self, picture: Image.Image) -> dict[str, torch.Tensor]:
        """One RGB picture as the model takes it: name -> tensor of one fixed shape. Called in loader threads."""

    @abstractmethod
    def tokenize(self, captions: Sequence[str]) -> Tokens:
        """Captions as the model takes them, cut to its context, padded to one length."""

    @abstractmethod
    def encode_images(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """name -> [images, …] as `prepare_image` gives them  ->  [images, width of the embedding], not normalised."""

    @abstractmethod
    def encode_texts(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """name -> [captions, tokens]  ->  [captions, width of the embedding], not normalised."""


def versions(*packages: str) -> dict[str, str]:
    """The versions of what every encoder uses, torch's with its build (`2.9.0+cu128`), and of these packages."""
    import torch

    return {"torch": str(torch.__version__), **{name: version(name) for name in ("pillow", "numpy", *packages)}}


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype of `fp32`, `bf16` or `fp16`."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
