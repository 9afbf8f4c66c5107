"""Chat models behind a server of OpenAI's protocol: vLLM, SGLang, `transformers serve`, hosted services."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import httpx
import numpy as np
from loguru import logger

from minchange_eval.core.answers import read_answer, write_scores, write_unscored, write_words
from minchange_eval.core.errors import IncompleteError, ModelError, UsageError
from minchange_eval.core.queries import Direction
from minchange_eval.core.record import ModelDescription
from minchange_eval.model_adapters.chat_model import Ask, ChatModel
from minchange_eval.model_adapters.chat_server import (
    KEY_VARIABLE,
    Bearer,
    ChatServer,
    Declined,
    NoReply,
    Patience,
    Reply,
)
from minchange_eval.model_adapters.data_urls import data_url
from minchange_eval.model_adapters.model_args import count, flag, one_of
from minchange_eval.model_adapters.pace import Pace
from minchange_eval.model_adapters.reply_scores import label_scores, tokens_of_words
from minchange_eval.model_adapters.under_way import Declines, UnderWay

DEFAULT_BASE_URL = "https://api.openai.com/v1"
LONGEST_REPLY = 100_000  # characters; five times what the reader reads
_LONGEST_REFUSAL = 200  # characters of it in a reason
_MOST_STOPS = 4  # the protocol's limit; the others are cut here
_SECRET = re.compile(r"key|token$|secret|password", re.IGNORECASE)
_DETAILS = {"auto": "auto", "low": "low", "high": "high"}
_LIMIT_FIELDS = {"max_tokens": "max_tokens", "max_completion_tokens": "max_completion_tokens"}

T = TypeVar("T")


class OpenAIMultiImage(ChatModel):
    """`--model openai_multi_image`; model_args in docs/servers.md."""

    adapter = "openai_multi_image"
    own_args = (
        "base_url", "model", "revision", "concurrency", "timeout_s", "total_timeout_s", "max_retries", "first_wait_s",
        "seed", "temperature", "top_logprobs", "image_detail", "limit_field", "stop",
    )  # fmt: skip

    def __init__(self, **given: Any) -> None:
        """Ask the server for its models.

        Raises:
            UsageError: an argument that does not exist or fit, a key among them, or the server refuses ours.
            ModelError: the server cannot be reached.
        """
        _check(given)
        super().__init__(**given)
        if self.options.scoring == "options":
            raise UsageError(
                "model_args scoring=options: a chat server gives no log-probability of a given text; "
                "use letters or generate, or --model hf_multi_image"
            )
        self.device = self.accelerator.device  # where lmms-eval gathers the ranks' counts; nothing is computed here
        own = self.own
        self.base_url = _base_url(own.get("base_url"))
        self.concurrency = count("concurrency", own.get("concurrency"), least=1) or 16
        usual = Patience()
        retries = count("max_retries", own.get("max_retries"), least=0)
        self.patience = Patience(
            timeout_s=_seconds("timeout_s", own.get("timeout_s"), usual.timeout_s),
            total_timeout_s=_seconds("total_timeout_s", own.get("total_timeout_s"), usual.total_timeout_s),
            max_retries=usual.max_retries if retries is None else retries,
            first_wait_s=_seconds("first_wait_s", own.get("first_wait_s"), usual.first_wait_s),
        )
        self._settings = _request_settings(own)
        if self.options.scoring == "letters":
            top = count("top_logprobs", own.get("top_logprobs"), least=1) or 20
            self._settings.update(logprobs=True, top_logprobs=top)
        self._detail = one_of("image_detail", own["image_detail"], _DETAILS) if "image_detail" in own else None
        self._limit_field = one_of("limit_field", own.get("limit_field", "max_tokens"), _LIMIT_FIELDS)
        self._sends_stop = flag("stop", own.get("stop", True))
        self.model, root = self._named_model(own.get("model"))
        self.description = self._described(root, own.get("revision"))
        self.work.update(dict.fromkeys(_COUNTS, 0))
        self._said: set[str] = set()

    def answer(self, asks: Sequence[Ask]) -> Iterator[dict[str, str]]:
        """Ask the server; answers come as they finish, also those that had finished when something went wrong.

        Raises:
            UsageError: the server refuses what is asked of it.
            DataError: an image cannot be read.
            IncompleteError: questions are left without a reply.
        """
        with asyncio.Runner() as runner:
            pace = Pace(self.concurrency)
            server = ChatServer(self.base_url, Bearer.from_environment(), self.patience, pace)
            declines = Declines(self.base_url, proven=self.work["answers_from_log"] > 0)
            under_way = UnderWay(asks, lambda ask: self._answer_one(server, ask, declines), self.concurrency)
            answered = 0
            try:
                while True:
                    try:
                        batch = runner.run(under_way.finished())
                    except BaseException:  # Ctrl-C too: what had finished is paid for
                        if rescued := under_way.collected():
                            yield rescued
                        raise
                    if not batch:
                        break
                    answered += len(batch)
                    yield batch
            finally:
                runner.run(under_way.abandon())
                runner.run(server.close())
                self._count(server, pace)
        declines.end()
        if answered < len(asks):
            logged = answered - sum(ask.key in self.not_logged for ask in asks)
            kept = logged + self.work["answers_from_log"]
            asked = len(asks) + self.work["answers_from_log"]
            raise IncompleteError(self._incomplete(asked, len(asks) - answered, kept, under_way.failed))

    async def _answer_one(self, server: ChatServer, ask: Ask, declines: Declines) -> str:
        labels = ask.labels if self.options.scoring == "letters" else ()
        try:
            reply = await server.complete(self._request(ask))
        except Declined as declined:
            declines.add(declined)
            return self._declined(ask, f"the server declined the prompt: {declined}")
        declines.answered()
        self._note(reply)
        if reply.finish == "content_filter":
            return self._declined(ask, "a filter ended the reply (finish_reason content_filter)")
        words = _up_to(reply.text, ask.until)
        return (labels and self._scored(reply, words, ask, labels)) or _in_words(reply, words)

    def _declined(self, ask: Ask, reason: str) -> str:
        """An answer that the server may give another day."""
        self.work["prompts_declined"] += 1
        self.not_logged.add(ask.key)
        return write_unscored(reason)

    def _request(self, ask: Ask) -> dict[str, Any]:
        content = [{"type": "text", "text": part} if isinstance(part, str) else self._image(part) for part in ask.parts]
        system = [{"role": "system", "content": self.options.system_prompt}] if self.options.system_prompt else []
        request = {
            "model": self.model,
            "messages": [*system, {"role": "user", "content": content}],
            self._limit_field: ask.max_new_tokens,
            **self._settings,
        }
        sends_stop = self._sends_stop and ask.until
        return {**request, "stop": list(ask.until[:_MOST_STOPS])} if sends_stop else request

    def _image(self, image: Any) -> dict[str, Any]:
        url = data_url(image)
        self.work["images_sent"] += 1
        if url.converted:
            self.work["images_converted_to_png"] += 1
            self._say_once("images in a format that servers do not take (BMP, TIFF) are sent as PNG of the same pixels")
        detail = {"detail": self._detail} if self._detail else {}
        return {"type": "image_url", "image_url": {"url": url.text, **detail}}

    def _scored(self, reply: Reply, words: str, ask: Ask, labels: Sequence[str]) -> str | None:
        """The labels' scores; None where the words must be read: they are not scored, or say another label."""
        assert ask.query is not None
        assert ask.prompt is not None
        prefix = ask.prompt.template(ask.query.direction).reply_prefix
        found = label_scores(tokens_of_words(reply.tokens, reply.text, words, ask.until), labels, prefix)
        options = () if ask.query.direction is Direction.TEXT_TO_IMAGE else ask.query.texts
        if found is None or read_answer(words, labels, options).choice != found.said:
            self.work["replies_read_as_words"] += 1
            self._say_once(
                "the likeliest tokens that the server lists do not decide some replies; their words are read instead"
                if reply.tokens
                else "the server gives no log-probabilities; scoring=letters reads the replies' words instead"
            )
            return None
        if found.listed.all() or not found.listed.any():
            return write_scores(found.scores, scored="labels")
        self.work["replies_with_labels_not_listed"] += 1
        listed = np.where(found.listed, found.scores, np.float32(np.nan))
        return write_scores(found.scores, scored="labels", alternatives={"listed": listed})

    def _note(self, reply: Reply) -> None:
        for name, tokens in reply.usage.items():
            self.work[name] += tokens
        self.work["replies_cut_short"] += reply.finish == "length"
        for name, value in (("models_reported", reply.model), ("system_fingerprints", reply.fingerprint)):
            if value and value not in self.work.setdefault(name, []):
                self.work[name] = sorted([*self.work[name], value])

    def _count(self, server: ChatServer, pace: Pace) -> None:
        for name, number in server.counts.items():
            self.work[name] += number
        self.work["concurrency_least"] = min(pace.least, self.work["concurrency_least"] or pace.least)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            logger.warning(f"{self.base_url}: {line}")

    def _incomplete(self, asked: int, left: int, kept: int, failed: Sequence[str]) -> str:
        stay = f"; the {kept} answers are kept, the same command asks only the rest" if self.options.log else ""
        why = f" ({failed[0]})" if failed else ""
        return f"server {self.base_url}: {left} of {asked} questions got no reply{why}{stay}"

    def _named_model(self, given: object) -> tuple[str, str | None]:
        """The model's name at the server, and what the server says stands behind it."""
        try:
            listed = self._once(lambda server: server.models())
        except NoReply as error:
            if not error.reached:
                raise ModelError(
                    f"server {self.base_url}: {error}; start it, or give its address as base_url=http://HOST:PORT/v1"
                ) from None
            if not given:
                raise UsageError(f"server {self.base_url}: does not list its models, {error}; give model=") from None
            listed = []  # it may answer all the same: some have no listing that works
        roots = {entry["id"]: entry.get("root") for entry in listed}
        if not given and len(roots) != 1:
            names = ", ".join(sorted(roots)[:10]) or "no model"
            raise UsageError(f"server {self.base_url}: lists {names}; say which one with model=NAME")
        name = str(given or next(iter(roots)))
        root = roots.get(name)
        return name, root if isinstance(root, str) else None

    def _once(self, ask: Callable[[ChatServer], Awaitable[T]]) -> T:
        async def asked() -> T:
            server = ChatServer(self.base_url, Bearer.from_environment(), self.patience, Pace(1))
            try:
                return await ask(server)
            finally:
                await server.close()

        return asyncio.run(asked())

    def _described(self, root: str | None, revision: object) -> ModelDescription:
        settings = {
            **self.options.settings,
            **self._settings,
            "server": self.base_url,
            "model": self.model,
            "root": root,
            "revision": None if revision is None else str(revision),
            "image_detail": self._detail,
            "limit_field": self._limit_field,
            "stop": self._sends_stop,
        }
        return ModelDescription(adapter=self.adapter, name=self.model, settings=settings)


