"""SIGTERM and Ctrl-C while a model is trained: noted at once, obeyed between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AGAIN_AFTER_S = 1.0  # a launcher hands on the Ctrl-C that the terminal has sent to its processes already


class StopRequest:
    """Takes the two signals while it is entered, and puts back what took them before.

    A second Ctrl-C, a second or more after the first, interrupts at once: what was saved before stays.

    Attributes:
        asked: a signal came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._at_once = False
        self._first_s = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread take signals
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """For long work that leaves no half-done step behind: a signal ends it with KeyboardInterrupt."""
        self._at_once = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self.asked and number == signal.SIGINT and time.monotonic() - self._first_s >= AGAIN_AFTER_S
        if not self.asked:
            self.asked, self._first_s = True, time.monotonic()
        if self._at_once or again:
            raise KeyboardInterrupt
