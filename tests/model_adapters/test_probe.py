"""The contamination probe asks in every way of the run, and says what it cannot vouch for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.errors import ModelError
from minchange_eval.model_adapters.hf_multi_image import HuggingFaceMultiImage
from minchange_eval.model_adapters.multi_image import language_model
from minchange_eval.model_adapters.multi_image.chat_prompts import Row
from minchange_eval.model_adapters.multi_image.probe import Probe

Checkpoint = Callable[..., Path]


def probed(folder: Path, **given: Any) -> Probe:
    return HuggingFaceMultiImage(**{"pretrained": str(folder), "scoring": "letters", "log": False, **given}).probe()


def test_the_probe_asks_in_batches_of_the_run_scores_replies_and_shows_images_side_by_side(
    chat_checkpoint: Checkpoint,
) -> None:
    for family in ("llava", "qwen2_vl", "internvl", "idefics3"):
        found = probed(chat_checkpoint(family), batch_size=8)
        found.check()
        assert {way for way, _ in found.differences} == {
            "one by one, images encoded",
            "one by one, images reused",
            "in batches of 8",
            "from a shared beginning",
        }
        pairs = {
            "image 1",
            "image 2",
            "image 1 with a reply",
            "image 2 with a reply",
            "images 1 and 2",
            "images 2 and 1",
        }
        assert {prompt for _, prompt in found.differences} == pairs
        assert max(found.differences.values()) < 1e-5 < found.between_images
        assert (found.left_out, found.warnings) == ({}, [])
    without = probed(chat_checkpoint("llava"), stitch=False)
    assert not any("images" in prompt for _, prompt in without.differences)
    assert not any("batches" in way for way, _ in without.differences)


def test_a_reply_at_wrong_places_stops_the_run(chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    replied = Row.replied

    def moved(self: Row, reply: Any) -> Row:
        row = replied(self, reply)
        row.positions[:, len(self.ids) :] += 1
        return row

    monkeypatch.setattr(Row, "replied", moved)
    with pytest.raises(ModelError, match="image 1 with a reply, one by one"):
        probed(chat_checkpoint("qwen2_vl")).check()


def test_rows_mixed_up_in_a_batch_stop_the_run(chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    run = language_model.LanguageModel.run

    def mixed(self: Any, rows: Any, *args: Any, **given: Any) -> Any:
        state = run(self, rows, *args, **given)
        state.logits = state.logits.flip(0)
        return state

    monkeypatch.setattr(language_model.LanguageModel, "run", mixed)
    with pytest.raises(ModelError, match="in batches of 2"):
        probed(chat_checkpoint("llava"), batch_size=2, prefix=False).check()


def test_images_that_reach_nothing_and_logits_that_are_none_are_warned_of(chat_checkpoint: Checkpoint) -> None:
    blind = HuggingFaceMultiImage(pretrained=str(chat_checkpoint("llava")), scoring="letters", log=False)
    for weights in blind.loaded.net.model.multi_modal_projector.parameters():
        weights.data.zero_()
    for found in (blind.probe(), probed(chat_checkpoint("qwen2_vl", nan=True))):
        found.check()
        assert found.between_images == 0
        assert found.warnings == [
            "two images make no difference: they do not reach the model's answers, or its logits are not finite"
        ]


@pytest.mark.parametrize("family", ["qwen2_vl", "mllama"])
def test_prompts_over_a_small_context_are_left_out_and_named(chat_checkpoint: Checkpoint, family: str) -> None:
    found = probed(chat_checkpoint(family, context=20))
    found.check()
    assert found.differences == {}
    assert len(found.left_out) == 6
    assert "image 1 left out: the prompt has" in found.warnings[0]
    assert "the model's context 20" in found.warnings[0]
