"""One of the trainings: `minchange-eval train clip`, with a look at the validation sets now and then.

    python examples/spec_table3_mini/table3_train.py RECIPE.yaml seed=0 output=FOLDER …

Ends in the weights of `minchange-eval train clip --config RECIPE.yaml` with the same settings, for looking changes
none. Stopped or killed, the same command goes on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import table3_data as data

from minchange_eval.cli.training_evaluation import TrainingEvaluator
from minchange_eval.core.errors import ExitCode, MinchangeError
from minchange_eval.data.lock import only_one
from minchange_eval.trainers.clip.config import read_config
from minchange_eval.trainers.clip.loop import Hooks, train_clip
from minchange_eval.trainers.clip.run_log import StepReport
from minchange_eval.trainers.clip.training_record import is_finished

EVERY_STEPS = 10  # a line of progress


def evaluator(names: Sequence[str], records: Path, cache_mb: int = 512) -> TrainingEvaluator:
    """What scores a model on stores of this experiment, each store one task with all its subsets."""
    from minchange_eval.tasks import hook

    hook.install()
    from minchange_eval.tasks.store_task import CandidateSetTask, ChoiceTask

    tasks = {}
    for name in names:
        kind = ChoiceTask if name == data.SCENES else CandidateSetTask
        tasks[name] = kind({"task": name, "metadata": {"version": 1, "dataset": name}})
    return TrainingEvaluator(tasks, records, None, cache_mb)


def validation(records: Path) -> TrainingEvaluator:
    """The look that curves are drawn from. What the guard against contamination is to look for are the tests."""
    look = evaluator([data.VALIDATION], records)
    look.datasets = data.TESTS
    return look


def show(report: StepReport) -> None:
    """One line for whoever started this."""
    if report.step % EVERY_STEPS == 0 or report.step == report.steps:
        print(json.dumps({"step": report.step, "steps": report.steps, "remaining_s": report.remaining_s}), flush=True)


def train(recipe: Path, settings: Sequence[str], on_step: Callable[[StepReport], None]) -> None:
    """Train as a recipe says, with other settings where they are given, `name=value`."""
    config = read_config(recipe, dict(setting.split("=", 1) for setting in settings))
    train_clip(config, Hooks(validation, on_step, lambda line: print(line, file=sys.stderr, flush=True)))


def stop_with_parent() -> None:
    """Save and end soon after whoever started this is gone: killed, it could not say so."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    recipe, *settings = sys.argv[1:]
    stop_with_parent()
    output = Path(dict(setting.split("=", 1) for setting in settings)["output"])
    output.parent.mkdir(parents=True, exist_ok=True)
    with only_one(output.parent / f".{output.name}.lock", f"{output}: an earlier run is still in it"):
        if not is_finished(output):
            train(Path(recipe), settings, show)


if __name__ == "__main__":
    try:
        main()
    except MinchangeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
