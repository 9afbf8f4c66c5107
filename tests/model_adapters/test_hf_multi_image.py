"""Multi-image chat models of every family: equal answers in every way of computing them, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minchange_eval.core.answers import read_answer
from minchange_eval.core.errors import DataError, ExitCode, MinchangeError, ModelError, UsageError
from minchange_eval.core.images import open_image
from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.core.prompts import render, render_match, render_without_options
from minchange_eval.core.queries import Direction, queries_of_set
from minchange_eval.model_adapters.hf_multi_image import HuggingFaceMultiImage
from minchange_eval.model_adapters.multi_image import answering, features
from minchange_eval.model_adapters.multi_image.side_by_side import with_one_image
from tests.model_adapters.chat_checkpoints import FAMILIES
from tests.model_adapters.chat_questions import (
    PROMPT,
    candidate_set,
    documents,
    picture,
    question,
    request,
    requests,
    scores,
)

Checkpoint = Callable[..., Path]
ONE_IMAGE = ("llava", "llava_next")
NO_PREFIX = ("mllama", "gemma3")
ENDS = ("<|im_end|>", "<end_of_utterance>", "<|eot_id|>", "<end_of_turn>", "</s>")  # each family has one of them


def model(folder: Path, scoring: str = "letters", probed: bool = True, **given: Any) -> HuggingFaceMultiImage:
    """An adapter without a log; `probed` leaves out the probe, which has tests of its own."""
    made = HuggingFaceMultiImage(**{"pretrained": str(folder), "scoring": scoring, "log": False, **given})
    made._probed = probed
    return made


class Reference:
    """A checkpoint asked with transformers alone, one prompt at a time."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.net = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def inputs(self, parts: Any, opening: str = "") -> Any:
        content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
        images = [open_image(part) for part in parts if not isinstance(part, str)]
        turn = [{"role": "user", "content": content}]
        text = self.processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) + opening
        bos = self.processor.tokenizer.bos_token
        special = not (bos and text.startswith(bos))
        return self.processor(text=[text], images=[images], return_tensors="pt", add_special_tokens=special), text

    def next_token(self, parts: Any, opening: str = "") -> Any:
        import torch

        with torch.inference_mode():
            logits = self.net(**self.inputs(parts, opening)[0]).logits[0, -1].float()
        return torch.log_softmax(logits, dim=-1).double()

    def label(self, parts: Any, spellings: list[str], opening: str = "") -> float:
        """The log-probability of all tokens that decode to one of these words."""
        after = self.next_token(parts, opening)
        tokens = self.processor.tokenizer.batch_decode([[token] for token in range(len(after))])
        chosen = [number for number, text in enumerate(tokens) if text.strip().lstrip("(\"'") in spellings]
        return float(after[chosen].logsumexp(0))

    def reply(self, parts: Any, reply: str) -> tuple[float, int]:
        """The log-probability of a reply and of its end, token by token, each from a forward of its own."""
        import torch

        given, text = self.inputs(parts)
        tokenizer = self.processor.tokenizer
        whole = text + ("" if text.endswith(("\n", ">")) else " ") + reply
        read = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        placed = zip(read["input_ids"], read["offset_mapping"], strict=True)
        tokens = [token for token, (_, end) in placed if end > len(text)]
        tokens.append(next(n for n in map(tokenizer.convert_tokens_to_ids, ENDS) if n != tokenizer.unk_token_id))
        total = 0.0
        for number in range(len(tokens)):
            longer = self.extended(given, tokens[:number])
            with torch.inference_mode():
                logits = self.net(**longer).logits[0, -1].float()
            total += float(torch.log_softmax(logits, dim=-1)[tokens[number]])
        return total, len(tokens)

    @staticmethod
    def extended(given: Any, more: list[int]) -> dict[str, Any]:
        import torch

        length = given["input_ids"].shape[1]
        fill = {"input_ids": torch.tensor([more], dtype=torch.long), "attention_mask": torch.ones(1, len(more)).long()}
        longer = {}
        for name, values in given.items():
            if name in fill:
                longer[name] = torch.cat([values, fill[name]], dim=1)
            elif name.endswith("type_ids"):
                longer[name] = torch.nn.functional.pad(values, (0, len(more)))
            elif name == "cross_attention_mask":
                longer[name] = torch.cat([values, values[:, -1:].repeat(1, len(more), 1, 1)], dim=1)
            else:
                longer[name] = values
        assert longer["input_ids"].shape[1] == length + len(more)
        return longer

    def words(self, parts: Any, most: int) -> str:
        given, _ = self.inputs(parts)
        written = self.net.generate(**given, do_sample=False, max_new_tokens=most, pad_token_id=0)
        return str(self.processor.tokenizer.decode(written[0, given["input_ids"].shape[1] :], skip_special_tokens=True))


