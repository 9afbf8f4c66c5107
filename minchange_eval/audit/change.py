"""How much differs between the two sides of a pair: words of captions, cells of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

CELLS = 48  # an image is judged as 48 x 48 cells: re-encoding and resizing leave their mean colours as they are
CHANGED_LEVELS = 16  # of 255: a cell whose mean colour differs by more has changed
_MOST_WORD_PAIRS = 1_000_000  # beyond it a distance would take seconds

Cells = NDArray[np.uint8]


def word_edits(first: str, second: str) -> int | None:
    """Least number of words to insert, leave out or replace (Levenshtein 1966); case and blanks do not count.

    Returns:
        None where what differs is too long to compare.

    >>> word_edits("Two dogs on a red sofa.", "Three dogs on a sofa.")
    2
    """
    a, b = first.casefold().split(), second.casefold().split()
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    end = next((i for i, (x, y) in enumerate(zip(a[::-1], b[::-1], strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[: len(a) - end], b[: len(b) - end]
    if len(a) * len(b) > _MOST_WORD_PAIRS:
        return None
    return _levenshtein(a, b)


def _levenshtein(a: Sequence[str], b: Sequence[str]) -> int:
    above = list(range(len(b) + 1))
    for row, x in enumerate(a, 1):
        line = [row]
        for column, y in enumerate(b, 1):
            line.append(min(above[column] + 1, line[-1] + 1, above[column - 1] + (x != y)))
        above = line
    return above[-1]


def cells(picture: Image) -> Cells:
    """[48, 48, 3] mean colours of an RGB picture, stretched to a square."""
    from PIL.Image import Resampling

    return np.asarray(picture.resize((CELLS, CELLS), Resampling.BOX))


def changed_area(first: Cells, second: Cells) -> float:
    """Share of cells, 0 to 1, of which a channel differs by more than `CHANGED_LEVELS`.

    Pictures of two sizes are stretched onto each other, so that an edit in another format has changed as far as its
    content has moved.
    """
    apart = np.abs(first.astype(np.int16) - second).max(axis=2)
    return float((apart > CHANGED_LEVELS).mean())
