"""What a request needs to know of a model, and how its answer is written from that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.answers import Scored, write_scores, write_unscored, write_words
from minchange_eval.core.errors import UsageError
from minchange_eval.core.items import ImageSource
from minchange_eval.core.prompts import LABELS, Part, Prompt, render_match, render_without_options
from minchange_eval.core.queries import Direction, Query
from minchange_eval.model_adapters.chat_model import Ask
from minchange_eval.model_adapters.multi_image.chat_prompts import ChatPrompts, Reply
from minchange_eval.model_adapters.multi_image.labels import Spellings


@dataclass(frozen=True)
class Unanswered:
    """Why a prompt got no answer."""

    reason: str


# log-probabilities of what comes next ([vocabulary], or [words] where words are looked at) or of a reply's tokens
# [tokens], a reply in words, or neither
Found = NDArray[np.float32] | NDArray[np.float64] | str | Unanswered


@dataclass(frozen=True)
class Prompted:
    """One prompt to a model.

    Attributes:
        parts: words and images.
        opening: with what the reply begins.
        reply: the reply whose tokens are to be scored; None: whatever comes next.
        words: the words looked at of what comes next, each as the tokens that spell it; empty: every token.
    """

    parts: tuple[Part, ...]
    opening: str = ""
    reply: Reply | None = None
    words: tuple[tuple[int, ...], ...] = ()

    @property
    def turn(self) -> tuple[object, ...]:
        """Equal for equal turns, whatever the reply."""
        return (*(part if isinstance(part, str) else (part.sha256,) for part in self.parts), self.opening)

    def reduced(self, found: Found) -> Found:
        """What is needed of what was found; log-probabilities of a whole vocabulary are large for what has to wait."""
        if not self.words or not isinstance(found, np.ndarray):
            return found
        return np.array([_together(found, tokens) for tokens in self.words])


@dataclass(frozen=True)
class Question:
    """A request as prompts.

    Attributes:
        ask: the request.
        prompts: what is to be found out.
        write: the answer, from what was found of each prompt.
    """

    ask: Ask
    prompts: tuple[Prompted, ...]
    write: Callable[[Sequence[Found]], str]


class Questions:
    """Turns requests into prompts, in the way asked for.

    Args:
        scoring: `generate`, `letters` or `options`.
        arranged: the turn as it is to be sent.
        spellings: of the tokenizer; needed where labels are scored.
        normalise: `mean` or `sum` over the tokens of an option, its end among them; the other is kept beside it.
        prompts: makes the model's turns of prompts.
    """

    def __init__(
        self,
        scoring: str,
        arranged: Callable[[Sequence[Part]], tuple[Part, ...]],
        spellings: Callable[[], Spellings],
        normalise: str,
        prompts: ChatPrompts,
    ) -> None:
        self._scoring, self._arranged, self._normalise = scoring, arranged, normalise
        self._spellings, self._prompts = spellings, prompts

    def of(self, ask: Ask) -> Question:
        """The prompts of a request; none where one of them must not be asked, and the answer says why.

        Raises:
            UsageError: it has no candidates to score, or its benchmark no wording for this scoring.
        """
        question = self._in_its_way(ask)
        for prompt in question.prompts:
            refusal = self._prompts.refusal(prompt.parts, prompt.reply)
            if refusal is not None:
                return Question(ask, (), partial(_refused, refusal))
        return question

    def _in_its_way(self, ask: Ask) -> Question:
        if self._scoring == "generate":
            return Question(ask, (Prompted(self._arranged(ask.parts)),), _words)
        labels = ask.labels
        assert ask.query is not None
        assert ask.prompt is not None
        if self._scoring == "letters":
            opening = ask.prompt.template(ask.query.direction).reply_prefix
            return self._of_labels(ask, Prompted(self._arranged(ask.parts), opening), labels)
        if ask.query.direction in (Direction.STATEMENT, Direction.CHOICE):
            replies = labels if ask.query.direction is Direction.STATEMENT else ask.query.texts
            return self._of_replies(ask, _without_options(ask.query, ask.prompt), replies)
        return self._of_pairs(ask, ask.query, ask.prompt)

    def _of_labels(self, ask: Ask, prompt: Prompted, labels: Sequence[str]) -> Question:
        tokens = self._spellings().of(labels)
        if tokens is not None:
            return Question(ask, (replace(prompt, words=tokens),), _labels)
        spelled = [self._spelled(prompt, label) for label in labels]
        prompts = tuple(replace(prompt, reply=reply) for replies in spelled for reply in replies)
        return Question(ask, prompts, partial(_whole_labels, [len(replies) for replies in spelled]))

    def _spelled(self, prompt: Prompted, label: str) -> tuple[Reply, ...]:
        """The label without a blank before it and with one, where these are other tokens."""
        written = self._prompts.text(prompt.parts) + prompt.opening
        replies = [Reply(label, blank=blank) for blank in (False, True)]
        return tuple({self._prompts.reply(reply, written): reply for reply in replies}.values())

    def _of_replies(self, ask: Ask, parts: Sequence[Part], replies: Sequence[str]) -> Question:
        """Each reply to its end: without it, what another one begins with would always be as likely at least."""
        shown = self._arranged(parts)
        prompts = tuple(Prompted(shown, reply=Reply(reply, ends=True)) for reply in replies)
        return Question(ask, prompts, partial(_options, self._normalise))

    def _of_pairs(self, ask: Ask, query: Query, prompt: Prompt) -> Question:
        if prompt.match is None:
            raise UsageError(f"prompt {prompt.name}: has no wording for one image and one caption; use scoring=letters")
        names = LABELS[prompt.match.labels][:2]
        tokens = self._spellings().of(names)
        if tokens is None:
            raise UsageError(f"scoring=options: the vocabulary has no tokens that tell {names[0]} from {names[1]}")
        pairs: list[tuple[ImageSource, str]] = [(image, text) for image in query.images for text in query.texts]
        prompts = tuple(
            Prompted(self._arranged(render_match(image, text, prompt)), prompt.match.reply_prefix, words=tokens)
            for image, text in pairs
        )
        return Question(ask, prompts, _pairs)


def _without_options(query: Query, prompt: Prompt) -> tuple[Part, ...]:
    try:
        return render_without_options(query, prompt)
    except ValueError as error:
        other = ", or scoring=options with vsr_zeroshot" if query.direction is Direction.STATEMENT else ""
        raise UsageError(f"{error}; use scoring=letters or scoring=generate{other}") from error


def _refused(reason: str, _: Sequence[Found]) -> str:
    return write_unscored(reason)


def _words(found: Sequence[Found]) -> str:
    (reply,) = found
    return write_unscored(reply.reason) if isinstance(reply, Unanswered) else write_words(str(reply))


def _labels(found: Sequence[Found]) -> str:
    """The log-probability of each label: of all its spellings together."""
    (after,) = found
    if not isinstance(after, np.ndarray):
        return _words(found)
    return _written(after.tolist(), "labels")


def _whole_labels(spellings: Sequence[int], found: Sequence[Found]) -> str:
    """The log-probability of each label to its end: of all its spellings together.

    Args:
        spellings: how many each label has.
        found: one entry a spelling, label by label.
    """
    for one in found:
        if isinstance(one, Unanswered):
            return write_unscored(one.reason)
    sums = np.array([one.astype(np.float64).sum() for one in found if isinstance(one, np.ndarray)])
    labels = np.split(sums, np.cumsum(spellings)[:-1])
    return _written([_sum_of(logs) for logs in labels], "labels")


def _options(normalise: str, found: Sequence[Found]) -> str:
    """The log-probability of each option's tokens and of the end behind them, their mean and their sum."""
    for one in found:
        if isinstance(one, Unanswered):
            return write_unscored(one.reason)
    tokens = [one.astype(np.float64) for one in found if isinstance(one, np.ndarray)]
    sums, means = [float(one.sum()) for one in tokens], [float(one.mean()) for one in tokens]
    first, second = (means, sums) if normalise == "mean" else (sums, means)
    return _written(first, "options", {"sum" if normalise == "mean" else "mean": second})


def _pairs(found: Sequence[Found]) -> str:
    """The log-probability of "yes" for each pair, as VQAScore has it; beside it the log-odds against "no".

    Source: VQAScore, arXiv:2404.01291, equation 1.
    """
    for one in found:
        if isinstance(one, Unanswered):
            return write_unscored(one.reason)
    no, yes = ([float(one[place]) for one in found if isinstance(one, np.ndarray)] for place in (0, 1))
    return _written(yes, "pairs", {"yes_over_no": [a - b for a, b in zip(yes, no, strict=True)]})


def _together(after: NDArray[np.float32] | NDArray[np.float64], tokens: Sequence[int]) -> float:
    return _sum_of(after[list(tokens)].astype(np.float64))


def _sum_of(logs: NDArray[np.float64]) -> float:
    with np.errstate(invalid="ignore"):  # NaN logits give a NaN score, which is written as none
        return float(np.logaddexp.reduce(logs))


def _written(scores: Sequence[float], scored: Scored, others: dict[str, list[float]] | None = None) -> str:
    alternatives = {name: np.array(values, dtype=np.float32) for name, values in (others or {}).items()}
    return write_scores(np.array(scores, dtype=np.float32), scored=scored, alternatives=alternatives)
