"""A file that a flag names: written whole or not at all, and one line where it cannot be."""

from __future__ import annotations

import errno
from pathlib import Path

from minchange_eval.core.errors import MinchangeError, UsageError

_OF_THE_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}


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
