"""Ours against the ideal and against a loop over queries: `python -m benchmarks.speed --model vit-b-32`."""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import bare_loops, our_command
from benchmarks.generated_release import read_release, write_release
from benchmarks.models import MODELS, model_folder
from benchmarks.process import measured

_Runs = Sequence[Mapping[str, float]]


def main() -> None:
    """Measure in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--sets", type=int, default=10, help="of each of the six subsets; each has 30 pictures")
    parser.add_argument("--per-query-sets", type=int, default=2, help="of each subset, for the loop over queries")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2, help="loader processes of the bare loops")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        compare(args, Path(scratch))


def compare(args: argparse.Namespace, scratch: Path) -> None:
    """Ideal, ours, ours again with everything logged, loop over queries; as many rounds as repetitions."""
    log = scratch / "output.log"
    folder = Path(measured(_prepared, str(scratch), args.model, args.sets, args.per_query_sets, log=log).result)
    release, small = (read_release(scratch / name) for name in ("release", "small"))
    loop_args = (str(folder), args.batch_size, args.workers)
    ideal, ours, again, naive = [], [], [], []
    for _ in range(args.repetitions):
        by_threads = {  # which is faster depends on the model and on what else runs
            threads: measured(bare_loops.ideal, str(release.folder), *loop_args, threads, log=log).result
            for threads in sorted({1, args.workers})
        }
        fastest = min(by_threads, key=lambda threads: by_threads[threads]["seconds"])
        ideal.append({name: min(one[name] for one in by_threads.values()) for name in by_threads[fastest]})
        shutil.rmtree(scratch / "home" / "embeddings", ignore_errors=True)
        our_args = (str(scratch / "home"), str(folder), args.batch_size)
        ours.append(measured(our_command.run, *our_args, log=log).result)
        again.append(measured(our_command.run, *our_args, log=log).result)
        naive.append(measured(bare_loops.per_query, str(small.folder), *loop_args, fastest, log=log).result)
        print(f"ideal {by_threads}\nours  {ours[-1]}\nagain {again[-1]}\nloop  {naive[-1]}", flush=True)
    distinct = {"images": release.images, "texts": release.captions}
    _check_counts(ideal, distinct)
    _check_counts(ours, distinct)
    _check_counts(
        again, {"images": 0, "texts": 0, "images_from_log": release.images, "texts_from_log": release.captions}
    )
    _check_counts(naive, {"images": small.naive_images, "texts": small.naive_texts})
    print(f"{args.model}: {args.sets} sets of each subset, {release.images:,} pictures, {release.captions:,} captions")
    print(f"encoded by a loop over queries: {release.naive_images:,} pictures, {release.naive_texts:,} captions")
    for clock in ("seconds", "cpu_s"):
        _print_ratio("ideal / ours", clock, ideal, ours)
        _print_ratio("again / ours", clock, again, ours)
        _print_ratio("loop / ours", clock, naive, ours, scale=args.sets / args.per_query_sets)
        _print_ratio("loop / ideal", clock, naive, ideal, scale=args.sets / args.per_query_sets)


def _prepared(scratch: str, model: str, sets: int, per_query_sets: int) -> str:
    """Release, store and model."""
    import os

    from minchange_eval.data.prepare import prepare

    os.environ["MINCHANGE_HOME"] = str(Path(scratch) / "home")
    write_release(Path(scratch) / "release", sets)
    write_release(Path(scratch) / "small", per_query_sets)
    prepare("spec", Path(scratch) / "release")
    return str(model_folder(model, Path(scratch)))


def _check_counts(runs: _Runs, expected: dict[str, int]) -> None:
    for one in runs:
        got = {name: one[name] for name in expected}
        if got != expected:
            raise SystemExit(f"expected exactly {expected} encoded, got {got}")


def _print_ratio(name: str, clock: str, above: _Runs, below: _Runs, scale: float = 1) -> None:
    ratios = [scale * one[clock] / two[clock] for one, two in zip(above, below, strict=True)]
    print(f"{name:13} {clock:8} {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
