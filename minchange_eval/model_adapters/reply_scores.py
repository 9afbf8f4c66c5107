"""Log-probabilities of the candidates' labels, read from what a server reports of the tokens of its reply.

A server lists the likeliest tokens (20 at most) of each place in the reply. The place that counts is the first with
something behind the form's prefix (`Answer:`), blanks and opening marks. There the probabilities of all listed
spellings of a label are summed. A label that is not listed has no score that could be known, only a bound: see
`label_scores`. Why, and what was left: docs/decisions/0091-labels-that-are-not-listed.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEVER = -9999.0  # how servers write a probability of zero; minus infinity is no score
_ROUNDING = 1e-6  # of the reported numbers
SPELLINGS = 8  # tokens that may spell one label: `A`, ` A`, `(A`, `A.`, … of which some may not be listed
_BEFORE = " \t\r\n▁ĠĊ([{<*_\"'`“‘「#"
_BEHIND = " \t\r\n▁Ġ)]}*_\"'`”’.,:;"


@dataclass(frozen=True)
class LabelScores:
    """What the reported tokens say of the labels.

    Attributes:
        scores: [labels] log-probabilities; of a label that is not listed, the highest that it can have. All NaN where
            the server reports numbers that are none.
        listed: [labels] whether a spelling of the label was among the reported tokens.
    """

    scores: NDArray[np.float32]
    listed: NDArray[np.bool_]


def label_scores(tokens: object, labels: Sequence[str], prefix: str) -> LabelScores | None:
    """Scores of the labels, or None where the report does not decide between them: then the words must be read.

    It decides if the best listed label is likelier than any unlisted one can be. That is at most the probability that
    the listed tokens leave over, and at most `SPELLINGS` times that of the least likely listed one; a listed token that
    may be the beginning of the label is added to it.

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
    if place is None:
        return None
    if any(math.isnan(value) or value > _ROUNDING for value in place.reported.values()):
        return LabelScores(np.full(len(labels), np.nan, np.float32), np.zeros(len(labels), bool))
    spoken = [(place.label_text(token), value) for token, value in place.reported.items()]
    sums = [_total(value for said, value in spoken if _spells(said, label)) for label in labels]
    bounds = [
        _total([place.unlisted, *(value for said, value in spoken if _may_begin(said, label))]) for label in labels
    ]
    best = max((score for score in sums if score is not None), default=None)
    missing = [bound for score, bound in zip(sums, bounds, strict=True) if score is None]
    if best is None or any(bound is None or bound >= best for bound in missing):
        return None
    known = [bound if score is None else score for score, bound in zip(sums, bounds, strict=True)]
    return LabelScores(np.array(known, np.float32), np.array([score is not None for score in sums]))


@dataclass(frozen=True)
class _Place:
    """The place in a reply where a label stands or could.

    Attributes:
        written: the reply before it.
        prefix: what of `written` is the form's prefix; empty for a reply without it.
        reported: log-probabilities by token.
        unlisted: logarithm of the most that all unlisted spellings of one label can have.
    """

    written: str
    prefix: str
    reported: Mapping[str, float]
    unlisted: float

    def label_text(self, token: str) -> str:
        return _behind(self.written + token, self.prefix)


def _place(tokens: object, prefix: str) -> _Place | None:
    """Where the label stands; None where the server reports no tokens, or none of them is more than prefix."""
    if not isinstance(tokens, list):
        return None
    known = [token for token in tokens if isinstance(token, Mapping) and isinstance(token.get("token"), str)]
    reply = "".join(token["token"] for token in known)
    used = prefix.strip() if reply.lstrip(_BEFORE).casefold().startswith(prefix.strip().casefold()) else ""
    written = ""
    for token in known:
        if _behind(written + token["token"], used):
            reported, unlisted = _reported(token)
            return _Place(written, used, reported, unlisted) if reported else None
        written += token["token"]
    return None


def _reported(token: Mapping[str, object]) -> tuple[dict[str, float], float]:
    """Log-probabilities of the reply's own token and of the likeliest, and of what is left for one label."""
    top = token.get("top_logprobs")
    likeliest = _logprobs(top if isinstance(top, list) else [])
    reported = {**_logprobs([token]), **likeliest}
    if not reported:
        return {}, NEVER
    left = 1.0 - math.fsum(math.exp(min(value, 0.0)) for value in reported.values())
    least = SPELLINGS * math.exp(min(0.0, *(likeliest or reported).values(), 0.0))
    most = min(max(left, _ROUNDING), least)
    return reported, math.log(most) if most > 0 else NEVER


def _logprobs(entries: Sequence[object]) -> dict[str, float]:
    return {
        str(entry.get("token")): float(value)
        for entry in entries
        if isinstance(entry, Mapping) and isinstance(value := entry.get("logprob"), (int, float))
    }


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


def _total(values: Iterable[float]) -> float | None:
    """Logarithm of the sum of the probabilities; None for none."""
    known = list(values)
    if not known:
        return None
    highest = max(known)
    if highest <= NEVER:
        return NEVER
    return highest + math.log(math.fsum(math.exp(value - highest) for value in known))
