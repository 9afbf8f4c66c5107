"""CLIP models of the open_clip library: its architectures and tags, `hf-hub:` names, local folders and files."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.model_adapters.dual_encoder import DualEncoder
from minchange_eval.model_adapters.encoder import Encoder, Tokens, torch_dtype, versions
from minchange_eval.model_adapters.model_args import first_line, flag
from minchange_eval.model_adapters.weights import check_readable, tokenizer_digest, weights_sha256

if TYPE_CHECKING:
    import torch
    from PIL import Image

BUNDLED = {"minchange-tiny": Path(__file__).parent / "minchange_tiny"}
CONFIG_FILE = "open_clip_config.json"


class OpenClip(DualEncoder):
    """`--model open_clip`.

    model_args beside the shared ones (`EncodingOptions`):
        model_name: an architecture of open_clip, `hf-hub:org/name`, a folder with open_clip_config.json and weights,
            or `minchange-tiny`, the bundled model.
        pretrained: for an architecture: a tag of open_clip, a .safetensors file, or a .pt file that holds tensors only.
        force_quick_gelu: true or false; needed where it is not known which activation the weights were trained with.
    """

    adapter = "open_clip"
    own_args = ("model_name", "pretrained", "force_quick_gelu")

    @classmethod
    def load(cls, own: Mapping[str, Any], device: torch.device, dtype: str) -> Encoder:
        """Raises: UsageError for an unknown name or tag, an unsafe file, or an activation that does not fit."""
        source = find_weights(
            str(own.get("model_name", "minchange-tiny")),
            None if own.get("pretrained") in (None, "") else str(own["pretrained"]),
            flag("force_quick_gelu", own.get("force_quick_gelu")),
        )
        return OpenClipEncoder(source, device, dtype)


@dataclass(frozen=True)
class OpenClipSource:
    """Where a model comes from, after every check that needs no weights.

    Attributes:
        name: what open_clip calls it: an architecture, `hf-hub:…` or `local-dir:…`.
        shown: the name for people.
        pretrained: tag or file; None where the weights come with the name.
        quick_gelu: the activation: QuickGELU or plain GELU.
        seed: of random weights, for a model that is to be trained from nothing; None where there are weights.
    """

    name: str
    shown: str
    pretrained: str | None
    quick_gelu: bool
    seed: int | None = None


def find_weights(model_name: str, pretrained: str | None, force_quick_gelu: bool | None) -> OpenClipSource:
    """Find a model and settle its activation.

    Raises:
        UsageError: the name, tag or file does not exist, cannot be read safely, or the activation is not settled.
    """
    folder = BUNDLED.get(model_name) or Path(model_name.removeprefix("local-dir:")).expanduser()
    if model_name.startswith("hf-hub:") or folder.is_dir():
        if pretrained is not None:
            raise UsageError(f"pretrained={pretrained}: {model_name} brings its own weights; leave pretrained out")
        name = model_name if model_name.startswith("hf-hub:") else f"local-dir:{folder}"
        return OpenClipSource(name, model_name, None, _activation_of_config(name, folder, force_quick_gelu))
    _check_architecture(model_name)
    weights = _checked_weights(model_name, pretrained)
    quick_gelu = _activation(model_name, weights, force_quick_gelu)
    return OpenClipSource(model_name, f"{model_name}/{pretrained}", weights, quick_gelu)


def untrained(architecture: str, force_quick_gelu: bool | None, seed: int) -> OpenClipSource:
    """An architecture of open_clip with random weights, for training only.

    Raises:
        UsageError: no such architecture, or it is defined with QuickGELU and plain GELU is forced.
    """
    import open_clip

    _check_architecture(architecture)
    built = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu", False))
    quick_gelu = built if force_quick_gelu is None else _forced(architecture, built, force_quick_gelu)
    return OpenClipSource(architecture, f"{architecture}/random-{seed}", None, quick_gelu, seed)


def _check_architecture(name: str) -> None:
    import open_clip

    known = [*BUNDLED, *open_clip.list_models()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else "open_clip.list_models() names them."
        raise UsageError(f"model_name={name}: no architecture of open_clip, no folder, no hf-hub: name. {hint}")


def _checked_weights(architecture: str, pretrained: str | None) -> str:
    """The tag or file, if it exists and can be read safely."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(architecture)
    if pretrained is None:
        raise UsageError(
            f"model_name={architecture}: say which weights: pretrained=FILE or one of {', '.join(tags) or 'no tags'}"
        )
    if get_pretrained_cfg(architecture, pretrained):
        return pretrained
    file = Path(pretrained).expanduser()
    if not file.is_file():
        near = difflib.get_close_matches(pretrained, tags, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Tags: {', '.join(tags) or 'none'}."
        raise UsageError(f"pretrained={pretrained}: no file and no tag of {architecture}. {hint}")
    check_readable(file)
    return str(file)


def _activation(architecture: str, pretrained: str, force: bool | None) -> bool:
    """Whether the towers use QuickGELU; an error where that is a guess."""
    from open_clip.factory import get_model_config
    from open_clip.pretrained import get_pretrained_cfg

    built = bool((get_model_config(architecture) or {}).get("quick_gelu", False))
    tag = get_pretrained_cfg(architecture, pretrained)
    if force is not None:
        return _forced(architecture, built, force)
    if tag and bool(tag.get("quick_gelu", False)) == built:
        return built
    plain = architecture.removesuffix("-quickgelu")
    if not tag and not _has_both(plain):
        return built
    how = "were trained with" if tag else "may have been trained with"
    trained = "QuickGELU" if not tag or tag.get("quick_gelu") else "plain GELU"
    raise UsageError(
        f"model_name={architecture},pretrained={pretrained}: these weights {how} {trained}, the architecture has "
        f"{'QuickGELU' if built else 'plain GELU'}, and the wrong one lowers scores silently; say which: "
        f"force_quick_gelu=true (OpenAI's weights and models fine-tuned from them) or force_quick_gelu=false"
    )


def _forced(architecture: str, built: bool, force: bool) -> bool:
    if built and not force:
        plain = architecture.removesuffix("-quickgelu")
        raise UsageError(
            f"force_quick_gelu=false: {architecture} is defined with QuickGELU; "
            f"use model_name={plain if plain != architecture else 'of a plain-GELU architecture'} instead"
        )
    return force


def _has_both(plain: str) -> bool:
    """Whether weights of both activations exist in the wild for this architecture."""
    from open_clip.factory import get_model_config
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    if get_model_config(f"{plain}-quickgelu") is not None:
        return True
    return any(get_pretrained_cfg(plain, tag).get("quick_gelu") for tag in list_pretrained_tags_by_model(plain))


def _activation_of_config(name: str, folder: Path, force: bool | None) -> bool:
    """The activation that a model's own configuration states; it may be overruled, towards QuickGELU only."""
    from open_clip.factory import get_model_config

    if not name.startswith("hf-hub:"):
        _check_folder(folder)
    try:
        config = get_model_config(name) or {}
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"model_name={name}: its {CONFIG_FILE} cannot be had: {first_line(error)}") from error
    built = config.get("quick_gelu")
    if force is False and built:
        raise UsageError(f"force_quick_gelu=false: {name} says quick_gelu=true in its {CONFIG_FILE}; change it there")
    if force is None and built is None:
        return _unstated_activation(name, config)
    return bool(built) if force is None else force


