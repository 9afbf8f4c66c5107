"""Answers as text, the form in which they pass through lmms-eval: written by dual encoders, read for everybody.

Two families answer the same queries. A dual encoder writes one score a candidate as JSON; a chat model writes words.
`read_answer` is this project's own reading: a reply that can be read two ways, or in none, is unreadable, and an
unreadable reply is counted, never guessed. The papers' readings of the same words stand below it.

Sources: VisMin, arXiv:2407.16772 (its released answer matching); MED, arXiv:2506.07227 (its released test scripts).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.choice_reading import read_choice

# What the scores of an answer are of: `pairs` of one image and one text, each scored apart from the question (dual
# encoders, "does this image show …?"); `labels`, the candidates' names after the prompt; `options`, their own words.
Scored = Literal["pairs", "labels", "options"]


@dataclass(frozen=True)
class Answer:
    """What a model said to one query: scores, or a choice, or nothing that can be read (both None).

    Attributes:
        scores: one a candidate, in the query's order; None for a candidate without a finite score.
        scored: what the scores are of; None for a reply in words.
        alternatives: by name, other scores of the same answer (`sum` beside a mean over tokens), one a candidate.
        reason: why there is no answer, where the adapter knows.
        choice: position of the chosen candidate.
        truncated: how many of the query's texts were longer than the model's context.
        text: the reply in words; None when the answer came as scores.
    """

    scores: tuple[float | None, ...] | None = None
    choice: int | None = None
    truncated: int = 0
    text: str | None = None
    scored: Scored | None = None
    alternatives: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    reason: str | None = None


def write_scores(
    scores: NDArray[np.float32],
    *,
    truncated: int = 0,
    scored: Scored = "pairs",
    alternatives: Mapping[str, NDArray[np.float32]] | None = None,
) -> str:
    """Scores of one query as JSON; a score that is not finite becomes null.

    Each number is the shortest decimal that gives the same float32 back, so equal scores are equal bytes.

    Args:
        scores: [candidates], in the query's order.
        truncated: how many of the query's texts were cut to the model's context.
        scored: what the scores are of.
        alternatives: by name, other scores of the same answer, [candidates] each.

    Raises:
        ValueError: not one-dimensional, or empty.

    >>> write_scores(np.array([0.1, np.nan, -2], dtype=np.float32), truncated=1)
    '{"scores": [0.1, null, -2.0], "truncated": 1, "scored": "pairs"}'
    """
    content = {"scores": _shortest(scores), "truncated": truncated, "scored": scored}
    if alternatives:
        content["alternatives"] = {name: _shortest(values) for name, values in alternatives.items()}
    return json.dumps(content, allow_nan=False)


def _shortest(scores: NDArray[np.float32]) -> list[float | None]:
    values = np.asarray(scores, dtype=np.float32)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"expected scores of shape [candidates], got {values.shape}")
    return [float(str(value)) if np.isfinite(value) else None for value in values]


def write_unscored(reason: str) -> str:
    """An answer that an adapter could not get, as JSON; `reason` is for people.

    >>> write_unscored("the prompt has 5012 tokens, the context 4096")
    '{"unscored": "the prompt has 5012 tokens, the context 4096"}'
    """
    return json.dumps({"unscored": reason})


def write_words(text: str) -> str:
    """A reply in words: the text itself, or why not where it would be read as what an adapter wrote.

    >>> write_words("Answer: B")
    'Answer: B'
    >>> write_words('{"scores": [9, 0], "truncated": 0, "scored": "pairs"}')
    '{"unscored": "the reply is JSON of the kind in which adapters write scores"}'
    """
    if _written_content(text) is None:
        return text
    return write_unscored("the reply is JSON of the kind in which adapters write scores")


def read_answer(text: str, labels: Sequence[str], options: Sequence[str] = ()) -> Answer:
    """Read a reply: JSON with scores, or words that choose one candidate.

    In words, in this order: the label alone (`B`, `(b)`, `B.`, `**B**`, `First`); a label that is stated to be the
    answer (`Answer: B`, `the correct option is (B)`, `\\boxed{B}`, `<answer>B</answer>`), which outweighs whatever was
    discussed before it; one that opens or concludes the reply (`B. In the second image, …`, `so the second image is
    correct`); for ordinals also `image 2` and `the 2nd picture`, and of two `left`, `right`, `former`, `latter`;
    for verdicts the label's word and no synonym (`Yes, it is.`, `It is true.`, and `It is not.` for the label Not), or
    words of our own wordings that mean nothing else (`It is not the case.`, `Something false`), as long as nothing
    behind it disagrees; last, the words of exactly one option, alone or among set phrases.

    Behind a letter its option's own words cast no doubt on it (`C. Maybe a cat`), behind a stated answer the others may
    be called wrong (`Answer: B. A is wrong.`), and where letters stand for false and true, what is said of the
    statement must agree with the letter (`B. It is false.`).

    Unreadable are an answer after which another label or another option's words come, one that is denied, doubted or
    taken back (`not B`, `B is wrong`, `B. Ruled out.`, `B? No`, `B. Sorry, C`), a walk through the options that breaks
    off (`Option A: …`), courtesy and refusals (`Yes, I can help`, `No, I can't see`), what may be an article (`A cat`,
    and to be fair `B cat`), images counted from zero, options that are equal without case and punctuation, a reply that
    breaks off in its `<think>`, and one of more than 20,000 characters without its reasoning.

    Args:
        text: the reply.
        labels: one a candidate, in the query's order: letters, or words such as `First`.
        options: the candidates' own words, one a candidate, where they are texts; `false` and `true` for statements,
            and `True` is then read whatever the labels are.

    Raises:
        ValueError: fewer than two labels, or two that differ in case only.

    >>> read_answer(write_scores(np.array([0.5, np.nan], dtype=np.float32)), "AB").scores
    (0.5, None)
    >>> [read_answer(reply, "AB").choice for reply in ("B", "Answer: (B) the dog", "A or B", "A cat", "not B")]
    [1, 1, None, None, None]
    >>> read_answer("Second.", ("First", "Second")).choice
    1
    """
    folded = [label.casefold() for label in labels]
    if len(folded) < 2 or len(set(folded)) != len(folded):
        raise ValueError(f"expected at least two labels that differ, got {list(labels)}")
    written = _read_written(text, len(folded))
    if written is not None:
        return written
    return Answer(choice=read_choice(text, labels, options), text=text)


def _read_written(text: str, candidates: int) -> Answer | None:
    """What `write_scores` or `write_unscored` wrote; None for words."""
    content = _written_content(text)
    if content is None:
        return None
    if "unscored" in content:
        return Answer(reason=content["unscored"])
    scores, truncated = _finite(content["scores"], candidates), content["truncated"]
    scored, others = content["scored"], content.get("alternatives", {})
    if scores is None or type(truncated) is not int or scored not in get_args(Scored) or not isinstance(others, dict):
        return Answer(text=text)  # scores of another query, or not scores: unreadable
    alternatives = {name: read for name, values in others.items() if (read := _finite(values, candidates))}
    return Answer(scores=scores, truncated=truncated, scored=scored, alternatives=alternatives)


def _written_content(text: str) -> dict[str, Any] | None:
    """The JSON that only an adapter writes; None for words, also for those that happen to be JSON."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        content: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if set(content) == {"unscored"}:
        return content if isinstance(content["unscored"], str) else None
    scores = {"scores", "truncated", "scored"}
    return content if scores <= set(content) <= {*scores, "alternatives"} else None


