"""The miniature of SPEC's Table 3: draws data, trains twelve models, evaluates them and writes a page.

    python examples/spec_table3_mini/run.py --output runs/spec_table3_mini

Under 25 minutes on two quiet cores. Stopped or killed at any time the same command goes on: what is drawn, trained or
evaluated is not done again. Explained in docs/spec_table3.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import table3_data as data
from table3_variants import BASE, VARIANTS

from minchange_eval.core.errors import ExitCode, MinchangeError
from minchange_eval.core.record import RunRecord, read_record
from minchange_eval.trainers.clip.training_record import is_finished

HERE = Path(__file__).parent
EVERY_S = 15.0
LOOK_EVERY = 40  # steps between looks at the validation sets


@dataclass(frozen=True)
class Training:
    """One row of the table with one seed."""

    variant: str
    seed: int
    folder: Path
    recipe: Path
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.variant}-{self.seed}"

    @property
    def is_finished(self) -> bool:
        return is_finished(self.folder)


def trainings(output: Path, seeds: Sequence[int], steps: int | None) -> list[Training]:
    """All of them, seed by seed, so that an unfinished run has whole seeds."""
    found = []
    for seed in seeds:
        for variant in VARIANTS:
            folder = output / "models" / f"{variant.name}-{seed}"
            every = LOOK_EVERY if steps is None else max(1, steps // 3)
            settings = [f"seed={seed}", f"output={folder}"]
            settings += [f"zero_shot={output / 'data' / data.LABELLED}", f"evaluate_every={every}"]
            if variant.name != "hard_negatives":
                settings.append(f"plain={output / 'data' / data.PLAIN}")
            if steps is not None:
                settings += [f"steps={steps}", f"warmup_steps={steps // 6}"]
            found.append(Training(variant.name, seed, folder, variant.recipe, tuple(settings)))
    return found


@dataclass
class Running:
    """A training in a process of its own, and how far it is."""

    training: Training
    process: subprocess.Popen[str]
    log: Path
    done: float = 0.0

    def listen(self) -> None:
        """Note its lines until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            self.done = said["step"] / said["steps"]


@dataclass
class Trainer:
    """Runs trainings side by side, each in one thread of a processor."""

    left: deque[Training]
    at_once: int
    logs: Path
    started_s: float = field(default_factory=time.monotonic)
    finished: int = 0
    running: list[Running] = field(default_factory=list)

    def run(self) -> None:
        """Until all are trained.

        Raises:
            MinchangeError: one of them failed; the others are stopped and have saved where they are.
        """
        said_s = 0.0
        total = len(self.left)
        try:
            while self.left or self.running:
                while self.left and len(self.running) < self.at_once:
                    self.running.append(self._started(self.left.popleft()))
                time.sleep(0.5)
                self._sweep()
                if time.monotonic() - said_s >= EVERY_S:
                    said_s = time.monotonic()
                    say(self._progress(total))
        finally:
            for one in self.running:
                one.process.send_signal(signal.SIGTERM)  # it saves, and goes on in the next run
            for one in self.running:
                one.process.wait()

    def _started(self, training: Training) -> Running:
        log = self.logs / f"{training.name}.log"
        command = (sys.executable, str(HERE / "table3_train.py"), str(training.recipe), *training.settings)
        with log.open("a") as errors:
            process = subprocess.Popen(  # noqa: S603  # our own command
                command, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        running = Running(training, process, log)
        threading.Thread(target=running.listen, daemon=True).start()
        return running

    def _sweep(self) -> None:
        for one in [one for one in self.running if one.process.poll() is not None]:
            self.running.remove(one)
            if one.process.returncode:
                lines = one.log.read_text().splitlines() or ["nothing was said"]
                raise MinchangeError(f"training {one.training.name}: {lines[-1]} (more: {one.log})")
            self.finished += 1

    def _progress(self, total: int) -> str:
        done = self.finished + sum(one.done for one in self.running)
        passed_s = time.monotonic() - self.started_s
        left = f", about {passed_s / done * (total - done) / 60:.0f} min left" if done > 0.2 else ""
        now = ", ".join(f"{one.training.name} {one.done:.0%}" for one in self.running)
        return f"trained {self.finished} of {total}{left} ({now})"


def train_here(left: Sequence[Training]) -> None:
    """One after another in this process, for a run so small that starting processes takes longest."""
    from table3_train import train

    for one in left:
        say(f"training {one.name}")
        train(one.recipe, one.settings, lambda report: None)


def evaluate(output: Path, made: Sequence[Training]) -> dict[str, list[RunRecord]]:
    """The record of every model on every test, by row of the table; those that are there are read."""
    folders = {f"{BASE}-0": "minchange-tiny"} | {one.name: str(one.folder) for one in made}
    records = output / "records"
    look = None
    for number, (name, folder) in enumerate(folders.items(), 1):
        if not (records / f"{name}.jsonl").exists():
            look = look or _look(records)
            look(_encoder(folder), name, name)
            say(f"evaluated {number} of {len(folders)}: {name}")
    found: dict[str, list[RunRecord]] = {}
    for name in folders:
        found.setdefault(name.rpartition("-")[0], []).append(read_record(records / f"{name}.jsonl"))
    return found


def _look(records: Path):  # type: ignore[no-untyped-def]
    from table3_train import evaluator

    return evaluator(data.TESTS, records, cache_mb=1024)


def _encoder(folder: str):  # type: ignore[no-untyped-def]
    import torch

    from minchange_eval.trainers.clip.trained_model import load_for_training

    return load_for_training(folder, "open_clip", torch.device("cpu"))


@contextmanager
def timed(output: Path, stage: str) -> Iterator[None]:
    """Adds what a stage took to timing.json: seconds on the clock, and of processors with those of its processes."""
    before, start_s = _processor_s(), time.monotonic()
    try:
        yield
    finally:
        file = output / "timing.json"
        times = json.loads(file.read_text()) if file.exists() else {}
        wall_s, processor_s = times.get(stage, (0.0, 0.0))
        times[stage] = (wall_s + time.monotonic() - start_s, processor_s + _processor_s() - before)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(times, indent=1))
        part.replace(file)