def _unstated_activation(name: str, config: Mapping[str, Any]) -> bool:
    """What open_clip knows of a repository on the Hub, else plain GELU where no model of these widths has QuickGELU."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained

    repository = name.removeprefix("hf-hub:").split("/")
    tags = [get_pretrained_cfg(*model_and_tag) for model_and_tag in list_pretrained()]
    stated = {bool(tag.get("quick_gelu")) for tag in tags if tag.get("hf_hub", "").split("/")[:2] == repository}
    if len(stated) == 1:
        return stated.pop()
    for known in open_clip.list_models():
        plain = known.removesuffix("-quickgelu")
        if _widths(open_clip.get_model_config(known)) == _widths(config) and _has_both(plain):
            raise UsageError(
                f"model_name={name}: its {CONFIG_FILE} does not say quick_gelu, weights of this shape ({plain}) exist "
                f"with QuickGELU and with plain GELU, and the wrong one lowers scores silently; say which: "
                f"force_quick_gelu=true (OpenAI's weights and models fine-tuned from them) or force_quick_gelu=false"
            )
    return False


def _widths(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the shapes of most weights follow from; not the size of the images, which fine-tuning may change."""
    vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    towers = [vision.get(key) for key in ("timm_model_name", "layers", "width", "patch_size")]
    return (config.get("embed_dim"), *towers, *[text.get(key) for key in ("hf_model_name", "layers", "width")])


def _check_folder(folder: Path) -> None:
    from open_clip.factory import _find_checkpoint_in_dir

    config = folder / CONFIG_FILE
    if not config.is_file():
        raise UsageError(f"model_name={folder}: expected {CONFIG_FILE} in this folder, found none")
    try:
        whole = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{config}: expected JSON ({error})") from error
    if "model_cfg" not in whole:
        raise UsageError(f"{config}: expected the key model_cfg, got {', '.join(whole) or 'nothing'}")
    weights = _find_checkpoint_in_dir(folder)
    if weights is None:
        raise UsageError(f"model_name={folder}: expected weights (*.safetensors) in this folder, found none")
    check_readable(Path(weights))


