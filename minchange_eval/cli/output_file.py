"""A file that a flag names: written whole or not at all, and one line where it cannot be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from minchange_eval.core.errors import MinchangeError, UsageError

_OF_THE_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}


def require_place(path: Path, flag: str) -> None:
    """Say before minutes of work, and not after, that a file could not be written.

    Raises:
        UsageError: it is a folder, its folder is not there, or that may not be written to.
    """
    if path.is_dir():
        raise UsageError(f"{flag} {path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{flag} {path}: there is no folder {path.parent}; make it first")
    is_device = path.exists() and not path.is_file()
    if not is_device and not os.access(path.parent, os.W_OK):
        raise UsageError(f"{flag} {path}: the folder may not be written to; name another one")


def write_output(path: Path, content: bytes, flag: str) -> None:
    """Write what a flag asked for; a device or pipe, such as /dev/stdout, is written to and not replaced.

    Raises:
        UsageError: no such folder, a folder, or no permission.
        MinchangeError: anything else, such as a full disk. What was there before stays.
    """
    from minchange_eval.core.whole_files import write_whole

    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                file.write(content)
        else:
            write_whole(path, [content])
    except OSError as error:
        reason = f"{flag} {path}: cannot be written ({error.strerror or error})"
        if error.errno in _OF_THE_PLACE:
            raise UsageError(f"{reason}; name a file in a folder that can be written to") from error
        raise MinchangeError(f"{reason}; make room or name a file on another disk") from error
