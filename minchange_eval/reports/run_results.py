"""What runs got, read one record at a time and kept small: values from the header, results an item for pairing.

A record of 15,000 queries takes some 50 MB while it is read and under one when it is kept, so that a page of many
models needs little more memory than one of few.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from minchange_eval.core.errors import DataError, IncompleteError
from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.record import ModelDescription, RunRecord, TaskRecord, read_record
from minchange_eval.core.resting_collector import resting_collector
from minchange_eval.core.slim_records import require_whole
from minchange_eval.core.tallies import Kind
from minchange_eval.reports.answered import Answers, answers_in
from minchange_eval.reports.pairing import MetricResults, benchmarks_of, results_of

Reading = Literal["ours", "published"]
_SMALL_BYTES = 60_000_000  # of records that one process reads sooner than two start
_ROUNDING = 1e-6


class BenchmarkKey(NamedTuple):
    """What may share a table: one data set, bytes and all, asked in one way."""

    dataset: str
    fingerprint: str
    variant: str
    kind: Kind


@dataclass(frozen=True)
class Entry:
    """What one run got on one benchmark.

    Attributes:
        key: of the benchmark.
        names: the groups and lone tasks in the record that belong to it.
        tasks: all of their tasks.
        values: by metric and subset ("" for the whole, where one group or task is all that was asked).
        results: by metric, of the whole, an entry an item.
        answers: what the answers are: `pairs`, `labels`, `options`, `words`, or several of them.
        unscored: share of the queries without a readable answer.
    """

    key: BenchmarkKey
    names: tuple[str, ...]
    tasks: tuple[TaskRecord, ...]
    values: Mapping[tuple[str, str], MetricValue]
    results: Mapping[str, MetricResults]
    answers: str
    unscored: float

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets asked, in the order of the tasks."""
        return tuple(dict.fromkeys(subset for task in self.tasks for subset in task.subsets))

    @property
    def partial(self) -> bool:
        """Whether some of the prepared items were not asked (`--limit`, `--offset`)."""
        return any(task.items < task.items_in_full for task in self.tasks)


@dataclass(frozen=True)
class RunResults:
    """A run, as far as tables need it.

    Attributes:
        path: of the record.
        digest: equal for two runs of the same thing.
        model: as its adapter describes it.
        entries: by benchmark.
        answers: by benchmark, a verdict a query: what charts and the gallery are made of.
    """

    path: Path
    digest: str
    model: ModelDescription
    entries: tuple[Entry, ...]
    answers: tuple[Answers, ...]


def read_runs(
    paths: Sequence[Path], reading: Reading = "ours", progress: Callable[[int], None] = lambda done: None
) -> list[RunResults]:
    """Read records, each once, in two processes where they are many.

    Args:
        progress: told how many are read.

    Raises:
        DataError, IncompleteError: the first record, in the order given, that cannot be used; see `results_in`.
    """
    shared = _Shared()
    runs = []
    for done, run in enumerate(_read(paths, reading), start=1):
        runs.append(shared.smaller(run))
        progress(done)
    return runs


def _read(paths: Sequence[Path], reading: Reading) -> Iterator[RunResults]:
    size = sum(path.stat().st_size for path in paths if path.exists())
    if len(paths) < 2 or size < _SMALL_BYTES or (os.cpu_count() or 1) < 2:
        yield from (read_run(path, reading) for path in paths)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(read_run, paths, [reading] * len(paths))
        finally:
            pool.shutdown(cancel_futures=True)


def read_run(path: Path, reading: Reading = "ours") -> RunResults:
    """Read one record.

    Raises:
        DataError: it cannot be read or contradicts itself.
        IncompleteError: it holds no query, or a set lacks some.
    """
    with resting_collector():
        return results_in(read_record(path), path, reading)


def results_in(record: RunRecord, path: Path, reading: Reading = "ours") -> RunResults:
    """The results that a record holds.

    Raises:
        DataError: its header and its lines disagree.
        IncompleteError: it holds no query, or a set lacks some.
        UsageError: it is slim, and the published reading needs its answers.
    """
    if not any(record.outcomes.values()):
        raise IncompleteError(f"record {path}: expected answered queries, got none; evaluate the model again")
    if reading == "published":
        require_whole(record, "--protocol published", path.name)
    record = _grouped_alike(record)
    by_key: dict[BenchmarkKey, list[str]] = {}
    for name, tasks in benchmarks_of(record).items():
        by_key.setdefault(_key_of(tasks[0]), []).append(name)
    try:
        entries = tuple(_entry(record, key, names, reading) for key, names in sorted(by_key.items()))
    except IncompleteError as error:
        raise IncompleteError(f"record {path}: {error}") from error
    except ValueError as error:
        raise DataError(f"record {path}: {error}; evaluate the model again") from error
    return RunResults(path, _said(record), record.model, entries, answers_in(record))


def _key_of(task: TaskRecord) -> BenchmarkKey:
    return BenchmarkKey(task.dataset, task.fingerprint, task.variant, task.kind)


