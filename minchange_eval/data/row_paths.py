"""Files that rows name: below the folder they belong to, whatever the row says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from minchange_eval.data.json_rows import BadRowError


def path_inside(name: str) -> str:
    """A path as a row gives it, in its one spelling (`./images/x.jpg` is `images/x.jpg`).

    Raises:
        BadRowError: it is absolute, or steps out of its folder with `..`.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BadRowError(f"image path {name!r} leaves the folder")
    return str(path)


def file_inside(folders: Iterable[Path], name: str) -> Path | None:
    """The first of the folders' files of that name; None where none has it.

    Raises:
        BadRowError: the path leaves its folder, or no file could have such a name.
    """
    path = path_inside(name)
    try:
        return next((folder / path for folder in folders if (folder / path).is_file()), None)
    except OSError as error:  # a name that is too long
        raise BadRowError(f"image path {name[:60]!r}… cannot be looked up ({error.strerror})") from error
