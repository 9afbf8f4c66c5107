"""What each family of image-and-text models can do, as the tests show it on a checkpoint of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Family:
    """What may be done with a model without changing its answers.

    Attributes:
        images: how many images a prompt may have; a model of `one` was trained on prompts of one image.
        features: images can be encoded apart from the prompt, and kept.
        prefix: prompts can go on from the computed beginning that they share.
        batch: prompts of mixed lengths, padded on the left, give what each gives alone.
        by_number: an image is prepared differently when it is not the only one of its prompt.
        fallback: what is done without, and why; empty where nothing is.
    """

    images: Literal["many", "one"] = "many"
    features: bool = True
    prefix: bool = True
    batch: bool = True
    by_number: bool = False
    fallback: str = ""


FAMILIES = {
    "qwen2_vl": Family(),
    "qwen2_5_vl": Family(),
    "qwen3_vl": Family(),
    "idefics2": Family(),
    "idefics3": Family(),
    "smolvlm": Family(),
    "llava": Family(),
    "llava_next": Family(images="one"),
    "llava_onevision": Family(by_number=True),
    "internvl": Family(),
    "gemma3": Family(
        prefix=False, fallback="no shared prefixes: its sliding windows keep the last keys and values only"
    ),
    "mllama": Family(
        features=False,
        prefix=False,
        batch=False,
        fallback="one prompt at a time, nothing reused: images are attended to across the prompt, not within it",
    ),
}


def without_reuse(family: Family, why: str) -> Family:
    """The same, fed in the plain way."""
    return replace(family, features=False, prefix=False, batch=False, fallback=why)


def family_of(config: Any) -> Family:
    """The family of a checkpoint, by its configuration; for an unknown one nothing is reused.

    LLaVA-1.5, with a Llama behind it, was trained on one image a prompt; LLaVA-Interleave, with another language model,
    on several.
    """
    kind = config.model_type
    if kind not in FAMILIES:
        return without_reuse(Family(), f"one prompt at a time, nothing reused: the family {kind} was never tried")
    family = FAMILIES[kind]
    if kind == "llava" and config.get_text_config().model_type == "llama":
        return replace(family, images="one")
    return family
