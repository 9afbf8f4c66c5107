"""The Hub's own library, with what goes wrong as one line each, its waits said, and the token never shown.

The library waits and tries again by itself only where files are sent; here every request does, within bounds, and as
long as the Hub asks for in `Retry-After`.

Source: huggingface_hub 2.4, `utils/_http.py`; RFC 9110, section 10.2.3 (Retry-After).
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from minchange_eval.core.errors import MinchangeError, NotPreparedError, UsageError
from minchange_eval.data.download import is_offline
from minchange_eval.hub.address import HubAddress

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Tell = Callable[[str], None]
Result = TypeVar("Result")

TRIES = 5
LONGEST_WAIT_S = 900.0  # who is asked to wait longer is better told to come back
HIDDEN = "[hidden]"
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_OF_QUOTA = re.compile(r"quota|storage|limit|too large|payment|plan\b", re.IGNORECASE)
_TOKEN_PAGE = "https://huggingface.co/settings/tokens"  # noqa: S105 - an address


class NoSuchRepositoryError(UsageError):
    """There is none of that name and type, or none that the token may see; the Hub does not tell which."""


@dataclass
class Hub:
    """One process's dealings with the Hub.

    Attributes:
        api: of the Hub's library.
        token: what it sends; None for nobody.
        tell: takes lines for the user: that it waits, and why.
        reached: whether it has answered yet; nobody waits for a network that is not there from the start.
    """

    api: HfApi
    token: str | None
    tell: Tell
    reached: bool = False
    _known: bool = False

    def ask(self, address: HubAddress, request: Callable[[], Result], *, tries: int = TRIES) -> Result:
        """The result of a request to the Hub, made again where that may help.

        Args:
            address: what it is about.
            request: must be one that may be made twice.
            tries: how often at most.

        Raises:
            UsageError: the token, the name or the rights are wrong, or HF_HUB_OFFLINE is set.
            NotPreparedError: offline, and not in the Hub's cache.
            MinchangeError: the Hub, the network or a quota will not have it.
        """
        for attempt in range(1, tries + 1):
            with _waits_told(self.tell) as told:
                try:
                    result = request()
                except (_of_network(), OSError, ValueError, RuntimeError) as error:
                    trouble = _trouble(error, address)
                    self.reached |= trouble.status > 0
                    wait = trouble.wait_s(attempt)
                    hopeless = not trouble.may_pass or (trouble.network and not self.reached)
                    if hopeless or told.out_of_tries or attempt == tries or wait > LONGEST_WAIT_S:
                        # `from None`: what the library's errors quote is not ours to show
                        raise self._said(address, trouble, wait) from None
                else:
                    self.reached = True
                    return result
            self.tell(f"{trouble.what}: waiting {wait:g} s, then try {attempt + 1} of {tries}")
            time.sleep(wait)
        raise AssertionError("unreachable")

    def require_known(self, address: HubAddress) -> None:
        """The Hub knows the token; asked once, for the Hub answers few such questions in a minute.

        Raises:
            UsageError: it does not.
        """
        if not self._known:
            self.ask(address, self.api.whoami)
            self._known = True

    def hidden(self, text: str) -> str:
        """The text without the token, should a server or a library have quoted it."""
        return text.replace(self.token, HIDDEN) if self.token else text

    def _said(self, address: HubAddress, trouble: _Trouble, wait: float) -> Exception:
        if trouble.unknown is not None:
            return RuntimeError(self.hidden(f"{type(trouble.unknown).__name__}: {trouble.unknown}"))
        kind, text = trouble.line(wait)
        return kind(self.hidden(f"{address}: {text}"))


def connect(tell: Tell, *, must_write: bool = False) -> Hub:
    """The Hub as the user of the token in HF_TOKEN or of `hf auth login`.

    Args:
        tell: takes lines for the user.
        must_write: there is to be a token, and the network.

    Raises:
        UsageError: huggingface_hub is not installed, HF_HUB_OFFLINE is set, HF_ENDPOINT holds a password, or there is
            no token.
    """
    try:
        from huggingface_hub import HfApi, constants, get_token
    except ImportError as error:
        raise UsageError("the Hub needs huggingface_hub; run: pip install 'minchange-eval[eval]'") from error
    if "@" in urlsplit(constants.ENDPOINT).netloc:  # it would be sent in place of the token, and stands in addresses
        raise UsageError("HF_ENDPOINT holds a user or password; the Hub takes a token (HF_TOKEN): leave them out")
    token = get_token()
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise UsageError(
            "the Hub's token (HF_TOKEN, or of `hf auth login`) has blanks or characters that no token has; "
            f"copy it again from {_TOKEN_PAGE}"
        )
    if must_write and is_offline():
        raise UsageError("HF_HUB_OFFLINE is set: nothing is pushed; unset it, or look at --dry-run")
    if must_write and not token:
        raise UsageError(
            f"no token for the Hub; make one with the right to write at {_TOKEN_PAGE}, then: hf auth login, "
            "or set HF_TOKEN"
        )
    return Hub(HfApi(token=token or False, library_name="minchange-eval"), token, tell)


@dataclass(frozen=True)
class _Trouble:
    """What went wrong with a request.

    Attributes:
        status: of the answer; 0 without one.
        code: the Hub's own word for it (`RepoNotFound`, …).
        text: the Hub's or the system's sentence.
        retry_after_s: what the Hub asks for; None where it does not.
        network: there was no answer.
        unknown: none of the above; a defect, ours or the library's.
    """

    status: int = 0
    code: str = ""
    text: str = ""
    retry_after_s: float | None = None
    network: bool = False
    unknown: Exception | None = None

    @property
    def what(self) -> str:
        """A few words for a line that says that we wait."""
        return f"no connection to the Hub ({self.text})" if self.network else f"the Hub answered {self.status}"

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later."""
        return self.network or self.status in _TRANSIENT

    def wait_s(self, attempt: int) -> float:
        """Seconds until the next try: what the Hub asks for, or 1, 2, 4, 8."""
        return float(2 ** (attempt - 1)) if self.retry_after_s is None else self.retry_after_s

    def line(self, wait: float) -> tuple[type[MinchangeError], str]:
        """The kind of error, and its line."""
        said = f" ({self.text})" if self.text else ""
        again = "run the same command again, it goes on where it stopped"
        if self.code == "Offline":
            return NotPreparedError, "is not in the Hub's cache, and HF_HUB_OFFLINE is set; run once with network"
        if self.network:
            return MinchangeError, f"no connection to the Hub{said}; {again}"
        if self.status == 429:
            return MinchangeError, f"too many requests, the Hub asks for {wait:g} s of patience; then {again}"
        if self.may_pass:
            return MinchangeError, f"the Hub answers {self.status}{said}; later {again}"
        if self.code == "RevisionNotFound":
            return UsageError, "has no such revision; name a branch, tag or commit that it has"
        if self.code == "EntryNotFound":
            return UsageError, "has no such file"
        if self.code == "GatedRepo":
            return UsageError, f"asks for consent before it is read{said}; give it on its page, as the token's user"
        if self.code == "RepoNotFound" or self.status == 404:
            return NoSuchRepositoryError, (
                "there is no such repository, or it is private and the token may not see it; check the name, "
                "and the token with: hf auth whoami"
            )
        return _LINES.get(self.status, _refused)(said)


