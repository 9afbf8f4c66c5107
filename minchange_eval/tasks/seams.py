"""Where this package holds on to lmms-eval: checked by `doctor`, and by a test that fails when one of them moves."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Seam:
    """One thing of lmms-eval that we rely on.

    Attributes:
        module: where it is.
        name: dotted path inside the module.
        parameters: names that its signature must have; empty for anything that is not called by us.
        used_by: what breaks without it.
    """

    module: str
    name: str
    parameters: tuple[str, ...]
    used_by: str


SEAMS = (
    Seam("lmms_eval.tasks", "TaskManager.initialize_tasks", ("include_path", "include_defaults"), "finding our tasks"),
    Seam(
        "lmms_eval.tasks",
        "TaskManager._load_individual_task_or_group",
        ("name_or_config", "task_type"),
        "telling a task whether the model takes messages",
    ),
    Seam(
        "lmms_eval.evaluator",
        "evaluate",
        ("lm", "task_dict", "limit", "offset", "response_cache", "cli_args"),
        "making the run record",
    ),
    Seam("lmms_eval.evaluator", "simple_evaluate", ("model", "tasks"), "telling usage errors from failures"),
    Seam(
        "lmms_eval.loggers.evaluation_tracker",
        "EvaluationTracker.save_results_aggregated",
        ("results", "samples"),
        "writing the run record",
    ),
    Seam("lmms_eval.__main__", "cli_evaluate_single", ("args",), "honest exit codes"),
    Seam("lmms_eval.cli.dispatch", "main", (), "the lmms_eval command"),
    Seam("lmms_eval.models", "MODEL_REGISTRY_V2.list_model_names", (), "naming unknown models"),
    Seam(
        "lmms_eval.loggers.evaluation_tracker",
        "EvaluationTracker",
        ("output_path",),
        "putting the run record beside lmms-eval's own output",
    ),
    Seam("lmms_eval.api.task", "ConfigurableTask._prepare_metric_and_aggregation", (), "our metrics"),
    Seam("lmms_eval.api.task", "ConfigurableTask.download", (), "reading the store"),
    Seam("lmms_eval.api.task", "ConfigurableTask.set_config", ("key", "value"), "aliases"),
    Seam("lmms_eval.api.task", "TaskConfig", ("metadata", "generation_kwargs", "repeats"), "reading task files"),
    Seam("lmms_eval.api.task", "ConfigurableTask.construct_requests", ("doc_id", "ctx"), "asking the queries"),
    Seam("lmms_eval.api.instance", "Instance", ("request_type", "arguments", "idx", "metadata"), "asking the queries"),
)


def moved_seams() -> list[str]:
    """One line for each seam that is not where it was; empty when all hold."""
    return [line for line in map(_complaint, SEAMS) if line]


def _complaint(seam: Seam) -> str | None:
    place = f"{seam.module}.{seam.name}"
    try:
        found: Callable[..., object] = importlib.import_module(seam.module)  # type: ignore[assignment]
        for part in seam.name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        return f"{place} is gone ({error}), needed for {seam.used_by}"
    missing = set(seam.parameters) - set(inspect.signature(inspect.unwrap(found)).parameters)
    return f"{place} lacks {', '.join(sorted(missing))}, needed for {seam.used_by}" if missing else None
