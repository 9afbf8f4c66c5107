"""How long a leaderboard of many runs takes, how much memory, and how large the page is.

    python -m benchmarks.report --models 50 --sets 250

Made-up records in SPEC's form (six subsets, K 3, 3, 9, 4, 2, 9; `--sets` of each, 60 queries for one of each), written
and read as real ones are. What is measured is the verb, from its start to the written page, with its children.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
from pathlib import Path

from benchmarks.process import Clock, measured
from minchange_eval.core.queries import Direction
from minchange_eval.core.record import ModelDescription, QueryOutcome, TaskRecord, make_record, write_record

SUBSETS = {
    "absolute_size": 3,
    "relative_size": 3,
    "absolute_spatial": 9,
    "relative_spatial": 4,
    "existence": 2,
    "count": 9,
}


def main() -> None:
    """Make the records, measure the verb, print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--sets", type=int, default=250, help="of each subset; 60 queries for one of each")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the records here, and use those that are there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = args.folder or Path(made)
        folder.mkdir(exist_ok=True)
        paths = [folder / f"model_{number:02}.jsonl" for number in range(args.models)]
        for number, path in enumerate(paths):
            if not path.exists():
                write_run(path, number, args.sets)
        size = sum(path.stat().st_size for path in paths) / 1e6
        print(f"{args.models} records of {60 * args.sets:,} queries, {size:.0f} MB")
        for form, name in (("page", "report.html"), ("JSON", "report.json")):
            for _ in range(args.repetitions):
                out = Path(made) / name
                taken = measured(_report, [str(path) for path in paths], str(out), log=Path(made) / "log")
                print(
                    f"{form}: {taken.result['seconds']:.1f} s, processor {taken.result['cpu_s']:.1f} s, "
                    f"peak {taken.peak_rss_mb:.0f} MB, {out.stat().st_size / 1e6:.2f} MB"
                )


def write_run(path: Path, number: int, sets: int) -> None:
    """One model's record: better models have higher numbers, the best few are nearly equal."""
    rng = random.Random(number)
    skill = 1.5 * (1 - math.exp(-number / 12))
    outcomes: dict[str, list[QueryOutcome]] = {}
    for subset, k in SUBSETS.items():
        lines = outcomes.setdefault(f"spec_{subset}", [])
        for item in range(sets):
            hard = random.Random(f"{subset}/{item}").gauss(0, 0.7)
            lines += _set(subset, item, k, skill - hard, rng)
    tasks = [
        TaskRecord(
            name=f"spec_{subset}",
            kind="sets",
            dataset="spec",
            subsets=(subset,),
            fingerprint="0" * 64,
            protocol="spec",
            items=sets,
            items_in_full=sets,
            queries=2 * k * sets,
        )
        for subset, k in SUBSETS.items()
    ]
    model = ModelDescription(adapter="made_up", name=f"model-{number:02}", weights_sha256=f"{number:064x}")
    write_record(make_record(tasks, outcomes, model, groups={"spec": tuple(outcomes)}), path)


def _set(subset: str, item: int, k: int, skill: float, rng: random.Random) -> list[QueryOutcome]:
    lines = []
    for direction, short in ((Direction.IMAGE_TO_TEXT, "i2t"), (Direction.TEXT_TO_IMAGE, "t2i")):
        for query in range(k):
            scores = [round(rng.gauss(skill if place == query else 0.0, 1.0), 6) for place in range(k)]
            lines.append(
                QueryOutcome(
                    query_id=f"spec/{subset}/{item:05}/{short}/{query}",
                    item_id=f"spec/{subset}/{item:05}",
                    subset=subset,
                    direction=direction,
                    candidates=k,
                    answers=(query,),
                    scores=tuple(scores),
                    scored="pairs",
                    images=(f"{item:058x}{subset[:5].encode().hex()[:4]}{query:02x}",),
                    hit=max(scores) == scores[query],
                    unscored=False,
                    tie=False,
                    near_tie=False,
                )
            )
    return lines


def _report(paths: list[str], out: str) -> dict[str, float]:
    from minchange_eval.cli.main import main as command

    clock = Clock()
    if code := command(["report", *paths, "--out", out, "--gallery", "0"]):
        sys.exit(code)
    return clock.spent()


if __name__ == "__main__":
    main()
