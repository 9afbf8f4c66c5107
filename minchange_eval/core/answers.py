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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """What a model said to one query: scores, or a choice, or nothing that can be read (both None).

    Attributes:
        scores: one a candidate, in the query's order; None for a candidate without a finite score.
        choice: position of the chosen candidate.
        truncated: how many of the query's texts were longer than the model's context.
        text: the reply in words; None when the answer came as scores.
    """

    scores: tuple[float | None, ...] | None = None
    choice: int | None = None
    truncated: int = 0
    text: str | None = None


def write_scores(scores: NDArray[np.float32], *, truncated: int = 0) -> str:
    """Scores of one query as JSON; a score that is not finite becomes null.

    Each number is the shortest decimal that gives the same float32 back, so equal scores are equal bytes.

    Args:
        scores: [candidates], in the query's order.
        truncated: how many of the query's texts were cut to the model's context.

    Raises:
        ValueError: not one-dimensional, or empty.

    >>> write_scores(np.array([0.1, np.nan, -2], dtype=np.float32), truncated=1)
    '{"scores": [0.1, null, -2.0], "truncated": 1}'
    """
    values = np.asarray(scores, dtype=np.float32)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"expected scores of shape [candidates], got {values.shape}")
    shortest = [float(str(value)) if np.isfinite(value) else None for value in values]
    return json.dumps({"scores": shortest, "truncated": truncated}, allow_nan=False)


def read_answer(text: str, labels: Sequence[str]) -> Answer:
    """Read a reply: JSON with scores, or the label of a candidate in words.

    Read are the label alone (`B`, `(b)`, `B.`, `**B**`, `First`, `the second image`), a label that opens the reply
    (`B. In the second image, ...`), and a statement of the answer (`Answer: B`, `the answer is (B)`, `\\boxed{B}`,
    `<answer>B</answer>`), which outweighs whatever was discussed before it. Two different statements, two labels
    without a statement, a denied label (`not B`), and an `A` that is an article (`A cat`) are unreadable.

    Args:
        text: the reply.
        labels: one a candidate, in the query's order: letters, or words such as `First`.

    Raises:
        ValueError: fewer than two labels, or two that differ in case only.

    >>> read_answer('{"scores": [0.5, null], "truncated": 0}', "AB").scores
    (0.5, None)
    >>> [read_answer(reply, "AB").choice for reply in ("B", "Answer: (B) the dog", "A or B", "A cat", "not B")]
    [1, 1, None, None, None]
    >>> read_answer("Second.", ("First", "Second")).choice
    1
    """
    folded = [label.casefold() for label in labels]
    if len(folded) < 2 or len(set(folded)) != len(folded):
        raise ValueError(f"expected at least two labels that differ, got {list(labels)}")
    scored = _read_scores(text, len(folded))
    if scored is not None:
        return scored
    found = _read_label(_plain(text), labels)
    return Answer(choice=None if found is None else folded.index(found.casefold()), text=text)


def _read_scores(text: str, candidates: int) -> Answer | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    scores = content.get("scores")
    if not isinstance(scores, list):
        return None
    truncated = content.get("truncated", 0)
    if len(scores) != candidates or not all(_is_score(score) for score in scores) or type(truncated) is not int:
        return Answer(text=text)  # scores of another query, or not scores: unreadable
    finite = tuple(float(score) if score is not None and math.isfinite(score) else None for score in scores)
    return Answer(scores=finite, truncated=truncated)


def _is_score(value: object) -> bool:
    if value is None or isinstance(value, float):
        return True
    return type(value) is int and abs(value) < 2**1000  # a longer integer has no float


