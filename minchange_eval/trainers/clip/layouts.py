"""A trained model as ONE folder that both open_clip and transformers load.

open_clip_config.json, open_clip_model.safetensors        open_clip: `--model open_clip model_name=FOLDER`
config.json, model.safetensors, preprocessor_config.json  transformers: `--model hf_dual_encoder pretrained=FOLDER`
tokenizer.json, tokenizer_config.json                     transformers, and open_clip if it is not its bundled one

Everything is written beside the old checkpoint first and moved into place by renames, configurations last: a disk
that fills up leaves the old checkpoint as it was, and a folder that is half moved has no configuration and is refused
by both libraries until `finish_moving` has completed it.
"""

from __future__ import annotations

import copy
import errno
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from minchange_eval.core.errors import DataError, MinchangeError, UsageError
from minchange_eval.core.whole_files import sync
from minchange_eval.model_adapters.encoder import Encoder, torch_dtype
from minchange_eval.trainers.clip.hf_layout import (
    NotExpressibleError,
    transformers_model,
    transformers_processor,
    transformers_tokenizer,
)
from minchange_eval.trainers.clip.open_clip_layout import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    open_clip_model,
    open_clip_preprocess,
)

CONFIGURATIONS = ("config.json", CONFIG_FILE)  # what either library reads first; moved into place last
FILES = (  # what may be of an older checkpoint in the same folder
    *CONFIGURATIONS,
    WEIGHTS_FILE,
    "model.safetensors",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
)
TOLERANCE = 1e-5  # largest difference of two unit embeddings, float32
_WRITING, _MOVING, _NAMES = ".checkpoint.writing", ".checkpoint.moving", ".names"

CROPPING = (
    "where the longer side of a resized picture exceeds the crop by 3, 7, 11, … px, open_clip and transformers crop "
    "one pixel apart"
)
REPAIRS = (
    "open_clip repairs captions before the tokenizer (ftfy: mojibake, full-width letters, rare HTML entities), "
    "transformers does not: the tokens of such captions differ"
)
TRIMMED = (
    "open_clip repairs captions before the tokenizer (ftfy, HTML entities, white space), transformers takes them as "
    "they are: the tokens of captions with such characters differ"
)
BIAS = "transformers' CLIPModel has no logit_bias: it is in open_clip's layout only and has no part in an embedding"