class OpenClipEncoder(Encoder):
    """A model of open_clip with its own preprocessing and tokenizer.

    Attributes:
        model_cfg: the architecture with its activation stated, as open_clip_config.json has it.
        preprocess_cfg: size, mean, std, interpolation, resize_mode, as open_clip names them.
        tokenizer: open_clip's.

    Raises:
        ModelError: it cannot be loaded.
    """

    def __init__(self, source: OpenClipSource, device: torch.device, dtype: str) -> None:
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        exact = _model(source) if source.seed is None else _random_model(source, source.seed)
        self.name = source.shown
        self.weights_sha256 = weights_sha256(exact.state_dict())
        model = _in_precision(source, exact, device, dtype).eval()
        config = open_clip.get_model_config(source.name) or {}
        preprocess = dict(model.visual.preprocess_cfg)
        self.model_cfg = {**copy.deepcopy(config), "quick_gelu": source.quick_gelu}
        self.preprocess_cfg = preprocess
        self.settings = {
            "activation": "quick_gelu" if source.quick_gelu else str(_stated_activation(config)),
            "architecture": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16],
            "preprocess": json.loads(json.dumps(preprocess)),
        }
        self.packages = versions("torchvision", "open_clip_torch", "timm", "ftfy", "regex")  # the last two: captions
        self.model, self.device = model, device
        self._prepare = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
        self.tokenizer = open_clip.get_tokenizer(source.name)
        inner = getattr(self.tokenizer, "tokenizer", None)
        if inner is not None:  # one of transformers; open_clip's own comes with its version
            self.settings["tokenizer"] = tokenizer_digest(inner)
            self.packages |= versions("transformers", "tokenizers")
        self._context = int(getattr(model, "context_length", 0) or self.tokenizer.context_length)
        self._input_dtype = torch_dtype(dtype)

    def prepare_image(self, picture: Image.Image) -> dict[str, torch.Tensor]:
        return {"image": self._prepare(picture)}

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        tokens = self.tokenizer(list(captions), context_length=self._context)
        longest = _length_counter(self.tokenizer)
        return Tokens({"text": tokens}, tuple(longest(caption) > self._context for caption in captions))

    def encode_images(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        embeddings: torch.Tensor = self.model.encode_image(inputs["image"].to(self._input_dtype))  # type: ignore[operator]
        return embeddings

    def encode_texts(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        embeddings: torch.Tensor = self.model.encode_text(inputs["text"])  # type: ignore[operator]
        return embeddings


def _model(source: OpenClipSource, **how: Any) -> Any:
    """The model as open_clip makes it, with its weights in float32 on CPU unless `how` says otherwise."""
    import open_clip

    library = logging.getLogger()
    level = library.level
    library.setLevel(logging.ERROR)  # open_clip logs every step of loading to the root logger
    try:
        return open_clip.create_model(
            source.name,
            pretrained=source.pretrained,
            force_quick_gelu=source.quick_gelu,
            weights_only=True,
            pretrained_text=False,
            **{"require_pretrained": True, **how},
        )
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise ModelError(f"model {source.shown}: cannot be loaded: {_why(error)}") from error
    finally:
        library.setLevel(level)


def _random_model(source: OpenClipSource, seed: int) -> Any:
    """The same weights for the same seed; torch's own seed stays as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _model(source, load_weights=False, require_pretrained=False, pretrained_image=False)


def _why(error: Exception) -> str:
    """What open_clip says, in one line: weights that do not fit the architecture fill hundreds."""
    lines = [line.strip() for line in str(error).splitlines()[1:]]
    found = {
        what: [line for line in lines if line.startswith(start)]
        for what, start in (
            ("missing", "Missing key(s)"),
            ("of no use", "Unexpected key(s)"),
            ("shape", "size mismatch"),
        )
    }
    parts = []
    for what in ("missing", "of no use"):
        names = re.findall(r'"([^"]+)"', " ".join(found[what]))
        if names:
            parts.append(f"{len(names)} weights are {what} ({', '.join(names[:2])}{', …' if len(names) > 2 else ''})")
    shapes = [_MISMATCH.match(line) for line in found["shape"]]
    if shapes and shapes[0]:
        name, there, here = shapes[0].groups()
        parts.append(f"{len(shapes)} have another shape ({name}: [{there}] in the file, [{here}] in the model)")
    if not parts:
        return first_line(error)
    return f"the weights are of another architecture: {'; '.join(parts)}; name the architecture they were trained as"


_MISMATCH = re.compile(r"size mismatch for (\S+): .*?\[([^]]*)\].*?\[([^]]*)\]")


def _in_precision(source: OpenClipSource, exact: Any, device: torch.device, dtype: str) -> Any:
    """The same weights in another dtype.

    A model of half precision has layers of its own (its norms compute in float32), so it is made anew, not cast.
    """
    if dtype == "fp32":
        return exact.to(device)
    model = _model(source, precision=dtype, device=device, load_weights=False, require_pretrained=False)
    model.load_state_dict(exact.state_dict())
    return model


def _stated_activation(config: Mapping[str, Any]) -> str:
    towers = (config.get("vision_cfg", {}), config.get("text_cfg", {}))
    named = {str(tower["act_kwargs"]) for tower in towers if tower.get("act_kwargs")}
    return f"gelu {', '.join(sorted(named))}".strip()


def _length_counter(tokenizer: Any) -> Callable[[str], int]:
    """How many tokens a caption has, start and end included, before it is cut."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is not None:
        clean = getattr(tokenizer, "clean_fn", None) or str
        return lambda caption: len(inner(clean(caption), verbose=False)["input_ids"])
    return lambda caption: len(tokenizer.encode(caption)) + 2