def _grouped_alike(record: RunRecord) -> RunRecord:
    """The record without groups whose tasks are of different data: such a mean is of no benchmark."""
    key = {task.name: _key_of(task) for task in record.tasks}
    kept = {name: members for name, members in record.groups.items() if len({key[one] for one in members}) == 1}
    return record if len(kept) == len(record.groups) else record.model_copy(update={"groups": kept})


def _said(record: RunRecord) -> str:
    """Equal for two runs of the same thing, slim or whole: the header without what may differ, and every verdict."""
    differ = {"outcomes", "run", "schema_version", "slim_of"}
    said = hashlib.sha256(json.dumps(record.model_dump(mode="json", exclude=differ), sort_keys=True).encode())
    for outcomes in record.outcomes.values():
        said.update(bytes(4 * one.hit + 2 * one.unscored + one.tie for one in outcomes))
    return said.hexdigest()


def _entry(record: RunRecord, key: BenchmarkKey, names: Sequence[str], reading: Reading) -> Entry:
    together = benchmarks_of(record)
    tasks = tuple({task.name: task for name in names for task in together[name]}.values())
    values: dict[tuple[str, str], MetricValue] = {}
    results: dict[str, MetricResults] = {}
    for name in names:
        published = record.published.get(name) if reading == "published" else None
        of_name = record.metrics.get(name, ()) if published is None else published
        protocol = "ours" if published is None else together[name][0].protocol
        counted = results_of(record, name, protocol)
        _require_agreement(name, of_name, counted)
        results |= {one.name: one for one in counted if not one.sliced}
        values |= {(value.name, value.subset): value for value in of_name}
    if len(names) > 1:  # tasks that no group holds together have no mean
        values, results = {at: value for at, value in values.items() if at[1]}, {}
    asked = [outcome for task in tasks for outcome in record.outcomes[task.name]]
    unscored = sum(outcome.unscored for outcome in asked) / len(asked) if asked else 0.0
    return Entry(key, tuple(names), tasks, values, results, _answers(record.model, asked), unscored)


def _require_agreement(name: str, values: Iterable[MetricValue], results: Iterable[MetricResults]) -> None:
    """The header's value of each mean, subset and slice is that of the lines."""
    said = {(value.name, value.subset): value.value for value in values}
    for held in results:
        hits = np.bincount(held.column, weights=held.hits, minlength=len(held.columns))
        shares = hits / np.bincount(held.column, weights=held.totals, minlength=len(held.columns))
        counted = dict(zip(((held.name_of_columns, column) for column in held.columns), shares, strict=True))
        if not held.sliced:
            counted[held.name, ""] = math.fsum(shares) / len(shares)
        for (metric, subset), share in counted.items():
            if abs(said.get((metric, subset), share) - share) > _ROUNDING:
                at = f"{metric} of {name}, {subset}," if subset else f"{metric} of {name}"
                value = said[metric, subset]
                raise ValueError(f"the header says {at} is {value:.6f}, its lines say {share:.6f}")


def _answers(model: ModelDescription, asked: Iterable[QueryOutcome]) -> str:
    scored = [outcome for outcome in asked if not outcome.unscored]
    kinds = {"pairs" if one.of_pairs else one.scored or "words" for one in scored}
    return ", ".join(sorted(kinds)) or model.scoring or ""


class _Shared:
    """What runs on the same data have in common, kept once: which items were asked, in which order."""

    def __init__(self) -> None:
        self._results: dict[tuple[BenchmarkKey, str], MetricResults] = {}
        self._answers: dict[tuple[str, ...], Answers] = {}

    def smaller(self, run: RunResults) -> RunResults:
        """The same run, with what it shares with an earlier one taken from that."""
        entries = tuple(
            replace(entry, results={name: self._smaller_results(entry.key, one) for name, one in entry.results.items()})
            for entry in run.entries
        )
        return replace(run, entries=entries, answers=tuple(map(self._smaller_answers, run.answers)))

    def _smaller_results(self, key: BenchmarkKey, one: MetricResults) -> MetricResults:
        known = self._results.setdefault((key, one.name), one)
        if known is one or not same_items(known, one):
            return one
        return replace(one, items=known.items, column=known.column, cluster=known.cluster, totals=known.totals)

    def _smaller_answers(self, one: Answers) -> Answers:
        known = self._answers.setdefault(one.key, one)
        if known is one or (known.queries, known.item_ids) != (one.queries, one.item_ids):
            return one
        same = bool((known.items == one.items).all())
        return replace(one, queries=known.queries, item_ids=known.item_ids, items=known.items if same else one.items)


def same_items(first: MetricResults, second: MetricResults) -> bool:
    """Whether two models' results belong together entry by entry."""
    return first is second or (
        first.columns == second.columns
        and (first.items is second.items or first.items == second.items)
        and all(
            getattr(first, name) is getattr(second, name) or bool((getattr(first, name) == getattr(second, name)).all())
            for name in ("column", "cluster", "totals")
        )
    )
