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


def pairs_within(first: Hashes, second: Hashes, radius: int) -> tuple[Indices, Indices, NDArray[np.uint8]]:
    """Every pair (i, j) whose hashes differ in at most `radius` bits, sorted by i, then j, with its distance.

    Args:
        first: [n] hashes; may hold equal ones, as may `second`, [m].
        radius: 0 to `MOST_BITS`.

    Raises:
        ValueError: the radius is out of range.
    """
    if not 0 <= radius <= MOST_BITS:
        raise ValueError(f"radius {radius}: expected 0 to {MOST_BITS} bits")
    kinds_first, of_first = np.unique(first, return_inverse=True)
    kinds_second, of_second = np.unique(second, return_inverse=True)
    found = [np.stack(pair) for pair in _candidates(kinds_first, kinds_second, radius)]
    if not found:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.uint8)
    i, j = np.unique(np.concatenate(found, axis=1), axis=1)
    i, j = _expanded(i, j, of_first, of_second)
    order = np.lexsort((j, i))
    i, j = i[order], j[order]
    return i, j, distances(first[i], second[j])


def _candidates(first: Hashes, second: Hashes, radius: int) -> Iterator[tuple[Indices, Indices]]:
    """Pairs within the radius, by the band they were found in: a pair may come several times."""
    for band in range(_BANDS):
        values = _band(second, band)
        order = np.argsort(values, kind="stable")
        starts = np.searchsorted(values[order], np.arange((1 << _BAND_BITS) + 1))
        probes = _band(first, band)
        for flips in _flips(radius // _BANDS):
            probe = probes ^ flips
            for i, place in _looked_up(starts[probe], starts[probe + 1]):
                j = order[place]
                near = distances(first[i], second[j]) <= radius
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


def _expanded(i: Indices, j: Indices, of_first: Indices, of_second: Indices) -> tuple[Indices, Indices]:
    """Pairs of distinct hashes to pairs of positions."""
    for_i, places_first = _positions(of_first)
    for_j, places_second = _positions(of_second)
    many_i, many_j = for_i[i + 1] - for_i[i], for_j[j + 1] - for_j[j]
    of_pair = np.repeat(np.arange(len(i)), many_i * many_j)
    within = np.arange(len(of_pair)) - np.repeat(np.cumsum(many_i * many_j) - many_i * many_j, many_i * many_j)
    return (
        places_first[for_i[i][of_pair] + within // many_j[of_pair]],
        places_second[for_j[j][of_pair] + within % many_j[of_pair]],
    )


def _positions(kinds: Indices) -> tuple[Indices, Indices]:
    """Where the positions of each distinct value begin, and the positions themselves."""
    order = np.argsort(kinds, kind="stable")
    return np.searchsorted(kinds[order], np.arange(kinds.max(initial=-1) + 2)), order
