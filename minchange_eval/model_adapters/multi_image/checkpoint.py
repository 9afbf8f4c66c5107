"""Loading an image-and-text checkpoint with its processor, or saying in one line why it cannot be used."""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.model_adapters.encoder import torch_dtype
from minchange_eval.model_adapters.model_args import first_line
from minchange_eval.model_adapters.multi_image.families import Family, family_of, without_reuse
from minchange_eval.model_adapters.weights import check_readable, tokenizer_digest, weights_sha256

if TYPE_CHECKING:
    import torch

_LEAST_TRANSFORMERS = 5
_NO_ENCODED_IMAGES = "one prompt at a time, nothing reused: this release of transformers takes no encoded images for it"
_SCRUBBED = {"transformers_version", "_name_or_path", "name_or_path", "dtype", "torch_dtype", "architectures"}


@dataclass(frozen=True)
class Wanted:
    """What is to be loaded, and how.

    Attributes:
        pretrained: a name on the Hub or a local folder.
        dtype: `fp32`, `bf16` or `fp16`.
        source: revision and trust_remote_code, as transformers takes them.
        device_map, attn_implementation: as transformers takes them; None for its own choice.
        pixels: min_pixels and max_pixels, for processors that have them.
        peft: folder of an adapter of the peft library.
        bits: 4 or 8: quantise with bitsandbytes.
    """

    pretrained: str
    dtype: str
    source: Mapping[str, Any]
    device_map: str | None = None
    attn_implementation: str | None = None
    pixels: Mapping[str, int] | None = None
    peft: str | None = None
    bits: int | None = None


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to answer.

    Attributes:
        net: the model, in evaluation mode.
        processor: makes tokens and pixels of a chat turn.
        family: what may be done with it.
        settings: what of it may change an answer.
        weights_sha256: digest of the weights, with those of the peft adapter.
        context: the most tokens that a prompt and its answer may have.
    """

    net: Any
    processor: Any
    family: Family
    settings: dict[str, Any]
    weights_sha256: str
    context: int

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer


def load(wanted: Wanted, device: torch.device) -> Loaded:
    """Load a model, its processor and its adapter.

    Raises:
        UsageError: no such model, one of another kind, or a processor that cannot make a chat turn.
        ModelError: it cannot be loaded, or weights are missing.
    """
    if int(version("transformers").split(".")[0]) < _LEAST_TRANSFORMERS:
        raise UsageError(
            f"--model hf_multi_image: needs transformers 5 or later, got {version('transformers')}; "
            "pip install -U transformers, or use --model openai_multi_image with a server"
        )
    config = _config(wanted)
    processor = _processor(wanted)
    net = _adapted(_net(wanted, config, device), wanted)
    family = family_of(config)
    if family.features and "mm_encoder_outputs" not in inspect.signature(net.forward).parameters:
        family = without_reuse(family, _NO_ENCODED_IMAGES)
    if family.fallback:
        logger.info(f"{config.model_type}: {family.fallback}")
    text = config.get_text_config()
    settings = {
        "family": config.model_type,
        "architecture": _digest(_scrubbed(config.to_dict())),
        "preprocess": _digest(_scrubbed(processor.image_processor.to_dict())),
        "tokenizer": tokenizer_digest(processor.tokenizer),
        "chat_template": _digest(processor.chat_template or processor.tokenizer.chat_template),
        "dtype": wanted.dtype,
        "attn_implementation": getattr(net.config.get_text_config(), "_attn_implementation", None),
        "quantised": _quantisation(config, wanted),
        "peft": None if wanted.peft is None else Path(wanted.peft).name,
        **({"fallback": family.fallback} if family.fallback else {}),
    }
    context = int(getattr(text, "max_position_embeddings", 0) or 0) or 2**31
    return Loaded(net, processor, family, settings, weights_sha256(net.state_dict()), context)


def _config(wanted: Wanted) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(wanted.pretrained, **wanted.source)
    except (OSError, ValueError) as error:
        raise UsageError(f"pretrained={wanted.pretrained}: no model there: {first_line(error)}") from error
    remote = wanted.source.get("trust_remote_code") and "AutoModelForImageTextToText" in getattr(config, "auto_map", {})
    if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and not remote:
        raise UsageError(
            f"pretrained={wanted.pretrained}: expected a chat model that sees images (qwen2_vl, llava, idefics3, …), "
            f"got {config.model_type}; dual encoders run with --model hf_dual_encoder"
        )
    return config


def _processor(wanted: Wanted) -> Any:
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(wanted.pretrained, **wanted.source)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"model {wanted.pretrained}: no processor with it: {first_line(error)}") from error
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise UsageError(
            f"model {wanted.pretrained}: its processor ({type(processor).__name__}) prepares no images with text; "
            "expected a chat model that sees images"
        )
    if not (processor.chat_template or processor.tokenizer.chat_template):
        raise UsageError(
            f"model {wanted.pretrained}: its processor has no chat template, so nobody can say how it is to be asked; "
            "expected a checkpoint with chat_template.jinja"
        )
    if wanted.pixels:
        _bound(processor.image_processor, wanted.pixels)
    return processor


def _bound(image_processor: Any, pixels: Mapping[str, int]) -> None:
    """Set the bounds of an image processor that resizes by area; transformers 5 calls them its edges."""
    kind = type(image_processor).__name__
    if "Qwen2VL" not in kind:
        name, value = next(iter(pixels.items()))
        raise UsageError(f"model_args {name}={value}: {kind} has no such bound; leave it out")
    edges = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
    size = {name: value for name, value in dict(image_processor.size).items() if value is not None}
    size |= {edges[name]: value for name, value in pixels.items()}
    if size["shortest_edge"] > size["longest_edge"]:
        raise UsageError(f"model_args min_pixels={size['shortest_edge']}: more than max_pixels={size['longest_edge']}")
    image_processor.size = type(image_processor.size)(**size)


def _net(wanted: Wanted, config: Any, device: torch.device) -> Any:
    from transformers import AutoModelForImageTextToText

    folder = Path(wanted.pretrained)
    for file in sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin")):
        check_readable(file)
    given: dict[str, Any] = {"dtype": torch_dtype(wanted.dtype), "weights_only": True, **wanted.source}
    for name in ("device_map", "attn_implementation"):
        if getattr(wanted, name) is not None:
            given[name] = getattr(wanted, name)
    if wanted.bits is not None:
        given["quantization_config"] = _bitsandbytes(wanted)
    try:
        net, report = AutoModelForImageTextToText.from_pretrained(wanted.pretrained, output_loading_info=True, **given)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise ModelError(f"model {wanted.pretrained}: cannot be loaded: {first_line(error)}") from error
    missing = sorted(name for name in report["missing_keys"] if not name.endswith("position_ids"))
    if missing:
        raise ModelError(
            f"model {wanted.pretrained}: {len(missing)} weights of {type(net).__name__} are not in the checkpoint "
            f"({', '.join(missing[:3])}, …) and would be random; is it a checkpoint of this kind?"
        )
    placed = wanted.device_map is not None or _quantisation(config, wanted) is not None
    return net.eval() if placed else net.to(device).eval()


def _bitsandbytes(wanted: Wanted) -> Any:
    try:
        version("bitsandbytes")
    except PackageNotFoundError as error:
        raise UsageError(
            f"model_args load_in_{wanted.bits}bit: bitsandbytes is not installed; pip install bitsandbytes"
        ) from error
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(**{f"load_in_{wanted.bits}bit": True})


def _quantisation(config: Any, wanted: Wanted) -> str | None:
    if wanted.bits is not None:
        return f"bitsandbytes, {wanted.bits} bits"
    own = getattr(config, "quantization_config", None)
    if own is None:
        return None
    return _digest(own if isinstance(own, dict) else own.to_dict())


def _adapted(net: Any, wanted: Wanted) -> Any:
    """The model with the peft adapter in its layers.

    Raises:
        UsageError: no adapter of this model, or a damaged one.
        ModelError: its weights are for other layers, which peft itself would leave as they are.
    """
    if wanted.peft is None:
        return net
    try:
        from peft import PeftModel
    except ImportError as error:
        raise UsageError(f"model_args peft={wanted.peft}: peft is not installed; pip install peft") from error
    for file in sorted(Path(wanted.peft).glob("adapter_model.*")):
        check_readable(file)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # peft asks by the old name
            warnings.filterwarnings("error", ".*[Mm]issing adapter keys", UserWarning)
            return PeftModel.from_pretrained(net, wanted.peft).eval().get_base_model()
    except UserWarning as error:
        raise ModelError(
            f"model_args peft={wanted.peft}: weights of the adapter that its configuration names are not in it "
            f"({first_line(error)[:200]}); is it an adapter of this model?"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = first_line(error)
        raise UsageError(f"model_args peft={wanted.peft}: no adapter for this model there: {reason}") from error


def _scrubbed(config: Any) -> Any:
    """A configuration without what does not change an answer."""
    if isinstance(config, Mapping):
        return {str(name): _scrubbed(value) for name, value in config.items() if name not in _SCRUBBED}
    return config


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