def shown(family: str, parts: Any) -> Any:
    return with_one_image(parts) if family in ONE_IMAGE else parts


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scoring", ["letters", "options", "generate"])
def test_a_batch_of_8_gives_what_8_of_1_give_with_and_without_shared_beginnings(
    chat_checkpoint: Checkpoint, family: str, scoring: str
) -> None:
    folder = chat_checkpoint(family)
    single = model(folder, scoring, prefix=False).generate_until(requests())
    batched = model(folder, scoring, prefix=False, batch_size=8).generate_until(requests())
    shared = model(folder, scoring)
    from_prefix = shared.generate_until(requests())
    assert (shared.work["prompt_tokens_reused"] > 0) == (family not in NO_PREFIX)
    if scoring == "generate":
        assert single == batched == from_prefix
        return
    assert scores(batched) == pytest.approx(scores(single), abs=1e-5)
    assert scores(from_prefix) == pytest.approx(scores(single), abs=1e-5)
    assert np.std(scores(single)) > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_letters_and_options_are_those_of_plain_forwards(chat_checkpoint: Checkpoint, family: str) -> None:
    folder = chat_checkpoint(family)
    plain = Reference(folder)
    queries = [documents()[0][0], documents()[0][2], question(0)]
    asked = [request(query, number) for number, query in enumerate(queries)]
    (first, second, third) = (json.loads(a)["scores"] for a in model(folder).generate_until(asked))
    parts = [shown(family, render(query, PROMPT)) for query in queries]
    assert first == pytest.approx([plain.label(parts[0], [label]) for label in "AB"], abs=1e-4)
    ordinals = (["First", "first", "FIRST"], ["Second", "second", "SECOND"])
    assert second == pytest.approx([plain.label(parts[1], words) for words in ordinals], abs=1e-4)
    assert third == pytest.approx([plain.label(parts[2], [label], "Answer:") for label in "ABCD"], abs=1e-4)
    by_options = model(folder, "options").generate_until(asked)
    image, caption = queries[0].images[0], queries[0].texts[1]
    yes = plain.label(shown(family, render_match(image, caption, PROMPT)), ["Yes", "yes", "YES"])
    assert json.loads(by_options[0])["scores"][1] == pytest.approx(yes, abs=1e-4)
    alone = shown(family, render_without_options(queries[2], PROMPT))
    expected = [plain.reply(alone, option) for option in queries[2].texts]
    assert scores(by_options[2:]) == pytest.approx([total / tokens for total, tokens in expected], abs=1e-4)
    assert scores(by_options[2:], "sum") == pytest.approx([total for total, _ in expected], abs=1e-4)
    summed = model(folder, "options", normalise="sum").generate_until(asked[2:])
    assert scores(summed) == pytest.approx([total for total, _ in expected], abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reply_is_that_of_generate(chat_checkpoint: Checkpoint, family: str) -> None:
    folder = chat_checkpoint(family)
    plain = Reference(folder)
    queries = documents()[0]
    replies = model(folder, "generate", batch_size=4).generate_until([request(query) for query in queries])
    assert replies == [plain.words(shown(family, render(query, PROMPT)), 6) for query in queries]


@pytest.mark.parametrize("family", FAMILIES)
def test_exchanged_images_are_another_question(chat_checkpoint: Checkpoint, family: str) -> None:
    item = candidate_set(0)
    exchanged = CandidateSet("s", "x", item.images[::-1], item.captions)
    asker = model(chat_checkpoint(family))
    (one,), (other,) = (
        asker.generate_until([request(q, n) for q in queries_of_set(i) if q.direction is Direction.TEXT_TO_IMAGE][:1])
        for n, i in enumerate((item, exchanged))
    )
    assert np.abs(scores([one]) - scores([other])).max() > 1e-4


def test_four_questions_about_two_images_encode_two_and_compute_no_token_twice(chat_checkpoint: Checkpoint) -> None:
    folder = chat_checkpoint("qwen2_vl")
    asked = [request(query) for query in documents()[0]]
    shared, separate = model(folder), model(folder, prefix=False)
    shared.generate_until(asked)
    separate.generate_until(asked)
    assert [shared.work[name] for name in ("images_encoded", "images_reused", "images_shown")] == [2, 4, 6]
    assert separate.work["images_encoded"] == 2
    assert separate.work["prompt_tokens_reused"] == 0
    whole = separate.work["prompt_tokens_computed"]
    assert shared.work["prompt_tokens_computed"] + shared.work["prompt_tokens_reused"] == whole
    assert shared.work["prompt_tokens_reused"] > 0


def test_options_of_sets_ask_each_pair_once(chat_checkpoint: Checkpoint) -> None:
    asker = model(chat_checkpoint("llava"), "options", prefix=False)
    answers = [json.loads(a) for a in asker.generate_until([request(query) for query in documents()[0]])]
    assert asker.work["images_shown"] == 4
    assert {answer["scored"] for answer in answers} == {"pairs"}
    texts, images = [answer["scores"] for answer in answers[:2]], [answer["scores"] for answer in answers[2:]]
    assert np.array(texts).T.tolist() == images


def test_a_small_image_cache_encodes_again_and_says_so(chat_checkpoint: Checkpoint) -> None:
    folder = chat_checkpoint("idefics2")
    asked = [request(query) for query in documents()[0]]
    roomy, tight = model(folder, prefix=False), model(folder, prefix=False, feature_cache_mb=0)
    assert tight.generate_until(asked) == roomy.generate_until(asked)
    assert tight.work["images_encoded"] > roomy.work["images_encoded"] == 2


def test_images_first_is_asked_from_one_beginning_and_text_first_is_not(chat_checkpoint: Checkpoint) -> None:
    folder = chat_checkpoint("qwen2_5_vl")
    query = question(0)
    turned = [request(replace(query, texts=query.texts[k:] + query.texts[:k])) for k in range(4)]
    text_first, images_first = model(folder), model(folder, image_position="first")
    text_first.generate_until(turned)
    images_first.generate_until(turned)
    assert text_first.work["images_encoded"] == images_first.work["images_encoded"] == 2
    assert text_first.work["prompt_tokens_reused"] < images_first.work["prompt_tokens_reused"]
    assert images_first.description.settings["image_position"] == "first"


def test_without_images_nothing_is_encoded(chat_checkpoint: Checkpoint) -> None:
    for family in ("qwen3_vl", "idefics3", "mllama"):
        blind = model(chat_checkpoint(family), images="none")
        answers = blind.generate_until(requests())
        assert blind.work["images_encoded"] == 0
        assert np.isfinite(scores(answers)).all()


def test_a_model_of_one_image_gets_them_side_by_side_or_refuses(chat_checkpoint: Checkpoint) -> None:
    folder = chat_checkpoint("llava")
    asker = model(folder)
    asker.generate_until(requests())
    assert asker.work["prompts_stitched"] == 6
    assert "side by side" in str(asker.description.settings["several_images"])
    with pytest.raises(UsageError, match="takes one image a prompt, got 2"):
        model(folder, stitch="false").generate_until(requests())
    assert model(chat_checkpoint("llava_interleave")).description.settings["images_per_prompt"] == "many"


def test_side_by_side_shows_every_image_and_a_gap() -> None:
    first, second = picture(0, 40, 32), picture(1, 16, 16)
    (before, whole, after) = with_one_image(("look", first, second, "now"))
    assert (before, after) == ("look", "now")
    assert not isinstance(whole, str)
    pixels = np.asarray(open_image(whole))
    assert pixels.shape == (32, 40 + 3 + 32, 3)
    assert (pixels[:, :40] == np.asarray(open_image(first))).all()
    assert pixels[0, 40].tolist() == [255, 255, 255]
    assert pixels[0, 41].tolist() == [0, 0, 0]
    (swapped,) = with_one_image((second, first))
    assert not isinstance(swapped, str)
    assert swapped.sha256 != whole.sha256


def test_a_text_that_ends_the_reply_is_no_part_of_it(chat_checkpoint: Checkpoint) -> None:
    folder = chat_checkpoint("smolvlm")
    (whole,) = model(folder, "generate").generate_until([request(question(0), max_new_tokens=8)])
    assert len(whole) > 3
    (cut,) = model(folder, "generate").generate_until([request(question(0), max_new_tokens=8, until=[whole[2]])])
    assert cut == whole[: whole.index(whole[2])]


def test_a_model_that_ends_at_once_replies_with_nothing(chat_checkpoint: Checkpoint) -> None:
    asker = model(chat_checkpoint("qwen2_vl"), "generate")
    asker.loaded.net.generation_config.eos_token_id = list(range(len(asker.loaded.tokenizer)))
    (reply,) = asker.generate_until([request(question(0))])
    assert reply == ""
    read = read_answer(reply, "ABCD")
    assert (read.choice, read.scores) == (None, None)


@pytest.mark.parametrize("family", ["qwen2_vl", "mllama"])
def test_a_prompt_over_the_context_is_unscored_with_the_reason(chat_checkpoint: Checkpoint, family: str) -> None:
    folder = chat_checkpoint(family, context=120)
    long = candidate_set(0)
    query = queries_of_set(CandidateSet("s", "x", long.images, ("cat " * 200, "dog")))[0]
    for scoring in ("letters", "generate", "options"):
        asker = model(folder, scoring)
        found = read_answer(asker.generate_until([request(query)])[0], "AB")
        assert "the model's context 120" in str(found.reason), scoring


@pytest.mark.parametrize("family", ["qwen2_vl", "mllama"])
def test_nan_logits_are_no_scores(chat_checkpoint: Checkpoint, family: str) -> None:
    folder = chat_checkpoint(family, nan=True)
    for scoring in ("letters", "options"):
        assert np.isnan(scores(model(folder, scoring).generate_until(requests()))).all()
    replies = model(folder, "generate").generate_until([request(question(0))])
    assert "not finite" in str(read_answer(replies[0], "ABCD").reason)


def refusal(folder: Path, asked: Any = None, **given: Any) -> MinchangeError:
    with pytest.raises(MinchangeError) as caught:
        model(folder, **given).generate_until(asked or requests())
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_processor_without_chat_template_is_refused(chat_checkpoint: Checkpoint) -> None:
    error = refusal(chat_checkpoint("qwen2_vl", chat_template=False))
    assert "no chat template" in str(error)
    assert error.exit_code is ExitCode.USAGE


def test_a_tokenizer_without_pad_token_is_padded_with_its_end(chat_checkpoint: Checkpoint) -> None:
    for scoring in ("letters", "generate"):
        with_pad = model(chat_checkpoint("llava"), scoring, batch_size=4).generate_until(requests())
        without = model(chat_checkpoint("llava", pad_token=False), scoring, batch_size=4)
        assert without.loaded.tokenizer.pad_token_id is None
        answers = without.generate_until(requests())
        if scoring == "letters":
            assert scores(answers) == pytest.approx(scores(with_pad), abs=1e-5)
        else:
            assert len(answers) == len(with_pad)


def test_a_text_model_and_an_encoder_are_refused(chat_checkpoint: Checkpoint, tmp_path: Path) -> None:
    from tests.model_adapters.checkpoints import huggingface_folder

    text = refusal(chat_checkpoint("qwen2_vl", text_only=True))
    assert "expected a chat model that sees images" in str(text)
    encoder = refusal(huggingface_folder(tmp_path / "clip", "clip"))
    assert "got clip; dual encoders run with --model hf_dual_encoder" in str(encoder)
    nothing = refusal(tmp_path / "nothing")
    assert "no model there" in str(nothing)
    assert {text.exit_code, encoder.exit_code, nothing.exit_code} == {ExitCode.USAGE}


def test_missing_weights_are_never_random(chat_checkpoint: Checkpoint, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(chat_checkpoint("llava"), folder)
    state = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in state.items() if "projector" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    error = refusal(folder)
    assert "not in the checkpoint" in str(error)
    assert error.exit_code is ExitCode.INTERNAL


def test_a_label_that_the_vocabulary_cannot_write_is_named(chat_checkpoint: Checkpoint) -> None:
    error = refusal(chat_checkpoint("qwen2_vl", missing=("B",)))
    assert "label missing from the vocabulary: no token says 'B'" in str(error)
    assert error.exit_code is ExitCode.USAGE


def test_labels_that_begin_alike_are_scored_to_their_ends(chat_checkpoint: Checkpoint) -> None:
    images = tuple(picture(300 + number) for number in range(5))
    item = CandidateSet("s", "x", images, tuple(f"cat {number}" for number in range(5)))
    query = queries_of_set(item)[5]
    for asker in (model(chat_checkpoint("qwen2_vl")), model(chat_checkpoint("qwen2_vl"), prefix=False)):
        assert asker._spellings.of(("First", "Second", "Third", "Fourth", "Fifth")) is None
        found = read_answer(asker.generate_until([request(query)])[0], tuple("12345"))
        assert found.scored == "labels"
        assert len(set(found.scores or ())) == 5


def test_an_unreadable_image_is_named(chat_checkpoint: Checkpoint) -> None:
    item = CandidateSet("s", "x", (picture(0), BytesImage("broken.png", picture(1).data[:900])), ("a", "b"))
    error = refusal(chat_checkpoint("qwen2_vl"), [request(query) for query in queries_of_set(item)])
    assert "broken.png" in str(error)
    assert isinstance(error, DataError)


def test_wrong_arguments_are_refused(chat_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = chat_checkpoint("llava")
    assert "has no such bound" in str(refusal(folder, min_pixels=56))
    assert "bitsandbytes is not installed" in str(refusal(folder, load_in_4bit=True))
    assert "no adapter for this model there" in str(refusal(folder, peft=str(tmp_path)))
    assert "expected one of" in str(refusal(folder, normalise="median"))
    assert "Did you mean prefix" in str(refusal(folder, prefx=True))
    with pytest.raises(UsageError, match="say which model"):
        HuggingFaceMultiImage()


def test_older_transformers_are_refused(chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    from minchange_eval.model_adapters.multi_image import checkpoint

    monkeypatch.setattr(checkpoint, "version", lambda name: "4.57.1")
    assert "needs transformers 5 or later, got 4.57.1" in str(refusal(chat_checkpoint("llava")))


def test_pixel_bounds_change_the_prompt_and_the_settings(chat_checkpoint: Checkpoint) -> None:
    folder = chat_checkpoint("qwen2_vl")
    plain, small = model(folder), model(folder, max_pixels=28 * 28, min_pixels=28 * 28)
    plain.generate_until(requests())
    small.generate_until(requests())
    whole = [sum(m.work[name] for name in ("prompt_tokens_computed", "prompt_tokens_reused")) for m in (plain, small)]
    assert whole[1] < whole[0]
    assert plain.description.settings != small.description.settings


def test_out_of_memory_halves_the_batch_and_says_so(
    chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    folder = chat_checkpoint("qwen2_vl")
    expected = model(folder, prefix=False).generate_until(requests())
    asker = model(folder, prefix=False, batch_size=8)
    run = answering.LanguageModel.run

    def tight(self: Any, rows: Any, *args: Any, **given: Any) -> Any:
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, rows, *args, **given)

    monkeypatch.setattr(answering.LanguageModel, "run", tight)
    assert scores(asker.generate_until(requests())) == pytest.approx(scores(expected), abs=1e-5)
    assert asker.description.settings["batch_size"] == 2
    monkeypatch.setattr(answering.LanguageModel, "run", _never_fits)
    with pytest.raises(ModelError, match="out of memory in a forward of one prompt"):
        model(folder, prefix=False).generate_until(requests())


def _never_fits(*_: Any, **__: Any) -> Any:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_probe_finds_every_family_clean(chat_checkpoint: Checkpoint, family: str, dtype: str) -> None:
    found = model(chat_checkpoint(family), dtype=dtype).probe()
    found.check()
    assert found.between_images > 1e-3
    if dtype == "fp32":
        assert max(found.differences.values()) < 1e-5


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_cache_that_hands_over_another_images_features_stops_the_run(
    chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(features, "feature_key", lambda picture: "the same for all")
    error = refusal(chat_checkpoint("qwen3_vl"), dtype=dtype, probed=False)
    assert "contamination probe: image 2" in str(error)
    assert error.exit_code is ExitCode.INTERNAL


def test_beginnings_shared_by_different_images_stop_the_run(
    chat_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = answering.shared_beginnings

    def blind(content: Any, *others: Any) -> Any:
        return real([np.maximum(tokens, -1) for tokens in content], *others)

    monkeypatch.setattr(answering, "shared_beginnings", blind)
    error = refusal(chat_checkpoint("qwen2_vl"), probed=False)
    assert "from a shared beginning: differs" in str(error)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_peft_adapter_changes_the_scores_and_is_named(chat_checkpoint: Checkpoint, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    folder = chat_checkpoint("qwen2_vl")
    net = AutoModelForImageTextToText.from_pretrained(folder)
    targets = r".*(language_model|text_model)\.layers.*\.(q_proj|v_proj)"
    torch.manual_seed(0)
    adapted = get_peft_model(net, LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "lora")
    base, tuned = model(folder), model(folder, peft=str(tmp_path / "lora"))
    assert np.abs(scores(base.generate_until(requests())) - scores(tuned.generate_until(requests()))).max() > 1e-3
    assert base.description.weights_sha256 != tuned.description.weights_sha256
    assert tuned.description.settings["peft"] == "lora"
    assert tuned.work["prompt_tokens_reused"] > 0


def test_a_template_that_puts_images_first_is_known_by_it(chat_checkpoint: Checkpoint, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(chat_checkpoint("llava"), folder)
    template = (
        "{% for message in messages %}USER: {% for part in message['content'] if part['type'] == 'image' %}<image>\n"
        "{% endfor %}{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
        "{% endfor %}ASSISTANT:"
    )
    (folder / "chat_template.jinja").write_text(template)
    assert model(folder).description.settings["images_lead"] is True
    assert model(chat_checkpoint("llava")).description.settings["images_lead"] is False


def test_a_system_prompt_goes_before_the_turn(chat_checkpoint: Checkpoint) -> None:
    asker = model(chat_checkpoint("qwen2_vl"), system_prompt="Answer the question.")
    text = asker.prompts.text(render(question(0), PROMPT))
    assert text.startswith("<|im_start|>system\nAnswer the question.<|im_end|>\n<|im_start|>user\n")
