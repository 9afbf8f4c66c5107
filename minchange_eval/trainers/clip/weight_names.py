"""What open_clip and transformers call the same weights, for ViT CLIP and for SigLIP, read in either direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Same:
    """The same numbers under two sets of names: the tensors of either side lie one after another along dimension 0.

    Attributes:
        open_clip: one name, or the parts in order.
        transformers: likewise.
        transposed: open_clip keeps `x @ weight`, transformers `x @ weight.T`.
    """

    open_clip: tuple[str, ...]
    transformers: tuple[str, ...]
    transposed: bool = False


def to_transformers(state: Mapping[str, Tensor], same: list[Same], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of open_clip under the names of transformers.

    Args:
        state: of the open_clip model.
        same: `clip_names` or `siglip_names`.
        target: the state of the transformers model; only names and shapes are read.

    Raises:
        ValueError: a weight of either side has no counterpart, or another shape.
    """
    return _renamed(state, [(each.open_clip, each.transformers, each.transposed) for each in same], target)


def to_open_clip(state: Mapping[str, Tensor], same: list[Same], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of transformers under the names of open_clip; otherwise as `to_transformers`."""
    return _renamed(state, [(each.transformers, each.open_clip, each.transposed) for each in same], target)


def clip_names(image_layers: int, text_layers: int, text: str = "") -> list[Same]:
    """Every weight of a ViT CLIP.

    Args:
        text: what the names of open_clip's text tower start with: `text.` in a CustomTextCLIP.
    """
    names = [
        Same(("logit_scale",), ("logit_scale",)),
        Same(("visual.proj",), ("visual_projection.weight",), transposed=True),
        Same((f"{text}text_projection",), ("text_projection.weight",), transposed=True),
        Same(("visual.class_embedding",), ("vision_model.embeddings.class_embedding",)),
        Same(("visual.positional_embedding",), ("vision_model.embeddings.position_embedding.weight",)),
        Same(("visual.conv1.weight",), ("vision_model.embeddings.patch_embedding.weight",)),
        *_affine("visual.ln_pre", "vision_model.pre_layrnorm"),
        *_affine("visual.ln_post", "vision_model.post_layernorm"),
        *_text_names(text, text_layers),
    ]
    for layer in range(image_layers):
        names += _block(f"visual.transformer.resblocks.{layer}.", f"vision_model.encoder.layers.{layer}.")
    return names


def siglip_names(image_layers: int, text_layers: int) -> list[Same]:
    """Every weight of a SigLIP: timm's ViT with attention pooling, and open_clip's text tower."""
    there, here = "visual.trunk.", "vision_model."
    names = [
        Same(("logit_scale",), ("logit_scale",)),
        Same(("logit_bias",), ("logit_bias",)),
        *_affine("text.text_projection", "text_model.head"),
        *_text_names("text.", text_layers),
        Same((f"{there}pos_embed",), (f"{here}embeddings.position_embedding.weight",)),
        *_affine(f"{there}patch_embed.proj", f"{here}embeddings.patch_embedding"),
        *_affine(f"{there}norm", f"{here}post_layernorm"),
        Same((f"{there}attn_pool.latent",), (f"{here}head.probe",)),
        *_affine(f"{there}attn_pool.proj", f"{here}head.attention.out_proj"),
        *_affine(f"{there}attn_pool.norm", f"{here}head.layernorm"),
        *_affine(f"{there}attn_pool.mlp.fc1", f"{here}head.mlp.fc1"),
        *_affine(f"{there}attn_pool.mlp.fc2", f"{here}head.mlp.fc2"),
    ]
    for kind in ("weight", "bias"):
        pool = (f"{there}attn_pool.q.{kind}", f"{there}attn_pool.kv.{kind}")
        names.append(Same(pool, (f"{here}head.attention.in_proj_{kind}",)))
    for layer in range(image_layers):
        names += _timm_block(f"{there}blocks.{layer}.", f"{here}encoder.layers.{layer}.")
    return names


def _text_names(text: str, layers: int) -> Iterator[Same]:
    yield Same((f"{text}token_embedding.weight",), ("text_model.embeddings.token_embedding.weight",))
    yield Same((f"{text}positional_embedding",), ("text_model.embeddings.position_embedding.weight",))
    yield from _affine(f"{text}ln_final", "text_model.final_layer_norm")
    for layer in range(layers):
        yield from _block(f"{text}transformer.resblocks.{layer}.", f"text_model.encoder.layers.{layer}.")


def _block(there: str, here: str) -> Iterator[Same]:
    for kind in ("weight", "bias"):
        yield Same((f"{there}attn.in_proj_{kind}",), _query_key_value(here, kind))
    yield from _affine(f"{there}attn.out_proj", f"{here}self_attn.out_proj")
    yield from _affine(f"{there}ln_1", f"{here}layer_norm1")
    yield from _affine(f"{there}ln_2", f"{here}layer_norm2")
    yield from _affine(f"{there}mlp.c_fc", f"{here}mlp.fc1")
    yield from _affine(f"{there}mlp.c_proj", f"{here}mlp.fc2")


def _timm_block(there: str, here: str) -> Iterator[Same]:
    for kind in ("weight", "bias"):
        yield Same((f"{there}attn.qkv.{kind}",), _query_key_value(here, kind))
    yield from _affine(f"{there}attn.proj", f"{here}self_attn.out_proj")
    yield from _affine(f"{there}norm1", f"{here}layer_norm1")
    yield from _affine(f"{there}norm2", f"{here}layer_norm2")
    yield from _affine(f"{there}mlp.fc1", f"{here}mlp.fc1")
    yield from _affine(f"{there}mlp.fc2", f"{here}mlp.fc2")


def _query_key_value(here: str, kind: str) -> tuple[str, ...]:
    return tuple(f"{here}self_attn.{part}_proj.{kind}" for part in "qkv")


def _affine(there: str, here: str) -> Iterator[Same]:
    for kind in ("weight", "bias"):
        yield Same((f"{there}.{kind}",), (f"{here}.{kind}",))


def _renamed(
    state: Mapping[str, Tensor],
    rules: list[tuple[tuple[str, ...], tuple[str, ...], bool]],
    target: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    known = {name for sources, _, _ in rules for name in sources}, {name for _, names, _ in rules for name in names}
    for have, expected in zip((state, target), known, strict=True):
        odd = sorted(set(have) ^ expected)
        if odd:
            raise ValueError(f"{len(odd)} weights have no counterpart, {odd[0]} among them")
    renamed: dict[str, Tensor] = {}
    for sources, names, transposed in rules:
        parts = [state[name] for name in sources]
        whole = (torch.cat(parts) if len(parts) > 1 else parts[0]).detach()
        whole = whole.T if transposed else whole
        pieces = torch.split(whole, [len(target[name]) for name in names]) if len(names) > 1 else (whole,)
        for name, piece in zip(names, pieces, strict=True):
            shape = target[name].shape
            if piece.numel() != shape.numel():
                raise ValueError(f"{name} is {list(piece.shape)} in one library and {list(shape)} in the other")
            renamed[name] = piece.reshape(shape).contiguous()
    return renamed
