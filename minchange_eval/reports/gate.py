"""Did a checkpoint get worse than a margin allows? Verdicts on paired differences.

Of each gated value: pass if the one-sided 95 % lower bound of the difference is above -margin; regression if the upper
bound is below 0 and it does not pass; else undecided. All gated values have to pass, so a pass takes no correction for
their number (an intersection-union test: Berger 1982, Technometrics 24(4)). A regression is claimed if any one of them
is one, so where several are gated its p-value is adjusted too (Holm).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from minchange_eval.core.errors import ExitCode, UsageError
from minchange_eval.core.record import RunRecord, TaskRecord, digest
from minchange_eval.core.slim_records import slim
from minchange_eval.core.statistics import LEVEL, holm
from minchange_eval.reports.comparison import Comparison, DifferenceRow, compare
from minchange_eval.reports.pairing import benchmarks_of
from minchange_eval.reports.policy import Policy, SliceRule, hint
from minchange_eval.reports.shown_text import shown_name

__all__ = ["Check", "GateResult", "Side", "Verdict", "gate"]

Verdict = Literal["pass", "regression", "undecided"]
_ALPHA = 1 - LEVEL
# The whole of these is a mean of subsets; a subset has the plain share.
_OF_SLICES = {"macro": "accuracy", "micro": "accuracy"}
_BLIND = ("blank", "otherpair")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Side(_Frozen):
    """One of the two records.

    Attributes:
        adapter, model: as the record describes them.
        weights_sha256: digest of the weights; None where they cannot be seen.
        record_sha256: digest of the whole record, also where a slim one was read.
    """

    adapter: str
    model: str
    weights_sha256: str | None
    record_sha256: str


class Check(_Frozen):
    """One value that the policy gates.

    Attributes:
        benchmark, metric, slice: which value; slice is empty for the whole.
        margin: what it may lose; None under the rule `not worse`.
        verdict: of this value.
        n, items, clusters: yes/no results, sets or questions, and clusters of those that share images.
        baseline, candidate, difference: fractions; the difference is candidate less baseline.
        lower, upper: one-sided 95 % bounds of the difference.
        p_worse: of the claim that the candidate is worse, adjusted over all values that are gated (Holm).
        to_right, to_wrong: items that flipped, those with the most results first.
        smallest_effect: the smallest loss that so many clusters would show; None where none would be.
    """

    benchmark: str
    metric: str
    slice: str
    margin: float | None
    verdict: Verdict
    n: int
    items: int
    clusters: int
    baseline: float
    candidate: float
    difference: float
    lower: float
    upper: float
    p_worse: float
    to_right: tuple[str, ...]
    to_wrong: tuple[str, ...]
    smallest_effect: float | None

    @property
    def name(self) -> str:
        """`benchmark/slice metric`."""
        return f"{self.benchmark}/{self.slice} {self.metric}" if self.slice else f"{self.benchmark} {self.metric}"


class GateResult(_Frozen):
    """What a gate decides, and on what.

    Attributes:
        verdict: regression if any check is one, else undecided if any is, else pass.
        undecided_passes: whether undecided lets the candidate through.
        baseline, candidate: the two records.
        checks: wholes first, in the order of the records.
        remarks: what a reader must know of the data.
    """

    verdict: Verdict
    undecided_passes: bool
    baseline: Side
    candidate: Side
    checks: tuple[Check, ...]
    remarks: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """0, 1 for a regression, 6 for undecided unless that passes."""
        undecided = ExitCode.OK if self.undecided_passes else ExitCode.UNDECIDED
        return {"pass": ExitCode.OK, "regression": ExitCode.REGRESSION, "undecided": undecided}[self.verdict]


@dataclass(frozen=True)
class _Asked:
    """A value that is gated. Without a margin it only must not be shown to be worse."""

    row: DifferenceRow
    margin: float | None


def gate(
    baseline: RunRecord, candidate: RunRecord, policy: Policy | None = None, *, undecided_passes: bool = False
) -> GateResult:
    """Judge a candidate against a baseline.

    Args:
        baseline, candidate: whole or slim records; the result is the same, to the last bit.
        policy: margins and rules; without one each benchmark's headline has the usual margin.
        undecided_passes: let a candidate through that is not shown to be worse.

    Raises:
        IncompleteError, NotComparableError: see `reports.comparability.require_comparable`.
        UsageError: the policy names a benchmark, metric or slice that is not there, or gates nothing.
    """
    policy = policy or Policy()
    before, after = slim(baseline), slim(candidate)  # always: scores would put the items that flipped in another order
    after = after.model_copy(update={"groups": before.groups})  # the same tasks, asked by another name
    comparison = compare(before, after, names=("baseline", "candidate"))
    asked = _asked(comparison, benchmarks_of(before), policy)
    checks = tuple(_checks(asked))
    verdicts = {check.verdict for check in checks}
    return GateResult(
        verdict="regression" if "regression" in verdicts else "undecided" if "undecided" in verdicts else "pass",
        undecided_passes=undecided_passes,
        baseline=_side(before),
        candidate=_side(after),
        checks=checks,
        remarks=tuple(_remarks(baseline, candidate)),
    )


def _asked(comparison: Comparison, benchmarks: dict[str, tuple[TaskRecord, ...]], policy: Policy) -> list[_Asked]:
    """The values that have to pass, wholes before slices, then those that only must not be shown to be worse."""
    policy.require_known(benchmarks)
    _require_slices(comparison.rows, benchmarks, policy)
    must_pass: list[_Asked] = []
    not_worse: list[_Asked] = []
    for slices in (False, True):
        for name, tasks in benchmarks.items():
            rows = [row for row in comparison.rows if row.benchmark == name]
            if tasks[0].variant in _BLIND and name not in policy.benchmarks:
                continue  # what a model gets without looking may fall as it pleases
            margins = policy.margins(name, tasks[0].dataset, tasks[0].kind)
            rule = policy.slice_rule(name)
            if not slices:
                must_pass += [_Asked(_whole(rows, name, metric), margin) for metric, margin in margins.items()]
            elif rule is not None:
                into = must_pass if rule.rule == "pass" else not_worse
                into += _of_slices(rows, name, margins, rule)
    if not must_pass and not not_worse:
        raise UsageError("policy: it gates nothing; name at least one metric of one benchmark")
    return must_pass + not_worse


def _require_slices(
    rows: Sequence[DifferenceRow], benchmarks: dict[str, tuple[TaskRecord, ...]], policy: Policy
) -> None:
    """A rule for a slice that is not there, or that no gated metric has, would pass unread."""
    metrics = {name: policy.margins(name, tasks[0].dataset, tasks[0].kind) for name, tasks in benchmarks.items()}
    gated = {(name, _OF_SLICES.get(metric, metric)) for name, of in metrics.items() for metric in of}
    rules: list[tuple[str | None, SliceRule | None]] = [(name, own.slices) for name, own in policy.benchmarks.items()]
    for benchmark, rule in [*rules, (None, policy.slices)]:
        asked = [row for row in rows if (row.benchmark, row.metric) in gated and benchmark in (None, row.benchmark)]
        there = sorted({row.slice for row in asked} - {""})
        for pattern in rule.of if rule else ():
            if pattern != "*" and not any(SliceRule(of=(pattern,)).covers(name) for name in there):
                raise UsageError(
                    f"policy: slices.of {pattern!r} is no slice of {benchmark or 'any benchmark'} in a gated metric; "
                    f"{hint(pattern, there)}there are {', '.join(there) or 'none'}"
                )


def _whole(rows: Iterable[DifferenceRow], benchmark: str, metric: str) -> DifferenceRow:
    there = {row.metric: row for row in rows if not row.slice}
    if metric not in there:
        near = hint(metric, sorted(there))
        raise UsageError(
            f"policy: benchmarks.{benchmark}.metrics.{metric} is no metric of it that two models are compared by; "
            f"{near}there are {', '.join(there)}"
        )
    return there[metric]


def _of_slices(
    rows: Sequence[DifferenceRow], benchmark: str, margins: dict[str, float], rule: SliceRule
) -> list[_Asked]:
    found: dict[tuple[str, str], _Asked] = {}
    for metric, usual in margins.items():
        margin = usual if rule.margin is None else rule.margin
        for row in rows:
            if row.slice and row.metric == _OF_SLICES.get(metric, metric) and rule.covers(row.slice):
                asked = _Asked(row, margin if rule.rule == "pass" else None)
                found.setdefault((row.metric, row.slice), asked)
    return list(found.values())


def _checks(asked: Sequence[_Asked]) -> Iterable[Check]:
    adjusted = holm([value.row.p_worse for value in asked])
    for value, p_worse in zip(asked, adjusted, strict=True):
        yield _check(value, p_worse, alone=len(asked) == 1)


def _check(asked: _Asked, p_worse: float, *, alone: bool) -> Check:
    row, margin = asked.row, asked.margin
    worse = row.upper < 0 and (alone or p_worse <= _ALPHA)
    verdict: Verdict
    if margin is None:
        verdict = "regression" if worse else "pass"
    else:
        verdict = "pass" if row.lower > -margin else "regression" if worse else "undecided"
    return Check(
        benchmark=row.benchmark,
        metric=row.metric,
        slice=row.slice,
        margin=margin,
        verdict=verdict,
        n=row.n,
        items=row.items,
        clusters=row.clusters,
        baseline=row.first,
        candidate=row.second,
        difference=row.difference,
        lower=row.lower,
        upper=row.upper,
        p_worse=p_worse,
        to_right=row.flips.to_right,
        to_wrong=row.flips.to_wrong,
        smallest_effect=row.smallest_effect,
    )


def _side(record: RunRecord) -> Side:
    model = record.model
    return Side(
        adapter=model.adapter,
        model=model.name,
        weights_sha256=model.weights_sha256,
        record_sha256=record.slim_of or digest(record),
    )


def _remarks(before: RunRecord, after: RunRecord) -> Iterable[str]:
    if before.model.weights_sha256 and before.model.weights_sha256 == after.model.weights_sha256:
        yield "both models have the same weights"
    drawn = sorted({task.dataset for task in before.tasks if task.synthetic})
    if drawn:
        yield f"{', '.join(map(shown_name, drawn))}: drawn by this package's generator, not an official benchmark"
    for task in before.tasks:
        if task.items < task.items_in_full:
            yield f"{shown_name(task.name)}: {task.items} of {task.items_in_full} items were asked, of both models"
