"""Makes the run record from an evaluation of lmms-eval's, and writes it where its own results go."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loguru import logger

from minchange_eval.core.errors import ExitCode
from minchange_eval.core.forms import merged
from minchange_eval.core.home import home
from minchange_eval.core.metrics import Protocol
from minchange_eval.core.record import (
    ModelDescription,
    QueryOutcome,
    RunPart,
    RunRecord,
    TaskRecord,
    make_record,
    write_record,
)
from minchange_eval.data.benchmark_card import benchmark_card, card_names
from minchange_eval.tasks.options import Asked, decoding_of, described_by_arguments
from minchange_eval.tasks.store_task import StoreTask

MOST_UNSCORED = 0.05  # share of a task's queries; more is a model that does not answer in the asked form
_PACKAGES = ("minchange-eval", "lmms-eval", "datasets", "numpy", "pillow")
# Which answers a paper's evaluation reads. Others have our reading only: SPEC asked no chat model, MED no encoder.
# Scores of labels and options stand for words; where words are matched strictly, the two readings of them agree.
_PROTOCOL_READS: Mapping[Protocol, tuple[str, ...]] = {
    "ours": ("pairs", "labels", "options", "words"),
    "spec": ("pairs",),
    "vismin": ("pairs", "labels", "options", "words"),
    "med": ("words",),
}
# no paper merges orders or wordings, or leaves out what can be solved without looking
_NOT_PUBLISHED = frozenset({"cyclic", "swapped", "templates", "balanced"})


@dataclass(frozen=True)
class FinishedRun:
    """One evaluation whose record is on disk."""

    record: RunRecord
    path: Path

    @property
    def exit_code(self) -> ExitCode:
        """3 where too much is unscored or a score is not finite, else 0; a question in several orders counts once."""
        for outcomes in self.record.outcomes.values():
            broken = any(outcome.scores is not None and None in outcome.scores for outcome in outcomes)
            asked = merged(outcomes)
            if broken or sum(outcome.unscored for outcome in asked) > MOST_UNSCORED * len(asked):
                return ExitCode.INCOMPLETE
        return ExitCode.OK


class RunRecorder:
    """Stands around `evaluator.evaluate` and the saving of its results; one evaluation at a time.

    Attributes:
        finished: every evaluation of this process that asked a task of ours; empty on every rank but the first.
    """

    def __init__(self) -> None:
        self.finished: list[FinishedRun] = []
        self._record: RunRecord | None = None

    @property
    def record(self) -> RunRecord | None:
        """Of the last evaluation; None where it asked no task of ours, or on another rank than the first."""
        return self._record

    def evaluate(self, evaluate: Callable[..., Any], lm: Any, task_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Run lmms-eval's evaluation and make its record.

        Raises:
            UsageError: options that our tasks cannot keep their promises under.
            DataError: a store was replaced while the run was reading it.
            IncompleteError: items or queries are missing.
        """
        self._record = None
        tasks = list(tasks_of_ours(task_dict))
        asked = Asked.read(kwargs)
        asked.check(tasks, lm)
        started, clock = datetime.now(UTC), time.monotonic()
        results = evaluate(lm, task_dict, *args, **kwargs)
        for task in tasks:
            task.store.check_unchanged()
        answered = [task for task in tasks if task.outcomes]  # none under --predict_only, and on ranks but the first
        if results is not None and answered:
            run = RunPart(
                host=platform.node(),
                started=started.isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - clock, 3),
                work=dict(getattr(lm, "work", {})),
            )
            self._record = _record(answered, _groups(task_dict), _description(lm, kwargs.get("cli_args")), run, asked)
        return results

    def save(self, folder: Path | None) -> None:
        """Write the record into lmms-eval's output folder, or below `$MINCHANGE_HOME/runs` where there is none."""
        if self._record is None:
            return
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        run = FinishedRun(self._record, (folder or home() / "runs").absolute() / f"{stamp}_record.jsonl")
        write_record(run.record, run.path)
        self.finished.append(run)
        logger.info(f"run record: {run.path}")
        if run.exit_code is not ExitCode.OK:  # stock lmms-eval ends with 0 all the same
            logger.warning(f"incomplete: over {MOST_UNSCORED:.0%} of a task's queries are unscored, or a score is NaN")


