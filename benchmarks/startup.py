"""What our part of a start costs: `python -m benchmarks.startup`.

Beside wall time the processor time, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.generated_release import write_release

OURS = "from minchange_eval.cli.evaluate import main"
# lmms-eval as if this package were not installed
STOCK = """
import importlib.metadata as metadata
metadata.entry_points = lambda **asked: metadata.EntryPoints(
    one for package in metadata.distributions() for one in package.entry_points if "minchange" not in one.value
).select(**asked)
from lmms_eval.cli.dispatch import main
"""
LISTING = """
import sys
sys.argv = ["lmms_eval", "--model", "qwen2_vl", "--tasks", "list"]
{which}
main()
"""
# what an evaluation of ours does before its model is loaded, after everything that lmms-eval does for itself
TASKS_AND_ADAPTER = """
import time
from minchange_eval.tasks import hook
hook.install()
import lmms_eval.__main__, lmms_eval.evaluator
from lmms_eval.tasks import TaskManager
manager = TaskManager()
wall, cpu = time.monotonic(), time.process_time()
loaded = manager.load_task_or_group(["spec"])
import minchange_eval.model_adapters.open_clip_models
print(time.monotonic() - wall, time.process_time() - cpu)
"""
NO_TORCH = """
import sys
from minchange_eval.cli.main import main
try:
    main([{argument!r}])
except SystemExit:
    pass
heavy = {{"torch", "transformers", "open_clip", "lmms_eval", "datasets", "scipy", "sklearn"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""


def main() -> None:
    """Measure in turns and print medians and differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        env = {**os.environ, "MINCHANGE_HOME": f"{scratch}/home", "HF_HUB_OFFLINE": "1"}
        command = str(Path(sys.executable).with_name("minchange-eval"))
        write_release(Path(scratch) / "release", 10)
        _seconds([command, "prepare", "spec", "--source", f"{scratch}/release"], env)
        _of_the_command(command, env, args.repetitions)
        _of_an_evaluation(env, args.repetitions)


def _of_the_command(command: str, env: Mapping[str, str], repetitions: int) -> None:
    for argument in ("--help", "list"):
        subprocess.run(
            [sys.executable, "-c", NO_TORCH.format(argument=argument)], env=env, check=True, stdout=subprocess.DEVNULL
        )
    runs: dict[str, list[Seconds]] = {"python -c pass": [], "minchange-eval --help": [], "minchange-eval list": []}
    for _ in range(2 * repetitions):
        runs["python -c pass"].append(_seconds([sys.executable, "-c", "pass"], env))
        for argument in ("--help", "list"):
            runs[f"minchange-eval {argument}"].append(_seconds([command, argument], env))
    for name, seconds in runs.items():
        _print(name, seconds)


def _of_an_evaluation(env: Mapping[str, str], repetitions: int) -> None:
    stock, ours, tasks = [], [], []
    for _ in range(repetitions):
        stock.append(_seconds([sys.executable, "-c", LISTING.format(which=STOCK)], env))
        ours.append(_seconds([sys.executable, "-c", LISTING.format(which=OURS)], env))
        done = subprocess.run(
            [sys.executable, "-c", TASKS_AND_ADAPTER], env=env, check=True, capture_output=True, text=True
        )
        wall, cpu = map(float, done.stdout.split()[-2:])
        tasks.append(Seconds(wall, cpu))
    _print("lmms-eval --tasks list, without us", stock)
    _print("lmms_eval --tasks list", ours)
    _print(
        "  more, in the same round",
        [Seconds(two.wall - one.wall, two.cpu - one.cpu) for one, two in zip(stock, ours, strict=True)],
    )
    _print("six tasks over the store, adapter", tasks)


class Seconds(NamedTuple):
    """What a command took."""

    wall: float
    cpu: float


def _seconds(command: list[str], env: Mapping[str, str]) -> Seconds:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, env=dict(env), capture_output=True, check=False)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{command[:2]} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _print(name: str, runs: list[Seconds]) -> None:
    wall, cpu = zip(*runs, strict=True)
    print(
        f"{name:36} {statistics.median(wall):6.2f} s ({min(wall):.2f} to {max(wall):.2f}), processor "
        f"{statistics.median(cpu):.2f} s ({min(cpu):.2f} to {max(cpu):.2f}), {len(runs)} runs",
        flush=True,
    )


if __name__ == "__main__":
    main()
