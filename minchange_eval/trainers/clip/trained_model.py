"""The model that is trained: loaded as the evaluation loads it, in float32, with its gradients on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from minchange_eval.core.errors import UsageError
from minchange_eval.model_adapters.encoder import Encoder
from minchange_eval.trainers.clip.layouts import clear_write_errors, finish_moving

UNTRAINED = "random"  # the `pretrained` that asks for an architecture of open_clip without weights
TRAINABLE_KINDS = ("clip", "siglip", "siglip2")  # of transformers; the others have no learned temperature or no pairs
IMAGE_TOWER = ("visual.", "vision_model.", "visual_projection.")  # names in open_clip and in transformers
SIMILARITY = ("logit_scale", "logit_bias")
CAPTIONER = "text_decoder."  # CoCa's; a contrastive loss never reaches it


def load_for_training(
    model: str, adapter: str = "open_clip", device: torch.device | str = "cpu", *, seed: int = 0, **own: Any
) -> Encoder:
    """A dual encoder in float32 and train mode, found and checked as `--model ADAPTER` does for an evaluation.

    Args:
        model: for `open_clip`: an architecture, `hf-hub:org/name`, a folder with open_clip_config.json, or
            `minchange-tiny`; for `hf_dual_encoder`: a folder or name of a CLIP, SigLIP or SigLIP 2.
        adapter: `open_clip` or `hf_dual_encoder`.
        device: where it is trained.
        seed: of random weights.
        own: the adapter's own model_args. open_clip: `pretrained` (a tag, a file, or `random`: no weights),
            `force_quick_gelu`. hf_dual_encoder: `revision`, `trust_remote_code`. None means not given.

    Raises:
        UsageError: no such model, tag or file; a kind that cannot be trained here; an activation that is a guess.
        ModelError: the weights do not fit the architecture, or cannot be loaded.
    """
    if Path(model).is_dir():
        with clear_write_errors(Path(model)):
            finish_moving(Path(model))
    loader = _LOADERS.get(adapter)
    if loader is None:
        raise UsageError(f"adapter={adapter}: expected one of {', '.join(_LOADERS)}")
    encoder = loader(
        model, torch.device(device), seed, {name: value for name, value in own.items() if value is not None}
    )
    encoder.model.train()
    return encoder


def _open_clip(model: str, device: torch.device, seed: int, own: Mapping[str, Any]) -> Encoder:
    from minchange_eval.model_adapters.open_clip_models import OpenClip, OpenClipEncoder, untrained

    _check_names("open_clip", own, ("pretrained", "force_quick_gelu"))
    if own.get("pretrained") == UNTRAINED:
        return OpenClipEncoder(untrained(model, own.get("force_quick_gelu"), seed), device, "fp32")
    return OpenClip.load({"model_name": model, **own}, device, "fp32")


def _hugging_face(model: str, device: torch.device, seed: int, own: Mapping[str, Any]) -> Encoder:
    from minchange_eval.model_adapters.huggingface_models import HuggingFaceDualEncoder, HuggingFaceEncoder

    _check_names("hf_dual_encoder", own, ("revision", "trust_remote_code"))
    encoder = HuggingFaceDualEncoder.load({"pretrained": model, **own}, device, "fp32")
    assert isinstance(encoder, HuggingFaceEncoder)
    if encoder.kind not in TRAINABLE_KINDS:
        raise UsageError(
            f"model={model}: expected a model of the kinds {', '.join(TRAINABLE_KINDS)} to train, got {encoder.kind}"
        )
    return encoder


_LOADERS: dict[str, Callable[[str, torch.device, int, Mapping[str, Any]], Encoder]] = {
    "open_clip": _open_clip,
    "hf_dual_encoder": _hugging_face,
}


def _check_names(adapter: str, own: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = [name for name in own if name not in known]
    if unknown:
        raise UsageError(f"adapter={adapter}: {unknown[0]} means nothing to it; expected {', '.join(known)}")


class Embeddings(NamedTuple):
    """What one forward gives.

    Attributes:
        images: float32 [images, width], unit length.
        texts: float32 [captions, width], unit length.
        scale: scalar, the inverse temperature exp(logit_scale).
        bias: scalar, SigLIP's; None for a model without.
    """

    images: Tensor
    texts: Tensor
    scale: Tensor
    bias: Tensor | None


class TwoTowers(nn.Module):
    """Both towers under one forward, as DistributedDataParallel needs it, with what is frozen.

    A frozen tower computes as in evaluation (no dropout, stored batch statistics) whatever `train()` says.

    Args:
        encoder: its model is trained in place.
        lock_image: the image tower keeps its weights; Zhai et al. 2022 (LiT), arXiv:2111.07991.
        lock_text: the text tower keeps its weights.
        freeze_batch_norm: batch norms use the statistics that they have and leave them as they are, so that a row's
            embedding does not depend on its batch; their scales and shifts are still trained.

    Raises:
        UsageError: nothing is left to train.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        lock_image: bool = False,
        lock_text: bool = False,
        freeze_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if lock_image and lock_text:
            raise UsageError("lock_image and lock_text together leave nothing to train; lock one tower")
        self.model = encoder.model
        self._encode = (encoder.encode_images, encoder.encode_texts)
        self._locked = tuple(name for name, locked in (("image", lock_image), ("text", lock_text)) if locked)
        self._freeze_batch_norm = freeze_batch_norm
        for name, parameter in self.model.named_parameters():
            if name.startswith(CAPTIONER) or _tower(name) in self._locked:
                parameter.requires_grad_(False)
        self.train(self.model.training)

    def forward(self, images: Mapping[str, Tensor], texts: Mapping[str, Tensor]) -> Embeddings:
        """Prepared images and tokens (name -> [rows, …], as the encoder gives them) to embeddings of unit length."""
        image_rows, text_rows = self._encode[0](images), self._encode[1](texts)
        bias: Any = getattr(self.model, "logit_bias", None)
        scale: Any = self.model.logit_scale
        return Embeddings(
            images=functional.normalize(image_rows.float(), dim=-1),
            texts=functional.normalize(text_rows.float(), dim=-1),
            scale=scale.exp().squeeze(),
            bias=None if bias is None else bias.squeeze(),
        )

    def train(self, mode: bool = True) -> TwoTowers:
        """As every module's, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self._still():
            module.train(False)
        return self

    def _still(self) -> Iterator[nn.Module]:
        for name, module in self.model.named_modules():
            batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if name and (_tower(f"{name}.") in self._locked or (batch_norm and self._freeze_batch_norm)):
                yield module


def _tower(name: str) -> str:
    """The tower that a parameter or (with a dot at the end) a module belongs to: image, text, or neither."""
    if name.startswith(IMAGE_TOWER):
        return "image"
    return "" if name in SIMILARITY else "text"
