"""Log-probabilities of the candidates' labels, read from what a server reports of the tokens of its reply.

A server lists the likeliest tokens (20 at most) of each place in the reply. The place that counts is the first with
something behind the form's prefix (`Answer:`), blanks and opening marks, and it counts only if the reply says a whole
label there: `A closer look …` does not. There the probabilities of all listed spellings of a label are summed. A label
that is not listed has no score that could be known, only a bound: see `label_scores`. Why, and what was left:
docs/decisions/0091-labels-that-are-not-listed.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

NEVER = -9999.0  # how servers write a probability of zero; minus infinity is no score
_ROUNDING = 1e-6  # of the reported numbers
SPELLINGS = 8  # tokens that may spell one label: `A`, ` A`, `(A`, `A.`, … of which some may not be listed
_BEFORE = " \t\r\n▁ĠĊ([{<*_\"'`“‘「#"
_BEHIND = " \t\r\n▁Ġ)]}*_\"'`”’.,:;"
_NO_BLANKS = str.maketrans("", "", " \t\r\n▁ĠĊ")
_END = re.compile(r"[▁Ġ \t]*(?:$|[\r\nĊ])|[)\]}*_\"'`”’.]")  # what may stand right behind a label that is all


@dataclass(frozen=True)
class LabelScores:
    """What the reported tokens say of the labels.

    Attributes:
        scores: [labels] log-probabilities; of a label that is not listed, the highest that it can have. All NaN where
            the server reports numbers that are none.
        listed: [labels] whether a spelling of the label was among the reported tokens.
        said: position of the label that the reply itself says there.
    """

    scores: NDArray[np.float32]
    listed: NDArray[np.bool_]
    said: int


def tokens_of_words(
    tokens: object, text: str, words: str, ends: Sequence[str] = ()
) -> list[Mapping[str, object]] | None:
    """The reported tokens that make up a reply's words; None where others stand before them, or they cannot be told.

    A reasoning model's thinking is reported with its reply. Behind the reply one token may come that ends the turn, or
    a text that ended it. Blanks do not count: some vocabularies lose them.

    Args:
        tokens: `choices[0].logprobs.content` of a reply, as it came.
        text: the reply.
        words: the beginning of it that is read.
        ends: texts that end a reply.

    >>> reported = [{"token": "B"}, {"token": "<|im_end|>"}]
    >>> tokens_of_words(reported, "B", "B"), tokens_of_words([{"token": "So "}, *reported], "B", "B")
    ([{'token': 'B'}], None)
    """
    if not isinstance(tokens, list) or not all(isinstance(token, Mapping) for token in tokens):
        return None
    bare = [str(token.get("token")).translate(_NO_BLANKS) for token in tokens]
    whole, read = (_made_up_of(bare, part.translate(_NO_BLANKS)) for part in (text, words))
    if not whole or not read:
        return None
    rest = "".join(bare[whole:])
    ended = len(bare) == whole + 1 or any(rest.startswith(end.translate(_NO_BLANKS)) for end in ends if end.strip())
    return tokens[:read] if ended or not rest else None


def _made_up_of(tokens: Sequence[str], text: str) -> int | None:
    """How many tokens are exactly the text."""
    lengths = list(accumulate(map(len, tokens)))
    count = next((number for number, length in enumerate(lengths, 1) if length >= len(text)), 0)
    return count if "".join(tokens[:count]) == text else None


def label_scores(tokens: object, labels: Sequence[str], prefix: str) -> LabelScores | None:
    """Scores of the labels, or None where the report does not decide between them: then the words must be read.

    The reply must say a label at the place that counts, and nothing but it: it ends there, or the line does, or a full
    stop or a closing mark follows. The report decides if the best listed label is likelier than any other can be. One
    that is listed has what its spellings have; one that is not has at most the probability that the listed tokens leave
    over, taken to be at most `SPELLINGS` times that of the least likely listed one. To either is added what the listed
    tokens have that may be the beginning of the label.

    Args:
        tokens: `choices[0].logprobs.content` of a reply, as it came.
        labels: the candidates' names, at least two.
        prefix: what the form puts in front of the label; replies with and without it are read.

    >>> def token(text, *top):
    ...     return {"token": text, "logprob": top[0][1], "top_logprobs": [{"token": t, "logprob": p} for t, p in top]}
    >>> reply = [token("Answer", ("Answer", -0.1)), token(":", (":", 0.0)), token(" B", (" B", -0.7), ("A", -1.2))]
    >>> label_scores(reply, "AB", "Answer:").scores
    array([-1.2, -0.7], dtype=float32)
    >>> label_scores(reply[:1], "AB", "") is None
    True
    """
    place = _place(tokens, prefix)
    said = next((number for number, label in enumerate(labels) if place and place.says(label)), None)
    if place is None or said is None:
        return None
    if any(math.isnan(value) or value > _ROUNDING for _, value in place.reported):
        return LabelScores(np.full(len(labels), np.nan, np.float32), np.zeros(len(labels), bool), said)
    spoken = [(place.label_text(token), value) for token, value in place.reported]
    found = [[value for text, value in spoken if _spells(text, label)] for label in labels]
    begun = [[value for text, value in spoken if _may_begin(text, label)] for label in labels]
    listed = [bool(values) for values in found]
    scores = [_total(values or [place.unlisted, *before]) for values, before in zip(found, begun, strict=True)]
    best = max((n for n in range(len(labels)) if listed[n]), key=scores.__getitem__, default=None)
    if best is None:
        return None
    for number, before in enumerate(begun):
        most = _total([*found[number], *before]) if listed[number] else scores[number]
        known = listed[number] and not before  # equal scores that are known are a tie
        if number != best and not known and most >= scores[best]:
            return None
    return LabelScores(np.array(scores, np.float32), np.array(listed), said)


@dataclass(frozen=True)
class _Place:
    """The place in a reply where a label stands or could.

    Attributes:
        written: the reply before it.
        prefix: what of `written` is the form's prefix; empty for a reply without it.
        own: the token that the reply has here.
        rest: the reply after it.
        reported: tokens with their log-probabilities; two tokens may be the same text.
        unlisted: logarithm of the most that all unlisted spellings of one label can have.
    """

    written: str
    prefix: str
    own: str
    rest: str
    reported: Sequence[tuple[str, float]]
    unlisted: float

    def label_text(self, token: str) -> str:
        return _behind(self.written + token, self.prefix)

    def says(self, label: str) -> bool:
        """Whether the reply's own token is the label, and the label ends there."""
        said = self.label_text(self.own)
        return _spells(said, label) and _END.match(said[len(label) :] + self.rest) is not None


