"""The bit stream: fixed for ever, fair, and independent by name."""

from __future__ import annotations

from collections import Counter

import pytest

from minchange_eval.generators.procedural.bits import BitStream


def test_the_stream_is_splitmix64_and_never_changes() -> None:
    stream = BitStream(0)
    stream._state = 1234567  # the published test vector of SplitMix64
    assert [stream.bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [BitStream(0, "a", 1).below(1000), BitStream(0, "a", 2).below(1000)] == [761, 117]


def test_numbers_are_fair_and_inside_their_bounds() -> None:
    stream = BitStream(3)
    seen = Counter(stream.between(-2, 3) for _ in range(6000))
    assert set(seen) == set(range(-2, 4))
    assert all(abs(count - 1000) < 120 for count in seen.values())


def test_a_shuffle_keeps_everything_and_every_order_is_as_likely() -> None:
    stream = BitStream(4)
    seen = Counter(tuple(stream.shuffled("abc")) for _ in range(6000))
    assert len(seen) == 6
    assert all(abs(count - 1000) < 120 for count in seen.values())


def test_streams_of_other_names_share_nothing() -> None:
    assert BitStream(0, "a").bits() != BitStream(0, "b").bits()
    assert BitStream(0, "a", "b").bits() == BitStream(0, "a", "b").bits()


def test_choosing_from_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to choose from"):
        BitStream(0).choice([])
