"""Tokens never reach a terminal or a log: lmms-eval prints its arguments and its tracker's, with `HF_TOKEN` in them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from minchange_eval.tasks.options import SECRET_NAME

_SHORTEST = 8  # a shorter value is no secret, and would blank out words
HIDDEN = "[hidden]"


@contextmanager
def secrets_hidden(argv: Sequence[str]) -> Iterator[None]:
    """Replace secrets in everything that is printed inside: those of the environment, and of `name=value` arguments."""
    values = sorted(_values(os.environ, argv), key=len, reverse=True)
    if not values:
        yield
        return
    pattern = re.compile("|".join(map(re.escape, values)))
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Hiding(sys.stdout, pattern), _Hiding(sys.stderr, pattern)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _values(environment: Mapping[str, str], argv: Sequence[str]) -> set[str]:
    pairs = [*environment.items(), *(part.split("=", 1) for words in argv for part in words.split(",") if "=" in part)]
    return {value for name, value in pairs if SECRET_NAME.search(name) and len(value) >= _SHORTEST}


class _Hiding:
    """A text stream in front of another."""

    def __init__(self, stream: TextIO, pattern: re.Pattern[str]) -> None:
        self._stream = stream
        self._pattern = pattern

    def write(self, text: str) -> int:
        self._stream.write(self._pattern.sub(HIDDEN, text))
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
