"""Many questions at once to a server: answers come out as they finish, and a failure takes none of them along."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, Protocol, TypeVar

from minchange_eval.core.errors import UsageError
from minchange_eval.model_adapters.chat_server import Declined, NoReply

GIVE_UP_AFTER = 8  # questions in a row without a reply: the server is gone, and asking the rest would take days
MOST_DECLINED = 8  # in a row: it is not their prompts


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


Q = TypeVar("Q", bound=_Keyed)


class UnderWay(Generic[Q]):
    """Questions that wait, are asked, or came to nothing.

    Args:
        questions: in the order in which they are asked.
        answer: answers one; `NoReply` is a failure of this one, any other error ends them all.
        most: how many are held at a time, whether sent or waiting to be sent again.

    Attributes:
        failed: why, for each question without a reply.
        ready: finished answers that were not handed out yet.
    """

    def __init__(self, questions: Iterable[Q], answer: Callable[[Q], Awaitable[str]], most: int) -> None:
        self.failed: list[str] = []
        self.ready: dict[str, str] = {}
        self._waiting = deque(questions)
        self._answer, self._most = answer, most
        self._tasks: dict[asyncio.Task[str], str] = {}
        self._failed_in_a_row = 0

    async def finished(self) -> dict[str, str]:
        """The next answers by key; empty when there will be none.

        After too many failures no question is begun any more; those that are under way may still be answered.
        """
        while not self.ready:
            while self._waiting and len(self._tasks) < self._most and self._failed_in_a_row < GIVE_UP_AFTER:
                question = self._waiting.popleft()
                self._tasks[asyncio.ensure_future(self._answer(question))] = question.key
            if not self._tasks:
                break
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            self._take(done)
        return self.collected()

    def collected(self) -> dict[str, str]:
        """What is finished, without waiting."""
        self._take([task for task in self._tasks if task.done() and not task.cancelled() and not task.exception()])
        answers, self.ready = self.ready, {}
        return answers

    def _take(self, done: Iterable[asyncio.Task[str]]) -> None:
        fatal: BaseException | None = None
        for task in done:
            key = self._tasks.pop(task)
            error = task.exception()
            if error is None:
                self.ready[key] = task.result()
                self._failed_in_a_row = 0
            elif isinstance(error, NoReply):
                self.failed.append(str(error))
                self._failed_in_a_row += 1
            else:
                fatal = error
        if fatal is not None:
            raise fatal

    async def abandon(self) -> None:
        """Stop what is still being asked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Declines:
    """Whether a server that refuses requests does so for their prompts: only if it answers others.

    Args:
        address: of the server.
        proven: it has answered questions of these settings before.
    """

    def __init__(self, address: str, *, proven: bool) -> None:
        self._address = address
        self._proven, self._answered = proven, False
        self._in_a_row: list[Declined] = []

    def answered(self) -> None:
        """A question was answered."""
        self._answered = True
        self._in_a_row.clear()

    def add(self, declined: Declined) -> None:
        """A question was refused.

        Raises:
            UsageError: it is one of too many.
        """
        self._in_a_row.append(declined)
        if len(self._in_a_row) >= MOST_DECLINED:
            self._stop()

    def end(self) -> None:
        """All questions were asked.

        Raises:
            UsageError: none was answered, and some were refused.
        """
        if self._in_a_row and not self._answered:
            self._stop()

    def _stop(self) -> None:
        if not self._proven:
            number = len(self._in_a_row)
            refused = "the question" if number == 1 else f"{number} questions in a row"
            raise UsageError(
                f"server {self._address}: {self._in_a_row[0]}; it refuses {refused}, and answered none meanwhile"
            )
