from __future__ import annotations

import copy
import json
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

from minchange_eval.core.errors import DataError, MinchangeError, UsageError
from minchange_eval.model_adapters.encoder import Encoder
from minchange_eval.model_adapters.huggingface_models import HuggingFaceDualEncoder
from minchange_eval.model_adapters.open_clip_models import BUNDLED, OpenClip
from minchange_eval.trainers.clip import layouts
from minchange_eval.trainers.clip.layouts import CROPPING, finish_moving, storable, write_checkpoint_folder
from minchange_eval.trainers.clip.trained_model import load_for_training
from tests.model_adapters.checkpoints import huggingface_folder, open_clip_folder

EDGE_PX = 32
VIT = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": EDGE_PX}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
PICTURE = Path(__file__).parents[3] / "docs/images/contact_sheet.png"
CAPTIONS = [
    "a photo of the red cat",
    "A Dog's Café, naïve e\u0301 ÅÆØ; ＃ 12 cats & 3rd",
    "“curly” ‘quotes’ don’t matter",
    "ﬁne &amp; dandy &lt;b&gt; &quot;x&quot;",
    "日本語のテスト 🐱🐶 \u200b zero width",
    "  two\tlines\n and \xa0 spaces  ",
    "",
    "above the very long table " * 40,
]
PLAIN = [CAPTIONS[0], "A dog above 12 cats", "the blue cat left of the red dog", CAPTIONS[-1]]  # nothing to repair


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


@timm.models.register_model
def vit_minchange_patch8_siglip_32(pretrained: bool = False, **more: Any) -> Any:
    """A SigLIP image tower of timm that is small enough for a test."""
    sizes = {"img_size": EDGE_PX, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "class_token": False}
    return timm.models.build_model_with_cfg(
        VisionTransformer, "vit_minchange_patch8_siglip_32", pretrained, **{**sizes, **more}
    )