_COUNTS = (
    "requests_sent", "requests_repeated", "images_sent", "images_converted_to_png", "prompt_tokens",
    "completion_tokens", "prompt_tokens_cached", "prompts_declined", "replies_cut_short", "replies_read_as_words",
    "replies_with_labels_not_listed", "concurrency_least",
)  # fmt: skip


def _up_to(text: str, until: Sequence[str]) -> str:
    """The reply up to the first of the texts that end it."""
    places = [place for end in until if (place := text.find(end)) >= 0]
    return text[: min(places)] if places else text


def _in_words(reply: Reply, words: str) -> str:
    """The words as an answer; what can be none says why instead."""
    if not words.strip():
        if refusal := " ".join(reply.refusal.split()):
            return write_unscored(f"the model refuses to answer: {refusal[:_LONGEST_REFUSAL]}")
        return write_unscored(f"the reply is empty (finish_reason {reply.finish or 'not given'})")
    if len(words) > LONGEST_REPLY:
        return write_unscored(f"the reply has {len(words):,} characters, more than {LONGEST_REPLY:,}")
    return write_words(words)


def _check(given: dict[str, Any]) -> None:
    """Refuse secrets, and what lmms-eval passes on that means nothing to a server.

    Raises:
        UsageError: the name, never the value.
    """
    for name in given:
        if _SECRET.search(name):
            raise UsageError(
                f"model_args {name}: secrets are not taken here, arguments stand in shell histories and process lists; "
                f"set {KEY_VARIABLE} in the environment"
            )
    for name in ("batch_size", "device"):
        if name in given:
            raise UsageError(f"--{name}: a server decides that itself; concurrency=N says how many it gets at once")


