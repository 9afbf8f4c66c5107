"""Requests to chat models, as lmms-eval would hand them over: sets, a question with two images, a statement."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.prompts import Prompt
from minchange_eval.core.queries import Query, queries_of_set, query_of_question, query_of_statement

PROMPT = Prompt.read(
    {
        "name": "p",
        "source": "",
        "origin": "ours",
        "templates": {
            "i2t": {"text": "{images}Which caption is right? {options} Answer with one letter."},
            "t2i": {"text": '{images}Which image shows "{caption}"?', "labels": "ordinals"},
            "choice": {"text": "{question}\n{lines}\n{images}", "reply_prefix": "Answer:"},
            "statement": {"text": "{images}{statement} True or False?", "labels": "true/false"},
        },
        "without_options": {
            "choice": {"text": "{images}{question}"},
            "statement": {"text": "{images}{statement} True or False?"},
        },
        "match": {"text": '{images}Does this image show "{caption}"?', "labels": "yes/no"},
    }
)


def picture(seed: int, width: int = 60, height: int = 48) -> BytesImage:
    """Noise, of which each seed has its own."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return BytesImage(f"{seed}.png", buffer.getvalue())


def candidate_set(number: int) -> CandidateSet:
    """Two images of different shapes and two captions of different lengths."""
    images = (picture(2 * number), picture(2 * number + 1, 48, 64))
    return CandidateSet(f"s{number}", "x", images, (f"a red cat {number}", f"two blue dogs above one dog {number}"))


def question(number: int) -> Query:
    options = ("the cat is red", "the cat is blue now", "nothing", "In the first image, one dog is left of the other")
    images = (picture(100 + 2 * number), picture(101 + 2 * number))
    return query_of_question(ChoiceQuestion(f"q{number}", "x", images, f"What has changed {number}?", options, (1,)))


def statement(number: int) -> Query:
    item = ChoiceQuestion(
        f"v{number}", "x", (picture(200 + number),), f"The cat is above dog {number}.", ("false", "true"), (1,)
    )
    return query_of_statement(item)


def documents() -> list[list[Query]]:
    """The queries of each document: two sets, two questions, a statement."""
    sets = [list(queries_of_set(candidate_set(number))) for number in range(2)]
    return [*sets, [question(0)], [question(1)], [statement(0)]]


def request(query: Query, document: int = 0, prompt: Prompt = PROMPT, **settings: Any) -> Any:
    """One request, of the parts that an adapter reads."""
    given = {"max_new_tokens": 6, **settings}
    return SimpleNamespace(
        args=("", None, given, document, "t", "test"), metadata={"query": query, "prompt": prompt}, task_name="t"
    )


def requests(**settings: Any) -> list[Any]:
    return [request(query, number, **settings) for number, queries in enumerate(documents()) for query in queries]


def scores(answers: list[str], name: str = "scores") -> NDArray[np.float64]:
    """All scores of all answers, one after the other."""
    found = [json.loads(answer) for answer in answers]
    lists = [one["scores"] if name == "scores" else one["alternatives"][name] for one in found]
    return np.array([np.nan if value is None else value for values in lists for value in values])
