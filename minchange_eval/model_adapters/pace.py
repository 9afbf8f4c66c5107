"""How many requests a server is sent at once: as many as it takes without refusing or slowing down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from statistics import median

_SLOW = 2.0  # a window this many times slower than usual is a server that queues


class Pace:
    """Slots for requests, between one and a bound: additive increase, multiplicative decrease.

    A window is as many successes as there are slots. A window without trouble adds a slot; one whose median latency is
    over twice the usual takes a quarter of them; a refusal (429, 503) or a time-out takes half, once for all requests
    that were under way at the time. What is usual follows slowly, so other prompts that take longer for good do not
    hold a run back for long.

    Attributes:
        limit: slots now.
        least: the fewest that there were.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = self.least = self._most = most
        self._clock = clock
        self._under_way = 0
        self._freed = asyncio.Event()
        self._paused_until = self._cut_at = float("-inf")
        self._window: list[float] = []
        self._usual_s: float | None = None

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until a request may be sent, and hold its place meanwhile."""
        await self._turn()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._freed.set()

    async def _turn(self) -> None:
        while True:
            if (wait_s := self._paused_until - self._clock()) > 0:
                await asyncio.sleep(wait_s)
            elif self._under_way < self.limit:
                return
            else:
                self._freed.clear()
                await self._freed.wait()

    def succeeded(self, latency_s: float) -> None:
        """A request was answered."""
        self._window.append(latency_s)
        if len(self._window) < self.limit:
            return
        typical_s, self._window = median(self._window), []
        usual_s = typical_s if self._usual_s is None else self._usual_s
        self._usual_s = usual_s + (typical_s - usual_s) / 4
        self._set(self.limit * 3 // 4 if typical_s > _SLOW * usual_s else self.limit + 1)

    def congested(self, sent_at: float) -> None:
        """A request, sent at that time of the clock, was refused for being too many, or timed out."""
        if sent_at < self._cut_at:  # it was under way when another one's refusal was already heeded
            return
        self._cut_at = self._clock()
        self._window = []
        self._set(self.limit // 2)

    def pause(self, seconds: float) -> None:
        """Send nothing for so long: what Retry-After asks for."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _set(self, limit: int) -> None:
        self.limit = min(self._most, max(1, limit))
        self.least = min(self.least, self.limit)
        self._freed.set()
