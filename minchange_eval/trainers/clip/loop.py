"""A training from its settings to the checkpoint folder: on one or many processes, stopped and resumed at any step."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from minchange_eval import __version__
from minchange_eval.audit.collection import Progress
from minchange_eval.audit.hash_file import HashFile
from minchange_eval.core.errors import ExitCode, MinchangeError, ModelError, UsageError
from minchange_eval.core.record import RunRecord, read_record
from minchange_eval.model_adapters.arithmetic import hardware, same_bits
from minchange_eval.model_adapters.weights import weights_sha256
from minchange_eval.trainers.clip.batches import Batch
from minchange_eval.trainers.clip.config import TrainConfig
from minchange_eval.trainers.clip.evaluations import Evaluations, Evaluator, measured
from minchange_eval.trainers.clip.guard import guard
from minchange_eval.trainers.clip.ingredients import ingredients
from minchange_eval.trainers.clip.layouts import WrittenCheckpoint, write_checkpoint_folder
from minchange_eval.trainers.clip.loader import BatchStream
from minchange_eval.trainers.clip.memory import loading_advice, memory_advice, out_of_memory
from minchange_eval.trainers.clip.output_folder import RECORDS, claim
from minchange_eval.trainers.clip.pace import Pace
from minchange_eval.trainers.clip.processes import OtherProcessError, Processes
from minchange_eval.trainers.clip.run_log import RunLog, StepReport
from minchange_eval.trainers.clip.state import (
    GOOD,
    OPTIMIZER,
    WEIGHTS,
    Facts,
    StateFolder,
    moments_of,
    put_moments,
    put_random_states,
    random_states,
    random_states_kept,
    read_facts,
    read_tensors,
    weights_of,
)
from minchange_eval.trainers.clip.step import learning_rate_at
from minchange_eval.trainers.clip.stop import StopRequest
from minchange_eval.trainers.clip.trained_model import load_for_training
from minchange_eval.trainers.clip.training_record import (
    TrainingRecord,
    first_and_last_losses,
    trained_on,
    write_training_record,
)


@dataclass(frozen=True)
class Hooks:
    """What the caller adds to a training; all of it is called on the first process only.

    Attributes:
        evaluator: builds what scores the model on `config.evaluate`; None where no tasks are asked.
        on_step: after each step.
        say: one line for the user.
        progress: wraps the training images as the contamination guard looks at them.
    """

    evaluator: Callable[[Path], Evaluator] | None = None
    on_step: Callable[[StepReport], None] = field(default=lambda report: None)
    say: Callable[[str], None] = field(default=lambda line: None)
    progress: Progress | None = None


@dataclass(frozen=True)
class FinishedTraining:
    """What a training came to.

    Attributes:
        folder: the checkpoint.
        steps: of the weights in it.
        stopped: why it ended early; empty where it did not.
        before, after: run records, where tasks were asked.
    """

    folder: Path
    steps: int
    stopped: str = ""
    before: RunRecord | None = None
    after: RunRecord | None = None


def train_clip(config: TrainConfig, hooks: Hooks | None = None, *, force: bool = False) -> FinishedTraining | None:
    """Train as the settings say and write the checkpoint folder; goes on where an earlier call was stopped.

    Args:
        force: start anew in an output folder that holds something already.

    Returns:
        None on every process but the first.

    Raises:
        KeyboardInterrupt: SIGTERM or Ctrl-C; the state is saved, the same call goes on from it.
        UsageError: settings that do not go together or ask for what is not there; a changed configuration.
        DataError: data that are broken.
        ModelError: the loss is not a number any more, or memory ran out.
        MinchangeError: something cannot be written; the last complete state stays.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS has no deterministic kernels
    processes = Processes(config.precision)
    with random_states_kept(), same_bits(processes.device, config.threads), StopRequest() as stop:
        with stop.at_once():
            states, facts = claimed(config, processes, force=force)
        try:
            with stop.at_once():
                training = _Training(config, hooks or Hooks(), processes, states, facts)
            return training.run(stop)
        finally:
            if states:
                states.unlock()


