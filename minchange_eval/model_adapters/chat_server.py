"""A server of OpenAI's chat protocol: requests that are sent again where that makes sense, and a key that never shows.

Three things end a request for good: the server refuses what is asked of it whatever the prompt (`UsageError`), it
refuses one that may be refused for its prompt alone (`Declined`), or it failed more often than there is patience for
(`NoReply`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from itertools import count
from typing import Any, TypeVar

import httpx

from minchange_eval.core.errors import ModelError, UsageError, printable
from minchange_eval.model_adapters.pace import Pace

KEY_VARIABLE = "OPENAI_API_KEY"
HIDDEN = "[hidden]"
SHORTEST_SECRET = 8  # characters; a shorter key ("none", for a server that wants none) would blank out words
_LONGEST_BODY = 64 * 2**20  # bytes; a longer one is no reply to any prompt of ours
_LONGEST_QUOTE = 200  # characters of what a server says, in a message
_CONNECT_S = 30.0
_START_RETRIES = 2  # a server that is not there when a run starts is soon said to be
_BROKEN_REPLY_RETRIES = 2  # what is no JSON once may be a proxy's hiccup; thrice, it is what the server sends
_BUSY = {429, 503, 529}
_PASSING = {408, 409, 425, *_BUSY}
_MAY_BE_THE_PROMPTS = {400, 413, 422}  # too long or filtered, in words of each server's own
# httpx's own, and those of httpcore's that write response headers, in which a server may echo what it was sent
_LOGGERS = ("httpx", "httpcore", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))

T = TypeVar("T")


class NoReply(ModelError):  # noqa: N818 - what happened, as the other names in core.errors
    """One request failed more often than there is patience for.

    Attributes:
        reached: there is a server; it said something, if only that it cannot.
    """

    def __init__(self, message: str, *, reached: bool) -> None:
        super().__init__(message)
        self.reached = reached


class Declined(ModelError):  # noqa: N818
    """The server refuses this request; if it answers others, for its prompt: too long, or filtered."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        timeout_s: one attempt, from sending to the last byte.
        total_timeout_s: one request with all its attempts and the waits between them.
        max_retries: attempts after the first.
        first_wait_s: before the second attempt, doubled each time, cut by up to a half at random.
        longest_wait_s: at most; Retry-After is obeyed however long it is, within `total_timeout_s`.
    """

    timeout_s: float = 300.0
    total_timeout_s: float = 1800.0
    max_retries: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0

    def wait_s(self, attempt: int, asked_s: float | None) -> float:
        """Seconds to wait after the failure of an attempt, the first being 1; `asked_s` is the server's wish."""
        if asked_s is not None:
            return asked_s + random.uniform(0, self.first_wait_s)
        longest_s: float = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempt - 1, 30))
        return longest_s * random.uniform(0.5, 1)


@dataclass(frozen=True)
class Reply:
    """One reply of a chat model.

    Attributes:
        text: its words; empty for none.
        refusal: what the model says where it refuses to answer, apart from its words.
        finish: why it ended: `stop`, `length`, `content_filter`; empty where the server does not say.
        tokens: what it reports of its tokens (`logprobs.content`), unchecked; None where it does not.
        usage: counts of tokens by the protocol's names.
        model: the name of the model as the server has it.
        fingerprint: `system_fingerprint`; empty where there is none.
    """

    text: str
    refusal: str = ""
    finish: str = ""
    tokens: Any = None
    usage: Mapping[str, int] = field(default_factory=dict)
    model: str = ""
    fingerprint: str = ""


class Bearer(httpx.Auth):
    """Puts the key into each request; nothing else holds it where a traceback or a log could show it."""

    def __init__(self, key: str) -> None:
        self._key = key

    @classmethod
    def from_environment(cls) -> Bearer | None:
        """The key of the environment; None where none is set.

        Raises:
            UsageError: it holds characters that a header cannot carry.
        """
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UsageError(f"{KEY_VARIABLE}: holds a blank, a line break or another character that no key has")
        return cls(key) if key else None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by httpx for each request."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request

    def hidden(self, text: str) -> str:
        """The text with the key replaced."""
        return text.replace(self._key, HIDDEN) if len(self._key) >= SHORTEST_SECRET else text


@dataclass
class _Failure(Exception):  # noqa: N818
    """An attempt that may be repeated."""

    what: str
    reached: bool = True
    declined: bool = False
    congested: bool = False
    after_s: float | None = None
    retries: int | None = None


class _NoMessage(ValueError):  # noqa: N818
    """A completion without a message in it, as some services send for what they have filtered."""


