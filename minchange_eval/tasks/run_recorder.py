"""Makes the run record from an evaluation of lmms-eval's, and writes it where its own results go."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import ExitCode
from minchange_eval.core.home import home
from minchange_eval.core.record import (
    ModelDescription,
    RunPart,
    RunRecord,
    TaskRecord,
    make_record,
    write_record,
)
from minchange_eval.tasks.store_task import StoreTask

MOST_UNSCORED = 0.05  # share of a task's queries; more is a model that does not answer in the asked form
_PACKAGES = ("minchange-eval", "lmms-eval", "datasets", "numpy", "pillow")


class RunRecorder:
    """Stands around `evaluator.evaluate` and the saving of its results; one evaluation at a time.

    Attributes:
        record: of the last evaluation that asked a task of ours; None before, and on every rank but the first.
        path: where it was written.
    """

    def __init__(self) -> None:
        self.record: RunRecord | None = None
        self.path: Path | None = None

    def evaluate(self, evaluate: Callable[..., Any], lm: Any, task_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Run lmms-eval's evaluation and make its record.

        Raises:
            DataError: a store was replaced while the run was reading it.
            IncompleteError: a set lacks queries.
        """
        self.record = self.path = None
        started, clock = datetime.now(UTC), time.monotonic()
        results = evaluate(lm, task_dict, *args, **kwargs)
        tasks = list(_tasks_of_ours(task_dict))
        for task in tasks:
            task.store.check_unchanged()
        asked = [task for task in tasks if task.outcomes]  # none under --predict_only, and on ranks but the first
        if results is not None and asked:
            run = RunPart(
                host=platform.node(),
                started=started.isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - clock, 3),
                work=dict(getattr(lm, "work", {})),
            )
            self.record = _record(asked, _groups(task_dict), _description(lm, kwargs.get("cli_args")), run, kwargs)
        return results

    def save(self, folder: Path | None) -> None:
        """Write the record into lmms-eval's output folder, or below `$MINCHANGE_HOME/runs` where there is none."""
        if self.record is None:
            return
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        self.path = (folder or home() / "runs").absolute() / f"{stamp}_record.jsonl"
        write_record(self.record, self.path)

    def exit_code(self) -> ExitCode:
        """3 where too much is unscored or a score is not finite, else 0."""
        lines = {} if self.record is None else self.record.outcomes
        for outcomes in lines.values():
            unscored = sum(outcome.unscored for outcome in outcomes)
            broken = any(outcome.scores is not None and None in outcome.scores for outcome in outcomes)
            if broken or unscored > MOST_UNSCORED * len(outcomes):
                return ExitCode.INCOMPLETE
        return ExitCode.OK


def _tasks_of_ours(task_dict: Mapping[Any, Any]) -> Iterator[StoreTask]:
    for entry in task_dict.values():
        if isinstance(entry, StoreTask):
            yield entry
        elif isinstance(entry, Mapping):
            yield from _tasks_of_ours(entry)


def _groups(task_dict: Mapping[Any, Any]) -> dict[str, tuple[str, ...]]:
    """Group -> its tasks, by their own names; groups of other packages' tasks are left to lmms-eval."""
    return {
        str(group.group_name): tuple(dict.fromkeys(task.canonical_name for task in members))
        for group, entry in task_dict.items()
        if isinstance(entry, Mapping) and (members := [task for task in _tasks_of_ours(entry) if task.outcomes])
    }


def _record(
    tasks: list[StoreTask],
    groups: dict[str, tuple[str, ...]],
    model: ModelDescription,
    run: RunPart,
    given: Mapping[str, Any],
) -> RunRecord:
    by_name = {task.canonical_name: task for task in tasks}  # `--tasks spec,spec_count` asks one task twice
    return make_record(
        [_task_record(task, given.get("limit")) for task in by_name.values()],
        {name: task.outcomes for name, task in by_name.items()},
        model,
        groups=groups,
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        run=run,
    )


def _task_record(task: StoreTask, limit: float | None) -> TaskRecord:
    outcomes = task.outcomes
    in_words = any(outcome.text is not None for outcome in outcomes)
    return TaskRecord(
        name=task.canonical_name,
        kind=task.kind,
        dataset=task.store.card.name,
        subsets=tuple(sorted({outcome.subset for outcome in outcomes})),
        fingerprint=task.store.card.fingerprint,
        synthetic=task.store.card.synthetic,
        protocol=task.config.metadata.get("protocol", "ours"),
        prompt_sha256=task.prompt.sha256 if task.prompt and in_words else None,
        limit=limit,
        items=len({outcome.item_id for outcome in outcomes}),
        items_in_full=len(task.items),
        queries=len(outcomes),
    )


def _description(lm: Any, cli_args: Any) -> ModelDescription:
    """What the adapter says of itself; of a model that is not ours, its name and arguments."""
    said = getattr(lm, "description", None)
    if isinstance(said, ModelDescription):
        return said
    given = str(getattr(cli_args, "model_args", "") or "")
    return ModelDescription(
        adapter=str(getattr(cli_args, "model", type(lm).__name__)),
        name=_named_in(given) or type(lm).__name__,
        packages={name: found for name in ("torch", "transformers") if (found := _version(name))},
    )


def _named_in(model_args: str) -> str:
    """The checkpoint's name; the other arguments may hold a token and stay out of the record."""
    pairs = dict(part.split("=", 1) for part in model_args.split(",") if "=" in part)
    return next((pairs[key] for key in ("pretrained", "model", "model_name", "model_version") if key in pairs), "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
