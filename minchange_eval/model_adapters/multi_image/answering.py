"""From documents to answers: what is asked from a shared beginning, and what in batches with others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from loguru import logger

from minchange_eval.core.errors import ModelError
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
from minchange_eval.model_adapters.multi_image.prefix_tree import Beginning, shared_beginnings
from minchange_eval.model_adapters.multi_image.questions import Found, Prompted, Question, Unanswered
from minchange_eval.model_adapters.streaming import is_out_of_memory

_LEAVES = 8  # rows at once that go on from a shared beginning, also where batches are of one row
_BATCHES_POOLED = 8  # how many batches' rows are gathered, so that rows of like length meet

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
    places: list[list[int]]
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
class _Pooled:
    """A row that shares no beginning with another of its document."""

    document: _Document
    place: int
    row: Row
    most: int
    until: tuple[str, ...]


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

    def answers(self, documents: Sequence[Sequence[Question]]) -> Iterator[dict[str, str]]:
        """The answers of each document as soon as all of them are known."""
        pool: list[_Pooled] = []
        waiting: list[_Document] = []
        self._prepare(documents[:2])
        for number, questions in enumerate(documents):
            self._prepare(documents[number + 2 : number + 3])
            document, alone = self._ask(questions)
            pool += alone
            waiting.append(document)
            if len(pool) >= self.batch_size * (_BATCHES_POOLED if self.batch_size > 1 else 1):
                self._empty(pool)
            while waiting and waiting[0].complete:
                yield waiting.pop(0).answers()
        self._empty(pool)
        for document in waiting:
            yield document.answers()

    def _prepare(self, documents: Sequence[Sequence[Question]]) -> None:
        for questions in documents:
            for question in questions:
                for prompt in question.prompts:
                    self._prompts.prepare(prompt.parts)

    def _ask(self, questions: Sequence[Question]) -> tuple[_Document, list[_Pooled]]:
        """Answer what has a shared beginning; hand back the rest."""
        document, rows, owners = self._rows(questions)
        asked = [place for place, found in enumerate(document.found) if found is None]
        known = [rows[place] for place in asked]
        branches: Sequence[Beginning] = ()
        alone: Sequence[int] = range(len(known))
        if self._prefix:
            branches, alone = shared_beginnings(
                [row.content for row in known],
                [len(row.ids) - row.wanted for row in known],
                [row.spans for row in known],
            )
        for branch in branches:
            for member, found in self._fitting(partial(self._together, known, owners, asked, branch)):
                document.found[asked[member]] = found
        pooled = []
        for member in alone:
            ask = owners[asked[member]].ask
            row = known[member]
            pooled.append(_Pooled(document, asked[member], row, self._most(row, ask.max_new_tokens), ask.until))
        return document, pooled

    def _rows(self, questions: Sequence[Question]) -> tuple[_Document, list[Row], list[Question]]:
        """Each distinct prompt of the questions as a row, and the first question that asks it."""
        turns: dict[tuple[object, ...], tuple[Row, str]] = {}
        places: dict[tuple[object, ...], int] = {}
        rows: list[Row] = []
        owners: list[Question] = []
        document = _Document(questions, [])
        for question in questions:
            own = []
            for prompt in question.prompts:
                key = (prompt.turn, prompt.reply, question.ask.max_new_tokens, question.ask.until)
                if key not in places:
                    places[key] = len(rows)
                    row = self._row(prompt, turns)
                    rows.append(row)
                    owners.append(question)
                    document.found.append(self._refused(row, prompt))
                own.append(places[key])
            document.places.append(own)
        return document, rows, owners

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

    def _most(self, row: Row, asked: int) -> int:
        return max(1, min(asked, self._context - len(row.ids)))

    def _together(
        self, rows: Sequence[Row], owners: Sequence[Question], asked: Sequence[int], branch: Beginning
    ) -> list[tuple[int, Found]]:
        return list(self._branch(rows, owners, asked, branch, None))

    def _branch(
        self, rows: Sequence[Row], owners: Sequence[Question], asked: Sequence[int], branch: Beginning, past: Any
    ) -> Iterator[tuple[int, Found]]:
        """Compute a shared beginning, and from it all that goes on."""
        first = rows[branch.rows[0]]
        state = self._model.run([first], branch.start, branch.stop, past=past, cached=True)
        self._count(branch.stop - branch.start)
        for deeper in branch.branches:
            yield from self._branch(rows, owners, asked, deeper, branched(state.cache, 1))
        for start in range(0, len(branch.leaves), self._leaves):
            members = branch.leaves[start : start + self._leaves]
            group = [rows[member] for member in members]
            asks = [owners[asked[member]].ask for member in members]
            ends = self._model.run(
                group,
                branch.stop,
                past=branched(state.cache, len(group)),
                keep=max(row.wanted for row in group),
                cached=True,
            )
            for row in group:
                self._count(len(row.ids) - branch.stop, branch.stop)
            most = [self._most(row, ask.max_new_tokens) for row, ask in zip(group, asks, strict=True)]
            yield from zip(members, self._found(ends, group, most, asks[0].until), strict=True)
        # what the rows share was computed for one of them
        self.work["prompt_tokens_reused"] -= branch.stop - branch.start

    def _count(self, computed: int, reused: int = 0) -> None:
        self.work["prompt_tokens_computed"] += computed
        self.work["prompt_tokens_reused"] += reused

    def _found(self, state: State, rows: Sequence[Row], most: Sequence[int], until: Sequence[str]) -> Sequence[Found]:
        if not self._words:
            return log_probabilities(state, rows)
        return self._greedy.replies(self._model, state, rows, most, until)

    def _empty(self, pool: list[_Pooled]) -> None:
        """Answer all that is pooled, rows of like length together."""
        shapes: dict[tuple[int, int, tuple[str, ...]], list[_Pooled]] = {}
        for one in pool:
            shapes.setdefault((bucket(len(one.row.ids)), one.row.wanted, one.until), []).append(one)
        pool.clear()
        for shape in sorted(shapes):
            left = shapes[shape]
            while left:
                batch = self._fitting(partial(self._batch, left))
                del left[: len(batch)]
                for one, found in batch:
                    one.document.found[one.place] = found

    def _batch(self, left: Sequence[_Pooled]) -> list[tuple[_Pooled, Found]]:
        """One forward for the first of these, filled up with copies of its first row to the full number."""
        batch = left[: self.batch_size]
        rows = [one.row for one in batch]
        most = [one.most for one in batch]
        filled = self.batch_size - len(rows)
        state = self._model.run(
            [*rows, *[rows[0]] * filled],
            width=bucket(len(rows[0].ids)) if self.batch_size > 1 else 0,
            keep=rows[0].wanted,
            cached=self._words,
        )
        for row in rows:
            self._count(len(row.ids))
        found = self._found(state, [*rows, *[rows[0]] * filled], [*most, *[most[0]] * filled], batch[0].until)
        return list(zip(batch, found[: len(rows)], strict=True))

    def _fitting(self, compute: Callable[[], Outcome]) -> Outcome:
        """What is computed, with half the rows at once as often as memory runs out."""
        while True:
            try:
                return compute()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self._leaves == 1:
                    raise ModelError(
                        "out of memory in a forward of one prompt; take a smaller model, dtype=bf16, max_pixels or "
                        "another device"
                    ) from error
            self._halve()

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
