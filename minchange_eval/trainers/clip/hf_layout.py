"""A model of open_clip as one of transformers: configuration, weights, image processor, tokenizer.

transformers has a class for ViT CLIP (CLIPModel) and one for SigLIP (SiglipModel). What these cannot compute exactly is
refused with the reason.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from minchange_eval.trainers.clip.weight_names import clip_names, siglip_names, to_transformers

ARGMAX_EOS = 2  # transformers' CLIP reads this eos_token_id as: pool at the highest token, as CLIP's own code did
RESAMPLING = {"bicubic": 3, "bilinear": 2, "random": 3}  # Pillow's numbers; open_clip reads random as bicubic
QUOTES = (("[\u2018-\u201b\u02bc]", "'"), ("[\u201c-\u201f]", '"'))  # as ftfy straightens them
LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ſt", "ﬆ": "st", "Ĳ": "IJ", "ĳ": "ij"}
ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&nbsp;": " "}


class NotExpressibleError(Exception):
    """The other library has no class or setting that computes the same; the message says what."""


def transformers_model(model: nn.Module, ends: Mapping[str, int | None]) -> Any:
    """A CLIPModel or SiglipModel in evaluation mode with the weights of an open_clip model.

    Args:
        model: on CPU.
        ends: `bos_token_id`, `eos_token_id` and `pad_token_id` of its tokenizer; None where it has none.

    Raises:
        NotExpressibleError: transformers has no such architecture.
    """
    from open_clip.model import CLIP, CustomTextCLIP
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if type(model) not in (CLIP, CustomTextCLIP):
        raise NotExpressibleError(f"transformers has no class for open_clip's {type(model).__name__}")
    visual: Any = model.visual
    if type(visual) is VisionTransformer:
        return _clip(model, ends)
    if type(visual) is TimmModel:
        return _siglip(model, ends)
    raise NotExpressibleError(f"transformers' CLIPModel has a ViT as image tower, this model a {type(visual).__name__}")


def _clip(model: Any, ends: Mapping[str, int | None]) -> Any:
    import transformers as hf

    text = getattr(model, "text", model)
    if (
        model.visual.attn_pool is not None
        or model.visual.pool_type != "tok"
        or isinstance(model.visual.ln_pre, nn.Identity)
    ):
        raise NotExpressibleError(
            "transformers' CLIPModel pools at the class token after a first norm; this ViT does not"
        )
    if text.attn_mask is None or getattr(text, "cls_emb", None) is not None:
        raise NotExpressibleError(
            "transformers' CLIPModel has a causal text tower without class token; this model has not"
        )
    if not isinstance(text.text_projection, nn.Parameter):
        raise NotExpressibleError("transformers' CLIPModel projects texts by one matrix; this model does not")
    width = model.visual.proj.shape[1]
    config = hf.CLIPConfig(
        text_config={**_text_config(text), **ends, "eos_token_id": _eos(model, text, ends), "projection_dim": width},
        vision_config={
            **_tower(model.visual.transformer, model.visual),
            "image_size": _square(model.visual.image_size),
            "patch_size": _square(model.visual.patch_size),
            "projection_dim": width,
        },
        projection_dim=width,
    )
    names = clip_names(
        len(model.visual.transformer.resblocks), len(text.transformer.resblocks), "" if text is model else "text."
    )
    # SigLIP's bias, where it was added for the loss, has no place in CLIPModel and no part in an embedding.
    state = {name: value for name, value in model.state_dict().items() if name != "logit_bias"}
    return _filled(hf.CLIPModel(config), state, names)


def _siglip(model: Any, ends: Mapping[str, int | None]) -> Any:
    import transformers as hf

    trunk, text = model.visual.trunk, getattr(model, "text", None)
    if type(trunk).__name__ != "VisionTransformer" or trunk.attn_pool is None or trunk.num_prefix_tokens:
        raise NotExpressibleError(
            f"transformers has no dual encoder with timm's {type(trunk).__name__} as image tower, unless it is SigLIP's"
        )
    if (
        text is None
        or type(text).__name__ != "TextTransformer"
        or text.attn_mask is not None
        or text.pool_type != "last"
    ):
        raise NotExpressibleError(
            "transformers' SiglipModel has a text tower that sees all tokens and pools at the last"
        )
    if model.logit_bias is None:
        raise NotExpressibleError("transformers' SiglipModel has a logit_bias, this model has none")
    block = trunk.blocks[0]
    vision = {
        "hidden_size": trunk.embed_dim,
        "intermediate_size": block.mlp.fc1.out_features,
        "num_hidden_layers": len(trunk.blocks),
        "num_attention_heads": block.attn.num_heads,
        "hidden_act": _activation(block.mlp.act),
        "layer_norm_eps": _epsilon(trunk),
        "image_size": _square(trunk.patch_embed.img_size),
        "patch_size": _square(trunk.patch_embed.patch_size),
    }
    width = getattr(text.text_projection, "out_features", 0)
    config = hf.SiglipConfig(text_config={**_text_config(text), **ends, "projection_size": width}, vision_config=vision)
    state = model.state_dict()
    return _filled(hf.SiglipModel(config), state, siglip_names(len(trunk.blocks), len(text.transformer.resblocks)))


def _filled(target: Any, state: Mapping[str, Any], names: Any) -> Any:
    try:
        target.load_state_dict(to_transformers(state, names, target.state_dict()))
    except ValueError as error:
        raise NotExpressibleError(f"transformers' {type(target).__name__}: {error}") from error
    return target.eval()


def _text_config(text: Any) -> dict[str, Any]:
    return {
        **_tower(text.transformer, text),
        "vocab_size": text.token_embedding.num_embeddings,
        "max_position_embeddings": text.positional_embedding.shape[0],
    }


def _tower(transformer: Any, whole: nn.Module) -> dict[str, Any]:
    """Sizes, activation and norms of one of open_clip's own transformers."""
    from open_clip.transformer import ResidualAttentionBlock

    blocks = list(transformer.resblocks)
    if any(type(block) is not ResidualAttentionBlock or not isinstance(block.ls_1, nn.Identity) for block in blocks):
        raise NotExpressibleError(
            "transformers has no class with these attention blocks (layer scale, norms of their own)"
        )
    return {
        "hidden_size": transformer.width,
        "intermediate_size": blocks[0].mlp.c_fc.out_features,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": blocks[0].attn.num_heads,
        "hidden_act": _activation(blocks[0].mlp.gelu),
        "layer_norm_eps": _epsilon(whole),
    }


