"""The bit stream that every random choice of the generator comes from.

SplitMix64 in plain integers: `random` and numpy promise their raw bits across versions, but not what is made of them
(ranges, shuffles, distributions), and a data set that is drawn anew on each machine needs both.

Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", doi:10.1145/2714064.2660195.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")
_MASK = (1 << 64) - 1


class BitStream:
    """A stream of choices that is the same on every machine for the same seed and names.

    Args:
        seed: any integer.
        names: what the stream is for; streams of different names are independent, so that drawing more of one
            thing never shifts another.
    """

    def __init__(self, seed: int, *names: str | int) -> None:
        key = "/".join(str(part) for part in (seed, *names))
        self._state = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")

    def bits(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """An integer in 0..n-1; the bias of the multiplication is below n / 2**64."""
        return (self.bits() * n) >> 64

    def between(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + self.below(high - low + 1)

    def one_in(self, n: int) -> bool:
        """True once in n times."""
        return self.below(n) == 0

    def choice(self, options: Sequence[T]) -> T:
        """One of them, each as likely.

        Raises:
            ValueError: there is none.
        """
        if not options:
            raise ValueError("there is nothing to choose from")
        return options[self.below(len(options))]

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different ones, in random order."""
        return self.shuffled(options)[:count]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of them, in random order (Fisher-Yates)."""
        rest = list(options)
        for last in range(len(rest) - 1, 0, -1):
            other = self.below(last + 1)
            rest[last], rest[other] = rest[other], rest[last]
        return rest
