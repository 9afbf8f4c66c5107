"""Can a printed percentage be k of n at all? The GRIM test, for shares and for means of shares.

A share of n yes/no results is k/n for a whole k, so of the printable percentages only some can occur. Nothing is said
of why one cannot: another number of items, a typing error, a mean of something else.

Source: Brown & Heathers 2017, "The GRIM Test", Social Psychological and Personality Science 8(4).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

Verdict = Literal["attainable", "not attainable", "no power"]
Rounding = Literal["half up", "half even", "truncation"]
ROUNDINGS: tuple[Rounding, ...] = ("half up", "half even", "truncation")
_MOST_SUMS = 1 << 23  # sums of subsets that are listed; a megabyte as bits
_AROUND = 100  # printable values on either side of a mean among which the test's power is looked for


@dataclass(frozen=True)
class Attainability:
    """What the test says of one printed percentage.

    Attributes:
        verdict: `no power` where every printable value is attainable, so that the test can find nothing.
        hits: each k that is printed so by a rule of `roundings`; empty for means and where no rule has power.
        roundings: the rules by which an attainable value is printed so; all where no rule has power.
        power: share of printable values that are not attainable by any rule, or by the rule of the row that a value
            was printed in: the chance that a made-up number would be found out; for means among the printable values
            next to it.
        power_by_one_rule: the same, were it known whether values were rounded or truncated.
    """

    verdict: Verdict
    hits: tuple[int, ...]
    roundings: tuple[Rounding, ...]
    power: float
    power_by_one_rule: float


_NO_POWER = Attainability("no power", (), ROUNDINGS, 0.0, 0.0)


def grim(value: Decimal, n: int, decimals: int) -> Attainability:
    """Test one share.

    Args:
        value: in percent, as printed.
        n: yes/no results that it is a share of.
        decimals: as printed; 0 or more.

    Raises:
        ValueError: a value outside [0, 100] or with more decimals, n below 1, or negative decimals.

    >>> grim(Decimal("95.4"), 579, 1).verdict  # 552 of 579 are 95.3, 553 are 95.5
    'not attainable'
    >>> grim(Decimal("53.84"), 13, 2).hits, grim(Decimal("53.84"), 13, 2).roundings
    ((7,), ('truncation',))
    >>> grim(Decimal("42.5"), 1500, 1).verdict, grim(Decimal("42.5"), 700, 1).verdict  # rounded, or truncated
    ('no power', 'no power')
    """
    exact, step = _checked(value, [n], decimals)
    printable = 100 * 10**decimals
    if n >= printable:
        return _NO_POWER
    near = range(max(0, math.ceil((exact - step) * n / 100)), min(n, math.floor((exact + step) * n / 100)) + 1)
    rules = {k: _rules(Fraction(100 * k, n), exact, step) for k in near}
    roundings = tuple(rule for rule in ROUNDINGS if any(rule in of for of in rules.values()))
    hits = tuple(k for k, of in rules.items() if of)
    missed, missed_by_one = printable + 1 - _printed_by_any(n, printable), printable - n
    return _tested(hits, roundings, missed / (printable + 1), missed_by_one / (printable + 1))


def grim_mean(value: Decimal, sizes: Sequence[int], decimals: int) -> Attainability:
    """Test the plain mean of several shares, each of its own n (a macro average).

    Where the sums of shares are too many to list, those in which some subsets are fixed near the mean are; they are
    attainable too, so that `no power` is still proven where they leave no gap.

    Args:
        value, decimals: as in `grim`.
        sizes: n of each subset.

    Raises:
        ValueError: as in `grim`, or no subsets.

    >>> grim_mean(Decimal("41.7"), [2, 3], 1).verdict, grim_mean(Decimal("41.9"), [2, 3], 1).verdict
    ('attainable', 'not attainable')
    """
    exact, step = _checked(value, sizes, decimals)
    sums = _Sums.around(exact, sizes)
    printable = [exact + shift * step for shift in range(-_AROUND, _AROUND + 1) if 0 <= exact + shift * step <= 100]
    missed = sum(not sums.within(one - step / 2, one + step)[1] for one in printable)
    missed_by_one = sum(not sums.within(one - step / 2, one + step / 2)[1] for one in printable)
    if not missed_by_one or not sums.complete:
        return _NO_POWER
    found = [_rules(mean, exact, step) for mean in sums.between(exact - step, exact + step)]
    roundings = tuple(rule for rule in ROUNDINGS if any(rule in of for of in found))
    return _tested((), roundings, missed / len(printable), missed_by_one / len(printable))


def by_one_rule(results: Sequence[Attainability]) -> tuple[Attainability, ...]:
    """The results of values that were printed together, by the one rounding rule that explains most of them.

    A value that only another rule would print becomes not attainable: one row is rounded or truncated, not both. So the
    test has more power than with a value alone, if the row tells which it was.

    >>> seven_13ths, half = grim(Decimal("53.84"), 13, 2), grim(Decimal("66.67"), 3, 2)
    >>> [result.verdict for result in by_one_rule([seven_13ths, half])]
    ['not attainable', 'attainable']
    """
    if len(results) < 2:
        return tuple(results)
    explained = Counter(rule for result in results for rule in result.roundings)
    most = max(explained.values(), default=0)
    rules = [rule for rule in ROUNDINGS if explained[rule] == most]
    # where several explain as many values but not the same ones, the more usual rule, which stands first
    rules = [rule for rule in rules if all((rule in of.roundings) == (rules[0] in of.roundings) for of in results)]
    return tuple(_kept_to(result, rules) for result in results)


def rule_words(roundings: Sequence[Rounding]) -> str:
    """Rules in few words: `rounded` where half up and half even agree, `any` for all three.

    >>> rule_words(("half up", "half even"))
    'rounded'
    """
    words: dict[tuple[Rounding, ...], str] = {ROUNDINGS: "any", ROUNDINGS[:2]: "rounded"}
    return words.get(tuple(roundings), ", ".join(roundings))


def _tested(hits: tuple[int, ...], roundings: tuple[Rounding, ...], power: float, by_one: float) -> Attainability:
    found: Verdict = "attainable" if roundings else "not attainable"
    return Attainability(found if power else "no power", hits, roundings, power, by_one)


def _printed_by_any(n: int, printable: int) -> int:
    """How many of 0, 1, …, `printable` steps some k of n < printable is rounded or truncated to."""
    if 3 * n >= 2 * printable:  # of one step and a half each holds a k
        return printable + 1
    common = math.gcd(n, printable)
    return n + 1 + common * (n // common // 2)  # each k one value, and two where it is rounded up


def _kept_to(result: Attainability, rules: Sequence[Rounding]) -> Attainability:
    if not result.power_by_one_rule or len(rules) == len(ROUNDINGS):
        return result
    left = tuple(rule for rule in result.roundings if rule in rules)
    told = _tested(result.hits, left, result.power_by_one_rule, result.power_by_one_rule)
    return told if left else replace(told, roundings=result.roundings)


def _checked(value: Decimal, sizes: Sequence[int], decimals: int) -> tuple[Fraction, Fraction]:
    if decimals < 0 or not sizes or min(sizes) < 1:
        raise ValueError(f"expected n of at least 1 and 0 decimals or more, got n {list(sizes)}, {decimals} decimals")
    if not value.is_finite() or not 0 <= value <= 100:
        raise ValueError(f"expected a percentage from 0 to 100, got {value}")
    exact, step = Fraction(value), Fraction(1, 10**decimals)
    if exact % step:
        raise ValueError(f"expected at most {decimals} decimals, got {value}")
    return exact, step


def _rules(attained: Fraction, printed: Fraction, step: Fraction) -> tuple[Rounding, ...]:
    """The rules by which the attained value is printed so."""
    below = math.floor(attained / step)
    rest = attained / step - below
    up = below + (rest >= Fraction(1, 2))
    even = below + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2))
    prints = {"half up": up, "half even": even, "truncation": below}
    return tuple(rule for rule in ROUNDINGS if prints[rule] * step == printed)


@dataclass(frozen=True)
class _Sums:
    """Means that subsets of known sizes can have: `offset + unit * s` for each bit s that is set.

    Attributes:
        complete: all of them are listed.
    """

    bits: int
    unit: Fraction
    offset: Fraction
    complete: bool

    @classmethod
    def around(cls, mean: Fraction, sizes: Sequence[int]) -> _Sums:
        """All of them where they are few enough; else those of the largest subsets, the others near the mean."""
        common, listed, fixed = 1, Counter[int](), []
        for n, times in sorted(Counter(sizes).items(), reverse=True):
            if math.lcm(common, n) * len(sizes) <= _MOST_SUMS:
                common, listed[n] = math.lcm(common, n), times
            else:
                fixed += [Fraction(round(mean * n / 100), n)] * times
        bits = 1
        for n, times in listed.items():
            bits = _with_multiples(bits, common // n, n * times)
        return cls(bits, Fraction(100, common * len(sizes)), sum(fixed, Fraction()) * 100 / len(sizes), not fixed)

    def within(self, low: Fraction, high: Fraction) -> tuple[int, int]:
        """The bits of the means in [low, high), moved down by the first number returned."""
        first = max(0, math.ceil((low - self.offset) / self.unit))
        wide = max(0, math.ceil((high - self.offset) / self.unit) - first)
        return first, (self.bits >> first) & ((1 << wide) - 1)

    def between(self, low: Fraction, high: Fraction) -> list[Fraction]:
        """The means in [low, high)."""
        first, window = self.within(low, high)
        places = (place for place in range(window.bit_length()) if window >> place & 1)
        return [self.offset + self.unit * (first + place) for place in places]


def _with_multiples(bits: int, weight: int, most: int) -> int:
    """The sums in `bits` plus 0, 1, …, `most` times the weight."""
    taken = 1
    while most > 0:
        taken = min(taken, most)
        bits |= bits << (taken * weight)
        most -= taken
        taken *= 2
    return bits
