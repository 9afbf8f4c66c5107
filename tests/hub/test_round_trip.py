"""From drawn sets to an evaluated checkpoint on the Hub and back: each command as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.core.record import read_record
from minchange_eval.data.store import write_store
from minchange_eval.data.store_card import StoreCard, read_card, store_folder
from tests.data.official_layouts import picture_bytes
from tests.hub.client_process import Person
from tests.hub.conftest import TOKEN
from tests.hub.server import LocalHub

TRAIN = (
    "train",
    "clip",
    "--model=minchange-tiny",
    "--sets=back",
    "--sets-per-batch=4",
    "--steps=2",
    "--warmup-steps=1",
    "--learning-rate=1e-4",
    "--objective=full_sets",
    "--workers=0",
    "--evaluate=vismin_mini_counting",
    "--output=trained",
)
BEFORE, AFTER = "records/before.jsonl", "records/after.jsonl"


@pytest.mark.slow
def test_drawn_data_a_trained_checkpoint_and_its_evaluations_go_to_the_hub_and_come_back_as_they_were(
    ada: Person, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))
    colours = ("red", "green", "blue")
    drawn = (
        CandidateSet(
            f"s{number}",
            "colour",
            tuple(
                BytesImage(f"{number}-{name}.png", picture_bytes((number, place))) for place, name in enumerate(colours)
            ),
            tuple(f"a {name} ball" for name in colours),
        )
        for number in range(8)
    )
    card = StoreCard(name="balls", licence="CC-BY-SA-4.0", title="Balls", synthetic=True)
    fingerprint = write_store("balls", drawn, card=card).card.fingerprint
    for argv in (
        ("prepare", "vismin_mini"),
        ("push", "dataset", "balls", "--to", "ada/balls"),
        ("prepare", "back", "--source", "hub:ada/balls"),
        TRAIN,
        ("push", "checkpoint", "trained", "--to", "ada/clip-balls"),
        ("push", "records", f"trained/{BEFORE}", f"trained/{AFTER}", "--to", "ada/records"),
        ("pull", "checkpoint", "ada/clip-balls", "--out", "pulled"),
        ("push", "checkpoint", "pulled", "--to", "ada/clip-balls"),
    ):
        done = ada.run(*argv)
        assert done.code == 0, f"{argv}: {done.err}"
    assert "nothing to send, it is up to date" in done.out
    assert read_card(store_folder("back")).fingerprint == fingerprint
    weights = "open_clip_model.safetensors"
    assert (tmp_path / "pulled" / weights).read_bytes() == (tmp_path / "trained" / weights).read_bytes()
    record = json.loads((tmp_path / "pulled" / "training.json").read_text())
    assert [(data["fingerprint"], data["licence"]) for data in record["data"]] == [(fingerprint, "CC-BY-SA-4.0")]
    pushed = hub.repository("model", "ada/clip-balls")
    assert len(pushed.commits) == 2
    for name in (BEFORE, AFTER):
        trained, pulled = (read_record(tmp_path / folder / name) for folder in ("trained", "pulled"))
        assert pulled.outcomes == trained.outcomes
        assert pulled.metrics == trained.metrics
        assert trained.tasks[0].items == 100
    gate = ada.run("gate", "--baseline", "hub:ada/records/records/before.jsonl.gz", "--candidate", f"pulled/{AFTER}")
    of_hub = ada.run("gate", "--baseline", f"hub:ada/clip-balls/{BEFORE}", "--candidate", f"hub:ada/clip-balls/{AFTER}")
    assert gate.code in (0, 1, 6), gate.err
    assert of_hub.code == gate.code
    card = ModelCard(pushed.files["README.md"].content.decode(), ignore_metadata_errors=False)
    assert card.data.license == "cc-by-sa-4.0"
    verdict = gate.out.strip().splitlines()[-1].removeprefix("gate: ")
    assert verdict.endswith(f"(exit {gate.code})")
    assert f"Gate: {verdict}" in card.text
    assert "Its training data were drawn by a program" in card.text
    assert "100 items, drawn by a program" in card.text
    assert {result.dataset_type for result in card.data.eval_results} == {"vismin_mini"}
    assert all(result.dataset_name.endswith(", counting only (synthetic)") for result in card.data.eval_results)
    assert [benchmark["name"] for benchmark in record["overlap"]["benchmarks"]] == ["vismin_mini"]
    sent = [blob.content for one in hub.repositories.values() for blob in one.files.values()]
    for secret in (TOKEN, str(tmp_path)):
        assert not [content for content in sent if secret.encode() in content]