def _place(tokens: object, prefix: str) -> _Place | None:
    """Where the label stands; None where the server reports no tokens, or none of them is more than prefix."""
    if not isinstance(tokens, list):
        return None
    known = [token for token in tokens if isinstance(token, Mapping) and isinstance(token.get("token"), str)]
    reply = "".join(token["token"] for token in known)
    used = prefix.strip() if reply.lstrip(_BEFORE).casefold().startswith(prefix.strip().casefold()) else ""
    written = ""
    for token in known:
        own = token["token"]
        if _behind(written + own, used):
            reported, unlisted = _reported(token)
            rest = reply[len(written) + len(own) :]
            return _Place(written, used, own, rest, reported, unlisted) if reported else None
        written += own
    return None


def _reported(token: Mapping[str, object]) -> tuple[list[tuple[str, float]], float]:
    """Log-probabilities of the likeliest tokens and the reply's own, and of what is left for one label."""
    top = token.get("top_logprobs")
    likeliest = _logprobs(top if isinstance(top, list) else [])
    reported = [*likeliest, *(own for own in _logprobs([token]) if own not in likeliest)]
    if not reported:
        return [], NEVER
    left = 1.0 - math.fsum(math.exp(min(value, 0.0)) for _, value in reported)
    least = SPELLINGS * math.exp(min(0.0, *(value for _, value in likeliest or reported), 0.0))
    most = min(max(left, _ROUNDING), least)
    return reported, math.log(most) if most > 0 else NEVER


def _logprobs(entries: Sequence[object]) -> list[tuple[str, float]]:
    return [
        (str(entry.get("token")), _float(value))
        for entry in entries
        if isinstance(entry, Mapping) and isinstance(value := entry.get("logprob"), (int, float))
    ]


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.nan


def _behind(text: str, prefix: str) -> str:
    """What stands behind the prefix and opening marks; empty as long as it may all be prefix."""
    opened = text.lstrip(_BEFORE)
    if prefix.casefold().startswith(opened.casefold()):
        return ""
    return opened[len(prefix) :].lstrip(_BEFORE)


def _spells(spoken: str, label: str) -> bool:
    said = spoken.rstrip(_BEHIND)
    # a small letter may be an article; a word is the same in any case
    return said == label if len(label) == 1 else said.casefold() == label.casefold()


def _may_begin(spoken: str, label: str) -> bool:
    said = spoken.strip(_BEHIND).casefold()
    return len(said) < len(label) and label.casefold().startswith(said)


def _total(values: Iterable[float]) -> float:
    """Logarithm of the sum of the probabilities."""
    known = list(values)
    highest = max(known)
    if highest <= NEVER:
        return NEVER
    return highest + math.log(math.fsum(math.exp(value - highest) for value in known))
