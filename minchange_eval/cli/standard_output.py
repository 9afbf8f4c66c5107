"""Standard output that a verb can rely on: what stops it from being shown changes no verdict and is no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import TextIOWrapper
from typing import Any

from minchange_eval.core.errors import MinchangeError


@contextmanager
def guarded_output() -> Iterator[None]:
    """Within it all that is printed goes through a `_Guarded` output, which at the end is flushed.

    Raises:
        MinchangeError: it cannot be written, as on a full disk.
    """
    output = sys.stdout
    if isinstance(output, TextIOWrapper):
        output.reconfigure(errors="backslashreplace")  # an `…` must not stop a verdict where the terminal has none
    with redirect_stdout(_Guarded(output)) as guarded:
        try:
            yield
        finally:
            guarded.flush()


class _Guarded:
    """A text output whose reader may leave (`… | head`): the rest is dropped, and the verb ends with its own exit code.

    Any other failure is a `MinchangeError`.
    """

    def __init__(self, output: Any) -> None:
        self._output = output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)

    def write(self, text: str) -> int:
        try:
            return int(self._output.write(text))
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._output.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """What is still buffered goes nowhere, or Python's own flush at exit would fail and end with 120."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._output.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise MinchangeError(
                f"standard output cannot be written ({error.strerror or error}); make room or send it elsewhere"
            ) from error
