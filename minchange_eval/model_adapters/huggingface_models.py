"""Dual encoders of the transformers library: CLIP, SigLIP, SigLIP 2, FLAVA, and BLIP's contrastive head.

Sources: SPEC (arXiv:2312.00081) for how FLAVA and BLIP are read; see docs/decisions/0041-flava-and-blip.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.model_adapters.dual_encoder import DualEncoder
from minchange_eval.model_adapters.encoder import Encoder, Tokens, torch_dtype, versions
from minchange_eval.model_adapters.model_args import first_line, flag, one_of
from minchange_eval.model_adapters.weights import check_readable, tokenizer_digest, weights_sha256

if TYPE_CHECKING:
    import torch
    from PIL import Image


@dataclass(frozen=True)
class Family:
    """How one kind of model is loaded and read.

    Attributes:
        model_class: name of its class in transformers.
        most_tokens: captions are padded and cut to this many tokens, or to the model's own context if that is smaller.
        attention_mask: whether the text tower is told which tokens are padding; SigLIP was trained without.
    """

    model_class: str
    most_tokens: int = 512
    attention_mask: bool = True


FAMILIES = {
    "clip": Family("CLIPModel"),
    "siglip": Family("SiglipModel", attention_mask=False),
    "siglip2": Family("Siglip2Model", attention_mask=False),
    "flava": Family("FlavaModel", most_tokens=77),  # SPEC's evaluator pads to 77
    "blip": Family("BlipForImageTextRetrieval", most_tokens=35),  # BLIP's retrieval code, and SPEC's evaluator
}
SCRUBBED = {"transformers_version", "_name_or_path", "name_or_path", "dtype", "torch_dtype", "architectures"}


class HuggingFaceDualEncoder(DualEncoder):
    """`--model hf_dual_encoder`.

    model_args beside the shared ones (`EncodingOptions`):
        pretrained: a name on the Hub or a local folder.
        revision: of a name on the Hub.
        trust_remote_code: run Python that comes with the model; false unless asked for.
        flava_features: `projected` (what SPEC's evaluator reads: the contrastive space) or `unprojected`.
    """

    adapter = "hf_dual_encoder"
    own_args = ("pretrained", "revision", "trust_remote_code", "flava_features")

    @classmethod
    def load(cls, own: Mapping[str, Any], device: torch.device, dtype: str) -> Encoder:
        """Raises: UsageError for an unknown name or kind of model, ModelError if it cannot be loaded."""
        if own.get("pretrained") in (None, ""):
            raise UsageError("--model hf_dual_encoder: say which model: --model_args pretrained=FOLDER or org/name")
        features = {"projected": "projected", "unprojected": "unprojected"}
        return HuggingFaceEncoder(
            str(own["pretrained"]),
            device,
            dtype,
            revision=None if own.get("revision") is None else str(own["revision"]),
            trust_remote_code=bool(flag("trust_remote_code", own.get("trust_remote_code"))),
            projected=one_of("flava_features", own.get("flava_features", "projected"), features) == "projected",
        )


class HuggingFaceEncoder(Encoder):
    """A model of transformers with its own image processor and tokenizer.

    Attributes:
        kind: its model_type, a key of FAMILIES.
        processor: its image processor.
        tokenizer: its tokenizer.

    Raises:
        UsageError: there is no such model, or it is of another kind.
        ModelError: it cannot be loaded, or weights are missing.
    """

    def __init__(
        self,
        pretrained: str,
        device: torch.device,
        dtype: str,
        *,
        revision: str | None = None,
        trust_remote_code: bool = False,
        projected: bool = True,
    ) -> None:
        source = {"revision": revision, "trust_remote_code": trust_remote_code}
        config = _config(pretrained, source)
        self.kind, self._projected = config.model_type, projected
        self._family = FAMILIES[self.kind]
        model = _model(pretrained, self._family, source).eval()
        self.processor, self.tokenizer = _processors(pretrained, source)
        self._tokens = min(self._family.most_tokens, config.text_config.max_position_embeddings)
        self.name = pretrained if revision is None else f"{pretrained}@{revision}"
        self.weights_sha256 = weights_sha256(model.state_dict())
        self.settings = {
            "activation": config.text_config.hidden_act,
            "architecture": _digest(_scrubbed(config.to_dict())),
            "max_tokens": self._tokens,
            "preprocess": _digest(_scrubbed(self.processor.to_dict())),
            "tokenizer": tokenizer_digest(self.tokenizer),
        }
        if self.kind == "flava":
            self.settings["flava_features"] = "projected" if projected else "unprojected"
        self.packages = versions("transformers", "tokenizers")
        self.model, self.device = model.to(device=device, dtype=torch_dtype(dtype)), device
        self._dtype = torch_dtype(dtype)

    def prepare_image(self, picture: Image.Image) -> dict[str, torch.Tensor]:
        prepared = self.processor(images=picture, return_tensors="pt")
        return {name: values[0] for name, values in prepared.items()}

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        whole = self.tokenizer(list(captions), truncation=False, padding=False, verbose=False)["input_ids"]
        cut = self.tokenizer(
            list(captions), truncation=True, padding="max_length", max_length=self._tokens, return_tensors="pt"
        )
        names = ("input_ids", "attention_mask") if self._family.attention_mask else ("input_ids",)
        return Tokens({name: cut[name] for name in names}, tuple(len(ids) > self._tokens for ids in whole))

    def encode_images(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        given = {name: self._in_dtype(values) for name, values in inputs.items()}
        model: Any = self.model
        if self.kind == "blip":
            return _first(model.vision_proj(model.vision_model(**given).last_hidden_state))
        if self.kind == "flava":
            hidden = model.image_model(**given).last_hidden_state
            return _first(model.image_projection(hidden) if self._projected else hidden)
        return _pooled(model.get_image_features(**given))

    def encode_texts(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        model: Any = self.model
        if self.kind == "blip":
            return _first(model.text_proj(model.text_encoder(**inputs).last_hidden_state))
        if self.kind == "flava":
            hidden = model.text_model(**inputs).last_hidden_state
            return _first(model.text_projection(hidden) if self._projected else hidden)
        return _pooled(model.get_text_features(**inputs))

    def _in_dtype(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self._dtype) if values.is_floating_point() else values


def _first(hidden: torch.Tensor) -> torch.Tensor:
    """The first (class) token of [rows, tokens, width]."""
    return hidden[:, 0, :]


def _pooled(features: Any) -> torch.Tensor:
    """transformers 4 returns the embedding, 5 an output that holds it."""
    embedding: torch.Tensor = getattr(features, "pooler_output", features)
    return embedding


def _config(pretrained: str, source: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(pretrained, **source)
    except (OSError, ValueError) as error:
        raise UsageError(f"pretrained={pretrained}: no model there: {first_line(error)}") from error
    if config.model_type not in FAMILIES:
        raise UsageError(
            f"pretrained={pretrained}: expected a model of the kinds {', '.join(FAMILIES)}, got {config.model_type}"
        )
    return config


def _model(pretrained: str, family: Family, source: Mapping[str, Any]) -> Any:
    import torch
    import transformers

    folder = Path(pretrained)
    for file in sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin")):
        check_readable(file)
    loader = getattr(transformers, family.model_class)
    dtype = "dtype" if _generation() >= 5 else "torch_dtype"
    own_code = {name: value for name, value in source.items() if name != "trust_remote_code"}
    try:
        model, report = loader.from_pretrained(
            pretrained,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            weights_only=True,
            **{dtype: torch.float32},
            **own_code,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"model {pretrained}: cannot be loaded: {first_line(error)}") from error
    shapes = sorted((str(name), list(there), list(here)) for name, there, here in report["mismatched_keys"])
    if shapes:
        name, there, here = shapes[0]
        raise ModelError(
            f"model {pretrained}: {len(shapes)} weights have another shape than its config.json says ({name}: {there} "
            f"in the file, {here} in the model); get both files of the same model"
        )
    missing = sorted(name for name in report["missing_keys"] if not name.endswith("position_ids"))
    if missing:
        raise ModelError(
            f"model {pretrained}: {len(missing)} weights of {family.model_class} are missing from the checkpoint "
            f"({', '.join(missing[:3])}, …) and would be random; is it a checkpoint of this kind?"
        )
    return model


def _processors(pretrained: str, source: Mapping[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor, AutoTokenizer

    # Pillow resizes as the papers' evaluators did; torchvision's resize differs in the last digits.
    by_pillow = {"backend": "pil"} if _generation() >= 5 else {"use_fast": False}
    try:
        processor = AutoImageProcessor.from_pretrained(pretrained, **by_pillow, **source)
        return processor, AutoTokenizer.from_pretrained(pretrained, **source)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {pretrained}: no image processor or no tokenizer with it: {first_line(error)}"
        ) from error


def _generation() -> int:
    """The major version of transformers."""
    return int(version("transformers").split(".")[0])


def _scrubbed(config: Any) -> Any:
    """A configuration without what does not change an embedding."""
    if isinstance(config, Mapping):
        return {str(name): _scrubbed(value) for name, value in config.items() if name not in SCRUBBED}
    return config


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
