"""Which prompts of a document begin alike, so that what they share is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_SAVED_TOKENS = 64  # of a beginning without an image; below, one more forward costs more than it saves


@dataclass(frozen=True)
class Beginning:
    """The tokens `start` to `stop`, equal in all `rows`, after which they part.

    Attributes:
        rows: positions of the rows that share it.
        leaves: those of them that go on alone.
        branches: longer beginnings that some of them share.
    """

    start: int
    stop: int
    rows: tuple[int, ...]
    leaves: tuple[int, ...]
    branches: tuple[Beginning, ...]


def shared_beginnings(
    content: Sequence[NDArray[np.int64]], most: Sequence[int], images: Sequence[Sequence[tuple[int, int]]]
) -> tuple[tuple[Beginning, ...], tuple[int, ...]]:
    """The beginnings that rows share, and the rows that share none worth a forward of its own.

    Args:
        content: per row, what stands at each place: the token, or a number that no other image at no other place has.
        most: per row, how many places may be shared at most.
        images: per row, first place and end of each image.
    """
    if len(content) < 2:
        return (), tuple(range(len(content)))
    return _parted(content, most, images, tuple(range(len(content))), 0, 0)


def _parted(
    content: Sequence[NDArray[np.int64]],
    most: Sequence[int],
    images: Sequence[Sequence[tuple[int, int]]],
    rows: tuple[int, ...],
    start: int,
    place: int,
) -> tuple[tuple[Beginning, ...], tuple[int, ...]]:
    """Part rows that are equal up to `place`; what lies before `start` is computed already."""
    groups: dict[int, list[int]] = {}
    alone = [row for row in rows if place >= most[row]]
    for row in rows:
        if place < most[row]:
            groups.setdefault(int(content[row][place]), []).append(row)
    branches: list[Beginning] = []
    for group in groups.values():
        if len(group) == 1:
            alone += group
            continue
        stop = _common([content[row][: most[row]] for row in group], place)
        members = tuple(group)
        shows = any(start <= first and end <= stop for first, end in images[group[0]])
        if shows or (stop - start) * (len(group) - 1) >= LEAST_SAVED_TOKENS:
            deeper, leaves = _parted(content, most, images, members, stop, stop)
            branches.append(Beginning(start, stop, members, leaves, deeper))
        else:
            deeper, leaves = _parted(content, most, images, members, start, stop)
            branches += deeper
            alone += leaves
    return tuple(branches), tuple(sorted(alone))


def _common(content: Sequence[NDArray[np.int64]], place: int) -> int:
    """Up to where all are equal."""
    end = min(len(row) for row in content)
    for row in content[1:]:
        differs = np.flatnonzero(row[place:end] != content[0][place:end])
        if differs.size:
            end = place + int(differs[0])
    return end
