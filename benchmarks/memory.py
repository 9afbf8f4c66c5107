"""Memory and rate of `prepare` and of an evaluation, for two sizes of release: `python -m benchmarks.memory`."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks import our_command
from benchmarks.generated_release import write_release
from benchmarks.models import MODELS, model_folder
from benchmarks.process import Clock, Measured, measured, resident_mb


def main() -> None:
    """Measure one size after the other and print what was held at most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="minchange-tiny")
    parser.add_argument(
        "--sets", type=int, nargs="+", default=[50, 500], help="of each subset; 500 give 15,000 pictures"
    )
    args = parser.parse_args()
    for sets in args.sets:
        with tempfile.TemporaryDirectory() as scratch:
            measure(args.model, sets, Path(scratch))


def measure(model: str, sets: int, scratch: Path) -> None:
    """Make a release, prepare it, evaluate it."""
    log, home = scratch / "output.log", str(scratch / "home")
    folder = measured(_model, model, str(scratch), log=log).result
    release = write_release(scratch / "release", sets)
    prepared = measured(_prepare, home, str(release.folder), log=log)
    print(f"{release.images:,} pictures of 512 px, {prepared.result['mb']:,.0f} MB")
    rate = release.images / prepared.result["seconds"]
    _print("prepare", prepared, prepared.result["rss_mb"])
    print(f"  {prepared.result['seconds']:.1f} s, {rate:,.0f} pictures/s")
    evaluated = measured(our_command.run, home, folder, 32, log=log)
    _print("evaluate", evaluated, evaluated.result["loaded_rss_mb"])
    print(f"  {evaluated.result['seconds']:.1f} s; {evaluated.result}", flush=True)


def _model(name: str, scratch: str) -> str:
    return str(model_folder(name, Path(scratch)))


def _prepare(home: str, release: str) -> dict[str, float]:
    from minchange_eval.data.prepare import prepare

    os.environ["MINCHANGE_HOME"] = home
    before, clock = resident_mb(), Clock()
    store = prepare("spec", Path(release))
    return {**clock.spent(), "rss_mb": before, "mb": store.card.image_bytes / 1e6}


def _print(name: str, run: Measured, before_mb: float) -> None:
    print(f"{name}: at the start {before_mb:,.0f} MB, at most {run.peak_rss_mb:,.0f} MB")
    print(f"  {run.peak_rss_mb - before_mb:,.0f} MB more; without pages of files at most {run.peak_own_mb:,.0f} MB")


if __name__ == "__main__":
    main()
