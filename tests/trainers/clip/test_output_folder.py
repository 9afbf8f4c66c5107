from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.trainers.clip.config import TrainConfig
from minchange_eval.trainers.clip.output_folder import claim
from minchange_eval.trainers.clip.state import StateFolder


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        model="minchange-tiny",
        output=str(tmp_path / "out"),
        sets=("a",),
        sets_per_batch=8,
        steps=100,
        learning_rate=1e-4,
    )


def test_force_takes_away_what_a_training_wrote_and_nothing_else(config: TrainConfig) -> None:
    output = Path(config.output)
    written = ["losses.jsonl", "training.json", "records/before.jsonl", "records/step_000004.jsonl"]
    written += ["records/after.jsonl", "tensorboard/events.out.tfevents.1", ".state/step-000000004/state.json"]
    others = ["a.txt", "records/mine.jsonl", "records/mine/a.txt", "tensorboard/other/events.out.tfevents.1"]
    others += ["steps/a.txt", "model.safetensors"]
    for name in [*written, *others]:
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("x")
    states, facts = claim(config, force=True)
    states.unlock()
    assert facts is None
    left = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    assert left == {*others, ".state/lock"}


def test_a_training_that_ends_while_another_one_waits_to_begin_is_not_overwritten(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = StateFolder.lock

    def late(states: StateFolder) -> None:
        states.folder.mkdir(parents=True)
        (states.folder.parent / "training.json").write_text("{}")
        lock(states)

    monkeypatch.setattr(StateFolder, "lock", late)
    with pytest.raises(UsageError, match="holds a finished training"):
        claim(config, force=False)


def test_a_folder_that_is_in_use_is_let_go_of_by_nobody_else(config: TrainConfig) -> None:
    states, _ = claim(config, force=False)
    for force in (False, True):
        with pytest.raises(UsageError, match="another process is training into this folder"):
            claim(config, force=force)
    states.unlock()
    claim(config, force=False)[0].unlock()


def test_a_place_that_is_no_folder_is_refused(config: TrainConfig) -> None:
    Path(config.output).write_text("x")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        claim(config, force=True)
