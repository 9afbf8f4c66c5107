"""A model of transformers as one of open_clip: configuration, weights, preprocessing.

open_clip builds a ViT CLIP from numbers, and a SigLIP from a ViT that timm knows by name. What it cannot compute
exactly is refused with the reason.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from minchange_eval.trainers.clip.hf_layout import ARGMAX_EOS, RESAMPLING, NotExpressibleError
from minchange_eval.trainers.clip.weight_names import clip_names, siglip_names, to_open_clip

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
OWN_TOKENIZER = "in-this-folder"  # open_clip reads the folder's own wherever hf_tokenizer_name is not empty
EPSILON = 1e-5  # of open_clip's norms unless told otherwise
ACTIVATIONS: dict[str, dict[str, Any]] = {
    "quick_gelu": {},
    "gelu": {},
    "gelu_pytorch_tanh": {"act_kwargs": {"approximate": "tanh"}},
}


def open_clip_model(model: Any) -> tuple[Any, dict[str, Any]]:
    """open_clip's model in evaluation mode with the weights of a CLIPModel or SiglipModel, and its `model_cfg`.

    Args:
        model: on CPU.

    Raises:
        NotExpressibleError: open_clip has no such architecture.
    """
    from open_clip.model import CLIP, CustomTextCLIP

    kind = model.config.model_type
    if kind not in ("clip", "siglip"):
        raise NotExpressibleError(f"open_clip has no counterpart of transformers' {type(model).__name__}")
    model_cfg = _clip_config(model.config) if kind == "clip" else _siglip_config(model.config)
    given = {name: value for name, value in copy.deepcopy(model_cfg).items() if name != "custom_text"}
    layers = [getattr(model.config, f"{tower}_config").num_hidden_layers for tower in ("vision", "text")]
    names = clip_names(*layers) if kind == "clip" else siglip_names(*layers)
    built = (CLIP if kind == "clip" else CustomTextCLIP)(**given)
    try:
        built.load_state_dict(to_open_clip(model.state_dict(), names, built.state_dict()))
    except ValueError as error:
        raise NotExpressibleError(f"open_clip's {type(built).__name__}: {error}") from error
    return built.eval(), model_cfg


def _clip_config(config: Any) -> dict[str, Any]:
    vision, text = config.vision_config, config.text_config
    quick = {tower.hidden_act == "quick_gelu" for tower in (vision, text)}
    if len(quick) != 1:
        raise NotExpressibleError("open_clip has QuickGELU in both towers or in none, this model in one")
    vision_cfg = {
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "layers": vision.num_hidden_layers,
        "width": vision.hidden_size,
        "head_width": vision.hidden_size // vision.num_attention_heads,
        **_numbers(vision),
    }
    text_cfg = {**_text_config(text), **_pooling(text)}
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": quick.pop(),
        "vision_cfg": vision_cfg,
        "text_cfg": text_cfg,
    }


def _siglip_config(config: Any) -> dict[str, Any]:
    vision, text = config.vision_config, config.text_config
    if text.hidden_act == "quick_gelu":
        raise NotExpressibleError("timm's ViTs have no QuickGELU, and open_clip would give it to the text tower only")
    text_cfg = {**_text_config(text), "no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
    return {
        "embed_dim": text.projection_size,
        "quick_gelu": False,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": vision.image_size,
            "timm_model_name": _timm_name(vision),
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": text_cfg,
    }


def _text_config(text: Any) -> dict[str, Any]:
    return {
        "context_length": text.max_position_embeddings,
        "vocab_size": text.vocab_size,
        "hf_tokenizer_name": OWN_TOKENIZER,
        "width": text.hidden_size,
        "heads": text.num_attention_heads,
        "layers": text.num_hidden_layers,
        **_numbers(text),
    }


def _numbers(tower: Any) -> dict[str, Any]:
    """The width of the feed-forward layers, the activation and the norms of one tower."""
    if tower.hidden_act not in ACTIVATIONS:
        raise NotExpressibleError(f"open_clip has no activation {tower.hidden_act}")
    wide, width = tower.intermediate_size, tower.hidden_size
    numbers: dict[str, Any] = dict(ACTIVATIONS[tower.hidden_act])
    if wide != 4 * width:
        numbers["mlp_ratio"] = next(
            ratio for ratio in (wide / width, (wide + 0.5) / width) if int(width * ratio) == wide
        )
    if tower.layer_norm_eps != EPSILON:
        numbers["norm_kwargs"] = {"eps": tower.layer_norm_eps}
    return numbers


def _pooling(text: Any) -> dict[str, Any]:
    """transformers reads an eos_token_id of 2 as: pool at the highest token, which is open_clip's default."""
    if text.eos_token_id in (ARGMAX_EOS, text.vocab_size - 1):
        return {"pool_type": "argmax"}
    return {"pool_type": "eos", "eos_id": text.eos_token_id}