def _processor_s() -> float:
    used = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder; that of an unfinished run is gone on with")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each row (default: %(default)s)")
    parser.add_argument(
        "--side-by-side", type=int, default=2, help="trainings at once, each in a process; 0: in this one"
    )
    parser.add_argument("--steps", type=int, help="of each training; as the recipes say unless given")
    parser.add_argument("--test-sets", type=int, default=100, help="of each subset, of held-out categories")
    parser.add_argument("--validation-sets", type=int, default=20, help="of each subset")
    parser.add_argument("--labelled", type=int, default=6, help="of each trained category, for validation")
    parser.add_argument("--scenes", type=int, default=600, help="pictures for classification")
    parser.add_argument("--plain", type=int, default=4000, help="plain pairs")
    parser.add_argument("--remark", default="", help="said on the page beside the times: what else the machine did")
    return parser.parse_args(given)


def run(chosen: argparse.Namespace) -> None:
    output = chosen.output.resolve()
    (output / "logs").mkdir(parents=True, exist_ok=True)
    with timed(output, "draw"):
        say("drawing what is not there yet")
        data.draw_data(
            output / "data",
            test_sets=chosen.test_sets,
            validation_sets=chosen.validation_sets,
            labelled=chosen.labelled,
            scenes=chosen.scenes,
            plain=chosen.plain,
        )
    all_ = trainings(output, range(chosen.seeds), chosen.steps)
    left = [one for one in all_ if not one.is_finished]
    with timed(output, "train"):
        if chosen.side_by_side:
            Trainer(deque(left), chosen.side_by_side, output / "logs").run()
        else:
            train_here(left)
    with timed(output, "evaluate"):
        records = evaluate(output, all_)
    from table3_page import write_page

    with timed(output, "page"):
        write_page(output, records, chosen.remark)
    print(output / "index.html")


def main(given: Sequence[str] | None = None) -> int:
    chosen = arguments(given)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # a store of its own: what others prepare or replace meanwhile changes nothing here
    os.environ["MINCHANGE_HOME"] = str(chosen.output.resolve() / "home")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(chosen)
    except MinchangeError as error:
        say(str(error))
        return int(error.exit_code)
    except KeyboardInterrupt:
        say("stopped; the same command goes on")
        return int(ExitCode.INTERRUPTED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
