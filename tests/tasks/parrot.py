"""Chat models of somebody else's, as lmms-eval knows them: they see prompts and pictures, never our query."""

from __future__ import annotations

import re
from typing import Any

from lmms_eval.api.model import lmms
from PIL import Image

# What each style of prompt says, and the first (for statements: the affirmative) answer in it.
_STYLES = (
    (r"\bFirst, Second", "First"),
    (r"`Answer: A`", "Answer: A"),
    (r"\(A\)|\bA[.:]|\bA, B|\bA or B|\bA if|\bA for", "A"),
    (r"\b[Yy]es\b", "Yes"),
    (r"\b[Tt]rue\b", "True"),
)


class Parrot(lmms):
    """Always gives the first option, in the words of the prompt; simple interface."""

    is_simple = True

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.device = "cpu"

    def loglikelihood(self, requests: Any) -> Any:
        raise NotImplementedError

    def generate_until_multi_round(self, requests: Any) -> Any:
        raise NotImplementedError

    def generate_until(self, requests: Any) -> list[str]:
        answers = []
        for request in requests:
            context, _settings, doc_to_visual, doc_id, task, split = request.args
            pictures = doc_to_visual(self.task_dict[task][split][doc_id])
            assert pictures
            assert all(isinstance(picture, Image.Image) for picture in pictures)
            answers.append(first_option(context))
        return answers


class ParrotChat(Parrot):
    """The same over messages."""

    is_simple = False

    def generate_until(self, requests: Any) -> list[str]:
        answers = []
        for request in requests:
            _, doc_to_messages, _settings, doc_id, task, split = request.args
            (message,) = doc_to_messages(self.task_dict[task][split][doc_id])
            kinds = [part["type"] for part in message["content"]]
            assert kinds.count("text") >= 1
            assert kinds.count("image") >= 1
            answers.append(first_option("".join(p["text"] for p in message["content"] if p["type"] == "text")))
        return answers


def first_option(prompt: str) -> str:
    """The first option that a prompt names, in its own words."""
    return next(answer for style, answer in _STYLES if re.search(style, prompt))