def _refused(said: str) -> tuple[type[MinchangeError], str]:
    return MinchangeError, f"the Hub refuses it{said}"


def _wrong_token(said: str) -> tuple[type[MinchangeError], str]:
    return UsageError, f"the Hub does not know the token{said}; make a new one at {_TOKEN_PAGE}, then: hf auth login"


def _not_allowed(said: str) -> tuple[type[MinchangeError], str]:
    if _OF_QUOTA.search(said):
        return _quota(said)
    return UsageError, (
        f"the token has not the right to do that{said}; use one that has, or a name of your own or of an organization "
        "of yours"
    )


def _quota(said: str) -> tuple[type[MinchangeError], str]:
    return MinchangeError, f"no room for it on the Hub{said}; free some or raise the quota, then run it again"


def _changed(said: str) -> tuple[type[MinchangeError], str]:
    return MinchangeError, f"somebody else changed it at the same time{said}; look, then run it again"


_LINES: dict[int, Callable[[str], tuple[type[MinchangeError], str]]] = {
    401: _wrong_token,
    402: _quota,
    403: _not_allowed,
    409: _changed,
    412: _changed,
    413: _quota,
    507: _quota,
}


def _of_network() -> type[Exception]:
    """Base of what the library under the Hub's library raises: httpx2 today, httpx and requests before."""
    from huggingface_hub.errors import HfHubHTTPError

    foreign = [cls for cls in HfHubHTTPError.__mro__ if not cls.__module__.startswith(("huggingface_hub", "builtins"))]
    assert issubclass(foreign[-1], Exception)
    return foreign[-1]


