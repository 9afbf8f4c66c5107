"""Standard output that a verb can rely on: what keeps it from being shown stops no work and changes no verdict."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import TextIOWrapper
from typing import Any

from minchange_eval.core.errors import MinchangeError


@contextmanager
def guarded_output() -> Iterator[None]:
    """What is printed within it goes as far as it can; that something was lost is said at the end.

    A reader may leave (`… | head`): the rest is dropped, and the verb ends with its own exit code.

    Raises:
        MinchangeError: it could not be written, as on a full disk.
    """
    output: Any = sys.stdout
    if output is None:  # closed (`>&-`): Python prints nothing then
        yield
        return
    if isinstance(output, TextIOWrapper):
        output.reconfigure(errors="backslashreplace")  # an `…` must not stop a verdict where the terminal has none
    with redirect_stdout(_Guarded(output)) as guarded:
        try:
            yield
        finally:
            guarded.flush()
            if guarded.failure:
                raise MinchangeError(
                    f"standard output cannot be written ({guarded.failure}); make room or send it elsewhere"
                )


class _Guarded:
    """A text output that never fails, and remembers why it should have.

    Attributes:
        failure: the system's words; empty where all was written, or not read.
    """

    def __init__(self, output: Any) -> None:
        self.failure = ""
        self._output = output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)

    def write(self, text: str) -> int:
        self._attempt(self._output.write, text)
        return len(text)

    def flush(self) -> None:
        self._attempt(self._output.flush)

    def _attempt(self, call: Callable[..., object], *arguments: str) -> None:
        try:
            call(*arguments)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.failure = error.strerror or str(error)
            # what is still buffered goes nowhere, or Python's own flush at exit would fail and end with 120
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._output.fileno())
            os.close(nowhere)
