"""A server of OpenAI's chat protocol on a real socket that fails as it is told to, and counts what it is sent."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Top = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Said:
    """What the server sends back.

    Attributes:
        cut_at: bytes of the body after which the connection is reset; None for the whole body.
        promised: bytes more than are sent before an orderly end.
        wait_s: before anything is sent.
    """

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    promised: int = 0
    wait_s: float = 0.0


def reply(text: str | None, *, tokens: Sequence[Top] | None = None, finish: str = "stop", **more: Any) -> Said:
    """A well-formed completion; `tokens` are the likeliest tokens of each place, the reply's own first."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    if tokens is not None:
        choice["logprobs"] = {
            "content": [
                {
                    "token": top[0][0],
                    "logprob": top[0][1],
                    "top_logprobs": [{"token": token, "logprob": value} for token, value in top],
                }
                for top in tokens
            ]
        }
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 40}}
    content = {"choices": [choice], "usage": usage, "model": "m-2024", "system_fingerprint": "fp_1", **more}
    return Said(json.dumps(content).encode())


def error(status: int, message: str, **headers: str) -> Said:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(json.dumps({"error": {"message": message, "code": None}}).encode(), status, named)


@dataclass(frozen=True)
class Asked:
    """A request as it arrived.

    Attributes:
        attempt: 1 the first time that this body came.
        number: of the different bodies, in the order of their first arrival, from 1.
        at: `time.monotonic()`.
        others: how many requests were being answered at the time.
    """

    body: dict[str, Any]
    headers: Mapping[str, str]
    attempt: int
    number: int
    at: float
    others: int

    @property
    def words(self) -> str:
        content = self.body["messages"][-1]["content"]
        return "".join(part["text"] for part in content if part["type"] == "text")


class FaultServer:
    """Answers each request as `behave` says; a context manager.

    Attributes:
        asked: every request for a completion so far.
        answered: how often each body was answered with 200.
        models: what `/v1/models` lists, or the answer itself.
    """

    def __init__(self, behave: Callable[[Asked], Said] = lambda asked: reply("B")) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self.start_over(behave)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def start_over(self, behave: Callable[[Asked], Said]) -> None:
        """At the same address, as if nothing had been asked."""
        self.behave = behave
        self.asked: list[Asked] = []
        self.answered: Counter[bytes] = Counter()
        self.models: list[dict[str, Any]] | Said = [{"id": "m", "root": "/weights/m"}]
        self._seen: dict[bytes, list[int]] = {}

    def __enter__(self) -> FaultServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _take(self, raw: bytes, headers: Mapping[str, str]) -> Asked:
        with self._lock:
            number, attempts = self._seen.setdefault(raw, [len(self._seen) + 1, 0])
            self._seen[raw][1] = attempts + 1
            asked = Asked(json.loads(raw), headers, attempts + 1, number, time.monotonic(), self._under_way)
            self.asked.append(asked)
            self._under_way += 1
            return asked

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                listed = server.models
                self._send(listed if isinstance(listed, Said) else Said(json.dumps({"data": listed}).encode()))

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                asked = server._take(raw, dict(self.headers))
                try:
                    said = server.behave(asked)
                    time.sleep(said.wait_s)
                finally:
                    with server._lock:
                        server._under_way -= 1
                if self._send(said) and said.status == 200:
                    server.answered[raw] += 1

            def _send(self, said: Said) -> bool:
                try:
                    self.send_response(said.status)
                    for name, value in said.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(said.body) + said.promised))
                    self.end_headers()
                    self.wfile.write(said.body[: said.cut_at])
                    self.wfile.flush()
                except OSError:  # the client has gone
                    self.close_connection = True
                    return False
                if said.cut_at is not None:
                    # no lingering: the other side gets a reset, not an end of file
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                self.close_connection = said.cut_at is not None or said.promised > 0
                return said.cut_at is None and not said.promised

        return Handler