def _trouble(error: Exception, address: HubAddress) -> _Trouble:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, MinchangeError):  # of `_Waits`, in a thread of the library
            raise cause from None
        if isinstance(cause, HfHubHTTPError) and cause.response is not None:
            return _of_answer(cause)
    for cause in chain:
        if isinstance(cause, OfflineModeIsEnabled) or (isinstance(cause, LocalEntryNotFoundError) and is_offline()):
            return _Trouble(code="Offline")
    for cause in reversed(chain):
        if isinstance(cause, json.JSONDecodeError):
            return _Trouble(status=502, text="an answer that is no JSON")
        if isinstance(cause, (_of_network(), ConnectionError)):
            return _Trouble(text=_first_line(str(cause)), network=True)
    if isinstance(error, OSError) and error.errno is not None:
        raise MinchangeError(
            f"{error.filename or address}: {error.strerror}; make room, or let it be read and written, then run again"
        ) from error
    if isinstance(error, ValueError):
        return _Trouble(status=400, text=_first_line(" ".join(str(error).split())))
    return _Trouble(unknown=error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, then what it came from; a library's own error is often the second or third."""
    while error is not None:
        yield error
        error = error.__cause__


def _of_answer(error: object) -> _Trouble:
    response = error.response  # type: ignore[attr-defined]
    status, headers = int(response.status_code), response.headers
    text = getattr(error, "server_message", None) or headers.get("X-Error-Message") or ""
    page = status in _TRANSIENT and "<" in text  # a proxy's page says nothing to anybody
    return _Trouble(
        status,
        headers.get("X-Error-Code") or "",
        "" if page else _first_line(text),
        _retry_after_s(headers.get("Retry-After"), headers.get("RateLimit")),
    )


def _first_line(text: str) -> str:
    return next((line.strip(" .") for line in text.splitlines() if line.strip()), "")[:200]


def _retry_after_s(retry_after: str | None, rate_limit: str | None) -> float | None:
    """Seconds, from a number, a date, or the Hub's `RateLimit: "api";r=0;t=55`."""
    if retry_after and retry_after.strip().isdigit():
        return float(retry_after)
    if retry_after:
        try:
            return max(0.0, math.ceil(parsedate_to_datetime(retry_after).timestamp() - time.time()))
        except ValueError:
            return None
    left = re.search(r"r=0\s*;\s*t=(\d+)", rate_limit or "")
    return float(left[1]) if left else None


@contextmanager
def _waits_told(tell: Tell) -> Iterator[_Waits]:
    """Where the library itself waits, its log lines become ours: they quote addresses that hold the right to upload."""
    logger, told = logging.getLogger("huggingface_hub.utils._http"), _Waits(tell)
    logger.addFilter(told)
    try:
        yield told
    finally:
        logger.removeFilter(told)


class _Waits(logging.Filter):
    """Tells of the library's waits.

    Attributes:
        out_of_tries: the library has tried as often as it does; what it gave up on is not begun all over.
    """

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self.out_of_tries = False
        self._tell = tell
        self._why: dict[int | None, str] = {}  # by thread: files are sent several at a time

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if status := re.match(r"HTTP Error (\d+) thrown", text):
            self._why[record.thread] = f"the Hub answered {status[1]}"
        elif " thrown while requesting " in text:
            self._why[record.thread] = f"the connection broke ({text.split(' thrown while ')[0].strip(chr(39))})"
        elif wait := re.search(r"(?:Waiting|Retrying in) ([\d.]+)s.*?(?:Retry (\d+)/(\d+))", text):
            seconds, done, of = float(wait[1]), int(wait[2]), int(wait[3])
            if seconds > LONGEST_WAIT_S:  # the library would sleep; an error from here is the one way out
                raise MinchangeError(_Trouble(429).line(seconds)[1])
            self.out_of_tries |= done == of
            why = self._why.get(record.thread, "the Hub is busy")
            self._tell(f"{why}: waiting {seconds:g} s, then try {done + 1} of {of + 1}")
        else:
            return record.levelno < logging.WARNING
        return False