@dataclass(frozen=True)
class WrittenCheckpoint:
    """What a folder holds; plain values for the training record.

    Attributes:
        layouts: `open_clip`, `transformers` or both.
        left_out: layout -> why the other library cannot express this model.
        differences: what the two layouts of this folder do differently although their weights agree.
        files: names, sorted.
        dtype: of the stored weights.
    """

    layouts: tuple[str, ...]
    left_out: dict[str, str]
    differences: tuple[str, ...]
    files: tuple[str, ...]
    dtype: str

    def as_json(self) -> dict[str, Any]:
        """For training.json."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _OfOpenClip:
    model: Any
    model_cfg: Mapping[str, Any]
    preprocess_cfg: Mapping[str, Any]

    def write(self, folder: Path, dtype: torch.dtype) -> None:
        from safetensors.torch import save_file

        save_file(storable(self.model.state_dict(), dtype), folder / WEIGHTS_FILE)
        _write_json(folder / CONFIG_FILE, {"model_cfg": self.model_cfg, "preprocess_cfg": self.preprocess_cfg})


@dataclass(frozen=True)
class _OfTransformers:
    model: Any
    processor: Any

    def write(self, folder: Path, dtype: torch.dtype) -> None:
        from safetensors.torch import save_file

        save_file(storable(self.model.state_dict(), dtype), folder / "model.safetensors", metadata={"format": "pt"})
        stated = {"architectures": [type(self.model).__name__], "dtype": str(dtype).removeprefix("torch.")}
        _write_json(folder / "config.json", self.model.config.to_diff_dict() | stated)
        self.processor.save_pretrained(folder)


@dataclass
class _Plan:
    """What will be written, and what is to be said of it."""

    open_clip: _OfOpenClip | None = None
    transformers: _OfTransformers | None = None
    tokenizer: Any = None
    left_out: dict[str, str] | None = None
    differences: tuple[str, ...] = ()


def write_checkpoint_folder(encoder: Encoder, folder: Path, dtype: str = "fp32") -> WrittenCheckpoint:
    """Write a model as both libraries read it, or as the one that can express it.

    A layout of the other library is written only if its embeddings of a picture and of captions agree with the model's
    to 1e-5. Files of the folder that are not of a checkpoint stay.

    Args:
        encoder: of `load_for_training`; its model stays as it is, on its device and in its mode.
        folder: made where it is missing.
        dtype: `fp32`, `bf16` or `fp16`, of the stored weights.

    Raises:
        DataError: a weight is not finite, or not in this dtype; nothing is written.
        MinchangeError: the disk is full; the checkpoint that was there is intact.
        UsageError: the folder cannot be written to.
    """
    snapshot = _on_cpu(encoder.model)
    storable(snapshot.state_dict(), torch_dtype(dtype))
    plan = _of_open_clip(encoder, snapshot) if hasattr(encoder, "model_cfg") else _of_transformers(encoder, snapshot)
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        finish_moving(folder)
        new = folder / _WRITING
        shutil.rmtree(new, ignore_errors=True)
        try:
            new.mkdir()
            _write(plan, new, torch_dtype(dtype))
            names = tuple(sorted(file.name for file in new.iterdir()))
            _write_json(new / _NAMES, names)
            readable = (new / _NAMES).stat().st_mode  # safetensors makes files that only their owner may read
            for file in new.iterdir():
                file.chmod(readable)
                sync(file)
            sync(new)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        new.replace(folder / _MOVING)
        finish_moving(folder)
    written = {"open_clip": plan.open_clip, "transformers": plan.transformers}
    layouts = tuple(name for name, layout in written.items() if layout)
    return WrittenCheckpoint(layouts, dict(plan.left_out or {}), plan.differences, names, dtype)


def finish_moving(folder: Path) -> None:
    """Complete a checkpoint that is whole on disk and was being moved into place when the process ended."""
    new = folder / _MOVING
    if not new.is_dir():
        return
    listed = new / _NAMES  # removed when all else has been moved
    names = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else []
    here = [name for name in names if (new / name).exists()]
    if any(name not in CONFIGURATIONS for name in here):
        for name in set(FILES) - (set(names) - set(CONFIGURATIONS)):
            (folder / name).unlink(missing_ok=True)
        sync(folder)
    for name in sorted(here, key=lambda name: (name in CONFIGURATIONS, name)):
        (new / name).replace(folder / name)
    sync(folder)
    shutil.rmtree(new)


def storable(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: on CPU, contiguous, none sharing memory, floating point in `dtype`.

    Raises:
        DataError: a value is not finite in this dtype.
    """
    stored: dict[str, Tensor] = {}
    memory: set[int] = set()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        tensor = (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            short = str(dtype).removeprefix("torch.")
            raise DataError(f"checkpoint: {name} has values that are not finite in {short}; train it again")
        storage = tensor.untyped_storage()
        if storage.data_ptr() in memory or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()  # both libraries look every name up, so a shared tensor is written under each
        memory.add(tensor.untyped_storage().data_ptr())
        stored[name] = tensor
    return stored


@contextmanager
def clear_write_errors(folder: Path) -> Iterator[None]:
    """What goes wrong on a disk as one line; safetensors and tokenizers raise exceptions of their own.

    Raises:
        MinchangeError: the disk is full.
        UsageError: the folder cannot be written to.
    """
    try:
        yield
    except MinchangeError:
        raise
    except Exception as error:  # tokenizers raise Exception itself
        number = error.errno if isinstance(error, OSError) else _number_of(error)
        if number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise MinchangeError(
                f"{folder}: the disk is full; the new checkpoint was not kept, one that was there before is intact; "
                "free some space and run the same command again"
            ) from error
        if number in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}:
            raise UsageError(f"{folder}: cannot be written to ({error}); name a folder that can be") from error
        raise


def _on_cpu(model: nn.Module) -> Any:
    """A copy in float32 and evaluation mode that takes no memory of the device that the model is on."""
    memo: dict[int, Any] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        twin = tensor.detach().to("cpu", copy=True)
        memo[id(tensor)] = nn.Parameter(twin) if isinstance(tensor, nn.Parameter) else twin
    return copy.deepcopy(model, memo).float().eval()


def _number_of(error: Exception) -> int | None:
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else None


