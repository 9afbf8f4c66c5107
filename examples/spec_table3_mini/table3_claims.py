"""What may be concluded from a run: every sentence is made from its numbers, and says so where they show nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from table3_data import CENTRE_FIRST, HELD_OUT_SPEC, MOVED_FIRST, ROLES, SCENES, SPEC, VISMIN
from table3_numbers import CLS, I2T, T2I, Difference, Places, Results, Value, family
from table3_variants import BASE, TITLE

NAMES = {I2T: "I2T", T2I: "T2I", CLS: "CLS"}
RUINED = 0.5  # of the base's CLS
STILL_RISING = 0.01  # from one look to the next
QUARTER, HALF = 1 / 4, 1 / 2


@dataclass(frozen=True)
class Sentence:
    """One sentence, from the numbers of this run, and those numbers."""

    words: str
    evidence: str = ""


@dataclass(frozen=True)
class Conclusion:
    """One question and its answer.

    Attributes:
        title: what is asked.
        differences: the paired tests that the sentences rest on, adjusted together.
    """

    title: str
    sentences: tuple[Sentence, ...]
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


def claim(one: Difference, cause: str = "") -> Sentence:
    """A difference in words; without a claim where it is not shown.

    Args:
        cause: what was changed, to begin with.
    """
    what = f"{NAMES[one.metric]}{f' of {words(one.slice)}' if one.slice else ''}"
    first, second = TITLE[one.first], TITLE[one.second]
    said = f"{what}: not shown that “{second}” and “{first}” differ."
    if one.shown:
        size, more = abs(100 * one.paired.difference), "higher" if one.paired.difference > 0 else "lower"
        said = f"{what}: “{second}” is {size:.1f} points {more} than “{first}”."
    return Sentence(f"{cause} {said}".strip(), evidence(one))


def words(slice_: str) -> str:
    return slice_.replace("_", " ").replace("spatial", "position")


def conclusions(results: Results, places: Mapping[str, Places], rises: Mapping[str, float]) -> list[Conclusion]:
    """All that is asked of a run.

    Args:
        places: choices of relative position of each row.
        rises: how much validation I2T rose from the last look but one to the last, by row.
    """
    return [
        _steps(results),
        _by_subset(results, "Hard negatives in the batch, kind by kind", "one_per_set", "full_sets"),
        _by_subset(results, "The loss, kind by kind", "full_sets", "both"),
        _end(rises),
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
    said = [claim(one, f"{causes[place // 2]}." if not place % 2 else "") for place, one in enumerate(found)]
    return Conclusion("What the batch earns and what the loss", (*said, *_shares(found)), tuple(found))


def _shares(found: Sequence[Difference]) -> Iterator[Sentence]:
    """How a gain divides, where it is one and all its steps are shown."""
    for number, metric in enumerate((I2T, T2I)):
        seen, batch, loss = (found[2 * step + number] for step in range(3))
        total = sum(step.paired.difference for step in (seen, batch, loss))
        parts = [step.paired.difference / total for step in (seen, batch, loss)] if total > 0 else []
        if parts and batch.shown and min(parts) >= 0:
            yield Sentence(
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
                    Sentence(
                        f"{NAMES[metric]}: “{TITLE[second]}” is {how} than “{TITLE[first]}” in {', '.join(named)}."
                    )
                )
        rest = [f"{words(one.slice)} ({points(one.paired.difference)})" for one in mine if not one.shown]
        if rest:
            said.append(Sentence(f"{NAMES[metric]}: no difference shown in {', '.join(rest)}."))
    return Conclusion(title, tuple(said), tuple(found))


def _end(rises: Mapping[str, float]) -> Conclusion:
    """Whether the trainings had come to their end, as validation sets tell."""
    named = ", ".join(f"“{TITLE[row]}” {points(rise)}" for row, rise in rises.items())
    rising = max(rises.values()) > STILL_RISING
    said = (
        "Validation I2T was still rising when the trainings ended; with more steps the order of rows may be another"
        if rising
        else "Validation I2T hardly rose any more when the trainings ended"
    )
    return Conclusion("How far the trainings were", (Sentence(f"{said}.", f"points since the look before: {named}"),))


def _forgetting(results: Results) -> Conclusion:
    pairs = [(BASE, row) for row in results.rows if row != BASE] + [("full_sets", "both")]
    found = family([results.difference(*pair, SCENES, CLS) for pair in pairs])
    alone = next(one for one in found if one.second == "hard_negatives")
    said = [claim(one) for one in found]
    kept = alone.paired.second / alone.paired.first if alone.paired.first else 1.0
    if alone.shown and kept < RUINED:
        said.append(Sentence(f"L_hn alone ruins CLS: {100 * kept:.0f} % of the base's is left."))
    elif alone.shown and alone.paired.difference < 0:
        said.append(Sentence(f"L_hn alone costs CLS but does not ruin it: {100 * kept:.0f} % of the base's is left."))
    else:
        said.append(Sentence("That L_hn alone costs CLS is not shown."))
    return Conclusion("Naming things (CLS): what is forgotten", tuple(said), tuple(found))


def _position(results: Results, places: Mapping[str, Places]) -> Conclusion:
    slices = [name for name in results.slices(SPEC, I2T) if name]
    said = []
    for row in ("hard_negatives", "full_sets", "both"):
        done = {name: _of_the_way(results, row, name) for name in slices}
        rank = sorted(done, key=lambda name: done[name]).index("relative_spatial") + 1
        i2t, t2i = (results.value(row, SPEC, metric, "relative_spatial").value for metric in (I2T, T2I))
        said.append(
            Sentence(
                f"“{TITLE[row]}” gets {percent(i2t)} I2T and {percent(t2i)} T2I in relative position (chance 25 %): "
                f"{100 * done['relative_spatial']:.0f} % of the way from chance to all right, the "
                f"{_ordinal(rank)}least of the {len(slices)} kinds."
            )
        )
    for row, of in places.items():
        known = "tells the axis more often than chance" if of.axis.low > HALF else "is not shown to tell the axis"
        said.append(Sentence(f"“{TITLE[row]}” {known}.", _axis_of(of)))
    said += [_roles(results, row) for row in results.rows if row != BASE]
    return Conclusion("Relative position: the axis, and which object is which", tuple(said))


def _roles(results: Results, row: str) -> Sentence:
    """Whether a row knows which object is which, or goes by where the one that is off the centre lies."""
    moved, centre = (
        [results.value(row, ROLES, metric, part) for metric in (I2T, T2I)] for part in (MOVED_FIRST, CENTRE_FIRST)
    )
    evidence = (
        f"the same pictures, said of the object off the centre: I2T {_cell(moved[0])}, T2I {_cell(moved[1])}; said of "
        f"the one in the centre: I2T {_cell(centre[0])}, T2I {_cell(centre[1])}; chance 25 %"
    )
    if all(value.high < QUARTER for value in centre) and all(value.low > QUARTER for value in moved):
        return Sentence(
            f"“{TITLE[row]}” goes by where the object off the centre lies and not by which of the two it is: said of "
            "the other object it answers below chance. It has not learned the order of the two.",
            evidence,
        )
    if all(value.low > QUARTER for value in centre):
        return Sentence(f"“{TITLE[row]}” has learned in part which object is which.", evidence)
    return Sentence(f"That “{TITLE[row]}” has learned which object is which is not shown.", evidence)


def _cell(value: Value) -> str:
    return f"{percent(value.value)} ({_range(value)})"


def _of_the_way(results: Results, row: str, part: str) -> float:
    """From chance (0) to all right (1), mean of both directions: so that kinds of different K compare."""
    chance = results.chance(SPEC, I2T, part) or 0.0
    value = sum(results.value(row, SPEC, metric, part).value for metric in (I2T, T2I)) / 2
    return (value - chance) / (1 - chance)


def _ordinal(rank: int) -> str:
    """
    >>> _ordinal(1), _ordinal(3)
    ('', '3rd ')
    """
    return {1: "", 2: "2nd ", 3: "3rd "}.get(rank, f"{rank}th ")


def _axis_of(of: Places) -> str:
    return (
        f"{percent(of.axis.value)} of {of.choices:,} choices lie on the right axis ({_range(of.axis)}, chance 50 %); "
        f"of {of.wrong_choices:,} wrong ones {percent(of.wrong.value)} ({_range(of.wrong)}, chance 33.3 %)"
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
                Sentence(
                    f"“{TITLE[row]}” is {points(gap[0])} (I2T) and {points(gap[1])} (T2I) points from its values on "
                    "the mini suite; other sets of other objects, so no paired test."
                )
            )
    return Conclusion(title, tuple(said), tuple(found))
