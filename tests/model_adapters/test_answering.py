"""Documents become answers: full batches, answers as soon as they are complete, and nothing but the document counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.model_adapters.hf_multi_image import HuggingFaceMultiImage
from minchange_eval.model_adapters.multi_image import answering
from minchange_eval.model_adapters.multi_image.language_model import bucket
from minchange_eval.model_adapters.multi_image.questions import Prompted
from tests.model_adapters.chat_questions import documents, question, request, requests, scores, statement

Checkpoint = Callable[..., Path]


def model(folder: Path, scoring: str = "letters", **given: Any) -> HuggingFaceMultiImage:
    """An adapter without a log and without the probe, which have tests of their own."""
    made = HuggingFaceMultiImage(**{"pretrained": str(folder), "scoring": scoring, "log": False, **given})
    made._probed = True
    return made


def orders(number: int) -> list[Any]:
    """One question with its options in every turn."""
    query = question(number)
    return [replace(query, texts=query.texts[turn:] + query.texts[:turn]) for turn in range(4)]


@given(st.integers(1, 10**6))
def test_a_row_is_padded_by_less_than_64_tokens_or_an_eighth(tokens: int) -> None:
    assert 0 <= bucket(tokens) - tokens < max(64, tokens / 8)
    assert bucket(bucket(tokens)) == bucket(tokens)


def test_widths_of_rows_grow_with_them() -> None:
    assert [bucket(tokens) for tokens in (1, 600, 1025, 5000)] == [64, 640, 1152, 5120]


def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each forward from now on."""
    sizes: list[int] = []
    run = answering.LanguageModel.run

    def counted(self: Any, rows: Any, *args: Any, **given: Any) -> Any:
        sizes.append(len(rows))
        return run(self, rows, *args, **given)

    monkeypatch.setattr(answering.LanguageModel, "run", counted)
    return sizes


