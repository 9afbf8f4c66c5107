"""The models of the benchmarks as folders that open_clip loads."""

from __future__ import annotations

import json
from pathlib import Path

MODELS = ("vit-b-32", "minchange-tiny")
TINY_VIT = {
    "embed_dim": 128,
    "quick_gelu": False,
    "vision_cfg": {"layers": 4, "width": 192, "head_width": 64, "patch_size": 8, "image_size": 64},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}


def model_folder(name: str, scratch: Path) -> Path:
    """The bundled tiny CLIP; ViT-B/32 or a tiny ViT with random weights, which cost as much as trained ones."""
    if name == "minchange-tiny":
        from minchange_eval.model_adapters.open_clip_models import BUNDLED

        return BUNDLED[name]
    folder = scratch / name
    if not folder.exists():
        _write_random(name, folder)
    return folder


def _write_random(name: str, folder: Path) -> None:
    import open_clip
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    torch.manual_seed(0)
    # unstated, the activation would be asked for
    stated = TINY_VIT if name == "tiny-vit" else {**open_clip.get_model_config("ViT-B-32"), "quick_gelu": False}
    model = CLIP(**stated)
    config = {"model_cfg": stated, "preprocess_cfg": {}}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), str(folder / "open_clip_model.safetensors"))
