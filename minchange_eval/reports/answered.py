"""The answers of several runs to the same questions, benchmark by benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.record import RunRecord, TaskRecord
from minchange_eval.core.tallies import Kind


@dataclass(frozen=True)
class Answered:
    """One benchmark in one variant: who was asked, and what each said.

    Attributes:
        kind: of its tasks; SPEC's classification is a benchmark of its own beside SPEC's sets.
        title: the name of its group or only task, which says the variant too.
        models: one label a run, each once.
        outcomes: of each model, by query.
        values: of each model, by metric and subset ("" for the whole).
    """

    dataset: str
    fingerprint: str
    variant: str
    kind: Kind
    title: str
    synthetic: bool
    models: list[str] = field(default_factory=list)
    outcomes: list[dict[str, QueryOutcome]] = field(default_factory=list)
    values: list[dict[tuple[str, str], MetricValue]] = field(default_factory=list)


def answered(records: Sequence[RunRecord], labels: Sequence[str] | None = None) -> list[Answered]:
    """The benchmarks of these runs in the order of their names, models in the order of the runs.

    Args:
        labels: what each run's model is called; its own name where none are given. Equal ones are numbered.
    """
    names = labels or [record.model.name for record in records]
    found: dict[tuple[str, str, str, str], Answered] = {}
    for record, name in zip(records, names, strict=True):
        for key, tasks in _by_benchmark(record.tasks).items():
            first = tasks[0]
            of = found.setdefault(key, Answered(*key[:3], first.kind, _title(record, tasks), first.synthetic))
            of.models.append(_numbered(name, of.models))
            of.outcomes.append({line.query_id: line for task in tasks for line in record.outcomes[task.name]})
            of.values.append(_values(record, [task.name for task in tasks]))
    return [found[key] for key in sorted(found)]


def _by_benchmark(tasks: Sequence[TaskRecord]) -> Mapping[tuple[str, str, str, str], list[TaskRecord]]:
    grouped: dict[tuple[str, str, str, str], list[TaskRecord]] = {}
    for task in tasks:
        grouped.setdefault((task.dataset, task.fingerprint, task.variant, task.kind), []).append(task)
    return grouped


def _title(record: RunRecord, tasks: Sequence[TaskRecord]) -> str:
    together = {task.name for task in tasks}
    named = [name for name, of in sorted(record.groups.items()) if set(of) == together]
    only = [task.name for task in tasks] if len(tasks) == 1 else []
    variant = f" ({tasks[0].variant})" if tasks[0].variant else ""
    return (named or only or [tasks[0].dataset + variant])[0]


def _numbered(name: str, taken: Sequence[str]) -> str:
    if name not in taken:
        return name
    return next(label for number in range(2, len(taken) + 3) if (label := f"{name} ({number})") not in taken)


def _values(record: RunRecord, tasks: Sequence[str]) -> dict[tuple[str, str], MetricValue]:
    """Of all its tasks and groups; what is of the whole comes from the group with the most tasks."""
    members = {name: (name,) for name in tasks} | {
        name: of for name, of in record.groups.items() if set(of) <= set(tasks)
    }
    values: dict[tuple[str, str], MetricValue] = {}
    for name in sorted(members, key=lambda name: len(members[name])):
        values |= {(value.name, value.subset): value for value in record.metrics.get(name, ())}
    widest = max((len(of) for of in members.values()), default=0)
    if widest < len(tasks):  # no group has them all: a task's own mean is not that of the benchmark
        values = {key: value for key, value in values.items() if key[1]}
    return values
