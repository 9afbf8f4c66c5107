"""Small finished checkpoints, as a training leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minchange_eval.core.record import ModelDescription, RunPart, RunRecord, write_record
from minchange_eval.trainers.clip.training_record import TrainedOn, TrainingRecord, write_training_record
from tests.reports.made_records import record, sets

RUN = RunPart(host="secret-host.example", started="2026-01-01T00:00:00Z", seconds=1.0)


def run_of(right: int, *, name: str = "/home/ada/clip-spec", of: int = 60, weights: str = "a") -> RunRecord:
    """A run on 60 sets of two subsets, so many of them right."""
    hits = [number < right for number in range(of)]
    model = ModelDescription(adapter="open_clip", name=name, weights_sha256=weights * 64)
    made = record(model=model, spec_mini_count=sets(hits, "count"))
    return made.model_copy(update={"run": RUN})


def write_checkpoint(
    folder: Path, *, licence: str = "Apache-2.0", weights: int = 50_000, records: bool = True, **changes: Any
) -> Path:
    """A folder with weights of so many bytes, a training record and runs before and after."""
    folder.mkdir(parents=True)
    (folder / "open_clip_model.safetensors").write_bytes(bytes(number % 251 for number in range(weights)))
    (folder / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 8, "quick_gelu": true}}\n')
    (folder / "config.json").write_text('{"model_type": "clip"}\n')
    (folder / "losses.jsonl").write_text('{"step": 1, "total": 3.0}\n')
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events.out.tfevents.1.secret-host.2").write_bytes(b"events")
    if records:
        write_record(run_of(20), folder / "records" / "before.jsonl")
        write_record(run_of(50, weights="b"), folder / "records" / "after.jsonl")
    said: dict[str, Any] = {
        "config": {"model": "/home/ada/base", "objective": "spec", "learning_rate": 1e-4, "seed": 3},
        "base_model": {"adapter": "open_clip", "name": "/home/ada/base", "weights_sha256": "c" * 64},
        "weights_sha256": "b" * 64,
        "data": (
            TrainedOn(
                name="spec_mini_train", kind="sets", fingerprint="d" * 64, licence=licence, items=600, synthetic=True
            ),
        ),
        "overlap": {},
        "steps": 40,
        "planned_steps": 40,
        "epochs": 2.0,
        "images": 9_000,
        "first_losses": {"total": 3.0},
        "last_losses": {"total": 1.0},
        "seconds": 12.0,
        "packages": {"torch": "2.15"},
    }
    write_training_record(folder, TrainingRecord(**(said | changes)))
    return folder
