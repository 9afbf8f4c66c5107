"""What can go wrong, and the exit code each of it ends with.

    MinchangeError
     ├─ UsageError             2   a wrong flag, name or setting
     │   └─ NotPreparedError   2   the data is not in the store yet
     ├─ IncompleteError        3   unscored over the limit, NaN, missing queries
     ├─ NotComparableError     4   complete, but of other data or another protocol
     ├─ DataError              5   a release, store, image or record that is broken
     └─ ModelError            70   the model failed

The message of each is one line: where, what was expected, what came, what to do. The command line prints it
without a traceback; any other exception is a defect of ours, keeps its traceback and ends with 70.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `minchange-eval` and `lmms_eval`."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    INCOMPLETE = 3
    NOT_COMPARABLE = 4
    BAD_DATA = 5
    UNDECIDED = 6
    INTERNAL = 70
    INTERRUPTED = 130


def printable(text: str) -> str:
    """The text on one line, control characters and lone surrogates as escapes.

    >>> printable("a\\x1b[2Jb\\n")
    'a\\\\x1b[2Jb\\\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


class MinchangeError(Exception):
    """Base of every error that this package raises on purpose.

    Its message is one printable line whatever names and captions it quotes: what would move a terminal's cursor or
    start a new line is shown as its escape.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UsageError(MinchangeError):
    """The caller asked for something that does not exist or does not go together."""

    exit_code = ExitCode.USAGE


class NotPreparedError(UsageError):
    """A task needs a data set that the store does not hold."""


class IncompleteError(MinchangeError):
    """A result lacks queries, or too many of them are unscored."""

    exit_code = ExitCode.INCOMPLETE


class NotComparableError(MinchangeError):
    """Two complete results are of different data or protocols."""

    exit_code = ExitCode.NOT_COMPARABLE


class DataError(MinchangeError):
    """A release, a store, an image or a record is broken."""

    exit_code = ExitCode.BAD_DATA


class ModelError(MinchangeError):
    """A model could not be loaded, or failed while it ran."""

    exit_code = ExitCode.INTERNAL
