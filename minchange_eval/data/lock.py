"""One process at a time: a lock that the system releases when its holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minchange_eval.core.errors import UsageError

_log = logging.getLogger(__name__)


@contextmanager
def only_one(path: Path, busy: str) -> Iterator[bool]:
    """Hold the lock of a file; says whether it had to be waited for.

    Args:
        path: the lock file; it stays, empty, because removing it would let two holders in.
        busy: logged as a warning when another process holds it.

    Raises:
        UsageError: the file system has no locks.
        OSError: the file cannot be made.
    """
    with path.open("a") as file:
        waited = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            _log.warning("%s; waiting for it to finish", busy)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}:
                raise
            raise UsageError(
                f"{path}: its file system has no locks ({error.strerror}); set MINCHANGE_HOME to one on another"
            ) from error
        yield waited
