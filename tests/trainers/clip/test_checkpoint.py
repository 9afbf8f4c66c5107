import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from minchange_eval.core.errors import DataError
from minchange_eval.trainers.clip import checkpoint
from minchange_eval.trainers.clip.checkpoint import load_checkpoint, load_tokenizer, write_checkpoint, write_tokenizer
from minchange_eval.trainers.clip.model import new_model
from minchange_eval.trainers.clip.vocabulary import clip_merges, vocabulary

PREPROCESS = {"size": [32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic"}
MERGES = clip_merges()[:50]


@pytest.fixture(scope="module")
def model_cfg(small_clip: dict[str, Any]) -> dict[str, Any]:
    """The small model with a vocabulary of 50 merges, kept in the folder."""
    own = {"vocab_size": len(vocabulary(MERGES)), "hf_tokenizer_name": "own", "tokenizer_kwargs": {"clean": "lower"}}
    return {**small_clip, "text_cfg": small_clip["text_cfg"] | own}


def test_what_was_written_loads_as_float32_with_its_own_tokenizer_and_preprocessing(
    tmp_path: Path, model_cfg: dict[str, Any]
) -> None:
    model = new_model(model_cfg, seed=3)
    write_tokenizer(tmp_path / "model", MERGES, context=4)
    write_checkpoint(tmp_path / "model", model, model_cfg, PREPROCESS)
    loaded, preprocess, tokenizer = load_checkpoint(tmp_path / "model")
    before = load_tokenizer(tmp_path / "model", context=4)
    assert tokenizer("A cat & a dog").tolist() == before("A cat & a dog").tolist()
    assert tokenizer("cat").shape == (1, 4)
    assert "size=32" in str(preprocess).replace("(32, 32)", "32")
    for name, tensor in model.state_dict().items():
        there = loaded.state_dict()[name]
        assert there.dtype == tensor.dtype
        assert torch.allclose(there.float(), tensor.float(), atol=1e-3)


def test_floating_point_weights_are_stored_in_half_precision(tmp_path: Path, model_cfg: dict[str, Any]) -> None:
    write_checkpoint(tmp_path, new_model(model_cfg, seed=3), model_cfg, PREPROCESS)
    with safe_open(tmp_path / checkpoint.WEIGHTS_FILE, "pt") as file:
        kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  (no mapping)
    assert kinds == {"F16", "I64"}


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_beside(
    tmp_path: Path, model_cfg: dict[str, Any]
) -> None:
    model = new_model(model_cfg, seed=3)
    contents = []
    for _ in range(2):
        write_checkpoint(tmp_path, model, model_cfg, PREPROCESS)
        contents.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {checkpoint.CONFIG_FILE, checkpoint.WEIGHTS_FILE}


def test_a_write_that_fails_leaves_the_old_weights_whole(
    tmp_path: Path, model_cfg: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, new_model(model_cfg, seed=3), model_cfg, PREPROCESS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def disk_full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path, new_model(model_cfg, seed=4), model_cfg, PREPROCESS)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_weight_that_half_precision_cannot_hold_is_refused(tmp_path: Path, model_cfg: dict[str, Any]) -> None:
    model = new_model(model_cfg, seed=3)
    model.logit_scale.data.fill_(1e6)
    with pytest.raises(DataError, match="logit_scale has values that are not finite"):
        write_checkpoint(tmp_path, model, model_cfg, PREPROCESS)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no open_clip_config\.json"):
        load_checkpoint(tmp_path)
