"""Evaluation of a model while it trains: `lmms_eval`'s tasks, scoring and record, in this process.

Tasks and their requests are built once and prepared images are kept within a bound, so that an evaluation between
two steps costs little beside its forwards. No process is started, no rank is waited for, no embedding is logged (the
weights are others each time), and no random state is read or moved.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minchange_eval.core.errors import UsageError
from minchange_eval.core.record import RunRecord, write_record
from minchange_eval.core.resting_collector import resting_collector

if TYPE_CHECKING:
    from lmms_eval.api.instance import Instance

    from minchange_eval.core.record import QueryOutcome
    from minchange_eval.model_adapters.dual_encoder import DualEncoder
    from minchange_eval.model_adapters.encoder import Encoder
    from minchange_eval.tasks.store_task import StoreTask


def evaluator(
    tasks: Sequence[str], *, output: Path, batch_size: int | None = None, cache_mb: int = 512
) -> TrainingEvaluator:
    """Build tasks by their names, once for a whole training run.

    Args:
        tasks: of minchange-eval, as `lmms_eval --tasks` takes them.
        output: folder of the records.
        batch_size: rows of each forward; None: 32 on CPU, 128 on an accelerator, as `lmms_eval` has it.
        cache_mb: most that prepared images may take; what does not fit is decoded at each evaluation.

    Raises:
        UsageError: an unknown task, or none.
        NotPreparedError: a task's data are not in the store and cannot be had.
    """
    return TrainingEvaluator(_built(tasks), output, batch_size, cache_mb)


class TrainingEvaluator:
    """Scores a model on its tasks; to be called on one rank only, which waits for no other.

    Attributes:
        datasets: the data sets that its tasks ask, by name.
    """

    def __init__(self, tasks: Mapping[Any, Any], output: Path, batch_size: int | None, cache_mb: int) -> None:
        from minchange_eval.model_adapters.live_encoder import KeptInputs
        from minchange_eval.tasks.run_recorder import tasks_of_ours

        self._tasks, self._output, self._batch_size = tasks, output, batch_size
        self._inputs = KeptInputs(cache_mb * 2**20)
        self._by_name = {task.canonical_name: task for task in tasks_of_ours(tasks)}  # `spec,spec_count` asks one twice
        self._requests = {name: _requests(name, task) for name, task in self._by_name.items()}
        self.datasets = tuple(sorted({task.store.card.name for task in self._by_name.values()}))

    def __call__(self, encoder: Encoder, label: str, name: str | None = None) -> RunRecord:
        """Evaluate a model as it is now and write the record as `<output>/<label>.jsonl`.

        Beside its `run` part and the model's name, the record is what `lmms_eval` writes for the same weights. The
        model is in evaluation mode meanwhile, and afterwards each of its modules in the mode that it was in.

        Args:
            encoder: the model in float32; its device is used.
            label: of the record: `before`, `step_200`, `after`.
            name: of the model in the record; None: the encoder's.

        Raises:
            DataError: an image cannot be read, or a store was replaced meanwhile.
            MinchangeError: the record cannot be written.
        """
        from minchange_eval.model_adapters.live_encoder import LiveEncoder, evaluation_mode
        from minchange_eval.model_adapters.model_args import EncodingOptions
        from minchange_eval.tasks.run_recorder import RunRecorder

        recorder, options = RunRecorder(), EncodingOptions(batch_size=self._batch_size, log=False)
        live = LiveEncoder(encoder, self._inputs, name)
        with evaluation_mode(encoder.model), resting_collector():
            recorder.evaluate(self._ask, _adapter(encoder).over(live, options, self._inputs.image), self._tasks)
        assert recorder.record is not None
        write_record(recorder.record, self._output / f"{label}.jsonl")
        return recorder.record

    def _ask(self, model: DualEncoder, tasks: Mapping[Any, Any]) -> dict[str, int]:
        """What lmms-eval's `evaluate` comes to for tasks of ours on one rank: how many queries each task has."""
        from minchange_eval.tasks.run_recorder import tasks_of_ours

        answers = iter(model.generate_until([request for asked in self._requests.values() for request in asked]))
        outcomes = {name: _outcomes(task, self._requests[name], answers) for name, task in self._by_name.items()}
        for task in tasks_of_ours(tasks):
            task.outcomes = outcomes[task.canonical_name]
        return {name: len(of_task) for name, of_task in outcomes.items()}


def _built(names: Sequence[str]) -> Mapping[Any, Any]:
    """Task objects as lmms-eval nests them in their groups."""
    from minchange_eval.tasks import hook

    hook.install()
    from lmms_eval.tasks import TaskManager, get_task_dict
    from loguru import logger

    if not names:
        raise UsageError("evaluate: no task given; `lmms_eval --tasks list` lists them")
    logger.disable("lmms_eval")
    try:
        manager = TaskManager(include_defaults=False)  # of lmms-eval's own tasks none is for a dual encoder
        for name in names:
            _check_name(name, manager.all_tasks)
        built: Mapping[Any, Any] = get_task_dict(list(names), manager, "simple")
    finally:
        logger.enable("lmms_eval")
    return built


def _check_name(name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`minchange-eval list` and docs/tasks.md name them"
        raise UsageError(f"evaluate: no task of minchange-eval is called {name}; {hint}")


def _requests(name: str, task: StoreTask) -> list[Instance]:
    """Every request of a task, in the order of its documents."""
    return [
        request
        for number in range(len(task.items))
        for request in task.construct_requests(
            number, "", metadata={"task": name, "doc_id": number, "repeats": 1, "split": ""}
        )
    ]


def _outcomes(task: StoreTask, requests: Sequence[Instance], answers: Iterator[str]) -> tuple[QueryOutcome, ...]:
    """What a task makes of its answers, which come in the order of its requests."""
    by_document: dict[int, list[str]] = {}
    for request in requests:
        by_document.setdefault(request.doc_id, []).append(next(answers))
    documents = task.test_docs()
    rows = [task.process_results(documents[number], said)["queries"] for number, said in by_document.items()]
    task.aggregation()["queries"](rows)
    return task.outcomes


def _adapter(encoder: Encoder) -> type[DualEncoder]:
    """The adapter that `lmms_eval --model` would have for such a model."""
    from minchange_eval.model_adapters.huggingface_models import HuggingFaceDualEncoder, HuggingFaceEncoder
    from minchange_eval.model_adapters.open_clip_models import OpenClip

    return HuggingFaceDualEncoder if isinstance(encoder, HuggingFaceEncoder) else OpenClip
