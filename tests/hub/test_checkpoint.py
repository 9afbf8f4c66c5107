"""A checkpoint's way to the Hub: what its card says, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.record import write_record
from minchange_eval.hub.checkpoint import read_checkpoint
from minchange_eval.trainers.clip.guard import Benchmark, GuardResult, Overlap
from minchange_eval.trainers.clip.training_record import TrainedOn
from tests.hub.client_process import Person
from tests.hub.made_checkpoint import run_of, write_checkpoint
from tests.hub.server import LocalHub

NAME = "ada/clip-spec"


def dry(ada: Person, folder: Path, *more: object) -> str:
    done = ada.run("push", "checkpoint", folder, "--to", NAME, "--dry-run", *more)
    assert done.code == 0, done.err
    return done.out


def card_of(ada: Person, folder: Path, *more: object) -> str:
    return dry(ada, folder, *more).split("README.md:\n\n", 1)[1]


def test_a_dry_run_shows_files_sizes_and_card_and_touches_no_network(
    ada: Person, hub: LocalHub, tmp_path: Path
) -> None:
    shown = dry(ada, write_checkpoint(tmp_path / "clip-spec"))
    assert shown.startswith(f"hub:{NAME}: a private model repository, 9 files, ")
    assert "  50,000  open_clip_model.safetensors\n" in shown
    assert "README.md:\n\n---\nlicense: apache-2.0\n" in shown
    assert not hub.seen
    assert not (tmp_path / "home").exists()


def test_the_card_has_numbers_before_and_after_with_intervals_chance_and_gate(ada: Person, tmp_path: Path) -> None:
    card = card_of(ada, write_checkpoint(tmp_path / "clip-spec"))
    row = "| **group_score** | 33.3 [22.5, 46.3] | 83.3 [71.5, 91.0] | +50.0 [+34.8, +63.2] | 16.7 | 60 |"
    assert row in card
    assert "### ✅ Gate: pass (exit 0)" in card
    assert "fallen by more than the margin? That it passes is no claim of a gain." in card
    assert "| +50.0 | +37.2 to +61.3 | 2.0 |" in card
    assert "| spec\\_mini\\_train (synthetic) | 600 candidate sets | `dddddddddddddddd` | Apache-2.0 |" in card
    assert "| learning_rate | 0.0001 |" in card
    assert "| total | 3.0000 at first, 1.0000 at the end |" in card
    assert f"minchange-eval pull checkpoint {NAME} --out clip-spec" in card
    assert "/home/ada" not in card


def test_the_hubs_library_reads_the_card_and_its_model_index(ada: Person, tmp_path: Path) -> None:
    card = ModelCard(card_of(ada, write_checkpoint(tmp_path / "clip-spec")), ignore_metadata_errors=False)
    results: list[EvalResult] = card.data.eval_results
    scores = {result.metric_type: result.metric_value for result in results}
    assert card.data.model_name == "clip-spec"
    assert scores["group_score"] == 83.33
    assert {result.dataset_type for result in results} == {"spec_mini_count"}
    assert card.data.license == "apache-2.0"


@pytest.mark.parametrize(
    ("adapter", "name", "said"),
    [
        ("open_clip", "hf-hub:lab/clip", "lab/clip"),
        ("open_clip", "runs/mini", None),
        ("hf_dual_encoder", "lab/clip", "lab/clip"),
        ("hf_dual_encoder", "runs/mini", None),
        ("hf_dual_encoder", "/home/ada/base", None),
    ],
)
def test_a_base_model_is_named_to_the_hub_where_it_is_there(
    adapter: str, name: str, said: str | None, ada: Person, tmp_path: Path
) -> None:
    (tmp_path / "runs" / "mini").mkdir(parents=True)  # in the folder that Ada works in
    card = card_of(ada, write_checkpoint(tmp_path / "clip-spec", base_model={"adapter": adapter, "name": name}))
    assert yaml.safe_load(card.split("---\n")[1]).get("base_model") == said


def test_a_task_that_is_no_word_is_in_no_command(ada: Person, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "clip-spec")
    record = run_of(50, weights="b")
    odd = "x; rm -r ~"
    task = record.tasks[0].model_copy(update={"name": odd})
    (old,) = record.outcomes
    changes = {"tasks": (task,), "metrics": {odd: record.metrics[old]}, "outcomes": {odd: record.outcomes[old]}}
    write_record(record.model_copy(update=changes), folder / "records" / "after.jsonl")
    card = card_of(ada, folder)
    assert "--tasks spec_mini\n" in card
    assert "rm -r" not in card.split("```sh")[1]


def test_a_loss_stands_on_the_card_as_a_regression(ada: Person, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "clip-spec")
    write_record(run_of(50), folder / "records" / "before.jsonl")
    write_record(run_of(20, weights="b"), folder / "records" / "after.jsonl")
    card = card_of(ada, folder)
    assert "### ❌ Gate: regression (exit 1)" in card
    assert "| -50.0 [-63.2, -34.8] |" in card


def test_runs_that_cannot_be_compared_are_told_of_as_such(ada: Person, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "clip-spec")
    write_record(run_of(50, of=59), folder / "records" / "after.jsonl")
    card = card_of(ada, folder)
    assert "Gate: no decision (exit" in card
    assert "+50.0" not in card


def test_without_runs_nothing_is_claimed(ada: Person, tmp_path: Path) -> None:
    card = card_of(ada, write_checkpoint(tmp_path / "clip-spec", records=False))
    assert "Nothing was evaluated before and after this training, so nothing is claimed for it." in card
    assert "model-index" not in card


def test_share_alike_data_make_a_share_alike_checkpoint(ada: Person, tmp_path: Path) -> None:
    both = (
        TrainedOn(name="vismin_train", kind="sets", fingerprint="e" * 64, licence="CC-BY-SA-4.0", items=9),
        TrainedOn(name="drawn", kind="sets", fingerprint="d" * 64, licence="Apache-2.0", items=9, synthetic=True),
    )
    card = card_of(ada, write_checkpoint(tmp_path / "clip-spec", data=both))
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "cc-by-sa-4.0"
    assert "Part of its training data were drawn by a program" in card


def test_data_without_a_licence_needs_a_person_who_has_looked(ada: Person, hub: LocalHub, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "clip-spec", licence="")
    refused = ada.run("push", "checkpoint", folder, "--to", NAME)
    assert refused.code == 2
    assert "spec_mini_train states no licence" in refused.line
    assert "--licence-reviewed" in refused.line
    assert not hub.repositories
    card = card_of(ada, folder, "--licence-reviewed")
    assert "license: unknown" in card
    assert "Whoever published this has looked into it" in card


def test_an_early_stop_and_an_allowed_overlap_are_on_the_card(ada: Person, tmp_path: Path) -> None:
    changes = {
        "stopped": "zero-shot accuracy 0.41 under the floor of 0.50",
        "planned_steps": 400,
        "config": {"allow_overlap": True},
        "overlap": GuardResult(
            images=1_800,
            benchmarks=(Benchmark(name="spec_mini", fingerprint="f" * 64, items=600, overlaps={"image": 1}, alike=0),),
            first=(Overlap(kind="image", training="spec_mini_train 12", benchmark="spec_mini", item="count/3"),),
            allowed=True,
        ).model_dump(mode="json"),
    }
    card = card_of(ada, write_checkpoint(tmp_path / "clip-spec", **changes))
    assert "**The training ended early**, at step 40 of 400: zero-shot accuracy 0.41 under the floor of 0.50." in card
    assert "| spec\\_mini | 600 | 1 |" in card
    assert "**Trained in spite of it (`--allow-overlap`)**, so the numbers above are too good." in card
    assert "- spec\\_mini\\_train 12 ~ spec\\_mini count/3: image" in card


def test_a_clean_comparison_is_on_the_card_and_none_is_claimed_where_none_was_made(ada: Person, tmp_path: Path) -> None:
    benchmark = Benchmark(name="spec_mini", fingerprint="f" * 64, items=600, overlaps={"image": 0, "id": 0}, alike=2)
    clean = GuardResult(images=1_800, benchmarks=(benchmark,)).model_dump(mode="json")
    compared = card_of(ada, write_checkpoint(tmp_path / "compared", overlap=clean))
    assert (
        "| evaluated | items | shared: image | shared: id |\n|---|---|---|---|\n| spec\\_mini | 600 | 0 | 0 |"
        in compared
    )
    untold = card_of(ada, write_checkpoint(tmp_path / "untold", config={"evaluate": ["spec_mini"]}))
    assert "does not tell whether the training data were compared with what was evaluated" in untold


def test_what_others_wrote_is_no_markup_on_a_card(ada: Person, tmp_path: Path) -> None:
    name = "x | [a](http://b) <script>\n## Licence: mine"
    data = (TrainedOn(name=name, kind="sets", fingerprint="d" * 64, licence="mit", items=9),)
    card = card_of(ada, write_checkpoint(tmp_path / "clip-spec", data=data))
    assert "<script>" not in card
    assert "\n## Licence: mine" not in card
    assert "x \\| \\[a\\](http://b) \\<script\\>\\\\n\\#\\# Licence: mine" in card


def test_open_clip_finds_the_tokenizer_that_lies_beside_the_weights(ada: Person, hub: LocalHub, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "clip-spec", records=False)
    config = {"model_cfg": {"embed_dim": 8, "text_cfg": {"hf_tokenizer_name": "/home/ada/base"}}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text("{}")
    assert ada.run("push", "checkpoint", folder, "--to", NAME).code == 0
    pushed = json.loads(hub.repository("model", NAME).files["open_clip_config.json"].content)
    assert pushed["model_cfg"] == {"embed_dim": 8, "text_cfg": {"hf_tokenizer_name": NAME}}


def test_what_stays_at_home(ada: Person, hub: LocalHub, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "clip-spec")
    (folder / ".state").mkdir()
    (folder / ".state" / "optimizer.bin").write_bytes(b"state")
    assert ada.run("push", "checkpoint", folder, "--to", NAME).code == 0
    files = hub.repository("model", NAME).files
    assert not [path for path in files if "tensorboard" in path or "state" in path]
    assert not [path for path, blob in files.items() if b"secret-host" in blob.content or b"/home/ada" in blob.content]
    assert json.loads(files["training.json"].content)["base_model"]["name"] == "base"
    assert json.loads((folder / "training.json").read_text())["base_model"]["name"] == "/home/ada/base"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda folder: (folder / "training.json").unlink(), UsageError, "no training has finished in it"),
        (lambda folder: (folder / "training.json").write_text("{"), DataError, "expected JSON"),
        (lambda folder: (folder / "training.json").write_text("{}"), DataError, "no training record (data:"),
        (lambda folder: (folder / "open_clip_model.safetensors").unlink(), DataError, "has no weights"),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b""), DataError, "may run code when it is read"),
        (lambda folder: (folder / "modeling.py").write_bytes(b""), DataError, "may run code when it is read"),
        (lambda folder: (folder / "photo.tiff").write_bytes(b""), DataError, "is no part of a checkpoint"),
        (lambda folder: (folder / "run").write_bytes(b""), DataError, "may run code when it is read"),
        (lambda folder: (folder / "a\n[b].json").write_bytes(b""), DataError, "could lie outside of a folder"),
        (lambda folder: (folder / "Config.JSON").write_bytes(b""), DataError, "are one file on many disks"),
        (lambda folder: (folder / "link.json").symlink_to("config.json"), DataError, "is a link"),
        (lambda folder: (folder / "records" / "after.jsonl").write_text("{}"), DataError, "not a run record"),
    ],
)
def test_a_folder_that_is_no_finished_checkpoint_is_refused(
    change: object, error: type[Exception], said: str, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "clip-spec")
    change(folder)
    with pytest.raises(error) as refused:
        read_checkpoint(folder)
    assert said in str(refused.value)


def test_gate_reads_the_records_of_a_checkpoint_on_the_hub(ada: Person, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "clip-spec")
    assert ada.run("push", "checkpoint", folder, "--to", NAME).code == 0
    runs = [f"hub:{NAME}/records/{name}.jsonl" for name in ("before", "after")]
    done = ada.run("gate", "--baseline", runs[0], "--candidate", runs[1])
    assert done.code == 0, done.err
    assert "gate: pass" in done.out


def test_a_pulled_checkpoint_can_be_pushed_elsewhere_as_it_is(ada: Person, hub: LocalHub, tmp_path: Path) -> None:
    ada.run("push", "checkpoint", write_checkpoint(tmp_path / "clip-spec"), "--to", NAME)
    assert ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled").code == 0
    done = ada.run("push", "checkpoint", tmp_path / "pulled", "--to", "lab/copy")
    assert done.code == 0, done.err
    first, second = (hub.repository("model", name).files for name in (NAME, "lab/copy"))
    assert {path for path in first if first[path] != second[path]} == {"README.md", "pushed.json"}