def test_rows_of_one_shape_fill_batches_whatever_comes_between(
    chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = forwards(monkeypatch)
    asked = [
        request(make(number), 2 * number + (make is statement)) for number in range(8) for make in (question, statement)
    ]
    asker = model(chat_checkpoint("qwen2_vl"), prefix=False, batch_size=4)
    rows = [asker.prompts.row(asker._ask(one).parts) for one in asked]
    assert len({bucket(len(row.ids)) for row in rows}) == 2
    asker.generate_until(asked)
    assert sizes == [4] * 4


def test_answers_come_as_soon_as_they_are_complete_and_wait_without_a_vocabulary(
    chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = model(chat_checkpoint("qwen2_vl"), prefix=False, batch_size=8)
    rare, *common = [
        asker._ask(request(make(number), number)) for number, make in enumerate([statement] + [question] * 9)
    ]
    kept: list[int] = []
    keep = answering._Asked.keep

    def weighed(self: Any, found: Any) -> None:
        keep(self, found)
        kept.append(self.document.found[self.place].size)

    monkeypatch.setattr(answering._Asked, "keep", weighed)
    given = [list(answers) for answers in asker.answer([rare, *common])]
    assert given[:8] == [[ask.key] for ask in common[:8]]
    assert sorted(map(str, given)) == sorted(str([ask.key]) for ask in [rare, *common])
    assert max(kept) == 4


def test_words_that_are_looked_at_are_all_that_is_kept() -> None:
    after = np.log(np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32))
    found = Prompted(("?",), words=((0, 1), (3,))).reduced(after)
    assert found == pytest.approx(np.log([0.3, 0.4]))
    assert Prompted(("?",)).reduced(after) is after


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_documents_answers_are_the_same_whatever_else_is_asked_before_or_after(
    chat_checkpoint: Checkpoint, batch_size: int
) -> None:
    folder = chat_checkpoint("qwen2_5_vl")
    plain = [request(question(number), number) for number in range(3)]
    cyclic = [request(query, 10 + number) for number in range(3) for query in orders(number)]
    asked = {"image_position": "first", "batch_size": batch_size}
    alone = model(folder, **asked).generate_until(cyclic)
    assert model(folder, **asked).generate_until([*plain, *cyclic])[3:] == alone
    assert model(folder, **asked).generate_until([*cyclic, *plain])[:12] == alone
    model(folder, log=True, **asked).generate_until(plain)
    after = model(folder, log=True, **asked)
    assert after.generate_until(cyclic) == alone
    assert after.work["answers_from_log"] == 0
    again = model(folder, log=True, **asked)
    assert again.generate_until(cyclic) == alone
    assert again.work["answers_computed"] == 0


def test_equal_documents_are_asked_once(chat_checkpoint: Checkpoint) -> None:
    asker = model(chat_checkpoint("qwen2_vl"))
    first, second = (asker.generate_until([request(query, number) for query in orders(0)]) for number in range(2))
    assert first == second
    assert asker.work["answers_computed"] == 4


def test_replies_from_one_beginning_end_each_at_its_own_texts(chat_checkpoint: Checkpoint) -> None:
    folder = chat_checkpoint("smolvlm")
    first, second = orders(0)[:2]
    (whole,) = model(folder, "generate", image_position="first").generate_until([request(second, max_new_tokens=8)])
    asked = [request(first, max_new_tokens=8, until=["none such"]), request(second, max_new_tokens=8, until=[whole[2]])]
    shared = model(folder, "generate", image_position="first")
    separate = model(folder, "generate", image_position="first", prefix=False)
    replies = shared.generate_until(asked)
    assert replies[1] == whole[: whole.index(whole[2])]
    assert replies == separate.generate_until(asked)
    assert shared.work["prompt_tokens_reused"] > 0


def test_an_image_is_encoded_once_a_forward_however_small_the_cache(chat_checkpoint: Checkpoint) -> None:
    asker = model(chat_checkpoint("qwen2_vl"), prefix=False, batch_size=8, feature_cache_mb=0)
    asker.generate_until([request(query) for query in orders(0)])
    assert asker.work["images_encoded"] == 2


def never_fits(*_: Any, **__: Any) -> Any:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


def test_what_is_tried_again_in_smaller_batches_is_counted_once(
    chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = chat_checkpoint("qwen2_vl")
    roomy, tight = (model(folder, image_position="first", batch_size=8) for _ in range(2))
    asked = [request(query, number) for number in range(2) for query in orders(number)]
    expected = roomy.generate_until(asked)
    run = answering.LanguageModel.run

    def small(self: Any, rows: Any, *args: Any, **given: Any) -> Any:
        return never_fits() if len(rows) > 2 else run(self, rows, *args, **given)

    monkeypatch.setattr(answering.LanguageModel, "run", small)
    assert scores(tight.generate_until(asked)) == pytest.approx(scores(expected), abs=1e-5)
    tokens = ("prompt_tokens_computed", "prompt_tokens_reused")
    assert [tight.work[name] for name in tokens] == [roomy.work[name] for name in tokens]
    settings = tight.description.settings
    assert (settings["batch_size"], settings["batch_size_asked"]) == (2, 8)
    assert "batch_size_asked" not in roomy.description.settings


@pytest.mark.parametrize("probed", [True, False])
def test_out_of_memory_is_one_line_where_nothing_is_reused(chat_checkpoint: Checkpoint, probed: bool) -> None:
    asker = model(chat_checkpoint("mllama"))
    asker._probed = probed
    asker.loaded.net.forward = never_fits
    with pytest.raises(ModelError, match="out of memory in a forward of one prompt"):
        asker.generate_until(requests())


def test_a_release_that_takes_no_encoded_images_reuses_nothing_and_says_so(
    chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlavaForConditionalGeneration

    folder = chat_checkpoint("llava")
    asked = [request(query) for query in documents()[0]]
    expected = model(folder).generate_until(asked)
    forward = LlavaForConditionalGeneration.forward

    def older(self: Any, input_ids: Any = None, pixel_values: Any = None, **given: Any) -> Any:
        return forward(self, input_ids=input_ids, pixel_values=pixel_values, **given)

    monkeypatch.setattr(LlavaForConditionalGeneration, "forward", older)
    asker = model(folder)
    assert "takes no encoded images" in asker.description.settings["fallback"]
    assert asker.description.settings["features_reused"] is False
    assert scores(asker.generate_until(asked)) == pytest.approx(scores(expected), abs=1e-5)
    assert asker.work["images_reused"] == 0


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_an_adapter_of_other_layers_or_a_damaged_one_is_refused(chat_checkpoint: Checkpoint, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForImageTextToText

    folder, lora = chat_checkpoint("qwen2_vl"), tmp_path / "lora"
    targets = r".*(language_model|text_model)\.layers.*\.(q_proj|v_proj)"
    net = AutoModelForImageTextToText.from_pretrained(folder)
    get_peft_model(net, LoraConfig(r=4, target_modules=targets)).save_pretrained(lora)
    file = lora / "adapter_model.safetensors"
    named = {name.replace("language_model", "elsewhere"): values for name, values in load_file(file).items()}
    save_file(named, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="weights of the adapter that its configuration names are not in it"):
        model(folder, peft=str(lora))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UsageError, match="cut off, damaged or no checkpoint") as caught:
        model(folder, peft=str(lora))
    assert str(file) in str(caught.value)
