from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.model_adapters.chat_checkpoints import FAMILIES, LETTERS, VERDICTS, parameters, write_checkpoint

Checkpoints = Callable[..., Path]


def picture(seed: int, square: tuple[int, int, int] | None = None) -> Image.Image:
    """Coarse noise of 80 x 60 px; with a `square` of another colour it is nearly the same picture."""
    cells = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(cells).resize((80, 60), Image.Resampling.NEAREST))
    if square is not None:
        pixels[10:25, 10:25] = square
    return Image.fromarray(pixels)


def loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    return AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder).eval()


def asked(processor: Any, first: Image.Image, second: Image.Image) -> Any:
    content = [
        {"type": "text", "text": "First:"},
        {"type": "image", "image": first},
        {"type": "text", "text": "Second:"},
        {"type": "image", "image": second},
        {"type": "text", "text": " Which option? A or B."},
    ]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_two_images_and_sees_a_small_change_of_either(
    chat_checkpoint: Checkpoints, family: str
) -> None:
    import torch

    folder = chat_checkpoint(family)
    processor, model = loaded(folder)
    with torch.no_grad():
        plain, first, second = (
            model(**asked(processor, *images)).logits[:, -1]
            for images in (
                (picture(1), picture(2)),
                (picture(1, (255, 0, 0)), picture(2)),
                (picture(1), picture(2, (255, 0, 0))),
            )
        )
        told = model.generate(**asked(processor, picture(1), picture(2)), max_new_tokens=4, do_sample=False)
    assert torch.isfinite(plain).all()
    assert (plain - first).abs().max() > 0.01
    assert (plain - second).abs().max() > 0.01
    assert told.shape[0] == 1
    assert 200_000 < parameters(folder) < 500_000


def test_every_label_is_one_token_with_and_without_a_leading_blank(chat_checkpoint: Checkpoints) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(chat_checkpoint("qwen2_vl"))
    for word in (*LETTERS, *VERDICTS):
        for spelling in (word, f" {word}"):
            assert len(tokenizer.encode(spelling, add_special_tokens=False)) == 1, spelling


def test_the_switches_of_the_fault_tests_leave_out_what_they_name(tmp_path: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoTokenizer

    folder = write_checkpoint(
        "qwen2_vl", tmp_path / "faulty", chat_template=False, pad_token=False, missing=("B",), nan=True, context=64
    )
    processor, model = loaded(folder)
    tokenizer = processor.tokenizer
    assert processor.chat_template is None
    assert tokenizer.pad_token is None
    assert tokenizer.encode("B", add_special_tokens=False) == []
    assert len(tokenizer.encode("A", add_special_tokens=False)) == 1
    assert tokenizer.model_max_length == model.config.text_config.max_position_embeddings == 64
    assert torch.isnan(model(input_ids=torch.tensor([[5, 6]])).logits).all()
    text = write_checkpoint("qwen2_vl", tmp_path / "text", text_only=True)
    assert AutoConfig.from_pretrained(text).model_type == "qwen2"
    assert AutoTokenizer.from_pretrained(text).chat_template is not None


def test_a_seed_names_the_weights(tmp_path: Path) -> None:
    folders = [write_checkpoint("llava", tmp_path / str(n), seed=seed) for n, seed in enumerate((3, 3, 4))]
    first, again, other = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert first == again
    assert first != other
