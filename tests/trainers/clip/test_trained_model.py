from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from minchange_eval.core.errors import MinchangeError, ModelError, UsageError
from minchange_eval.trainers.clip.trained_model import TwoTowers, load_for_training
from tests.model_adapters.checkpoints import huggingface_folder, open_clip_folder

PICTURES = [Image.new("RGB", (40, 48), colour) for colour in ("red", "blue", "green")]
CAPTIONS = ["a red cat", "a blue dog left of a cat", "two cats"]
VIT = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_clip_folder(tmp_path_factory.mktemp("resnet"))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_clip_folder(tmp_path_factory.mktemp("vit"), vision_cfg=VIT)


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folders: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = huggingface_folder(tmp_path_factory.mktemp(kind), kind)
        return folders[kind]

    return folder


def forward(towers: TwoTowers, encoder: Any) -> Any:
    prepared = [encoder.prepare_image(picture) for picture in PICTURES]
    images = {name: torch.stack([row[name] for row in prepared]) for name in prepared[0]}
    return towers(images, encoder.tokenize(CAPTIONS).inputs)


@pytest.mark.parametrize("kind", ["minchange-tiny", "vit", "clip", "siglip", "siglip2"])
def test_every_kind_of_model_trains_all_its_weights_in_float32(
    kind: str, vit: Path, hugging_face: Callable[[str], Path]
) -> None:
    if kind in {"minchange-tiny", "vit"}:
        encoder = load_for_training("minchange-tiny" if kind != "vit" else str(vit))
    else:
        encoder = load_for_training(str(hugging_face(kind)), "hf_dual_encoder")
    towers = TwoTowers(encoder)
    assert towers.training
    assert encoder.model.training
    out = forward(towers, encoder)
    assert torch.allclose(out.images.norm(dim=-1), torch.ones(3))
    assert torch.allclose(out.texts.norm(dim=-1), torch.ones(3))
    assert out.scale.shape == ()
    assert (out.bias is not None) == kind.startswith("siglip")
    total = (out.scale * (out.images @ out.texts.T) * torch.arange(9.0).view(3, 3)).sum()
    (total if out.bias is None else total + out.bias).backward()
    for name, parameter in encoder.model.named_parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None, name


def test_an_architecture_without_weights_is_random_only_when_that_is_asked_for() -> None:
    with pytest.raises(UsageError, match="say which weights"):
        load_for_training("ViT-S-32-alt")
    first, again, other = (
        load_for_training("ViT-S-32-alt", pretrained="random", seed=seed).weights_sha256 for seed in (1, 1, 2)
    )
    assert first == again != other


def test_random_weights_leave_the_seed_of_torch_alone() -> None:
    torch.manual_seed(5)
    load_for_training("ViT-S-32-alt", pretrained="random", seed=1)
    there = torch.rand(1)
    torch.manual_seed(5)
    assert there == torch.rand(1)


def test_weights_of_a_file_keep_the_activation_check(vit: Path) -> None:
    with pytest.raises(UsageError, match="force_quick_gelu=true"):
        load_for_training("ViT-B-32", pretrained=str(vit / "model.safetensors"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda state: {name: value for name, value in state.items() if "ln_post" not in name},
            r"2 weights are missing \(visual\.ln_post\.weight, visual\.ln_post\.bias\)",
        ),
        (lambda state: {**state, "extra": torch.zeros(1)}, r"1 weights are of no use \(extra\)"),
        (
            lambda state: {**state, "visual.proj": torch.zeros(32, 8)},
            r"1 have another shape \(visual\.proj: \[32, 8\] in the file, \[32, 32\] in the model\)",
        ),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_weights_of_another_architecture_are_one_clear_line(
    damage: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], said: str, vit: Path, tmp_path: Path
) -> None:
    (tmp_path / "open_clip_config.json").write_text((vit / "open_clip_config.json").read_text())
    save_file(damage(load_file(vit / "model.safetensors")), tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ModelError, match=said) as caught:
        load_for_training(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


def test_a_hugging_face_folder_of_another_shape_is_one_clear_line(
    hugging_face: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = hugging_face("clip")
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["projection_dim"] = 8
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ModelError, match=r"\(text_projection\.weight: \[24, 32\] in the file, \[8, 32\] in the model\)"
    ) as caught:
        load_for_training(str(tmp_path), "hf_dual_encoder")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("model", "how", "said"),
    [
        ("minchange-tiny", {"adapter": "timm"}, "expected one of open_clip, hf_dual_encoder"),
        ("minchange-tiny", {"pretrained": "laion2b"}, "brings its own weights"),
        ("minchange-tiny", {"revision": "main"}, "revision means nothing to it"),
        ("no-such-model", {}, "no architecture of open_clip"),
        ("no-such-model", {"pretrained": "random"}, "no architecture of open_clip"),
        ("/no/such/folder", {"adapter": "hf_dual_encoder"}, "no model there"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(model: str, how: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_for_training(model, **how)


def test_a_kind_without_a_learned_temperature_is_refused(hugging_face: Callable[[str], Path]) -> None:
    with pytest.raises(MinchangeError, match="kinds clip, siglip, siglip2 to train, got blip"):
        load_for_training(str(hugging_face("blip")), "hf_dual_encoder")


@pytest.mark.parametrize("tower", ["image", "text"])
@pytest.mark.parametrize("kind", ["minchange-tiny", "siglip"])
def test_a_locked_tower_keeps_its_weights_and_the_other_one_learns(
    tower: str, kind: str, hugging_face: Callable[[str], Path]
) -> None:
    adapter = "open_clip" if kind == "minchange-tiny" else "hf_dual_encoder"
    encoder = load_for_training(kind if adapter == "open_clip" else str(hugging_face(kind)), adapter)
    towers = TwoTowers(encoder, lock_image=tower == "image", lock_text=tower == "text")
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    out = forward(towers.train(), encoder)
    (out.scale * (out.images @ out.texts.T)).diagonal().sum().backward()
    with torch.no_grad():
        for parameter in encoder.model.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad + 1e-3)
    changed = {name for name, value in encoder.model.state_dict().items() if not torch.equal(value, before[name])}
    of_image = {name for name in before if name.startswith(("visual.", "vision_model."))}
    of_text = set(before) - of_image - {"logit_scale", "logit_bias"}
    assert not changed & (of_image if tower == "image" else of_text)
    assert changed & (of_text if tower == "image" else of_image)
    assert "logit_scale" in changed


def test_both_towers_cannot_be_locked(resnet: Path) -> None:
    with pytest.raises(UsageError, match="nothing to train"):
        TwoTowers(load_for_training(str(resnet)), lock_image=True, lock_text=True)


def test_with_frozen_batch_norms_a_row_does_not_depend_on_its_batch(resnet: Path) -> None:
    encoder = load_for_training(str(resnet))
    rows = torch.stack([encoder.prepare_image(picture)["image"] for picture in PICTURES])
    tokens = encoder.tokenize(CAPTIONS).inputs
    free = TwoTowers(encoder)
    assert not torch.allclose(free({"image": rows}, tokens).images[:2], free({"image": rows[:2]}, tokens).images)
    frozen = TwoTowers(encoder, freeze_batch_norm=True).train()
    before = {name: value.clone() for name, value in encoder.model.named_buffers()}
    alone = frozen({"image": rows[:1]}, tokens).images
    assert torch.allclose(frozen({"image": rows}, tokens).images[:1], alone, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in encoder.model.named_buffers())
    norms = [module for module in encoder.model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(module.weight.requires_grad for module in norms)