SIGLIP: dict[str, Any] = {
    "embed_dim": 32,
    "init_logit_bias": -10,
    "vision_cfg": {
        "image_size": EDGE_PX,
        "timm_model_name": "vit_minchange_patch8_siglip_32",
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        **TEXT,
        "vocab_size": 4690,
        "hf_tokenizer_name": "its own",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "mlp_ratio": 2.5,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
    },
}
OPEN_CLIP: dict[str, dict[str, Any]] = {
    "vit-gelu": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
    "vit-quick_gelu": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "vit-tanh": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": {**VIT, "mlp_ratio": 3.7362, "act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-6}},
        "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 49407},
        "init_logit_bias": -10,
        "nonscalar_logit_scale": True,
    },
    "siglip": {**SIGLIP, "custom_text": True},
}
SQUASH = {"resize_mode": "squash", "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}


def open_clip_model(folder: Path, name: str, **preprocess: Any) -> Path:
    """A random model of one of the configurations above, with weights far enough from zero to tell mistakes."""
    from open_clip.model import CLIP, CustomTextCLIP

    config = OPEN_CLIP[name]
    folder.mkdir(parents=True)
    whole = {"model_cfg": {"quick_gelu": False, **config}, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    if "hf_tokenizer_name" in config["text_cfg"]:
        for file in BUNDLED["minchange-tiny"].glob("tokenizer*.json"):
            shutil.copy(file, folder)
    kind = CustomTextCLIP if config.get("custom_text") else CLIP
    model = kind(**{key: copy.deepcopy(value) for key, value in config.items() if key != "custom_text"})
    save_file(lively(model), folder / "open_clip_model.safetensors")
    return folder


def hugging_face_model(folder: Path, name: str) -> Path:
    """`clip-…` or `siglip`; the tokenizer has 39 words, [EOS] is number 2."""
    import transformers as hf

    huggingface_folder(folder, name.split("-")[0])
    config = hf.AutoConfig.from_pretrained(folder)
    if name == "siglip":
        config.vision_config.patch_size = 8
        config.vision_config.hidden_act = "gelu"
        config.vision_config.intermediate_size = 128
        config.text_config.projection_size = 32
        model: Any = hf.SiglipModel(config)
    else:
        for tower in (config.text_config, config.vision_config):
            tower.hidden_act = name.split("-")[1]
        if name.endswith("eos"):  # the first [EOS] of a caption that has other tokens with higher numbers
            config.text_config.eos_token_id = 3
            file = folder / "tokenizer.json"
            file.write_text(swapped(file.read_text(encoding="utf-8"), "[EOS]", "[UNK]"), encoding="utf-8")
        model = hf.CLIPModel(config)
    model.load_state_dict(lively(model))
    model.save_pretrained(folder)
    return folder


def swapped(tokenizer: str, one: str, other: str) -> str:
    """A tokenizer.json in which two words have each other's numbers."""
    whole = json.loads(tokenizer)
    words = whole["model"]["vocab"]
    words[one], words[other] = words[other], words[one]
    for token in whole["added_tokens"]:
        token["id"] = words[token["content"]]
    for token in whole["post_processor"]["special_tokens"].values():
        token["ids"] = [words[name] for name in token["tokens"]]
    return json.dumps(whole)


def lively(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    state = model.state_dict()
    return {
        name: (value + 0.2 * torch.randn(value.shape, generator=generator)).contiguous()
        for name, value in state.items()
    }


def loaded(layout: str, folder: Path) -> Encoder:
    if layout == "open_clip":
        return OpenClip.load({"model_name": str(folder)}, torch.device("cpu"), "fp32")
    return HuggingFaceDualEncoder.load({"pretrained": str(folder)}, torch.device("cpu"), "fp32")


def pictures() -> list[Image.Image]:
    """A real picture, whole (wide) and in two other shapes."""
    whole = Image.open(PICTURE).convert("RGB")
    return [whole, whole.crop((100, 50, 297, 321)), whole.crop((0, 0, 240, 240))]


def embeddings(encoder: Encoder, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    prepared = [encoder.prepare_image(picture) for picture in pictures()]
    images = {name: torch.stack([row[name] for row in prepared]) for name in prepared[0]}
    training = encoder.model.training
    encoder.model.eval()
    with torch.no_grad():
        rows = encoder.encode_images(images), encoder.encode_texts(encoder.tokenize(captions).inputs)
    encoder.model.train(training)
    return torch.nn.functional.normalize(rows[0], dim=-1), torch.nn.functional.normalize(rows[1], dim=-1)


def pixels(encoder: Encoder, picture: Image.Image, mean: Any, std: Any) -> np.ndarray[Any, Any]:
    """What the model sees, as uint8 [3, edge, edge]."""
    prepared = encoder.prepare_image(picture)
    values = next(prepared[name] for name in ("image", "pixel_values") if name in prepared).numpy()
    shape = (3, 1, 1)
    seen: np.ndarray[Any, Any] = np.rint((values * np.reshape(std, shape) + np.reshape(mean, shape)) * 255)
    return seen.astype(np.uint8)


def ids(encoder: Encoder, captions: list[str], end: int) -> list[list[int]]:
    """Tokens up to the first end token; what comes after it is padding, and each library pads in its own way."""
    rows = next(iter(encoder.tokenize(captions).inputs.values())).tolist()
    return [row[: row.index(end) + 1] for row in rows]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Encoder, Path, Any]]:
    """name -> the live model, the folder that it was written to, and what was said of it; once a module."""
    done: dict[str, tuple[Encoder, Path, Any]] = {}

    def write(name: str) -> tuple[Encoder, Path, Any]:
        if name not in done:
            folder = tmp_path_factory.mktemp("models")
            library, _, model = name.partition(":")
            if library == "open_clip":
                preprocess = SQUASH if model == "siglip" else {}
                encoder = load_for_training(str(open_clip_model(folder / "from", model, **preprocess)))
            else:
                encoder = load_for_training(str(hugging_face_model(folder / "from", model)), "hf_dual_encoder")
            done[name] = encoder, folder / "to", write_checkpoint_folder(encoder, folder / "to")
        return done[name]

    return write


BOTH = [
    *[f"open_clip:{name}" for name in OPEN_CLIP],
    "transformers:clip-gelu",
    "transformers:clip-quick_gelu",
    "transformers:clip-quick_gelu-eos",
    "transformers:siglip",
]


@pytest.mark.parametrize("layout", ["open_clip", "transformers"])
@pytest.mark.parametrize("name", BOTH)
def test_the_folder_gives_the_embeddings_of_the_live_model_through_both_adapters(
    written: Callable[[str], tuple[Encoder, Path, Any]], name: str, layout: str
) -> None:
    live, folder, said = written(name)
    assert said.layouts == ("open_clip", "transformers"), said.left_out
    captions = CAPTIONS if name.startswith("open_clip") else PLAIN
    pairs = zip(embeddings(live, captions), embeddings(loaded(layout, folder), captions), strict=True)
    for ours, theirs in pairs:
        assert (ours - theirs).abs().max() < 1e-5
        assert (ours - ours.roll(1, 0)).abs().max() > 1e-2  # rows that are all alike would prove nothing


@pytest.mark.parametrize(
    "name", ["open_clip:vit-gelu", "open_clip:siglip", "transformers:clip-gelu", "transformers:siglip"]
)
def test_pictures_are_prepared_alike_to_the_last_step(
    written: Callable[[str], tuple[Encoder, Path, Any]], name: str
) -> None:
    _, folder, _ = written(name)
    settings = json.loads((folder / "open_clip_config.json").read_text())["preprocess_cfg"]
    sides = [loaded(layout, folder) for layout in ("open_clip", "transformers")]
    for picture in pictures():
        ours, theirs = (pixels(side, picture, settings["mean"], settings["std"]) for side in sides)
        assert ours.std() > 20
        assert np.array_equal(ours, theirs)


def test_a_crop_that_the_libraries_round_differently_is_said(
    written: Callable[[str], tuple[Encoder, Path, Any]],
) -> None:
    _, folder, said = written("open_clip:vit-gelu")
    assert CROPPING in said.differences
    sides = [loaded(layout, folder) for layout in ("open_clip", "transformers")]
    settings = json.loads((folder / "open_clip_config.json").read_text())["preprocess_cfg"]
    for over in range(1, 8):
        picture = pictures()[0].resize((EDGE_PX + over, EDGE_PX))
        ours, theirs = (pixels(side, picture, settings["mean"], settings["std"]) for side in sides)
        assert np.array_equal(ours, theirs) == (over % 4 != 3)


@pytest.mark.parametrize("name", ["open_clip:vit-gelu", "open_clip:siglip"])
def test_tokens_are_equal_also_of_unicode_and_of_captions_that_are_too_long(
    written: Callable[[str], tuple[Encoder, Path, Any]], name: str
) -> None:
    live, folder, _ = written(name)
    end = 49407 if name == "open_clip:vit-gelu" else 4689
    expected = ids(live, CAPTIONS, end)
    assert max(len(row) for row in expected) == TEXT["context_length"]
    for layout in ("open_clip", "transformers"):
        side = loaded(layout, folder)
        assert ids(side, CAPTIONS, end) == expected
        assert side.tokenize(CAPTIONS).truncated == live.tokenize(CAPTIONS).truncated


def test_the_whole_vocabulary_of_clip_reads_alike_in_both_libraries(
    written: Callable[[str], tuple[Encoder, Path, Any]],
) -> None:
    _, folder, _ = written("open_clip:vit-gelu")
    ours, theirs = (loaded(layout, folder) for layout in ("open_clip", "transformers"))
    words = [word.removesuffix("</w>") for word in ours.tokenizer.encoder if word.isascii()]  # type: ignore[attr-defined]
    captions = [" ".join(words[start : start + 5]) for start in range(0, 45_000, 45)]
    assert ids(ours, captions, 49407) == ids(theirs, captions, 49407)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("open_clip:vit-quick_gelu", "quick_gelu"),
        ("open_clip:vit-gelu", "gelu"),
        ("open_clip:vit-tanh", "gelu_pytorch_tanh"),
    ],
)
def test_the_activation_is_stated_for_both_libraries(
    written: Callable[[str], tuple[Encoder, Path, Any]], name: str, said: str
) -> None:
    _, folder, _ = written(name)
    assert json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["quick_gelu"] is (
        said == "quick_gelu"
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["vision_config"].get("hidden_act", "quick_gelu") == said


def test_any_user_of_transformers_can_load_the_folder(written: Callable[[str], tuple[Encoder, Path, Any]]) -> None:
    from transformers import AutoModel, AutoProcessor

    live, folder, _ = written("open_clip:vit-gelu")
    processor = AutoProcessor.from_pretrained(folder)
    given = processor(text=["a cat"], images=pictures()[2], return_tensors="pt", padding="max_length", truncation=True)
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        rows = model.get_text_features(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
    row = torch.nn.functional.normalize(getattr(rows, "pooler_output", rows), dim=-1)
    assert (row - embeddings(live, ["a cat"])[1]).abs().max() < 1e-5


def test_open_clip_takes_its_own_file_where_both_are(
    written: Callable[[str], tuple[Encoder, Path, Any]], tmp_path: Path
) -> None:
    live, folder, _ = written("open_clip:vit-gelu")
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(b"not read")
    ours = embeddings(loaded("open_clip", tmp_path / "model"), PLAIN)
    assert torch.equal(ours[0], embeddings(live, PLAIN)[0])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32, "head_width": 8}}, "ModifiedResNet"),
        ({"vision_cfg": {**VIT, "ls_init_value": 0.1}}, "attention blocks"),
        ({"vision_cfg": {**VIT, "pool_type": "avg"}}, "pools at the class token"),
        ({"vision_cfg": {**VIT, "no_ln_pre": True}}, "pools at the class token"),
        ({"vision_cfg": {**VIT, "image_size": [32, 48]}}, "square pictures"),
        ({"vision_cfg": VIT, "text_cfg": {**TEXT, "proj_bias": True}}, "one matrix"),
        ({"vision_cfg": VIT, "text_cfg": {**TEXT, "no_causal_mask": True}}, "causal text tower"),
        ({"vision_cfg": VIT, "text_cfg": {**TEXT, "pool_type": "last"}}, "pools by 'last'"),
        ({"vision_cfg": VIT, "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 2}}, "end token other than 2"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_what_transformers_cannot_express_is_written_for_open_clip_alone_with_the_reason(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    encoder = load_for_training(str(open_clip_folder(tmp_path / "from", **change)))
    said = write_checkpoint_folder(encoder, tmp_path / "to")
    assert said.layouts == ("open_clip",)
    assert why in said.left_out["transformers"]
    assert said.files == ("open_clip_config.json", "open_clip_model.safetensors")
    assert said.as_json()["left_out"] == said.left_out
    assert torch.equal(embeddings(loaded("open_clip", tmp_path / "to"), PLAIN)[1], embeddings(encoder, PLAIN)[1])


def test_a_resize_that_transformers_does_not_know_is_a_reason(tmp_path: Path) -> None:
    encoder = load_for_training(str(open_clip_model(tmp_path / "from", "vit-gelu", resize_mode="longest")))
    assert "resize_mode 'longest'" in write_checkpoint_folder(encoder, tmp_path / "to").left_out["transformers"]


@pytest.mark.parametrize(
    ("kind", "why"),
    [("siglip", "timm, which has none of width 32"), ("siglip2", "no counterpart of transformers' Siglip2Model")],
)
def test_what_open_clip_cannot_express_is_written_for_transformers_alone_with_the_reason(
    tmp_path: Path, kind: str, why: str
) -> None:
    encoder = load_for_training(str(huggingface_folder(tmp_path / "from", kind)), "hf_dual_encoder")
    said = write_checkpoint_folder(encoder, tmp_path / "to")
    assert said.layouts == ("transformers",)
    assert why in said.left_out["open_clip"]
    assert "open_clip_config.json" not in said.files
    assert torch.equal(embeddings(loaded("transformers", tmp_path / "to"), PLAIN)[1], embeddings(encoder, PLAIN)[1])


def test_padding_that_transformers_cannot_have_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = {
        name: value for name, value in SIGLIP["text_cfg"].items() if "tokenizer" not in name
    }  # pads with 0, the "!"
    monkeypatch.setitem(OPEN_CLIP, "siglip", {**SIGLIP, "custom_text": True, "text_cfg": {**text, "vocab_size": 49408}})
    encoder = load_for_training(str(open_clip_model(tmp_path / "from", "siglip", **SQUASH)))
    assert "this tokenizer gives other" in write_checkpoint_folder(encoder, tmp_path / "to").left_out["transformers"]


def test_a_model_that_was_converted_wrongly_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minchange_eval.trainers.clip.hf_layout._activation", lambda _: "quick_gelu")
    encoder = load_for_training(str(open_clip_model(tmp_path / "from", "vit-gelu")))
    said = write_checkpoint_folder(encoder, tmp_path / "to")
    assert "gives other embeddings" in said.left_out["transformers"]
    assert not (tmp_path / "to/config.json").exists()


def test_the_bundled_model_keeps_its_own_tokenizer(tmp_path: Path) -> None:
    encoder = load_for_training("minchange-tiny")
    write_checkpoint_folder(encoder, tmp_path)
    again = loaded("open_clip", tmp_path)
    assert again.weights_sha256 == encoder.weights_sha256
    assert again.settings == encoder.settings
    assert torch.equal(again.tokenize(CAPTIONS).inputs["text"], encoder.tokenize(CAPTIONS).inputs["text"])


def test_writing_leaves_the_live_model_as_it_was(written: Callable[[str], tuple[Encoder, Path, Any]]) -> None:
    live, folder, _ = written("open_clip:vit-gelu")
    assert live.model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in live.model.parameters())
    there = load_file(folder / "open_clip_model.safetensors")
    assert all(torch.equal(there[name], value) for name, value in live.model.state_dict().items())


@pytest.mark.parametrize(("dtype", "stored"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_weights_can_be_stored_in_half_precision(tmp_path: Path, dtype: str, stored: torch.dtype) -> None:
    encoder = load_for_training(str(open_clip_model(tmp_path / "from", "vit-gelu")))
    write_checkpoint_folder(encoder, tmp_path / "to", dtype)
    for name in ("open_clip_model.safetensors", "model.safetensors"):
        assert {value.dtype for value in load_file(tmp_path / "to" / name).values()} == {stored}
    both = [embeddings(loaded(layout, tmp_path / "to"), PLAIN)[1] for layout in ("open_clip", "transformers")]
    assert (both[0] - both[1]).abs().max() < 1e-5


def test_every_file_is_as_readable_as_any_that_this_user_makes(
    written: Callable[[str], tuple[Encoder, Path, Any]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    _, folder, _ = written("transformers:clip-gelu")
    assert {file.stat().st_mode for file in folder.iterdir()} == {(tmp_path / "file").stat().st_mode}


def test_tensors_that_share_memory_are_written_under_each_name() -> None:
    tensor = torch.arange(6.0).view(2, 3)
    stored = storable({"a": tensor, "b": tensor, "c": tensor[:1], "d": tensor.T}, torch.float32)
    assert len({value.untyped_storage().data_ptr() for value in stored.values()}) == 4
    assert torch.equal(stored["d"], tensor.T)
    assert torch.equal(stored["a"], stored["b"])


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), "fp32"), (float("inf"), "fp32"), (1e6, "fp16")])
def test_weights_that_are_not_finite_are_not_written(tmp_path: Path, value: float, dtype: str) -> None:
    encoder = load_for_training(str(open_clip_model(tmp_path / "from", "vit-gelu")))
    encoder.model.get_parameter("visual.proj").data[0, 0] = value
    with pytest.raises(DataError, match=r"visual\.proj has values that are not finite"):
        write_checkpoint_folder(encoder, tmp_path / "to", dtype)
    assert not (tmp_path / "to").exists()


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """`small_disk(bytes)`: no file may become larger than this until the test ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [100, 5_000, 100_000])
def test_a_full_disk_leaves_the_checkpoint_before_as_it_was(
    tmp_path: Path, small_disk: Callable[[int], None], size: int
) -> None:
    encoder = load_for_training(str(hugging_face_model(tmp_path / "from", "clip-gelu")), "hf_dual_encoder")
    write_checkpoint_folder(encoder, tmp_path / "to")
    (tmp_path / "to/training.json").write_text("{}")
    before = {file.name: file.read_bytes() for file in (tmp_path / "to").iterdir()}
    assert max(len(content) for content in before.values()) > 100_000
    with torch.no_grad():
        encoder.model.get_parameter("visual_projection.weight").mul_(2)
    small_disk(size)
    with pytest.raises(MinchangeError, match="the disk is full; the new checkpoint was not kept"):
        write_checkpoint_folder(encoder, tmp_path / "to")
    small_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert {file.name: file.read_bytes() for file in (tmp_path / "to").iterdir()} == before
    write_checkpoint_folder(encoder, tmp_path / "to")
    assert (tmp_path / "to/model.safetensors").read_bytes() != before["model.safetensors"]


@pytest.mark.parametrize("moves", range(7))
def test_a_checkpoint_that_is_half_moved_loads_nowhere_until_the_move_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    encoder = load_for_training(str(hugging_face_model(tmp_path / "from", "clip-gelu")), "hf_dual_encoder")
    write_checkpoint_folder(encoder, tmp_path / "to")
    with torch.no_grad():
        encoder.model.get_parameter("visual_projection.weight").mul_(-1)
    count, replace = 0, Path.replace

    def killed_after_some(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count > moves + 1:  # the first one says that everything is on disk
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed_after_some)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint_folder(encoder, tmp_path / "to")
    monkeypatch.setattr(Path, "replace", replace)
    for layout, config in (("open_clip", "open_clip_config.json"), ("transformers", "config.json")):
        if (tmp_path / "to" / config).exists():  # configurations are moved last: then all else is there
            assert moves == 6
        else:
            with pytest.raises(UsageError):
                loaded(layout, tmp_path / "to")
    if moves % 2:
        finish_moving(tmp_path / "to")
    else:
        load_for_training(str(tmp_path / "to"))  # completes it too
    for layout in ("open_clip", "transformers"):
        row = embeddings(loaded(layout, tmp_path / "to"), PLAIN)[0]
        assert (row - embeddings(encoder, PLAIN)[0]).abs().max() < 1e-5
    assert not [file for file in (tmp_path / "to").iterdir() if file.name.startswith(".")]


def test_a_move_that_ended_before_its_empty_folder_was_removed_is_complete(tmp_path: Path) -> None:
    write_checkpoint_folder(load_for_training("minchange-tiny"), tmp_path / "to")
    before = {file.name: file.read_bytes() for file in (tmp_path / "to").iterdir()}
    (tmp_path / "to/.checkpoint.moving").mkdir()
    load_for_training(str(tmp_path / "to"))
    assert {file.name: file.read_bytes() for file in (tmp_path / "to").iterdir()} == before


def test_a_checkpoint_of_one_layout_takes_the_place_of_one_of_both(tmp_path: Path) -> None:
    write_checkpoint_folder(load_for_training(str(open_clip_model(tmp_path / "from", "vit-gelu"))), tmp_path / "to")
    (tmp_path / "to/training.json").write_text("{}")
    said = write_checkpoint_folder(load_for_training("minchange-tiny"), tmp_path / "to")
    assert {file.name for file in (tmp_path / "to").iterdir()} == {*said.files, "training.json"}


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    encoder = load_for_training(str(open_clip_model(tmp_path / "from", "siglip", **SQUASH)))
    for name in ("one", "two"):
        write_checkpoint_folder(encoder, tmp_path / name)
        encoder.tokenize(CAPTIONS)
    contents = [{file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert contents[0] == contents[1]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written to"):
        write_checkpoint_folder(load_for_training("minchange-tiny"), tmp_path / "file" / "model")


def test_a_defect_is_not_taken_for_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(layouts, "_write", broken)
    with pytest.raises(ZeroDivisionError):
        write_checkpoint_folder(load_for_training("minchange-tiny"), tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())