def _finite(scores: object, candidates: int) -> tuple[float | None, ...] | None:
    """The scores with None for those that are not finite; None as a whole if they are not one a candidate."""
    if not isinstance(scores, list) or len(scores) != candidates or not all(_is_score(score) for score in scores):
        return None
    return tuple(float(score) if score is not None and math.isfinite(score) else None for score in scores)


def _is_score(value: object) -> bool:
    if value is None or isinstance(value, float):
        return True
    return type(value) is int and abs(value) < 2**1000  # a longer integer has no float


_IN_BRACKETS = re.compile(r"[^(]*\(([^)]*)\)")  # from the start: one pass, however many are opened
_BEFORE_BRACKET = re.compile(r"([a-zA-Z])\)")


def vismin_normalised(text: str) -> str:
    """A reply as VisMin's released evaluation compares it.

    >>> vismin_normalised("The answer is (B) a cat."), vismin_normalised("First.")
    ('b', 'first')
    """
    bracketed = _IN_BRACKETS.match(text)
    text = bracketed[1] if bracketed else text
    lettered = _BEFORE_BRACKET.search(text)
    text = lettered[1] if lettered else text
    first_line = text.split("\n", 1)[0]
    return " ".join(re.sub(r"[^\w\s]", "", first_line).split()).lower()


def vismin_matches(text: str, label: str) -> bool:
    """Whether VisMin's released evaluation counts a reply as this label; a reply may match several labels.

    >>> vismin_matches("A or B", "A"), vismin_matches("A or B", "B"), vismin_matches("(B) a cat", "A")
    (True, True, False)
    """
    reply, label = vismin_normalised(text), label.lower()
    return label in reply.split() or reply == label or f"answer {label}" in reply


def med_letter(text: str) -> str | None:
    """The letter that MED's released scripts read: the first `Answer:` and a letter, upper case.

    Where they find none they draw a letter at random; here None, which is counted as a miss.

    >>> med_letter("Answer: b"), med_letter("B"), med_letter("Answer: Zebra")
    ('B', None, 'Z')
    """
    found = re.search(r"Answer:\s*([A-Za-z])", text)
    return found[1].upper() if found else None
