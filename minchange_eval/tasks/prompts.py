"""The wordings of the benchmarks, by name."""

from __future__ import annotations

from minchange_eval.core.prompts import Prompt
from minchange_eval.core.queries import Direction

# VisMin: the strings of the authors' evaluator (rabiulcste/vismin, evals); for K candidates its own generalisation.
# SPEC has no protocol for chat models and takes VisMin's.
VISMIN = Prompt(
    name="vismin",
    templates=(
        (Direction.IMAGE_TO_TEXT, "{images}Does this image best match: {options}? Choices: {labels}."),
        (
            Direction.TEXT_TO_IMAGE,
            '{images}Which image better aligns with the description: "{caption}"? Choices: {labels}.',
        ),
    ),
)

# MED: text first, then the two images in one turn, as in the authors' scripts (beccabai/hallu_med, benchmark/test_*).
MED = Prompt(
    name="med",
    templates=(
        (
            Direction.CHOICE,
            "Look at the two images carefully and answer the question.\n\n{question}\n\nOptions:\n{lines}\n\n"
            "Reply with the letter of the right option in the form `Answer: A`.\n{images}",
        ),
    ),
)

PROMPTS = {prompt.name: prompt for prompt in (VISMIN, MED)}
