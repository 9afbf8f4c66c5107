"""From documents to answers: what is asked from a shared beginning, and what in batches with others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from loguru import logger

from minchange_eval.model_adapters.multi_image.chat_prompts import ChatPrompts, Row
from minchange_eval.model_adapters.multi_image.checkpoint import Loaded
from minchange_eval.model_adapters.multi_image.features import Features
from minchange_eval.model_adapters.multi_image.greedy import Greedy
from minchange_eval.model_adapters.multi_image.language_model import (
    LanguageModel,
    State,
    branched,
    bucket,
    log_probabilities,
)
from minchange_eval.model_adapters.multi_image.memory import the_last_try
from minchange_eval.model_adapters.multi_image.prefix_tree import Beginning, shared_beginnings
from minchange_eval.model_adapters.multi_image.questions import Found, Prompted, Question, Unanswered
from minchange_eval.model_adapters.streaming import is_out_of_memory

_LEAVES = 8  # rows at once that go on from a shared beginning, also where batches are of one row
_AHEAD = 2  # documents whose images are prepared while earlier ones are asked

Shape = tuple[int, int, tuple[str, ...]]  # of a batch: its width, the places looked at, the texts that end a reply
Outcome = TypeVar("Outcome")


@dataclass
class _Document:
    """The questions of one document, and what is known so far.

    Attributes:
        questions: its questions.
        places: per question, where the outcome of each of its prompts stands.
        found: one entry a distinct prompt.
        missing: how many are not found yet.
    """

    questions: Sequence[Question]
    places: list[list[int]] = field(default_factory=list)
    found: list[Found | None] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return all(one is not None for one in self.found)

    def answers(self) -> dict[str, str]:
        """The answer of each question by its key."""
        written = {}
        for question, places in zip(self.questions, self.places, strict=True):
            known = [self.found[place] for place in places]
            written[question.ask.key] = question.write([one for one in known if one is not None])
        return written


@dataclass(frozen=True)
class _Asked:
    """A distinct prompt of a document as a row.

    Attributes:
        place: where its outcome stands in the document.
        most: the most tokens of a reply in words.
        until: texts that end a reply in words.
    """

    document: _Document
    place: int
    prompt: Prompted
    row: Row
    most: int
    until: tuple[str, ...]

    @property
    def shape(self) -> Shape:
        """That of the batches it goes into."""
        return bucket(len(self.row.ids)), self.row.wanted, self.until

    def keep(self, found: Found) -> None:
        self.document.found[self.place] = self.prompt.reduced(found)


class Answering:
    """Answers documents with a loaded model.

    What is shared depends on the document alone, and what is not goes into batches of fixed shapes, so that an answer
    does not depend on what else is asked, and in which run.

    Args:
        loaded: the model.
        prompts: makes its rows.
        features: its encoded images.
        words: whether replies in words are wanted.
        prefix: whether shared beginnings are computed once.
        batch_size: rows of a forward.

    Attributes:
        batch_size: may be halved when memory runs out.
        work: what was computed, and what was not.
    """

    def __init__(
        self, loaded: Loaded, prompts: ChatPrompts, features: Features, *, words: bool, prefix: bool, batch_size: int
    ) -> None:
        self._prompts, self._features, self._words, self._prefix = prompts, features, words, prefix
        self._context = loaded.context
        self._model = LanguageModel(loaded, features)
        self._greedy = Greedy(loaded.net, loaded.tokenizer)
        self.batch_size, self._leaves = batch_size, max(_LEAVES, batch_size)
        self.work = {"prompt_tokens_computed": 0, "prompt_tokens_reused": 0, "image_places": 0}

    def answers(self, documents: Iterable[Sequence[Question]]) -> Iterator[dict[str, str]]:
        """The answers of each document as soon as all of them are known.

        Raises:
            ModelError: out of memory in a forward of one prompt.
        """
        queues: dict[Shape, list[_Asked]] = {}
        for questions in self._prepared(documents):
            document, alone = self._ask(questions)
            if document.complete:
                yield document.answers()
            for asked in alone:
                queue = queues.setdefault(asked.shape, [])
                queue.append(asked)
                while len(queue) >= self.batch_size:
                    yield from self._completed(queue)
        for shape in sorted(queues):
            while queues[shape]:
                yield from self._completed(queues[shape])

    def _prepared(self, documents: Iterable[Sequence[Question]]) -> Iterator[Sequence[Question]]:
        """Documents, with the images of the next ones on their way."""
        coming: deque[Sequence[Question]] = deque()
        for questions in documents:
            for question in questions:
                for prompt in question.prompts:
                    self._prompts.prepare(prompt.parts)
            coming.append(questions)
            if len(coming) > _AHEAD:
                yield coming.popleft()
        yield from coming

    def _completed(self, queue: list[_Asked]) -> Iterator[dict[str, str]]:
        """Answer the first rows of a queue; the answers of the documents that lacked nothing else."""
        batch = self._fitting(partial(self._batch, queue))
        del queue[: len(batch)]
        for asked, found in batch:
            asked.keep(found)
            if asked.document.complete:
                yield asked.document.answers()

    def _ask(self, questions: Sequence[Question]) -> tuple[_Document, list[_Asked]]:
        """Answer what has a shared beginning; hand back the rest."""
        document, known = self._rows(questions)
        branches: Sequence[Beginning] = ()
        alone: Sequence[int] = range(len(known))
        if self._prefix:
            branches, alone = shared_beginnings(
                [asked.row.content for asked in known],
                [len(asked.row.ids) - asked.row.wanted for asked in known],
                [asked.row.spans for asked in known],
            )
        for branch in branches:
            for asked, found in self._fitting(partial(self._together, known, branch)):
                asked.keep(found)
        return document, [known[member] for member in alone]

    def _rows(self, questions: Sequence[Question]) -> tuple[_Document, list[_Asked]]:
        """Each distinct prompt of the questions that can be asked, as a row."""
        turns: dict[tuple[object, ...], tuple[Row, str]] = {}
        places: dict[tuple[object, ...], int] = {}
        known: list[_Asked] = []
        document = _Document(questions)
        for question in questions:
            ask, own = question.ask, []
            for prompt in question.prompts:
                key = (prompt.turn, prompt.reply, prompt.words, ask.max_new_tokens, ask.until)
                if key not in places:
                    places[key] = len(places)
                    row = self._row(prompt, turns)
                    document.found.append(self._refused(row, prompt))
                    if document.found[-1] is None:
                        most = max(1, min(ask.max_new_tokens, self._context - len(row.ids)))
                        known.append(_Asked(document, places[key], prompt, row, most, ask.until))
                own.append(places[key])
            document.places.append(own)
        return document, known

    def _row(self, prompt: Prompted, turns: dict[tuple[object, ...], tuple[Row, str]]) -> Row:
        if prompt.turn not in turns:
            text = self._prompts.text(prompt.parts) + prompt.opening
            turns[prompt.turn] = self._prompts.row(prompt.parts, prompt.opening), text
        row, text = turns[prompt.turn]
        return row if prompt.reply is None else row.replied(self._prompts.reply(prompt.reply, text))

    def _refused(self, row: Row, prompt: Prompted) -> Unanswered | None:
        if prompt.reply is not None and not row.targets:
            return Unanswered("an option has no token that could be scored")
        if len(row.ids) >= self._context:
            return Unanswered(f"the prompt has {len(row.ids)} tokens, the model's context {self._context}")
        self.work["image_places"] += len(row.spans)
        return None

    def _together(self, known: Sequence[_Asked], branch: Beginning) -> list[tuple[_Asked, Found]]:
        return list(self._branch(known, branch, None))

    def _branch(self, known: Sequence[_Asked], branch: Beginning, past: Any) -> Iterator[tuple[_Asked, Found]]:
        """Compute a shared beginning, and from it all that goes on."""
        first = known[branch.rows[0]].row
        state = self._model.run([first], branch.start, branch.stop, past=past, cached=True)
        self._count(branch.stop - branch.start)
        for deeper in branch.branches:
            yield from self._branch(known, deeper, branched(state.cache, 1))
        for group in self._groups([known[leaf] for leaf in branch.leaves]):
            rows = [asked.row for asked in group]
            ends = self._model.run(
                rows,
                branch.stop,
                past=branched(state.cache, len(rows)),
                keep=max(row.wanted for row in rows),
                cached=True,
            )
            for row in rows:
                self._count(len(row.ids) - branch.stop, branch.stop)
            yield from zip(group, self._found(ends, group), strict=True)
        # what the rows share was computed for one of them
        self.work["prompt_tokens_reused"] -= branch.stop - branch.start

    def _groups(self, leaves: Sequence[_Asked]) -> Iterator[Sequence[_Asked]]:
        """As many at once as fit, those together whose replies end at the same texts."""
        by_until: dict[tuple[str, ...], list[_Asked]] = {}
        for asked in leaves:
            by_until.setdefault(asked.until, []).append(asked)
        for group in by_until.values():
            for start in range(0, len(group), self._leaves):
                yield group[start : start + self._leaves]

    def _count(self, computed: int, reused: int = 0) -> None:
        self.work["prompt_tokens_computed"] += computed
        self.work["prompt_tokens_reused"] += reused

    def _found(self, state: State, group: Sequence[_Asked]) -> Sequence[Found]:
        """What was found of rows whose replies end at the same texts."""
        rows = [asked.row for asked in group]
        if not self._words:
            return log_probabilities(state, rows)
        return self._greedy.replies(self._model, state, rows, [asked.most for asked in group], group[0].until)

    def _batch(self, queue: Sequence[_Asked]) -> list[tuple[_Asked, Found]]:
        """One forward for the first of these, filled up with copies of its first row to the full number."""
        batch = queue[: self.batch_size]
        filled = [*batch, *[batch[0]] * (self.batch_size - len(batch))]
        width, places, _ = batch[0].shape
        state = self._model.run(
            [asked.row for asked in filled],
            width=width if self.batch_size > 1 else 0,
            keep=places,
            cached=self._words,
        )
        for asked in batch:
            self._count(len(asked.row.ids))
        return list(zip(batch, self._found(state, filled), strict=False))

    def _fitting(self, compute: Callable[[], Outcome]) -> Outcome:
        """What is computed, with half the rows at once as often as memory runs out."""
        before = dict(self.work)
        while self._leaves > 1:
            try:
                return compute()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            self.work.update(before)
            self._halve()
        with the_last_try():
            return compute()

    def _halve(self) -> None:
        """Not in the handler of the error, which holds what did not fit."""
        import gc

        import torch

        self.batch_size, self._leaves = max(1, self.batch_size // 2), max(1, self._leaves // 2)
        logger.warning(f"out of memory: batch size is now {self.batch_size}")
        self._features.forget()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