def _timm_name(vision: Any) -> str:
    """The ViT of timm that computes what this image tower does."""
    import timm

    act = {"gelu": {"GELU"}, "gelu_pytorch_tanh": {"GELUTanh"}}.get(vision.hidden_act, set())
    wanted = (vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads, vision.intermediate_size)
    for name in timm.list_models("*siglip*", exclude_filters=["*gap*", "naflex*"]):
        if f"_patch{vision.patch_size}_" not in name or not name.endswith(f"_{vision.image_size}"):
            continue
        with torch.device("meta"):
            trunk: Any = timm.create_model(name, num_classes=0, global_pool="map")
        block = trunk.blocks[0]
        sizes = (trunk.embed_dim, len(trunk.blocks), block.attn.num_heads, block.mlp.fc1.out_features)
        picture = trunk.patch_embed.img_size
        same = sizes == wanted and tuple(picture) == (vision.image_size, vision.image_size)
        if same and type(block.mlp.act).__name__ in act and trunk.norm.eps == vision.layer_norm_eps:
            return str(name)
    raise NotExpressibleError(
        f"open_clip takes SigLIP's image tower from timm, which has none of width {vision.hidden_size}, "
        f"{vision.num_hidden_layers} layers, patch {vision.patch_size}, {vision.image_size} px and {vision.hidden_act}"
    )


def open_clip_preprocess(processor: Any) -> dict[str, Any]:
    """An image processor of transformers as open_clip's `preprocess_cfg`.

    Raises:
        NotExpressibleError: open_clip prepares pictures in another way.
    """
    settings = processor.to_dict()
    size, crop = _plain(settings.get("size")), _plain(settings.get("crop_size"))
    cropped = bool(settings.get("do_center_crop"))
    interpolation = {number: name for name, number in RESAMPLING.items() if name != "random"}.get(settings["resample"])
    whole = settings.get("do_resize") and settings.get("do_rescale") and settings.get("do_normalize")
    if not whole or interpolation is None or abs(settings["rescale_factor"] * 255 - 1) > 1e-9:
        raise NotExpressibleError(
            "open_clip resizes pictures bicubic or bilinear, scales to [0, 1] and normalises; this model not"
        )
    shortest, box = size.get("shortest_edge"), [size.get("height"), size.get("width")]
    if shortest and cropped and crop == {"height": shortest, "width": shortest}:
        shape: dict[str, Any] = {"size": [shortest, shortest], "resize_mode": "shortest"}
    elif all(box) and (not cropped or [crop.get("height"), crop.get("width")] == box):
        shape = {"size": box, "resize_mode": "squash"}
    else:
        raise NotExpressibleError(
            f"open_clip resizes to the size that it crops to; this model resizes to {size}, crops to {crop}"
        )
    numbers = {"mean": list(settings["image_mean"]), "std": list(settings["image_std"])}
    return {"mode": "RGB", "interpolation": interpolation, "fill_color": 0, **shape, **numbers}


def _plain(size: Any) -> dict[str, int]:
    return {name: int(value) for name, value in dict(size or {}).items() if value is not None}
