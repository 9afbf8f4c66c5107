"""Each family gives what a plain use of transformers gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.core.images import open_image
from minchange_eval.model_adapters.huggingface_models import HuggingFaceDualEncoder
from tests.model_adapters.checkpoints import huggingface_folder, queries, requests_of

KINDS = ("clip", "siglip", "siglip2", "flava", "blip")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("huggingface")
    return {kind: huggingface_folder(root / kind, kind) for kind in KINDS}


def plain_similarity(folder: Path, kind: str, pictures: list[Any], captions: list[str]) -> np.ndarray:
    """Cosines [images, texts], written down as a user of transformers would."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    text = tokenizer(captions, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
    text.pop("token_type_ids", None)
    image = processor(images=pictures, return_tensors="pt")
    with torch.no_grad():
        if kind == "blip":
            model = transformers.BlipForImageTextRetrieval.from_pretrained(folder).eval()
            return model(**text, **image, use_itm_head=False).itm_score.numpy()
        if kind == "flava":
            model = transformers.FlavaModel.from_pretrained(folder).eval()
            images = model.get_image_features(**image).pooler_output[:, 0]
            texts = model.get_text_features(**text).pooler_output[:, 0]
        else:
            model = transformers.AutoModel.from_pretrained(folder).eval()
            if kind.startswith("siglip"):
                text.pop("attention_mask")
            images = model.get_image_features(**image).pooler_output
            texts = model.get_text_features(**text).pooler_output
    images, texts = (features / features.norm(dim=-1, keepdim=True) for features in (images, texts))
    return (images @ texts.T).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_transformers_used_directly(checkpoints: dict[str, Path], kind: str) -> None:
    asked = queries(3)
    model = HuggingFaceDualEncoder(pretrained=str(checkpoints[kind]), batch_size=4, device="cpu")
    for query, answer in zip(asked, model.generate_until(requests_of(asked)), strict=True):
        pictures = [open_image(source) for source in query.images]
        expected = plain_similarity(checkpoints[kind], kind, pictures, list(query.texts)).reshape(-1)
        assert json.loads(answer)["scores"] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_runs_and_stays_near(checkpoints: dict[str, Path], kind: str) -> None:
    asked = requests_of(queries(2))
    full, half = (
        HuggingFaceDualEncoder(pretrained=str(checkpoints[kind]), batch_size=4, device="cpu", dtype=dtype)
        for dtype in ("fp32", "bf16")
    )
    assert full.description.weights_sha256 == half.description.weights_sha256
    for exact, near in zip(full.generate_until(asked), half.generate_until(asked), strict=True):
        assert json.loads(near)["scores"] == pytest.approx(json.loads(exact)["scores"], abs=0.05)


def test_flava_can_be_read_before_its_projection(checkpoints: dict[str, Path]) -> None:
    folder, asked = str(checkpoints["flava"]), requests_of(queries(1))
    projected = HuggingFaceDualEncoder(pretrained=folder, device="cpu", batch_size=2)
    unprojected = HuggingFaceDualEncoder(pretrained=folder, device="cpu", batch_size=2, flava_features="unprojected")
    assert projected.generate_until(asked) != unprojected.generate_until(asked)
    assert unprojected.description.settings["flava_features"] == "unprojected"


def test_captions_longer_than_the_context_are_counted(checkpoints: dict[str, Path]) -> None:
    model = HuggingFaceDualEncoder(pretrained=str(checkpoints["blip"]), device="cpu")
    tokens = model.encoder.tokenize(["a cat", "cat " * 14, "cat " * 15])
    assert tokens.truncated == (False, False, True)
    assert tokens.inputs["input_ids"].shape == (3, 16)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UsageError, match=r"expected a model of the kinds clip.* got bert"):
        HuggingFaceDualEncoder(pretrained=str(tmp_path), device="cpu")


def test_a_checkpoint_without_some_weights_is_no_random_model(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in checkpoints["clip"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("text_projection.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="1 weights of CLIPModel are missing"):
        HuggingFaceDualEncoder(pretrained=str(tmp_path), device="cpu")


def test_what_a_trainer_left_beside_the_weights_is_not_read(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = shutil.copytree(checkpoints["clip"], tmp_path / "clip")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    torch.save({"arguments": Path("no tensor")}, folder / "training_args.bin")
    model = HuggingFaceDualEncoder(pretrained=str(folder), device="cpu")
    assert model.description.weights_sha256
    torch.save({"arguments": Path("no tensor")}, folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match="holds more than tensors"):
        HuggingFaceDualEncoder(pretrained=str(folder), device="cpu")


@pytest.mark.parametrize("broken", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_are_cut_off_are_one_line(checkpoints: dict[str, Path], tmp_path: Path, broken: str) -> None:
    folder = shutil.copytree(checkpoints["clip"], tmp_path / "clip")
    cut = (folder / "model.safetensors").read_bytes()[:-1]
    (folder / "model.safetensors").unlink()
    (folder / broken).write_bytes(cut)
    with pytest.raises(UsageError, match="cut off, damaged or no checkpoint"):
        HuggingFaceDualEncoder(pretrained=str(folder), device="cpu")


def test_a_name_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no model there"):
        HuggingFaceDualEncoder(pretrained="/nowhere/at/all", device="cpu")
