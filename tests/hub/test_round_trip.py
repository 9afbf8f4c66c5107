"""From drawn sets to a checkpoint on the Hub and back: each command as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.data.store import write_store
from minchange_eval.data.store_card import StoreCard, read_card, store_folder
from tests.data.official_layouts import picture_bytes
from tests.hub.client_process import Person
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
    "--output=trained",
)


@pytest.mark.slow
def test_data_go_to_the_hub_and_are_trained_on_from_there_and_the_checkpoint_comes_back_as_it_was(
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
        ("push", "dataset", "balls", "--to", "ada/balls"),
        ("prepare", "back", "--source", "hub:ada/balls"),
        TRAIN,
        ("push", "checkpoint", "trained", "--to", "ada/clip-balls"),
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
    assert pushed.files["README.md"].content.startswith(b"---\nlicense: cc-by-sa-4.0\n")
    assert len(pushed.commits) == 2
