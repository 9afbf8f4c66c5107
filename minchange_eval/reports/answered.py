"""What several runs answered to the same questions, benchmark by benchmark, kept small.

A record of 15,000 queries takes some 50 MB while it is read. Of each run only verdicts and counts are kept, so that
many runs are drawn together in little memory; whoever wants scores and words of a few items reads the record again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.queries import Direction
from minchange_eval.core.record import RunRecord, TaskRecord
from minchange_eval.core.tallies import Kind

Key = tuple[str, str, str, Kind]

# What an item came to for a model, as one letter: all its queries right, a wrong one, a tie, or one without an answer.
RIGHT, WRONG, TIE, UNSCORED, NOT_ASKED = "RWTU-"


@dataclass(frozen=True)
class Places:
    """How often each place was chosen, as shown, by a model that reads its candidates in an order.

    Attributes:
        asked: queries of this direction and number of candidates.
        right: [candidates] how often each place was right.
        chosen: [candidates] how often it was chosen; ties and unread answers choose none.
    """

    direction: Direction
    asked: int
    right: tuple[int, ...]
    chosen: tuple[int, ...]


@dataclass(frozen=True)
class Answers:
    """What one run answered on one benchmark.

    Attributes:
        key: data set, fingerprint, variant and kind of its tasks.
        title: the name of its group or only task.
        queries: identities, sorted.
        items: of each query, the position in `item_ids`.
        hits, unscored, ties: [queries] verdicts.
        places: by direction and number of candidates; none of models that score each pair apart.
        values: by metric and subset ("" for the whole).
        of_two: whether each query has two candidates.
        subsets: that its tasks asked.
        partial: some of the prepared items were not asked (`--limit`).
    """

    key: Key
    title: str
    synthetic: bool
    queries: tuple[str, ...]
    item_ids: tuple[str, ...]
    items: NDArray[np.int32]
    hits: NDArray[np.bool_]
    unscored: NDArray[np.bool_]
    ties: NDArray[np.bool_]
    places: tuple[Places, ...]
    values: Mapping[tuple[str, str], MetricValue]
    of_two: bool
    subsets: frozenset[str]
    partial: bool = False

    @cached_property
    def row(self) -> dict[str, int]:
        """Position of an item in `item_ids`."""
        return {name: number for number, name in enumerate(self.item_ids)}

    @cached_property
    def right_of(self) -> NDArray[np.int64]:
        """[items] queries answered right."""
        return np.bincount(self.items[self.hits], minlength=len(self.item_ids))

    @cached_property
    def asked_of(self) -> NDArray[np.int64]:
        """[items] queries."""
        return np.bincount(self.items, minlength=len(self.item_ids))

    def letter(self, item: str) -> str:
        """`U` if any query has no answer, `W` if any is wrong, `T` if any is missed by a tie only, else `R`."""
        if (row := self.row.get(item)) is None:
            return NOT_ASKED
        return self._letters[row]

    @cached_property
    def _letters(self) -> str:
        letters = np.full(len(self.item_ids), RIGHT)
        for letter, queries in (
            (TIE, self.ties & ~self.hits),
            (WRONG, ~self.hits & ~self.ties & ~self.unscored),
            (UNSCORED, self.unscored),
        ):
            letters[self.items[queries]] = letter
        return "".join(letters)


def answers_in(record: RunRecord) -> tuple[Answers, ...]:
    """What a run answered, by benchmark."""
    by_key: dict[Key, list[TaskRecord]] = {}
    for task in record.tasks:
        by_key.setdefault((task.dataset, task.fingerprint, task.variant, task.kind), []).append(task)
    return tuple(_answers(record, key, tasks) for key, tasks in sorted(by_key.items()))


def outcomes_in(record: RunRecord, key: Key) -> dict[str, QueryOutcome]:
    """The outcomes of one benchmark by query."""
    tasks = [task for task in record.tasks if (task.dataset, task.fingerprint, task.variant, task.kind) == key]
    return {line.query_id: line for task in tasks for line in record.outcomes[task.name]}


def _answers(record: RunRecord, key: Key, tasks: Sequence[TaskRecord]) -> Answers:
    outcomes = outcomes_in(record, key)
    queries = tuple(sorted(outcomes))
    lines = [outcomes[query] for query in queries]
    item_ids = tuple(dict.fromkeys(line.item_id for line in lines))
    row = {name: number for number, name in enumerate(item_ids)}
    return Answers(
        key=key,
        title=_title(record, tasks),
        synthetic=tasks[0].synthetic,
        queries=queries,
        item_ids=item_ids,
        items=np.array([row[line.item_id] for line in lines], dtype=np.int32),
        hits=np.array([line.hit for line in lines], dtype=bool),
        unscored=np.array([line.unscored for line in lines], dtype=bool),
        ties=np.array([line.tie for line in lines], dtype=bool),
        places=_places(lines),
        values=_values(record, [task.name for task in tasks]),
        of_two=all(line.candidates == 2 for line in lines),
        subsets=frozenset(subset for task in tasks for subset in task.subsets),
        partial=any(task.items < task.items_in_full for task in tasks),
    )


def _places(lines: Iterable[QueryOutcome]) -> tuple[Places, ...]:
    right: dict[tuple[Direction, int], Counter[int]] = {}
    chosen: dict[tuple[Direction, int], Counter[int]] = {}
    asked: Counter[tuple[Direction, int]] = Counter()
    for line in lines:
        if line.of_pairs or line.scored == "pairs":  # such a model sees no order
            continue
        group = (line.direction, line.candidates)
        asked[group] += 1
        right.setdefault(group, Counter()).update(line.answers)
        if (place := _place(line)) is not None:
            chosen.setdefault(group, Counter())[place] += 1
    return tuple(
        Places(
            direction=group[0],
            asked=asked[group],
            right=tuple(right[group][place] for place in range(group[1])),
            chosen=tuple(chosen.get(group, Counter())[place] for place in range(group[1])),
        )
        for group in sorted(asked)
    )


def _place(line: QueryOutcome) -> int | None:
    """`line.chosen`, which judges scores again, from the verdicts that are already there: half a second a record."""
    if line.unscored or line.tie:
        return None
    if line.choice is not None or line.scores is None or len(line.scores) != line.candidates:
        return line.choice
    if len(line.answers) > 1:  # several right ones may share first place without a tie
        return line.chosen
    scores = [score for score in line.scores if score is not None]  # all of them, or it would be unscored
    return scores.index(max(scores))


def _title(record: RunRecord, tasks: Sequence[TaskRecord]) -> str:
    together = {task.name for task in tasks}
    named = [name for name, of in sorted(record.groups.items()) if set(of) == together]
    only = [task.name for task in tasks] if len(tasks) == 1 else []
    variant = f" ({tasks[0].variant})" if tasks[0].variant else ""
    return (named or only or [tasks[0].dataset + variant])[0]


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


@dataclass(frozen=True)
class Answered:
    """One benchmark in one variant: who was asked, and what each answered.

    Attributes:
        runs: position of each model's run.
        models: one label a run, each once.
        answers: of each.
        namesake: whether other data has the same title.
    """

    key: Key
    runs: list[int] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    answers: list[Answers] = field(default_factory=list)
    namesake: bool = False

    @property
    def dataset(self) -> str:
        return self.key[0]

    @property
    def fingerprint(self) -> str:
        return self.key[1]

    @property
    def variant(self) -> str:
        return self.key[2]

    @property
    def kind(self) -> Kind:
        return self.key[3]

    @property
    def subsets(self) -> frozenset[str]:
        """All that any run asked."""
        return frozenset[str]().union(*(answers.subsets for answers in self.answers))

    def value(self, model: int, at: tuple[str, str]) -> MetricValue | None:
        """A model's value by metric and subset; none of the whole where others were asked more subsets."""
        answers = self.answers[model]
        return answers.values.get(at) if at[1] or answers.subsets == self.subsets else None

    @property
    def title(self) -> str:
        """As the first run calls it, with the beginning of its fingerprint where other data has the same name."""
        title = self.answers[0].title
        return f"{title} [{self.fingerprint[:8]}]" if self.namesake else title

    @property
    def synthetic(self) -> bool:
        """Drawn by a generator, no official benchmark."""
        return self.answers[0].synthetic


def answered(runs: Sequence[Sequence[Answers]], labels: Sequence[str]) -> list[Answered]:
    """The benchmarks of these runs in the order of their names, models in the order of the runs.

    Args:
        runs: of each run what `answers_in` found.
        labels: what each run's model is called; equal ones are numbered, partial runs say so.
    """
    found: dict[Key, Answered] = {}
    for run, (parts, label) in enumerate(zip(runs, labels, strict=True)):
        for answers in parts:
            of = found.setdefault(answers.key, Answered(answers.key))
            of.runs.append(run)
            of.models.append(_numbered(f"{label}, partial run" if answers.partial else label, of.models))
            of.answers.append(answers)
    titles = Counter(of.title for of in found.values())
    return [replace(found[key], namesake=titles[found[key].title] > 1) for key in sorted(found)]


def _numbered(name: str, taken: Sequence[str]) -> str:
    if name not in taken:
        return name
    return next(label for number in range(2, len(taken) + 3) if (label := f"{name} ({number})") not in taken)