def _activation(module: nn.Module) -> str:
    from open_clip.transformer import QuickGELU

    if isinstance(module, QuickGELU):
        return "quick_gelu"
    if isinstance(module, nn.GELU):
        return "gelu" if module.approximate == "none" else "gelu_pytorch_tanh"
    if type(module).__name__ == "GELUTanh":  # timm's
        return "gelu_pytorch_tanh"
    raise NotExpressibleError(f"no activation {type(module).__name__} in both libraries")


def _epsilon(tower: nn.Module) -> float:
    """The epsilon of a tower's norms. CLIP keeps the text tower's modules beside `visual`, which is left out."""
    norms = {
        module.eps
        for name, module in tower.named_modules()
        if isinstance(module, nn.LayerNorm) and not name.startswith("visual.")
    }
    if len(norms) != 1:
        raise NotExpressibleError(
            f"transformers has one epsilon for the norms of a tower, this one has {sorted(norms)}"
        )
    return float(norms.pop())


def _square(size: Any) -> int:
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise NotExpressibleError(f"transformers' class has square pictures and patches, this model {height} x {width}")
    return int(height)


def _eos(model: Any, text: Any, ends: Mapping[str, int | None]) -> int:
    """The eos_token_id with which CLIPModel pools where this model does; it reads 2 as: at the highest token."""
    pooling = getattr(model, "text_pool_type", None) or text.pool_type
    if pooling == "argmax":
        last = int(text.token_embedding.num_embeddings) - 1
        return last if ends.get("eos_token_id") == last else ARGMAX_EOS
    eos = getattr(model, "text_eos_id", None) or getattr(text, "eos_id", None)
    if pooling != "eos" or eos is None or eos == ARGMAX_EOS:
        raise NotExpressibleError(
            f"transformers' CLIPModel pools texts at the highest token, or at an end token other than {ARGMAX_EOS}; "
            f"this model pools by {pooling!r} with end token {eos}"
        )
    return int(eos)