def tasks_of_ours(task_dict: Mapping[Any, Any]) -> Iterator[StoreTask]:
    """The tasks of this package among lmms-eval's, out of their groups; one that was asked twice comes twice."""
    for entry in task_dict.values():
        if isinstance(entry, StoreTask):
            yield entry
        elif isinstance(entry, Mapping):
            yield from tasks_of_ours(entry)


def _groups(task_dict: Mapping[Any, Any]) -> dict[str, tuple[str, ...]]:
    """Group -> its tasks, by their own names; groups of other packages' tasks are left to lmms-eval."""
    return {
        str(group.group_name): tuple(dict.fromkeys(task.canonical_name for task in members))
        for group, entry in task_dict.items()
        if isinstance(entry, Mapping) and (members := [task for task in tasks_of_ours(entry) if task.outcomes])
    }


def _record(
    tasks: Sequence[StoreTask],
    groups: dict[str, tuple[str, ...]],
    model: ModelDescription,
    run: RunPart,
    asked: Asked,
) -> RunRecord:
    by_name = {task.canonical_name: task for task in tasks}  # `--tasks spec,spec_count` asks one task twice
    return make_record(
        [_task_record(task, model, asked) for task in by_name.values()],
        {name: task.outcomes for name, task in by_name.items()},
        model,
        groups=groups,
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        run=run,
    )


def _task_record(task: StoreTask, model: ModelDescription, asked: Asked) -> TaskRecord:
    outcomes = task.outcomes
    answers = answered_with(outcomes, model)
    prompted = model.scoring is not None or answers != "pairs"
    protocol: Protocol = task.config.metadata.get("protocol", "ours")
    if task.variant in _NOT_PUBLISHED or answers not in _PROTOCOL_READS[protocol]:
        protocol = "ours"
    items = len({outcome.item_id for outcome in outcomes})
    asked.require_all(task, items)
    card = task.store.card
    return TaskRecord(
        name=task.canonical_name,
        kind=task.kind,
        variant=task.variant,
        dataset=card.name,
        subsets=task.subsets,
        fingerprint=card.fingerprint,
        synthetic=card.synthetic,
        protocol=protocol,
        prompt_sha256=task.prompt_sha256 if prompted else None,
        prompt_source=task.prompt_source if prompted else "",
        generation_kwargs=decoding_of(task) if answers == "words" else {},
        limit=asked.limit,
        offset=asked.offset,
        items=items,
        items_in_full=len(task.items),
        items_released=_released(task),
        rows_skipped=len(card.skipped),
        left_out=task.left_out,
        queries=len(outcomes),
    )


def answered_with(outcomes: Sequence[QueryOutcome], model: ModelDescription) -> str:
    """`words`, or what the scores are of; a task without any answer was asked for what its adapter asks for."""
    if any(outcome.text is not None for outcome in outcomes):
        return "words"
    kinds = {"pairs" if outcome.of_pairs else outcome.scored for outcome in outcomes if outcome.scores is not None}
    asked_for = {"generate": "words", "letters": "labels", "options": "options"}.get(model.scoring or "", "pairs")
    return next((kind for kind in ("options", "labels", "pairs") if kind in kinds), asked_for)


def _released(task: StoreTask) -> int | None:
    """How many items the task's subsets have in a complete release; a view of them has a number of its own."""
    name = task.store.card.name
    if name not in card_names() or "view" in task.config.metadata:
        return None
    subsets = benchmark_card(name).subsets
    return sum(subsets[subset].items for subset in task.subsets if subset in subsets)


def _description(lm: Any, cli_args: Any) -> ModelDescription:
    """What the adapter says of itself; of a model that is not ours, its name and arguments."""
    said = getattr(lm, "description", None)
    if isinstance(said, ModelDescription):
        return said
    name, settings = described_by_arguments(cli_args)
    return ModelDescription(
        adapter=str(getattr(cli_args, "model", type(lm).__name__)),
        name=name or type(lm).__name__,
        settings=settings,
        packages={package: found for package in ("torch", "transformers") if (found := _version(package))},
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
