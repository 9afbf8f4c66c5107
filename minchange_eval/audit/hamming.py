"""All pairs of 64-bit hashes within a Hamming distance: exact, without comparing every pair.

Multi-index hashing (Norouzi, Punjani, Fleet 2012, arXiv:1307.2982): a hash is cut into four bands of 16 bits. Of two
hashes at most r bits apart, one band is at most r // 4 bits apart (pigeonhole), so looking up every band with up to
that many bits flipped finds every pair; what is found is then checked on all 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Indices = NDArray[np.intp]

MOST_BITS = 16  # above it, unrelated pictures are that close by chance, and there are too many bands to look up
_BANDS, _BAND_BITS = 4, 16
_CANDIDATES = 1 << 22  # checked at a time: bounds the memory
_ONES = np.array([bin(value).count("1") for value in range(1 << _BAND_BITS)], dtype=np.uint8)


def distances(first: Hashes, second: Hashes) -> NDArray[np.uint8]:
    """Number of differing bits, elementwise; shapes broadcast."""
    differing = np.bitwise_xor(first, second)
    apart = np.zeros(differing.shape, dtype=np.uint8)
    for band in range(_BANDS):
        apart += _ONES[(differing >> np.uint64(band * _BAND_BITS)) & np.uint64(0xFFFF)]
    return apart


class HashIndex:
    """Hashes, looked up by the values of their bands; made once, asked often."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes, self._kind = np.unique(hashes, return_inverse=True)
        self._bands = []
        for band in range(_BANDS):
            values = _band(self._hashes, band)
            order = np.argsort(values, kind="stable")
            self._bands.append((order, np.searchsorted(values[order], np.arange((1 << _BAND_BITS) + 1))))

    def within(self, asked: Hashes, radius: int) -> tuple[Indices, Indices, NDArray[np.uint8]]:
        """Every pair (i, j) of asked[i] and the index's hash j that differ in at most `radius` bits.

        Args:
            asked: [n] hashes; may hold equal ones, as may the index.
            radius: 0 to `MOST_BITS`.

        Returns:
            i, j and the distance, sorted by i, then j.

        Raises:
            ValueError: the radius is out of range.
        """
        if not 0 <= radius <= MOST_BITS:
            raise ValueError(f"radius {radius}: expected 0 to {MOST_BITS} bits")
        kinds, kind = np.unique(asked, return_inverse=True)
        found = [np.stack(pair) for pair in self._found(kinds, radius)]
        if not found:
            return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.uint8)
        of_asked, of_index = np.unique(np.concatenate(found, axis=1), axis=1)
        apart = distances(kinds[of_asked], self._hashes[of_index])
        i, j, pair = _expanded(of_asked, of_index, kind, self._kind)
        order = np.lexsort((j, i))
        return i[order], j[order], apart[pair[order]]

    def _found(self, asked: Hashes, radius: int) -> Iterator[tuple[Indices, Indices]]:
        """Pairs of distinct hashes by the band they were found in: a pair may come several times."""
        for band, (order, starts) in enumerate(self._bands):
            values = _band(asked, band)
            for flips in _flips(radius // _BANDS):
                looked_up = values ^ flips
                for i, place in _looked_up(starts[looked_up], starts[looked_up + 1]):
                    j = order[place]
                    near = distances(asked[i], self._hashes[j]) <= radius
                    yield i[near], j[near]


def _band(hashes: Hashes, band: int) -> Indices:
    # every fourth bit: neighbouring frequencies of one picture are alike, and would crowd into few values of a band
    bits = np.zeros(len(hashes), dtype=np.intp)
    for place in range(_BAND_BITS):
        bit = (hashes >> np.uint64(_BANDS * place + band)) & np.uint64(1)
        bits |= bit.astype(np.intp) << place
    return bits


def _flips(bits: int) -> list[int]:
    """Every 16-bit number of at most so many ones."""
    return [
        sum(1 << place for place in places)
        for count in range(bits + 1)
        for places in combinations(range(_BAND_BITS), count)
    ]


def _looked_up(begin: Indices, end: Indices) -> Iterator[tuple[Indices, Indices]]:
    """(i, place) for every place in begin[i]..end[i], a bounded number at a time."""
    hits = end - begin
    for rows in np.split(np.arange(len(hits)), _cuts(hits)):
        if hits[rows].sum():
            i = np.repeat(rows, hits[rows])
            before = np.repeat(np.cumsum(hits[rows]) - hits[rows], hits[rows])
            yield i, np.arange(len(i)) - before + np.repeat(begin[rows], hits[rows])


def _cuts(hits: Indices) -> Indices:
    return np.flatnonzero(np.diff(np.cumsum(hits) // _CANDIDATES)) + 1


def _expanded(i: Indices, j: Indices, of_first: Indices, of_second: Indices) -> tuple[Indices, Indices, Indices]:
    """Pairs of distinct hashes to pairs of positions, and which pair each comes of."""
    for_i, places_first = _positions(of_first)
    for_j, places_second = _positions(of_second)
    many_i, many_j = for_i[i + 1] - for_i[i], for_j[j + 1] - for_j[j]
    of_pair = np.repeat(np.arange(len(i)), many_i * many_j)
    within = np.arange(len(of_pair)) - np.repeat(np.cumsum(many_i * many_j) - many_i * many_j, many_i * many_j)
    return (
        places_first[for_i[i][of_pair] + within // many_j[of_pair]],
        places_second[for_j[j][of_pair] + within % many_j[of_pair]],
        of_pair,
    )


def _positions(kinds: Indices) -> tuple[Indices, Indices]:
    """Where the positions of each distinct value begin, and the positions themselves."""
    order = np.argsort(kinds, kind="stable")
    return np.searchsorted(kinds[order], np.arange(kinds.max(initial=-1) + 2)), order
