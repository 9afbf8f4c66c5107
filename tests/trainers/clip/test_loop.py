from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from minchange_eval.core.errors import NotPreparedError, UsageError
from minchange_eval.trainers.clip.config import read_config
from minchange_eval.trainers.clip.loop import FinishedTraining, Hooks, train_clip
from minchange_eval.trainers.clip.run_log import StepReport
from tests.cli.tiny_training import make_model, make_pictures, make_store

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("ACCELERATE_USE_CPU", "true")
        make_store()
        yield {
            "model": make_model(tmp_path_factory.mktemp("models") / "tiny"),
            "sets": "colours",
            "sets_per_batch": 6,
            "objective": "full_sets",
            "steps": 3,
            "learning_rate": 1e-3,
            "warmup_steps": 0,
            "workers": 0,
            "tensorboard": False,
        }


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "pictures")


def trained(settings: dict[str, Any], output: Path, hooks: Hooks | None = None, **changed: Any) -> FinishedTraining:
    given = {**settings, "output": str(output), **changed}
    config = read_config(None, {name: str(v) if isinstance(v, Path) else v for name, v in given.items() if v != ""})
    finished = train_clip(config, hooks)
    assert finished is not None
    return finished


def test_an_epoch_is_every_set_once(settings: dict[str, Any], tmp_path: Path) -> None:
    reports: list[StepReport] = []
    finished = trained(settings, tmp_path / "out", Hooks(on_step=reports.append), steps=None, epochs=2)
    assert finished.steps == 2 * 24 // 6
    assert [report.step for report in reports] == list(range(1, 9))
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["epochs"] == 2
    assert record["overlap"] == {"images": 0, "benchmarks": [], "first": [], "allowed": False}
    assert record["images"] == 2 * sum(2 + number % 3 for number in range(24))


def test_a_locked_tower_keeps_its_weights(settings: dict[str, Any], tmp_path: Path) -> None:
    trained(settings, tmp_path / "out", lock_image=True)
    before, after = load_file(settings["model"] / WEIGHTS), load_file(tmp_path / "out" / WEIGHTS)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("visual.")} <= same
    assert "token_embedding.weight" not in same


def test_half_precision_trains_weights_of_full_precision(settings: dict[str, Any], tmp_path: Path) -> None:
    trained(settings, tmp_path / "full")
    trained(settings, tmp_path / "half", precision="bf16")
    full, half = load_file(tmp_path / "full" / WEIGHTS), load_file(tmp_path / "half" / WEIGHTS)
    assert half["visual.proj"].dtype == torch.float32
    assert not torch.equal(full["visual.proj"], half["visual.proj"])
    torch.testing.assert_close(full["visual.proj"], half["visual.proj"], atol=5e-3, rtol=0)


def test_a_training_leaves_the_callers_random_states_alone(settings: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    trained(settings, tmp_path / "out")
    assert torch.equal(torch.rand(1), expected)


def test_evaluations_of_nothing_are_said_to_be_none(settings: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    trained(settings, tmp_path / "out", Hooks(say=said.append), evaluate_every=2)
    assert said == ["evaluate_every=2: nothing is evaluated; give evaluate or zero_shot"]


def failing_at(step: int) -> Hooks:
    """As if the power failed after a step."""

    def fail(report: StepReport) -> None:
        if report.step == step:
            raise RuntimeError("the power fails")

    return Hooks(on_step=fail)


def outcome(folder: Path) -> tuple[bytes, bytes, dict[str, Any]]:
    """Weights, losses, and what of the record is the same in every run."""
    record = json.loads((folder / "training.json").read_text())
    of_run = ("config", "seconds")
    kept = {name: value for name, value in record.items() if name not in of_run}
    return (folder / WEIGHTS).read_bytes(), (folder / "losses.jsonl").read_bytes(), kept


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_training_with_evaluations_goes_on_to_the_same_with_other_loaders(
    settings: dict[str, Any], pictures: Path, tmp_path: Path, step: int
) -> None:
    asked = {"steps": 5, "zero_shot": pictures, "zero_shot_floor": 0.01, "evaluate_every": 2, "save_every": 2}
    trained(settings, tmp_path / "undisturbed", **asked)
    with pytest.raises(RuntimeError, match="power"):
        trained(settings, tmp_path / "out", failing_at(step), **asked)
    trained(settings, tmp_path / "out", **asked | {"workers": 3, "cache_mb": 0, "save_every": 1})
    assert outcome(tmp_path / "out") == outcome(tmp_path / "undisturbed")


def test_a_training_that_stopped_early_and_was_cut_off_ends_in_the_weights_before_all_the_same(
    settings: dict[str, Any], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minchange_eval.trainers.clip import loop
    from minchange_eval.trainers.clip.zero_shot import ZeroShot

    real, calls = ZeroShot.__call__, list[int]()

    def forgetting(self: ZeroShot, encoder: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            for weights in encoder.model.parameters():
                weights.data.zero_()
        return real(self, encoder)

    monkeypatch.setattr(ZeroShot, "__call__", forgetting)
    asked = {"steps": 5, "zero_shot": pictures, "zero_shot_floor": 0.01, "evaluate_every": 2, "save_every": 0}
    assert trained(settings, tmp_path / "undisturbed", **asked).steps == 2
    calls.clear()
    with monkeypatch.context() as full:
        full.setattr(loop, "write_training_record", lambda *_: (_ for _ in ()).throw(RuntimeError("the power fails")))
        with pytest.raises(RuntimeError, match="power"):
            trained(settings, tmp_path / "out", **asked)
    finished = trained(settings, tmp_path / "out", **asked)
    assert len(calls) == 3  # nothing is trained or measured again
    assert "fell to 0.000 at step 4" in finished.stopped
    assert outcome(tmp_path / "out") == outcome(tmp_path / "undisturbed")


def test_data_that_changed_are_refused_when_a_training_goes_on(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power"):
        trained(settings, tmp_path / "out", failing_at(2), save_every=1)
    state = tmp_path / "out" / ".state" / "step-000000001" / "state.json"
    facts = json.loads(state.read_text())
    state.write_text(json.dumps({**facts, "data": {**facts["data"], "colours": "another"}}))
    with pytest.raises(UsageError, match="colours: changed since the training began, 1 steps ago"):
        trained(settings, tmp_path / "out", save_every=1)


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"sets": "spec"}, NotPreparedError, "spec"),
        (
            {"steps": None, "epochs": 1, "warmup_steps": 50},
            UsageError,
            "warmup_steps=50: the training has only 4 steps",
        ),
        ({"sets_per_batch": 25}, UsageError, "sets_per_batch=25, but the data hold 24 candidate sets"),
        ({"mix": "few=1"}, UsageError, "mix: expected a weight"),
        ({"loss": "siglip"}, UsageError, "logit_bias"),
        ({"precision": "fp16"}, UsageError, "needs a CUDA accelerator"),
        ({"model": "minchange-tiny", "accumulate": 2}, UsageError, "freeze_batch_norm"),
        ({"model": "ViT-B-31", "pretrained": "openai"}, UsageError, "no architecture of open_clip"),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_first_step(
    settings: dict[str, Any], tmp_path: Path, changed: dict[str, Any], error: type[Exception], said: str
) -> None:
    if changed.get("precision") == "fp16" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(error, match=said):
        trained(settings, tmp_path / "out", **changed)
    assert not (tmp_path / "out" / "training.json").exists()