class ChatServer:
    """One server, from inside one event loop.

    Args:
        base_url: up to and with `/v1`.
        auth: the key to send; None for a server that wants none.
        patience: see there.
        pace: how many requests may be under way.

    Attributes:
        counts: `requests_sent`, `requests_repeated`.
    """

    def __init__(self, base_url: str, auth: Bearer | None, patience: Patience, pace: Pace) -> None:
        """Connect to nothing yet.

        Raises:
            UsageError: the environment names a proxy that cannot be used.
        """
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.base_url = base_url
        self.counts: Counter[str] = Counter()
        self._auth, self._patience, self._pace = auth, patience, pace
        try:
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(None, connect=min(_CONNECT_S, patience.timeout_s)),
                limits=httpx.Limits(max_connections=None),
                headers={"Accept-Encoding": "identity"},  # a few bytes could unpack to any number
                verify=_certificates(),
                auth=auth,
            )
        except (ImportError, ValueError, httpx.InvalidURL):  # the proxy is not repeated: a password may be in it
            raise UsageError(
                "ALL_PROXY, HTTPS_PROXY or HTTP_PROXY: no proxy that can be used; expected http://HOST:PORT, or "
                "socks5:// after pip install 'httpx[socks]'; unset it to go without"
            ) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def models(self) -> list[dict[str, Any]]:
        """What the server says of the models it has; empty where it has no such listing.

        Raises:
            UsageError: it refuses the key.
            NoReply: it cannot be reached.
        """
        return await self._asked("GET", "models", None, _models, min(_START_RETRIES, self._patience.max_retries))

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        """The reply to one request for a chat completion.

        Raises:
            UsageError: the server refuses the request, and would refuse the others.
            Declined: it refuses this request, maybe for its prompt.
            NoReply: it failed too often.
        """
        content = json.dumps(body).encode()
        reply = await self._asked("POST", "chat/completions", content, _reply, self._patience.max_retries)
        # again, since a text may have come in parts
        return replace(reply, text=self.hidden(reply.text), refusal=self.hidden(reply.refusal))

    async def _asked(self, method: str, path: str, content: bytes | None, read: Callable[[Any], T], retries: int) -> T:
        deadline: float | None = None
        failure = _Failure("not asked")
        for attempt in count(1):
            async with self._pace.slot():
                sent_at = time.monotonic()
                deadline = deadline or sent_at + self._patience.total_timeout_s
                if sent_at >= deadline:  # others were asked to wait, and so did this one
                    raise NoReply(self._given_up(failure, attempt - 1, over=True), reached=failure.reached)
                self.counts["requests_sent" if attempt == 1 else "requests_repeated"] += 1
                try:
                    answer = await self._attempt(method, path, content, read, deadline - sent_at)
                except _Failure as caught:
                    failure = caught
                else:
                    self._pace.succeeded(time.monotonic() - sent_at)
                    return answer
            if failure.congested:
                self._pace.congested(sent_at)
            wait_s = self._patience.wait_s(attempt, failure.after_s)
            over = time.monotonic() + wait_s > deadline
            if over or attempt > min(retries, retries if failure.retries is None else failure.retries):
                if failure.declined:
                    raise Declined(self._given_up(failure, attempt, over))
                raise NoReply(self._given_up(failure, attempt, over), reached=failure.reached)
            if failure.after_s is not None:
                self._pace.pause(failure.after_s)
            await asyncio.sleep(wait_s)
        raise AssertionError("count() has no end")

    def _given_up(self, failure: _Failure, attempts: int, over: bool) -> str:
        said = f"{failure.what}, after {attempts} {'attempt' if attempts == 1 else 'attempts'}"
        if not over:
            return said
        asked = "" if failure.after_s is None else f" and a wish to wait {failure.after_s:.0f} s"
        return f"{said}{asked}; total_timeout_s={self._patience.total_timeout_s:g} is over"

    async def _attempt(
        self, method: str, path: str, content: bytes | None, read: Callable[[Any], T], left_s: float
    ) -> T:
        timeout_s = min(self._patience.timeout_s, left_s)
        try:
            async with asyncio.timeout(timeout_s):
                response, body = await self._exchange(method, f"{self.base_url}/{path}", content)
        except TimeoutError:
            raise _Failure(f"no reply within {timeout_s:g} s", reached=False, congested=True) from None
        except httpx.TransportError as error:
            raise _Failure(self.hidden(_of_transport(error)), reached=False) from None
        if response.status_code == 200:
            return self._read(body, read)
        if path == "models" and response.status_code in (404, 405, 501):
            return read({"data": []})
        raise self._refusal(response, body)

    async def _exchange(self, method: str, url: str, content: bytes | None) -> tuple[httpx.Response, bytes]:
        headers = {"Content-Type": "application/json"} if content else {}
        async with self._client.stream(method, url, content=content, headers=headers) as response:
            body = bytearray()
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding.strip().lower() not in ("", "identity"):
                if response.status_code == 200:
                    what = f"a reply encoded as {printable(self.hidden(encoding))[:20]}, which was not asked for"
                    raise _Failure(what, retries=_BROKEN_REPLY_RETRIES)
                return response, b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _LONGEST_BODY:
                    raise _Failure(f"a reply of over {_LONGEST_BODY // 2**20} MiB", retries=_BROKEN_REPLY_RETRIES)
        return response, bytes(body)

    def _read(self, body: bytes, read: Callable[[Any], T]) -> T:
        try:
            return read(self._without_key(json.loads(body, strict=False)))
        except _NoMessage as error:
            raise _Failure(f"{error} ({self._quoted(body)})", declined=True, retries=_BROKEN_REPLY_RETRIES) from None
        except (ValueError, RecursionError):
            raise _Failure(
                f"a reply that is not of the protocol ({self._quoted(body)})", retries=_BROKEN_REPLY_RETRIES
            ) from None

    def _refusal(self, response: httpx.Response, body: bytes) -> Exception:
        """What an answer other than 200 comes to."""
        status = response.status_code
        what = f"HTTP {status} ({self._quoted(body)})"
        if (status in _PASSING or status >= 500) and b"insufficient_quota" not in body:
            return _Failure(what, congested=status in _BUSY, after_s=_retry_after_s(response))
        if status in _MAY_BE_THE_PROMPTS and response.request.method == "POST":
            return Declined(what)
        return UsageError(f"server {self.base_url}: {what}; {self._advice(status, response)}")

    def _advice(self, status: int, response: httpx.Response) -> str:
        if status in (401, 403):
            return f"it refuses the key in {KEY_VARIABLE}" if self._auth else f"set the key in {KEY_VARIABLE}"
        if status == 404:
            return "check model= and base_url=, which usually ends in /v1"
        if 300 <= status < 400:
            return f"give the place it leads to as base_url= ({self.hidden(response.headers.get('Location', ''))})"
        return "it refuses the request, and would refuse it again"

    def hidden(self, text: str) -> str:
        """The text without the key."""
        return self._auth.hidden(text) if self._auth else text

    def _without_key(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hidden(value)
        if isinstance(value, list):
            return [self._without_key(part) for part in value]
        if isinstance(value, dict):
            return {self.hidden(name): self._without_key(part) for name, part in value.items()}
        return value

    def _quoted(self, body: bytes) -> str:
        """What the server says, on one short line without the key."""
        text = self.hidden(body[:_LONGEST_BODY].decode(errors="replace"))
        try:
            said = self._without_key(json.loads(text, strict=False))
        except (ValueError, RecursionError):
            said = text
        for name in ("error", "detail", "message"):
            if isinstance(said, dict) and name in said:
                said = said[name]
        line = printable(" ".join((said if isinstance(said, str) else json.dumps(said)).split()))
        if not line:
            return "an empty body"
        return line if len(line) <= _LONGEST_QUOTE else f"{line[:_LONGEST_QUOTE]}…"


@cache
def _certificates() -> ssl.SSLContext:
    """Whose certificates are trusted: read once, which takes longer than most requests."""
    return httpx.create_ssl_context()


def _of_transport(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"no connection ({_reason(error)})"
    return f"the connection broke ({_reason(error)})"


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds that Retry-After asks to wait, given as a number or as a date; None where it is neither."""
    given = response.headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(given)) if given else None
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(given)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _models(content: Any) -> list[dict[str, Any]]:
    listed = content.get("data") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of models")
    return [entry for entry in listed if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _reply(content: Any) -> Reply:
    """A chat completion.

    Raises:
        ValueError: it is none.
    """
    choices = content.get("choices") if isinstance(content, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        if choices == [] or (isinstance(choice, dict) and message is None and "finish_reason" in choice):
            raise _NoMessage("a reply without a message")
        raise ValueError("no choice with a message")
    logprobs = choice.get("logprobs")
    return Reply(
        text=_words(message.get("content")),
        refusal=_words(refusal) if isinstance(refusal := message.get("refusal"), str) else "",
        finish=str(choice.get("finish_reason") or ""),
        tokens=logprobs.get("content") if isinstance(logprobs, dict) else None,
        usage=_usage(content.get("usage")),
        model=str(content.get("model") or ""),
        fingerprint=str(content.get("system_fingerprint") or ""),
    )


def _words(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, list):  # the protocol's other form: a list of parts
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise ValueError("content is no text")
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a character is none


def _usage(usage: Any) -> dict[str, int]:
    if not isinstance(usage, dict):
        return {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    counts = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
    return {
        name: n for name, n in {**counts, "prompt_tokens_cached": cached}.items() if type(n) is int and 0 <= n < 2**53
    }
