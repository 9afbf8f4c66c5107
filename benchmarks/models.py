"""The two models of the benchmarks as folders that open_clip loads."""

from __future__ import annotations

import json
from pathlib import Path

MODELS = ("vit-b-32", "minchange-tiny")


def model_folder(name: str, scratch: Path) -> Path:
    """The bundled tiny CLIP, or ViT-B/32 with random weights, which cost as much as trained ones."""
    if name == "minchange-tiny":
        from minchange_eval.model_adapters.open_clip_models import BUNDLED

        return BUNDLED[name]
    folder = scratch / name
    if not folder.exists():
        _write_random("ViT-B-32", folder)
    return folder


def _write_random(architecture: str, folder: Path) -> None:
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(architecture)
    stated = {**open_clip.get_model_config(architecture), "quick_gelu": False}  # unstated, it would be asked for
    config = {"model_cfg": stated, "preprocess_cfg": model.visual.preprocess_cfg}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), str(folder / "open_clip_model.safetensors"))
