"""Tiny random checkpoints of every kind, pictures, and the requests that lmms-eval would hand over."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.core.queries import Query, queries_of_set

EDGE_PX = 32
WORDS = [
    "a",
    "photo",
    "of",
    "the",
    "red",
    "blue",
    "cat",
    "dog",
    "left",
    "right",
    "above",
    "below",
    "one",
    "two",
    "three",
]
OPEN_CLIP = {
    "embed_dim": 32,
    "quick_gelu": False,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": EDGE_PX, "head_width": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@dataclass
class Request:
    """What the model reads of lmms-eval's Instance."""

    metadata: dict[str, Any]
    task_name: str = "a_task"
    resps: list[str] = field(default_factory=list)


def requests_of(queries: list[Query]) -> list[Request]:
    return [Request({"query": query}) for query in queries]


def picture(seed: int, edge_px: int = 48) -> BytesImage:
    pixels = np.random.default_rng(seed).integers(0, 256, (edge_px, edge_px, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return BytesImage(f"{seed}.jpg", buffer.getvalue())


def sets(count: int, k: int = 2, *, seed: int = 0) -> list[CandidateSet]:
    """Candidate sets without a picture or caption in common."""
    return [
        CandidateSet(
            set_id=f"s{number}",
            subset="count",
            images=tuple(picture(seed + number * k + i) for i in range(k)),
            captions=tuple(f"a photo of the {WORDS[i + 4]} cat {number}" for i in range(k)),
        )
        for number in range(count)
    ]


def queries(count: int, k: int = 2, *, seed: int = 0) -> list[Query]:
    return [query for item in sets(count, k, seed=seed) for query in queries_of_set(item)]


def open_clip_folder(folder: Path, *, seed: int = 0, **more: Any) -> Path:
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = {**OPEN_CLIP, **more}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(CLIP(**config).state_dict(), folder / "model.safetensors")
    return folder


def huggingface_folder(folder: Path, kind: str) -> Path:
    """A random checkpoint of one family of transformers with its processor and tokenizer."""
    import torch
    import transformers as hf

    torch.manual_seed(0)
    text = {**TOWER, "vocab_size": 64, "max_position_embeddings": 16}
    vision = {**TOWER, "image_size": EDGE_PX, "patch_size": 16}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    size = {"height": EDGE_PX, "width": EDGE_PX}
    if kind == "clip":
        model = hf.CLIPModel(hf.CLIPConfig(text_config={**text, **ends}, vision_config=vision, projection_dim=24))
        processor = hf.CLIPImageProcessor(size={"shortest_edge": EDGE_PX}, crop_size=size)
    elif kind == "siglip":
        model = hf.SiglipModel(hf.SiglipConfig(text_config={**text, **ends}, vision_config=vision))
        processor = hf.SiglipImageProcessor(size=size)
    elif kind == "siglip2":
        patches = {**TOWER, "patch_size": 8, "num_patches": 16}
        model = hf.Siglip2Model(hf.Siglip2Config(text_config={**text, **ends}, vision_config=patches))
        processor = hf.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    elif kind == "flava":
        towers = {"image_config": vision, "text_config": text, "multimodal_config": dict(TOWER)}
        model = hf.FlavaModel(hf.FlavaConfig(**towers, hidden_size=32, projection_dim=24))
        processor = hf.FlavaImageProcessor(size=size, crop_size=size)
    else:
        text = {**text, **ends, "encoder_hidden_size": 32, "projection_dim": 24}
        config = hf.BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=24)
        model = hf.BlipForImageTextRetrieval(config)
        processor = hf.BlipImageProcessor(size=size)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["[PAD]", "[BOS]", "[EOS]", "[UNK]", *WORDS])}
    words |= {str(number): len(words) + number for number in range(20)}
    names = {"pad_token": "[PAD]", "bos_token": "[BOS]", "eos_token": "[EOS]", "unk_token": "[UNK]"}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=names["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 1), ("[EOS]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
