"""Chat models under lmms-eval: every distinct prompt is answered once, logged as it is answered, and read back."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lmms_eval.api.model import lmms
from tqdm import tqdm

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.prompts import LABELS, Part, Prompt, render
from minchange_eval.core.queries import Query
from minchange_eval.core.record import ModelDescription
from minchange_eval.model_adapters.answer_log import AnswerLog, answer_key, log_folder
from minchange_eval.model_adapters.model_args import arguments, check_names, flag, one_of
from minchange_eval.model_adapters.ranks import accelerator

_NEW_TOKENS = 128


@dataclass(frozen=True)
class ChatOptions:
    """The model_args that all chat adapters share.

    Attributes:
        scoring: `generate` (the model answers in words), `letters` (the log-probability of the candidates' labels) or
            `options` (of the candidates' own words; of "yes, this image shows it" for candidate sets).
        images: `shown`, or `none`: the same words without any image.
        image_position: `prompt` (where the benchmark's prompt has them) or `first`, a variant of its own.
        system_prompt: goes before the turn; empty for none.
        log: whether answers are logged, and read back by a later run.
    """

    scoring: str = "generate"
    images: str = "shown"
    image_position: str = "prompt"
    system_prompt: str = ""
    log: bool = True

    NAMES = ("scoring", "images", "image_position", "system_prompt", "log")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> ChatOptions:
        """Check and convert the shared arguments.

        Raises:
            UsageError: a value that is none of those above.
        """
        return cls(
            scoring=_word("scoring", given, ("generate", "letters", "options")),
            images=_word("images", given, ("shown", "none")),
            image_position=_word("image_position", given, ("prompt", "first")),
            system_prompt=str(given.get("system_prompt") or ""),
            log=bool(flag("log", given.get("log", True))),
        )

    def arranged(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """A turn as these options have it sent: without images, or with the images before all words."""
        words = tuple(part for part in parts if isinstance(part, str))
        if self.images == "none":
            return words
        pictures = tuple(part for part in parts if not isinstance(part, str))
        return (*pictures, *words) if self.image_position == "first" else tuple(parts)

    @property
    def settings(self) -> dict[str, Any]:
        """What of them may change an answer."""
        return {
            "scoring": self.scoring,
            "images": self.images,
            "image_position": self.image_position,
            "system_prompt": self.system_prompt,
        }


def _word(name: str, given: Mapping[str, Any], words: Sequence[str]) -> str:
    return one_of(name, given.get(name, words[0]), {word: word for word in words})


@dataclass(frozen=True)
class Ask:
    """One request, ready for a chat model.

    Attributes:
        key: identity of the answer in memory and in the log.
        parts: the turn in words and images, as it is sent when the model is to answer in words.
        query: what is asked; None for a task of lmms-eval's own, which can only be answered in words.
        prompt: the query's wording; None with `query`.
        document: task and number of the document; requests of one document share it, and stand side by side.
        max_new_tokens: longest reply.
        until: texts that end the reply.
    """

    key: str
    parts: tuple[Part, ...]
    query: Query | None
    prompt: Prompt | None
    document: tuple[str, int]
    max_new_tokens: int
    until: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the query's candidates in its order.

        Raises:
            UsageError: a task of lmms-eval's own has none.
        """
        if self.query is None or self.prompt is None:
            raise UsageError(f"task {self.document[0]}: names no candidates to score; run it with scoring=generate")
        return LABELS[self.prompt.template(self.query.direction).labels][: self.query.candidates]


class ChatModel(lmms):  # type: ignore[misc]
    """Base of the chat adapters.

    A subclass names itself (`adapter`) and its own model_args (`own_args`), sets `description` in its constructor, and
    answers (`answer`).

    Attributes:
        options: the shared model_args.
        description: what may change an answer; the same on every rank and in every run of one machine.
        work: counts and seconds of this run; they differ between runs.
        not_logged: keys of answers of this run that a later one is to ask for again.
        answers_whole_documents: whether an answer may depend on what else its document asks, as where prompts go on
            from what they share; then only documents that ask the same share answers. Else equal prompts do.
    """

    is_simple = False
    adapter: ClassVar[str]
    own_args: ClassVar[tuple[str, ...]]
    answers_whole_documents: ClassVar[bool] = False
    description: ModelDescription

    def __init__(self, **given: Any) -> None:
        super().__init__()
        given.pop("max_batch_size", None)
        check_names(given, (*self.own_args, *ChatOptions.NAMES), self.adapter)
        self.options = ChatOptions.read(given)
        self.own = {name: value for name, value in given.items() if name in self.own_args}
        self.accelerator = accelerator()
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.work: dict[str, Any] = {"answers_computed": 0, "answers_from_log": 0, "seconds": 0}
        self.not_logged: set[str] = set()
        self._answers: dict[str, str] = {}

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: Mapping[str, Any] | None = None) -> ChatModel:
        """As lmms-eval calls it. What stands in model_args wins over the command line's own options."""
        return cls(**arguments(arg_string, additional_config))

    def answer(self, asks: Sequence[Ask]) -> Iterator[dict[str, str]]:
        """Answer all, in any order: finished answers by key, in batches as they come.

        An answer is the reply in words, or what `core.answers.write_scores` or `write_unscored` write.
        """
        raise NotImplementedError

    def generate_until(self, requests: list[Any]) -> list[str]:
        """One answer a request, each distinct prompt answered once.

        Raises:
            UsageError: a task that cannot be asked in the wanted way.
            DataError: an image cannot be read.
        """
        asks = [self._ask(request) for request in requests]
        if self.answers_whole_documents:
            asks = _keyed_by_document(asks)
        started = time.monotonic()
        missing: dict[str, Ask] = {}
        for ask in asks:
            if ask.key not in self._answers:
                missing.setdefault(ask.key, ask)
        if missing:
            self._answer_missing(missing)
        self.work["seconds"] += time.monotonic() - started
        return [self._answers[ask.key] for ask in asks]

    def _answer_missing(self, missing: Mapping[str, Ask]) -> None:
        key = {**self.description.model_dump(mode="json", exclude={"name"}), "options": self.options.settings}
        log = AnswerLog(log_folder(key), {**key, "name": self.description.name}) if self.options.log else None
        try:
            known = log.read(missing) if log else {}
            self._answers.update(known)
            self.work["answers_from_log"] += len(known)
            asks = [ask for ask_key, ask in missing.items() if ask_key not in known]
            with tqdm(total=len(asks), unit="answer", desc="asking", disable=self._rank != 0 or not asks) as bar:
                for answers in self.answer(asks) if asks else ():
                    if log:
                        log.append({key: text for key, text in answers.items() if key not in self.not_logged})
                    self._answers.update(answers)
                    self.work["answers_computed"] += len(answers)
                    bar.update(len(answers))
        finally:
            if log:
                log.close()

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Refused: lmms-eval 0.7 cannot pass its results on."""
        raise UsageError(f"--model {self.adapter}: answers generate_until tasks, got a task that asks for likelihoods")

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        """Refused."""
        raise UsageError(f"--model {self.adapter}: answers single turns, got a task of several rounds")

    def _ask(self, request: Any) -> Ask:
        _, doc_to_messages, given, doc_id, task, split = request.args
        metadata = request.metadata or {}
        query, prompt = metadata.get("query"), metadata.get("prompt")
        if isinstance(query, Query) and not isinstance(prompt, Prompt):
            raise UsageError(
                f"task {task}: has no prompt, only dual encoders can answer it; run it with --model open_clip"
            )
        if isinstance(query, Query):
            assert isinstance(prompt, Prompt)
            parts = render(query, prompt)
            own = {"texts": list(query.texts), "direction": query.direction, "prompt": prompt.sha256}
        else:
            query = prompt = None
            parts = _parts_of_messages(doc_to_messages, self.task_dict[task][split][doc_id], task)
            own = {}
        _check_greedy(given, task)
        parts = self.options.arranged(parts)
        until = given.get("until") or ()
        ends = (until,) if isinstance(until, str) else tuple(text for text in until if text)
        most = int(given.get("max_new_tokens") or _NEW_TOKENS)
        key = answer_key(parts, {**own, "max_new_tokens": most, "until": list(ends)})
        return Ask(key, parts, query, prompt, (str(task), int(doc_id)), most, ends)


def _keyed_by_document(asks: Sequence[Ask]) -> list[Ask]:
    """The same asks, each known by its own key and those of all that its document asks, in their order."""
    together: dict[tuple[str, int], dict[str, None]] = {}
    for ask in asks:
        together.setdefault(ask.document, {})[ask.key] = None
    digests = {document: hashlib.sha256("".join(keys).encode()).hexdigest() for document, keys in together.items()}
    return [replace(ask, key=f"{ask.key}-{digests[ask.document][:32]}") for ask in asks]


def _check_greedy(given: Mapping[str, Any], task: str) -> None:
    """Refuse decoding that no chat adapter does; what says "greedily" in other words is fine.

    Raises:
        UsageError: sampling or beams.
    """
    wrong = {
        "do_sample": str(given.get("do_sample")).lower() in ("true", "1"),
        "temperature": _above(given.get("temperature"), 0),
        "num_beams": _above(given.get("num_beams"), 1),
    }
    asked = ", ".join(f"{name}={given[name]}" for name, refused in wrong.items() if refused)
    if asked:
        raise UsageError(
            f"task {task}: asks for {asked}, got a chat adapter that decodes greedily; leave it out of --gen_kwargs "
            "(a server is given its temperature in model_args: temperature=)"
        )


def _above(given: object, most: float) -> bool:
    try:
        return given is not None and not float(str(given)) <= most
    except ValueError:
        return True


class DocumentImage:
    """An image of one of lmms-eval's own documents, decoded again each time it is read rather than held."""

    def __init__(self, doc_to_messages: Any, doc: Any, place: int, name: str) -> None:
        self._doc_to_messages, self._doc, self._place = doc_to_messages, doc, place
        self.name = name

    @cached_property
    def sha256(self) -> str:
        """Digest of the picture as PNG."""
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        """The picture as PNG, without loss; that of a file as it lies there.

        Raises:
            DataError: a file that cannot be read.
        """
        pictures = [part["url"] for part in _contents(self._doc_to_messages(self._doc)) if part["type"] == "image"]
        picture = pictures[self._place]
        if isinstance(picture, str | Path):
            return self._file(Path(picture))
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "PNG")
        return buffer.getvalue()

    def _file(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.name}: no such file can be read: {path} ({error.strerror})") from error


def _contents(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [part for message in messages for part in _parted(message["content"])]


def _parted(content: str | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _parts_of_messages(doc_to_messages: Any, doc: Any, task: str) -> tuple[Part, ...]:
    """The one turn of a document of lmms-eval's own."""
    messages = doc_to_messages(doc)
    others = sorted({str(message["role"]) for message in messages} - {"user"})
    if others:
        raise UsageError(
            f"task {task}: expected one turn of the user, got a message of the {', '.join(others)}; "
            "what goes before every turn can be given with --model_args system_prompt="
        )
    kinds = {part["type"] for part in _contents(messages)}
    if not kinds <= {"text", "image"}:
        raise UsageError(f"task {task}: expected one turn of text and images, got {', '.join(sorted(kinds))}")
    parts: list[Part] = []
    seen = 0
    for part in _contents(messages):
        if part["type"] == "text":
            parts.append(part["text"])
        else:
            _check_picture(part["url"], task)
            parts.append(DocumentImage(doc_to_messages, doc, seen, f"{task} image {seen}"))
            seen += 1
    return tuple(parts)


def _check_picture(picture: object, task: str) -> None:
    """Whether it is a picture in memory or in a file; nothing is fetched from elsewhere."""
    from PIL import Image

    address = isinstance(picture, str) and picture.startswith(("http://", "https://", "data:"))
    if address or not isinstance(picture, str | Path | Image.Image):
        got = "an address" if address else type(picture).__name__
        raise UsageError(f"task {task}: expected images as pictures or as paths of files, got {got}")
