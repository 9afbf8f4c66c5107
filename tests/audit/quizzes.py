"""Made-up questions with and without a shortcut."""

from __future__ import annotations

import numpy as np

from minchange_eval.core.items import BytesImage, ChoiceQuestion

WORDS = (
    "red", "green", "blue", "cat", "dog", "bird", "house", "tree", "lamp", "road", "under", "over", "beside", "with",
    "small", "large", "old", "new",
)  # fmt: skip


def sentence(rng: np.random.Generator, words: int) -> str:
    return f"The {' '.join(rng.choice(WORDS, size=words))}."


def quiz(n: int, *, seed: int = 0, options: int = 4, shared_images: int = 0) -> list[ChoiceQuestion]:
    """Questions whose answers are drawn apart from their texts: no rule can know anything.

    Args:
        shared_images: how many questions in a row show the same image; 0 gives each one of its own.
    """
    rng = np.random.default_rng(seed)
    return [
        ChoiceQuestion(
            question_id=f"q{number:05d}",
            subset=f"part{number % 3}",
            images=(BytesImage("i.png", f"{seed} {number // shared_images if shared_images else number}".encode()),),
            question=sentence(rng, 5),
            options=tuple(f"{letter}. {sentence(rng, int(rng.integers(3, 9)))}" for letter in "ABCDEFGHIJ"[:options]),
            answers=(int(rng.integers(options)),),
        )
        for number in range(n)
    ]


def with_longest_right(questions: list[ChoiceQuestion], share: float, seed: int = 0) -> list[ChoiceQuestion]:
    """The same, with the longest option right in a share of them."""
    rng = np.random.default_rng(seed)
    leaky = []
    for question in questions:
        lengths = [len(option) for option in question.options]
        answers = (lengths.index(max(lengths)),) if rng.random() < share else question.answers
        leaky.append(ChoiceQuestion(**{**vars(question), "answers": answers}))
    return leaky