def _of_open_clip(encoder: Any, snapshot: nn.Module) -> _Plan:
    preprocess = encoder.preprocess_cfg
    plan = _Plan(open_clip=_OfOpenClip(snapshot, encoder.model_cfg, preprocess))
    inner = getattr(encoder.tokenizer, "tokenizer", None)
    try:
        twin = transformers_model(snapshot, _ends(encoder.tokenizer, inner))
        siglip = twin.config.model_type == "siglip"
        processor = transformers_processor(preprocess, siglip)
        plan.tokenizer = transformers_tokenizer(encoder.tokenizer, twin.config.text_config.max_position_embeddings)
        _check_equal(encoder, snapshot, twin, plan.tokenizer)
        plan.transformers = _OfTransformers(twin, processor)
        plan.differences = (*_cropping(preprocess), REPAIRS)
        if not siglip and getattr(snapshot, "logit_bias", None) is not None:
            plan.differences += (BIAS,)
    except NotExpressibleError as error:
        plan.left_out = {"transformers": str(error)}
        plan.tokenizer = inner
    text_tower = encoder.model_cfg["text_cfg"].get("hf_model_name")
    if text_tower:
        plan.differences += (f"open_clip takes the configuration of the text tower from {text_tower} on the Hub",)
    return plan


def _of_transformers(encoder: Any, snapshot: Any) -> _Plan:
    plan = _Plan(transformers=_OfTransformers(snapshot, encoder.processor), tokenizer=encoder.tokenizer)
    try:
        twin, model_cfg = open_clip_model(snapshot)
        preprocess = open_clip_preprocess(encoder.processor)
        _check_equal(encoder, snapshot, twin)
        plan.open_clip = _OfOpenClip(twin, model_cfg, preprocess)
        plan.differences = (*_cropping(preprocess), TRIMMED)
    except NotExpressibleError as error:
        plan.left_out = {"open_clip": str(error)}
    return plan


def _cropping(preprocess: Mapping[str, Any]) -> tuple[str, ...]:
    return (CROPPING,) if preprocess["resize_mode"] == "shortest" else ()


def _ends(tokenizer: Any, inner: Any) -> dict[str, int | None]:
    if inner is not None:
        return {name: getattr(inner, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    end = int(tokenizer.eot_token_id)
    return {"bos_token_id": int(tokenizer.sot_token_id), "eos_token_id": end, "pad_token_id": end}


def _check_equal(encoder: Encoder, model: nn.Module, twin: nn.Module, tokenizer: Any = None) -> None:
    """Compare the embeddings of noise and of captions, through both implementations.

    Args:
        tokenizer: the twin's; None: it is the same as the model's.

    Raises:
        NotExpressibleError: they differ by more than the tolerance.
    """
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    prepared = encoder.prepare_image(Image.fromarray(noise))
    pixels = next(prepared[name] for name in ("image", "pixel_values") if name in prepared)[None]
    captions = ["Cat.", "a photo of two dogs", "Three large boats, above the café! " * 40]  # padded, and cut
    tokens = encoder.tokenize(captions).inputs
    ids = next(tokens[name] for name in ("text", "input_ids") if name in tokens)
    theirs = ids
    if tokenizer is not None:
        how = {"truncation": True, "padding": "max_length", "max_length": ids.shape[1], "return_tensors": "pt"}
        theirs = tokenizer(captions, **how)["input_ids"]
    with torch.inference_mode():
        pairs = list(zip(_features(model, pixels, ids), _features(twin, pixels, theirs), strict=True))
    picture, text = (float((one - other).abs().max()) for one, other in pairs)
    if not max(picture, text) <= TOLERANCE:
        raise NotExpressibleError(
            f"{type(twin).__name__} with these weights and this tokenizer gives other embeddings (of length 1, by up "
            f"to {picture:.1e} for a picture and {text:.1e} for captions)"
        )


def _features(model: Any, pixels: Tensor, ids: Tensor) -> Iterator[Tensor]:
    encode: tuple[Callable[..., Any], Callable[..., Any]]
    if hasattr(model, "encode_image"):
        encode = (model.encode_image, model.encode_text)
    else:
        encode = (model.get_image_features, model.get_text_features)
    for tower, given in zip(encode, (pixels, ids), strict=True):
        found = tower(given)  # transformers 5 wraps the embedding in an output
        yield nn.functional.normalize(getattr(found, "pooler_output", found), dim=-1)


def _write(plan: _Plan, folder: Path, dtype: torch.dtype) -> None:
    if plan.tokenizer is not None:
        _write_tokenizer(plan.tokenizer, folder)
    if plan.open_clip:
        plan.open_clip.write(folder, dtype)
    if plan.transformers:
        plan.transformers.write(folder, dtype)


def _write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """The same bytes whatever the tokenizer was used for before, and readable by transformers 4."""
    tokenizer = copy.deepcopy(tokenizer)
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        fast.no_padding()
        fast.no_truncation()
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":  # the name of transformers 5 for the same class
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        _write_json(file, settings)


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
