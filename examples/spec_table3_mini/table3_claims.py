"""What may be concluded from a run: every sentence is made from its numbers, and says so where they show nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from table3_data import HELD_OUT_SPEC, SCENES, SPEC, VISMIN
from table3_numbers import CLS, I2T, T2I, Difference, Places, Results, Value, family
from table3_variants import BASE, TITLE

NAMES = {I2T: "I2T", T2I: "T2I", CLS: "CLS"}
RUINED = 0.5  # of the base's CLS
THIRD, HALF = 1 / 3, 1 / 2


@dataclass(frozen=True)
class Conclusion:
    """One question and its answer.

    Attributes:
        title: what is asked.
        sentences: each from the numbers of this run.
        differences: the paired tests that they rest on, adjusted together.
    """

    title: str
    sentences: tuple[str, ...]
    differences: tuple[Difference, ...] = ()


def points(share: float) -> str:
    """
    >>> points(0.1234), points(-0.05)
    ('+12.3', '−5.0')
    """
    return f"{100 * share:+.1f}".replace("-", "−")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def evidence(one: Difference) -> str:
    """The numbers behind a difference."""
    paired = one.paired
    seeds = ", ".join(map(points, one.seeds))
    return (
        f"{points(paired.difference)} points, 95 % interval {points(paired.low)} to {points(paired.high)}, "
        f"seeds {seeds}, {p_value(one.holm)}"
    )


def claim(one: Difference) -> str:
    """A difference in words; without a claim where it is not shown."""
    what = f"{NAMES[one.metric]}{f' of {words(one.slice)}' if one.slice else ''}"
    first, second = TITLE[one.first], TITLE[one.second]
    if not one.shown:
        return f"{what}: not shown that “{second}” and “{first}” differ ({evidence(one)})."
    more = "higher" if one.paired.difference > 0 else "lower"
    return f"{what}: “{second}” is {more} than “{first}” ({evidence(one)})."


def words(slice_: str) -> str:
    return slice_.replace("_", " ").replace("spatial", "position")


def conclusions(results: Results, places: dict[str, Places]) -> list[Conclusion]:
    """All that is asked of a run.

    Args:
        places: choices of relative position of each row.
    """
    return [
        _steps(results),
        _by_subset(results, "Where hard negatives in the batch help", "one_per_set", "full_sets"),
        _by_subset(results, "Where the loss helps", "full_sets", "both"),
        _forgetting(results),
        _position(results, places),
        _elsewhere(results, "Transfer to pairs of VisMin's kind", VISMIN),
        _elsewhere(results, "Object categories held out of training", HELD_OUT_SPEC),
    ]


def _steps(results: Results) -> Conclusion:
    """From the base to `both`, one change at a time."""
    ladder = (BASE, "one_per_set", "full_sets", "both")
    pairs = [*pairwise(ladder), ("hard_negatives", "both")]
    found = family([results.difference(*pair, SPEC, metric) for pair in pairs for metric in (I2T, T2I)])
    causes = (
        "Seeing the pictures and captions at all, one member of a set at a time",
        "Having the rest of the set beside it in the batch, under the same plain loss",
        "SPEC's loss in place of the plain one, on the same pictures and captions in each step",
        "Plain pairs and their loss beside L_hn",
    )
    said = [f"{cause}. {' '.join(map(claim, found[2 * i : 2 * i + 2]))}" for i, cause in enumerate(causes)]
    return Conclusion("What the batch earns and what the loss", (*said, *_shares(found)), tuple(found))


def _shares(found: Sequence[Difference]) -> Iterator[str]:
    """How a gain divides, where it is one and all its steps are shown."""
    for number, metric in enumerate((I2T, T2I)):
        seen, batch, loss = (found[2 * step + number] for step in range(3))
        total = sum(step.paired.difference for step in (seen, batch, loss))
        parts = [step.paired.difference / total for step in (seen, batch, loss)] if total > 0 else []
        if parts and batch.shown and min(parts) >= 0:
            yield (
                f"Of the {points(total)} points that “both” has over the base in {NAMES[metric]}, "
                f"{100 * parts[0]:.0f} % come with the pictures and captions one by one, {100 * parts[1]:.0f} % with "
                f"the hard negatives in the batch and {100 * parts[2]:.0f} % with the loss"
                + ("." if loss.shown else " (the latter not shown to be more than nothing).")
            )


def _by_subset(results: Results, title: str, first: str, second: str) -> Conclusion:
    slices = [name for name in results.slices(SPEC, I2T) if name]
    found = family([results.difference(first, second, SPEC, metric, name) for metric in (I2T, T2I) for name in slices])
    said = []
    for metric in (I2T, T2I):
        mine = [one for one in found if one.metric == metric]
        for how, sign in (("higher", 1), ("lower", -1)):
            named = [
                f"{words(one.slice)} ({points(one.paired.difference)})"
                for one in mine
                if one.shown and sign * one.paired.difference > 0
            ]
            if named:
                said.append(
                    f"{NAMES[metric]} of “{TITLE[second]}” is {how} than of “{TITLE[first]}”: {', '.join(named)}."
                )
        rest = [words(one.slice) for one in mine if not one.shown]
        if rest:
            said.append(f"{NAMES[metric]}, no difference shown: {', '.join(rest)}.")
    return Conclusion(title, tuple(said), tuple(found))


def _forgetting(results: Results) -> Conclusion:
    pairs = [(BASE, row) for row in results.rows if row != BASE] + [("full_sets", "both")]
    found = family([results.difference(*pair, SCENES, CLS) for pair in pairs])
    alone = next(one for one in found if one.second == "hard_negatives")
    said = [claim(one) for one in found]
    kept = alone.paired.second / alone.paired.first if alone.paired.first else 1.0
    if alone.shown and kept < RUINED:
        said.append(f"L_hn alone ruins CLS: {100 * kept:.0f} % of the base's is left.")
    elif alone.shown and alone.paired.difference < 0:
        said.append(f"L_hn alone costs CLS but does not ruin it: {100 * kept:.0f} % of the base's is left.")
    else:
        said.append("That L_hn alone costs CLS is not shown.")
    return Conclusion("Naming things (CLS): what is forgotten", tuple(said), tuple(found))


def _position(results: Results, places: dict[str, Places]) -> Conclusion:
    slices = [name for name in results.slices(SPEC, I2T) if name]
    said = []
    for row in ("hard_negatives", "full_sets", "both"):
        means = {name: _both_ways(results, row, name) for name in slices}
        rank = sorted(means, key=lambda name: means[name]).index("relative_spatial") + 1
        said.append(
            f"“{TITLE[row]}” gets {percent(means['relative_spatial'])} in relative position (mean of I2T and T2I, "
            f"chance 25 %), the {_ordinal(rank)} lowest of the {len(slices)} kinds."
        )
    said += [f"“{TITLE[row]}”: {_axis(of)}; {_order(of)}." for row, of in places.items()]
    return Conclusion("Relative position: the axis and the order", tuple(said))


def _both_ways(results: Results, row: str, part: str) -> float:
    return sum(results.value(row, SPEC, metric, part).value for metric in (I2T, T2I)) / 2


def _ordinal(rank: int) -> str:
    """
    >>> _ordinal(1), _ordinal(3)
    ('very', '3rd')
    """
    return {1: "very", 2: "2nd", 3: "3rd"}.get(rank, f"{rank}th")


def _axis(of: Places) -> str:
    share = (
        f"{percent(of.axis.value)} of {of.wrong:,} wrong choices lie on the right axis "
        f"({_range(of.axis)}, chance 33.3 %)"
    )
    return f"the axis is learned: {share}" if of.axis.low > THIRD else f"that the axis is learned is not shown: {share}"


def _order(of: Places) -> str:
    share = (
        f"of {of.on_axis:,} choices on the right axis {percent(of.order.value)} are at its right end "
        f"({_range(of.order)}, chance 50 %)"
    )
    return (
        f"the order is learned in part: {share}"
        if of.order.low > HALF
        else f"that the order is learned is not shown: {share}"
    )


def _range(value: Value) -> str:
    return f"{100 * value.low:.1f} to {100 * value.high:.1f} %"


def _elsewhere(results: Results, title: str, benchmark: str) -> Conclusion:
    pairs = ((BASE, "one_per_set"), (BASE, "full_sets"), (BASE, "both"), ("full_sets", "both"))
    found = family([results.difference(*pair, benchmark, metric) for pair in pairs for metric in (I2T, T2I)])
    said = [claim(one) for one in found]
    if benchmark == HELD_OUT_SPEC:
        for row in ("full_sets", "both"):
            here, there = ([results.value(row, name, metric) for metric in (I2T, T2I)] for name in (benchmark, SPEC))
            gap = [one.value - other.value for one, other in zip(here, there, strict=True)]
            said.append(
                f"“{TITLE[row]}” is {points(gap[0])} (I2T) and {points(gap[1])} (T2I) points from its values on the "
                "mini suite; other sets of other objects, so no paired test."
            )
    return Conclusion(title, tuple(said), tuple(found))