def _plain(text: str) -> str:
    """Without the reasoning that some models put before their answer, and without Markdown's marks."""
    spoken = re.sub(r"<think>.*?</think>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    spoken = re.sub(r"\\(?:boxed|text|mathrm)\s*\{([^{}]*)\}", r"answer: \1 ", spoken)
    spoken = re.sub(r"<answer>(.*?)</answer>", r"answer: \1 ", spoken, flags=re.DOTALL | re.IGNORECASE)
    return re.sub(r"[*`_#\"“”$]+", "", spoken).strip()


_JOINED = r"(?:\s*(?:,|/|&|\bor\b|\band\b|\bnor\b)\s*)+"
_STATED = r"\banswer\b\s*(?:(?:is|was|would be|should be|must be)\b\s*:?|[:=\-–]+)\s*"
_LEAD_IN = r"(?:(?:the|option|choice|image|picture|caption|answer|candidate)\s+)*[(\[]?\s*"
_NOUN = r"(?:\s+(?:image|picture|photo|option|choice|caption|one))?"
_DENIED = re.compile(r"\b(?:not|neither|nor|never|cannot|none|both|either|unsure|unclear)\b|n['’]t\b", re.IGNORECASE)


_LETTER_GOES_ON = re.compile(r"\s*,|\s+(?:is|was|because|since|as)\b", re.IGNORECASE)
_WORD_GOES_ON = re.compile(r"\s+(?:image|picture|photo|option|choice|caption|one)\b", re.IGNORECASE)


def _label_pattern(labels: Sequence[str]) -> str:
    """One group that finds a label and no article: `A` before a lower-case word is English, `a` mostly is."""
    letters = [label for label in labels if len(label) == 1]
    words = [re.escape(label) for label in labels if len(label) > 1]
    parts = []
    if letters:
        upper = "".join(re.escape(letter.upper()) for letter in letters)
        lower = "".join(re.escape(letter.lower()) for letter in letters)
        article = r"(?![ \t]+(?!(?:or|and|is|was|because|since|as)\b)[a-z])"
        parts.append(rf"(?:(?![AI])[{upper}]|[{upper}]{article}|[{lower}](?=\s*(?:[.)\]:,;!?/]|$)))")
    if words:
        parts.append("(?i:" + "|".join(words) + ")")
    return rf"(?<![\w'’])((?:{'|'.join(parts)}))(?![\w'’])"


def _read_label(plain: str, labels: Sequence[str]) -> str | None:
    label = _label_pattern(labels)
    stated = list(re.finditer(rf"(?i:{_STATED}{_LEAD_IN}){label}", plain))
    if stated:
        joined = any(re.match(rf"[)\]]?(?i:{_JOINED}{_LEAD_IN}){label}", plain[match.end() :]) for match in stated)
        return None if joined else _only(match[1] for match in stated)
    opened = re.match(rf"(?i:{_LEAD_IN}){label}[)\]]?", plain)
    if opened is None:
        return None
    rest = plain[opened.end() :]
    if re.fullmatch(rf"(?i:{_NOUN})[\s.,:;!)\]]*", rest):
        return opened[1]
    is_letter = len(opened[1]) == 1
    set_apart = opened[0][-1] in ")]" or re.match(r"\s*(?:[.:]|\n)" if is_letter else r"\s*(?:\.|\n)", rest)
    goes_on = re.match(_LETTER_GOES_ON if is_letter else _WORD_GOES_ON, rest)
    if not set_apart and (not goes_on or _DENIED.search(rest)):
        return None
    return _only([opened[1], *re.findall(label, rest)])


def _only(found: Iterable[str]) -> str | None:
    distinct = {label.casefold() for label in found}
    return distinct.pop() if len(distinct) == 1 else None


_IN_BRACKETS = re.compile(r"\(([^)]*)\)")
_BEFORE_BRACKET = re.compile(r"([a-zA-Z])\)")


def vismin_normalised(text: str) -> str:
    """A reply as VisMin's released evaluation compares it.

    >>> vismin_normalised("The answer is (B) a cat."), vismin_normalised("First.")
    ('b', 'first')
    """
    bracketed = _IN_BRACKETS.search(text)
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