def _base_url(given: object) -> str:
    """Where the server is.

    Raises:
        UsageError: no address, or one with a password or a query in it; they are not repeated in the message.
    """
    url = str(given or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL).strip().rstrip("/")
    auth = Bearer.from_environment()
    if "?" in url or "@" in url or (auth and auth.hidden(url) != url):
        raise UsageError(
            f"base_url: names and keys do not belong into it, it stands in records; set {KEY_VARIABLE} instead"
        )
    try:
        address = httpx.URL(url)
        fits = address.scheme in ("http", "https") and address.host != ""
    except (ValueError, httpx.InvalidURL):
        fits = False
    if not fits:
        raise UsageError(f"base_url={url}: expected http://HOST:PORT/v1 or https://…")
    return url


def _request_settings(own: dict[str, Any]) -> dict[str, Any]:
    """Seed and temperature; `none` leaves one out, for services that refuse it."""
    settings: dict[str, Any] = {}
    if str(temperature := own.get("temperature", 0)).lower() != "none":
        settings["temperature"] = _number("temperature", temperature)
    if str(seed := own.get("seed", 0)).lower() != "none":
        settings["seed"] = count("seed", seed, least=0)
    return settings


def _seconds(name: str, given: object, usual: float) -> float:
    return usual if given is None else _number(name, given, above=0)


def _number(name: str, given: object, above: float = -1e-9) -> float:
    try:
        number = float(str(given))
    except ValueError:
        number = np.nan
    if not above < number < np.inf:
        raise UsageError(f"model_args {name}={given}: expected a number {'above 0' if above == 0 else 'of at least 0'}")
    return number
