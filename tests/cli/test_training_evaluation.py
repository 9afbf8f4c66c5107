"""Evaluation between training steps: the record of `lmms_eval`, and a training that does not notice it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from minchange_eval.cli.training_evaluation import TrainingEvaluator, evaluator
from minchange_eval.core.errors import UsageError
from minchange_eval.core.record import RunRecord, comparable_bytes, read_record
from minchange_eval.data.prepare import prepare
from minchange_eval.model_adapters import streaming
from tests.cli.runs import Runner
from tests.data.official_layouts import write_spec_release, write_vismin_release
from tests.model_adapters.checkpoints import huggingface_folder, open_clip_folder

if TYPE_CHECKING:
    from minchange_eval.model_adapters.encoder import Encoder

TASKS = ("spec_count", "vismin", "vismin_object")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a small SPEC and VisMin, prepared once."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(folder))
        prepare("spec", write_spec_release(folder / "spec_release", 3, seed=1))
        prepare("vismin", write_vismin_release(folder / "vismin_release", 3, seed=2))
    return folder


@pytest.fixture
def evaluate(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingEvaluator:
    monkeypatch.setenv("MINCHANGE_HOME", str(home))
    return evaluator(TASKS, output=tmp_path / "records")


def open_clip_encoder(folder: Path) -> Encoder:
    import torch

    from minchange_eval.model_adapters.open_clip_models import OpenClipEncoder, find_weights

    return OpenClipEncoder(find_weights(str(folder), None, None), torch.device("cpu"), "fp32")


def hugging_face_encoder(folder: Path) -> Encoder:
    import torch

    from minchange_eval.model_adapters.huggingface_models import HuggingFaceEncoder

    return HuggingFaceEncoder(str(folder), torch.device("cpu"), "fp32")


def moved(encoder: Encoder) -> None:
    """Other weights and, where there are batch statistics, other statistics."""
    import torch

    with torch.no_grad():
        for number, tensor in enumerate(encoder.model.state_dict().values()):
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.01 * (number % 3))


def without_name(record: RunRecord) -> bytes:
    return comparable_bytes(record.model_copy(update={"model": record.model.model_copy(update={"name": ""})}))


def test_the_record_of_a_live_model_is_the_one_that_lmms_eval_writes_for_its_weights(
    runner: Runner, home: Path, evaluate: TrainingEvaluator, tmp_path: Path
) -> None:
    import safetensors.torch

    folder = open_clip_folder(tmp_path / "model")
    live = open_clip_encoder(folder)
    before = evaluate(live, "before")
    moved(live)
    after = evaluate(live, "after", "trained")
    assert without_name(before) != without_name(after)
    assert after.model.name == "trained"
    assert read_record(tmp_path / "records" / "after.jsonl") == after

    safetensors.torch.save_file(live.model.state_dict(), folder / "open_clip_model.safetensors")
    model = ["--model", "open_clip", "--model_args", f"model_name={folder}"]
    run = runner.run([*model, "--tasks", ",".join(TASKS)], home)
    assert run.code == 0, run.output
    assert without_name(run.record) == without_name(after)


def test_a_model_of_transformers_has_the_record_that_its_adapter_writes(
    runner: Runner, home: Path, evaluate: TrainingEvaluator, tmp_path: Path
) -> None:
    folder = huggingface_folder(tmp_path / "siglip", "siglip")
    record = evaluate(hugging_face_encoder(folder), "before")
    model = ["--model", "hf_dual_encoder", "--model_args", f"pretrained={folder}"]
    run = runner.run([*model, "--tasks", ",".join(TASKS)], home)
    assert run.code == 0, run.output
    assert comparable_bytes(run.record) == comparable_bytes(record)


def test_training_with_evaluation_between_its_steps_gives_the_same_weights(
    evaluate: TrainingEvaluator, tmp_path: Path
) -> None:
    folder = open_clip_folder(tmp_path / "model")
    plain = trained(open_clip_encoder(folder))
    evaluated = trained(open_clip_encoder(folder), evaluate)
    assert plain.keys() == evaluated.keys()
    assert all(plain[name].equal(evaluated[name]) for name in plain)


def trained(encoder: Encoder, evaluate: TrainingEvaluator | None = None) -> dict[str, Any]:
    """Weights after a few steps on noise from each of the process's random states."""
    import torch

    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    model = encoder.model.train()
    frozen = next(module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    captions = encoder.tokenize(["a cat", "a dog", "one car", "two cars"]).inputs
    for step in range(3):
        noise = torch.randn(4, 3, 32, 32) * random.random() + float(np.random.random())
        scores = encoder.encode_images({"image": noise}) @ encoder.encode_texts(captions).T
        torch.nn.functional.cross_entropy(scores, torch.arange(4)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        if evaluate is not None:
            evaluate(encoder, f"step_{step}")
            assert model.training
            assert not frozen.training
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_second_evaluation_decodes_and_tokenizes_nothing(
    evaluate: TrainingEvaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = open_clip_encoder(open_clip_folder(tmp_path / "model"))
    first = evaluate(encoder, "first")
    monkeypatch.setattr(streaming, "open_image", None)
    monkeypatch.setattr(encoder, "tokenize", None)
    assert comparable_bytes(evaluate(encoder, "second")) == comparable_bytes(first)


def test_images_beyond_the_bound_are_prepared_again_and_the_record_is_the_same(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(home))
    encoder = open_clip_encoder(open_clip_folder(tmp_path / "model"))
    unbound = evaluator(["vismin_object"], output=tmp_path)
    none_kept = evaluator(["vismin_object"], output=tmp_path, cache_mb=0)
    records = [comparable_bytes(evaluate(encoder, "record")) for evaluate in (unbound, none_kept, none_kept)]
    assert records[0] == records[1] == records[2]


def test_nothing_is_printed_and_nothing_logged_but_the_record(
    evaluate: TrainingEvaluator, home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs = sorted((home / "embeddings").rglob("*"))
    evaluate(open_clip_encoder(open_clip_folder(tmp_path / "model")), "before")
    assert capfd.readouterr() == ("", "")
    assert sorted((home / "embeddings").rglob("*")) == logs
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["before.jsonl"]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (["vismin", "spec_cuont"], "no task of minchange-eval is called spec_cuont; did you mean spec_count?"),
        (["mmmu"], "no task of minchange-eval is called mmmu"),
        ([], "no task given"),
    ],
)
def test_a_task_that_does_not_exist_is_one_line_before_the_first_step(
    tasks: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=said):
        evaluator(tasks, output=tmp_path)
    assert capfd.readouterr() == ("", "")