class _Training:
    """One call of `train_clip`."""

    def __init__(
        self,
        config: TrainConfig,
        hooks: Hooks,
        processes: Processes,
        states: StateFolder | None,
        facts: Facts | None,
    ) -> None:
        self._config, self._hooks, self._processes = config, hooks, processes
        self._output, self._states, self._facts = Path(config.output), states, facts
        self._of = ingredients(config, processes)
        self._model = self._of.encoder.model
        self._done = self._images = 0
        self._seconds = 0.0
        self._evaluated_at = -1
        self._pace = Pace()
        self._log: RunLog | None = None  # of the first process

    def run(self, stop: StopRequest) -> FinishedTraining | None:
        try:
            with stop.at_once():
                self._processes.on_first(self._open_logs)
                self._restore()
            stopped = self._train(stop)
            with stop.at_once():
                return self._processes.on_first(lambda: self._finish(stopped))
        finally:
            if self._log:
                self._log.close()

    def _open_logs(self) -> None:
        """On the first process: what only it writes."""
        facts = self._facts
        evaluator = self._hooks.evaluator(self._output / RECORDS) if self._hooks.evaluator else None
        self._evaluations = Evaluations(self._config, evaluator, self._hooks.say)
        if facts:
            require_same_data(facts, self._of.fingerprints)
        self._overlap = facts.overlap if facts else self._guarded(evaluator.datasets if evaluator else ())
        if self._of.data.cut_captions:
            self._hooks.say(self._of.data.cut_captions)
        every, asked = self._config.evaluate_every, self._config.evaluate or self._config.zero_shot
        if every and not asked:
            self._hooks.say(f"evaluate_every={every}: nothing is evaluated; give evaluate or zero_shot")
        self._log = RunLog(
            self._output,
            facts.step if facts else 0,
            facts.log_bytes if facts else 0,
            tensorboard=self._config.tensorboard,
        )

    def _guarded(self, benchmarks: tuple[str, ...]) -> dict[str, Any]:
        """What the training data share with what will be evaluated."""
        with HashFile() as kept:
            result = guard(
                self._of.data.sets,
                self._of.data.pairs,
                benchmarks,
                allow_overlap=self._config.allow_overlap,
                kept=kept,
                progress=self._hooks.progress,
            )
        for overlap in result.first:
            self._hooks.say(f"allowed: {overlap}")
        return result.model_dump(mode="json")

    def _restore(self) -> None:
        """Go on where the last state was saved; each process gets the tensors from the first."""
        facts, processes = self._facts, self._processes
        if facts is None:
            _seed(self._config.seed + processes.rank)  # whatever was drawn while the model and the tasks were made
            return
        state = self._states.newest() if self._states else None
        weights = processes.tensors_from_first(read_tensors(state, WEIGHTS) if state else None)
        moments = processes.tensors_from_first(read_tensors(state, OPTIMIZER) if state else None)
        self._model.load_state_dict(weights)
        put_moments(self._of.optimizer, moments)
        if processes.accelerator.scaler is not None and facts.scaler:
            processes.accelerator.scaler.load_state_dict(dict(facts.scaler))
        self._done, self._images, self._seconds = facts.step, facts.images, facts.seconds
        self._evaluated_at = facts.evaluated_at
        if processes.rank < len(facts.random):
            put_random_states(facts.random[processes.rank])
        if state:
            good = read_tensors(state, GOOD)
            self._evaluations.values = dict(facts.evaluations)
            self._evaluations.good, self._evaluations.good_step = good or None, facts.good_step
            self._hooks.say(f"{self._output}: going on after step {self._done} of {self._of.steps}")

    def _train(self, stop: StopRequest) -> str:
        """Take the steps that are left.

        Returns:
            Why it ended early; empty where it did not.
        """
        config, processes = self._config, self._processes
        left = range(self._done, self._of.steps)
        with (
            BatchStream(
                self._of.data, self._of.plan, left, rank=processes.rank, world=processes.world, workers=config.workers
            ) as stream,
            deterministic(processes.device),
        ):
            stopped = self._evaluate(stop)
            while self._done < self._of.steps and not stopped:
                began = time.perf_counter()
                batch, rows = self._next(stream, stop)
                losses = self._take(batch)
                self._done += 1
                self._images += rows
                self._pace.add(time.perf_counter() - began, rows, stream.waited_s)
                self._report(losses)
                stopped = self._evaluate(stop)
                if stopped or self._is_saved_now():
                    self._save()
            self._obey(stop)
        return stopped

    def _is_saved_now(self) -> bool:
        every = self._config.save_every
        return self._done == self._of.steps or bool(every and self._done % every == 0)

    def _next(self, stream: BatchStream, stop: StopRequest) -> tuple[Batch, int]:
        """This process's share of the next batch, and the rows of the whole of it; or the end, for all processes."""
        batch: Batch | None = None
        failure: MinchangeError | None = None
        try:
            batch = next(stream)
        except MinchangeError as error:
            failure = error
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            failure = ModelError(loading_advice(self._config, self._done + 1))
        stops, failures, rows = self._processes.sums(int(stop.asked), int(failure is not None), len(batch or ()))
        if failures:
            self._save()
            raise failure or OtherProcessError(ExitCode.BAD_DATA)
        if stops:
            self._save()
            raise KeyboardInterrupt
        assert batch is not None
        return batch, rows

    def _obey(self, stop: StopRequest) -> None:
        """Save and end if any process was asked to stop."""
        if self._processes.sums(int(stop.asked))[0]:
            self._save()
            raise KeyboardInterrupt

    def _take(self, batch: Batch) -> dict[str, float]:
        try:
            return self._of.step.take(self._done + 1, batch, self._learning_rate(self._done + 1))
        except ModelError as error:  # the loss is no number, on every process
            self._keep_last_good(error)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise ModelError(memory_advice(self._config, self._done + 1, len(batch))) from error

    def _learning_rate(self, step: int) -> float:
        config = self._config
        return learning_rate_at(
            step,
            steps=self._of.steps,
            warmup_steps=config.warmup_steps,
            peak=config.learning_rate,
            schedule=config.schedule,
        )

    def _report(self, losses: dict[str, float]) -> None:
        if self._log is None:
            return
        parts = {name: value for name, value in losses.items() if name != "loss"}
        report = StepReport(
            step=self._done,
            steps=self._of.steps,
            loss=losses["loss"],
            parts=parts,
            learning_rate=self._learning_rate(self._done),
            scale=float(self._of.step.logit_scale.detach().exp()),
            images_per_s=self._pace.images_per_s,
            remaining_s=self._pace.step_s * (self._of.steps - self._done),
            waited=self._pace.waited,
        )
        self._log.step(report)
        self._hooks.on_step(report)

    def _evaluate(self, stop: StopRequest) -> str:
        """Evaluate if this step asks for it, and say why the training ends, if it does.

        A signal ends the evaluation at once; the training that is gone on with makes it again.
        """
        if not self._is_evaluated_now():
            return ""
        if self._evaluated_at < self._done:  # otherwise the training that is gone on with has done it already
            values = self._processes.from_first(self._processes.on_first(lambda: self._measured(stop)))
            if values is None:
                return ""
            self._evaluated_at = self._done
        return str(self._processes.from_first(self._evaluations.under_floor(self._done) if self._first else None))

    def _measured(self, stop: StopRequest) -> dict[str, float] | None:
        """On the first process; None where a signal came between."""
        try:
            with stop.at_once():
                values = self._evaluations.at(self._done, self._of.encoder, last=self._done == self._of.steps)
        except KeyboardInterrupt:
            return None
        if self._log:
            self._log.evaluation(self._done, values)
        return values

    def _is_evaluated_now(self) -> bool:
        config = self._config
        if not (config.evaluate or config.zero_shot):
            return False
        every = config.evaluate_every
        return self._done in (0, self._of.steps) or bool(every and self._done % every == 0)

    @property
    def _first(self) -> bool:
        return self._processes.is_first

    def _save(self) -> None:
        """Put a complete state in place; all processes take part."""
        states = self._processes.gathered(random_states())
        self._processes.on_first(lambda: self._write_state(states))

    def _write_state(self, random_of_processes: list[Any]) -> None:
        assert self._states is not None
        assert self._log is not None
        weights = weights_of(self._model)
        broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise ModelError(
                f"clip training, step {self._done}: {broken[0]} has values that are not finite; lower "
                f"learning_rate={self._config.learning_rate:g}; {self._kept()}"
            )
        scaler = self._processes.accelerator.scaler
        facts = Facts(
            step=self._done,
            config=self._config.model_dump(mode="json"),
            data=self._of.fingerprints,
            log_bytes=self._log.position(),
            evaluated_at=self._evaluated_at,
            good_step=self._evaluations.good_step,
            evaluations=self._evaluations.values,
            overlap=self._overlap,
            seconds=self._seconds + self._pace.total_s,
            images=self._images,
            scaler=scaler.state_dict() if scaler is not None else {},
            random=random_of_processes,
        )
        self._states.save(facts, weights, moments_of(self._of.optimizer), self._evaluations.good)

    def _keep_last_good(self, error: ModelError) -> NoReturn:
        """The weights of the last state as a checkpoint that can be loaded, and the error."""
        self._processes.on_first(lambda: self._write_last_good(error))
        raise OtherProcessError(error.exit_code)

    def _write_last_good(self, error: ModelError) -> NoReturn:
        assert self._states is not None
        state = self._states.newest()
        if state:
            self._model.load_state_dict(read_tensors(state, WEIGHTS))
            write_checkpoint_folder(self._of.encoder, self._output)
        raise ModelError(f"{error}; {self._kept()}") from error

    def _kept(self) -> str:
        assert self._states is not None
        state = self._states.newest()
        if state is None:
            return "no state was saved before it (save_every)"
        return f"the weights of step {read_facts(state).step}, the last that were saved, are in {self._output}"

    def _finish(self, stopped: str) -> FinishedTraining:
        """On the first process: the checkpoint, its evaluation as it was written, and last the record."""
        assert self._states is not None
        assert self._log is not None
        evaluations, steps = self._evaluations, self._done
        if stopped and evaluations.good is not None:
            self._model.load_state_dict(dict(evaluations.good))
            steps = evaluations.good_step or 0
        written = write_checkpoint_folder(self._of.encoder, self._output)
        before, after = self._records(written)
        if after is not None:
            evaluations.values[steps] = evaluations.values.get(steps, {}) | measured(after)
            self._log.evaluation(steps, measured(after))
        sets, pairs = self._of.data.sets, self._of.data.pairs
        first_losses, last_losses = first_and_last_losses(self._output)
        record = TrainingRecord(
            config=self._config.model_dump(mode="json", exclude={"output"}),
            base_model=self._of.base,
            weights_sha256=weights_sha256(self._model.state_dict()),
            data=trained_on(sets, pairs),
            overlap=self._overlap,
            steps=steps,
            planned_steps=self._of.steps,
            epochs=steps / self._of.plan.steps_per_epoch if sets else None,
            images=self._images,
            stopped=stopped,
            first_losses=first_losses,
            last_losses=last_losses,
            evaluations=evaluations.values,
            processes=self._processes.world,
            device=hardware(self._processes.device),
            seconds=round(self._seconds + self._pace.total_s, 3),
            packages={**self._of.encoder.packages, "accelerate": version("accelerate"), "minchange-eval": __version__},
            layouts=written.as_json(),
        )
        write_training_record(self._output, record)
        self._states.remove()
        return FinishedTraining(self._output, steps, stopped, before, after)

    def _records(self, written: WrittenCheckpoint) -> tuple[RunRecord | None, RunRecord | None]:
        """The record from before, and one of the folder as it was written."""
        if self._hooks.evaluator is None:
            return None, None
        adapter = "open_clip" if "open_clip" in written.layouts else "hf_dual_encoder"
        again = load_for_training(str(self._output), adapter, self._processes.device)
        after = self._evaluations.of_folder(again)
        return read_record(self._output / RECORDS / "before.jsonl"), after


def claimed(config: TrainConfig, processes: Processes, *, force: bool) -> tuple[StateFolder | None, Facts | None]:
    """The states of the output folder, on the first process; and on all what to go on from."""
    states, facts = processes.on_first(lambda: claim(config, force=force)) or (None, None)
    told = processes.from_first(facts.model_dump(mode="json") if facts else None)
    return states, Facts.model_validate(told) if told else None


def require_same_data(facts: Facts, data: Mapping[str, Any]) -> None:
    """Refuse to go on with other data than before.

    Raises:
        UsageError: with the names of what changed.
    """
    changed = [name for name in dict.fromkeys([*data, *facts.data]) if data.get(name) != facts.data.get(name)]
    if changed:
        raise UsageError(
            f"{', '.join(changed)}: changed since the training began, {facts.step} steps ago; put it back as it was, "
            f"or start anew with --force"
        )


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Kernels that give the same bits again; where an accelerator lacks one, its own."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