def transformers_processor(preprocess: Mapping[str, Any], siglip: bool) -> Any:
    """open_clip's preprocessing as an image processor of transformers.

    Args:
        preprocess: size, mean, std, interpolation, resize_mode.
        siglip: whether it goes with a SiglipModel.

    Raises:
        NotExpressibleError: transformers has no such way to resize.
    """
    import transformers as hf

    edge = _square(preprocess["size"] if isinstance(preprocess["size"], int) else tuple(preprocess["size"]))
    box = {"height": edge, "width": edge}
    numbers = {
        "resample": RESAMPLING[preprocess["interpolation"]],
        "image_mean": list(preprocess["mean"]),
        "image_std": list(preprocess["std"]),
    }
    if preprocess["resize_mode"] == "squash":
        if siglip:
            return hf.SiglipImageProcessor(size=box, do_convert_rgb=True, **numbers)
        return hf.CLIPImageProcessor(size=box, do_center_crop=False, **numbers)
    if preprocess["resize_mode"] == "shortest":
        return hf.CLIPImageProcessor(size={"shortest_edge": edge}, crop_size=box, do_center_crop=True, **numbers)
    raise NotExpressibleError(f"transformers' image processors have no resize_mode {preprocess['resize_mode']!r}")


def transformers_tokenizer(tokenizer: Any, context: int) -> Any:
    """open_clip's tokenizer, with what it does to a caption first, as a fast tokenizer of transformers.

    Raises:
        NotExpressibleError: it drops tokens at random, or is of a kind that has no fast tokenizer.
    """
    import transformers as hf
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    if type(tokenizer) is SimpleTokenizer and tokenizer.reduction_fn is None:
        start, end = tokenizer.all_special_ids[:2]
        names = {number: token for token, number in tokenizer.encoder.items()}
        return hf.PreTrainedTokenizerFast(
            tokenizer_object=_byte_pairs(tokenizer, names[start], names[end]),
            bos_token=names[start],
            eos_token=names[end],
            pad_token=names[end],
            unk_token=names[end],
            model_max_length=context,
        )
    inner: Any = getattr(tokenizer, "tokenizer", None)
    plain = type(tokenizer) is HFTokenizer and not tokenizer.tokenizer_mode and not tokenizer.strip_sep_token
    if not plain or getattr(inner, "backend_tokenizer", None) is None:
        raise NotExpressibleError(
            f"transformers has no fast tokenizer that does what this {type(tokenizer).__name__} does"
        )
    cleaned = copy.deepcopy(inner)
    backend = cleaned.backend_tokenizer
    backend.normalizer = _sequence(
        [*_cleaning(tokenizer.clean_fn), *([backend.normalizer] if backend.normalizer else [])]
    )
    return cleaned


def _byte_pairs(tokenizer: Any, start: str, end: str) -> Any:
    """CLIP's byte-level BPE in the `tokenizers` library."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    pairs = models.BPE(
        vocab=tokenizer.encoder, merges=merges, continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=end
    )
    whole = Tokenizer(pairs)
    whole.normalizer = _sequence(_cleaning(tokenizer.clean_fn))
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    whole.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    whole.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(name, tokenizer.encoder[name]) for name in (start, end)]
    )
    return whole


def _sequence(steps: list[Any]) -> Any:
    from tokenizers import normalizers

    return normalizers.Sequence(steps)


def _cleaning(clean: Any) -> list[Any]:
    """The frequent part of what open_clip does to a caption; the rest of ftfy has no counterpart in `tokenizers`."""
    from open_clip.tokenizer import get_clean_fn
    from tokenizers import Regex, normalizers

    steps: list[Any] = [normalizers.Replace(seen, meant) for seen, meant in {**ENTITIES, **LIGATURES}.items()]
    steps += [normalizers.Replace(Regex(seen), meant) for seen, meant in QUOTES]
    steps.append(normalizers.NFC())
    if clean is get_clean_fn("canonicalize"):
        steps += [normalizers.Replace("_", " "), normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), "")]
    if clean is not get_clean_fn("whitespace"):
        steps.append(normalizers.Lowercase())
    return [*steps, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
