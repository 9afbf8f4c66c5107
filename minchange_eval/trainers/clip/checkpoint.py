"""A small CLIP as a folder that open_clip reads (`local-dir:FOLDER`): architecture, weights, tokenizer.

`layouts` writes any model, in float32 and for transformers too; this is for one that is bundled and made from nothing.

open_clip_config.json                  {"model_cfg": ..., "preprocess_cfg": ...}
open_clip_model.safetensors            every tensor in half precision; loading casts them into the float32 model
tokenizer.json, tokenizer_config.json  a vocabulary of the model's own, if it has one
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from minchange_eval.core.errors import DataError
from minchange_eval.core.whole_files import write_whole
from minchange_eval.trainers.clip.layouts import storable
from minchange_eval.trainers.clip.model import ContrastiveModel
from minchange_eval.trainers.clip.open_clip_layout import CONFIG_FILE, WEIGHTS_FILE
from minchange_eval.trainers.clip.vocabulary import Merge, tokenizer_files


def write_tokenizer(folder: Path, merges: Sequence[Merge], context: int) -> None:
    """Write the tokenizer of a trimmed vocabulary into a checkpoint's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tokenizer_files(merges, context).items():
        write_whole(folder / name, [content])


def write_checkpoint(
    folder: Path, model: ContrastiveModel, model_cfg: Mapping[str, Any], preprocess_cfg: Mapping[str, Any]
) -> None:
    """Write architecture and weights; each file is complete or not there, the weights come last.

    Args:
        model: any dtype; floating-point tensors are stored in half precision.
        model_cfg: what open_clip's `CLIP` takes.
        preprocess_cfg: size, mean, std, interpolation, resize_mode, as open_clip names them.

    Raises:
        DataError: a weight is too large for half precision or not finite.
    """
    from safetensors.torch import save

    halves = storable(model.state_dict(), torch.float16)
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG_FILE, [(json.dumps(config, indent=2) + "\n").encode()])
    write_whole(folder / WEIGHTS_FILE, [save(halves)])


def load_checkpoint(folder: Path) -> tuple[ContrastiveModel, Any, Any]:
    """The model in evaluation mode, its image preprocessing and its tokenizer.

    Raises:
        DataError: a file is missing.
    """
    import open_clip

    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise DataError(f"checkpoint {folder}: has no {name}; expected a folder written by write_checkpoint")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    return model, preprocess, open_clip.get_tokenizer(f"local-dir:{folder}")


def load_tokenizer(folder: Path, context: int) -> Any:
    """The tokenizer that `write_tokenizer` wrote, as `load_checkpoint` gives it, before there are weights."""
    from open_clip.tokenizer import HFTokenizer

    return HFTokenizer(str(folder), context_length=context, clean="lower")
