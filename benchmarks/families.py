"""Tiny random chat models of several families through whole tasks, in every scoring: `python -m benchmarks.families`.

One `lmms_eval` command a row, on what is prepared; the table says what was answered, computed, reused, and how long.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from minchange_eval.core.record import RunRecord, read_record

FAMILIES = ("qwen2_5_vl", "llava", "idefics3", "mllama")
SCORINGS = ("letters", "options", "generate")
TASKS = "med,spec_mini,vismin_mini,med_mini"


def main() -> None:
    """Run every family in every scoring and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), metavar="FAMILY")
    parser.add_argument("--scorings", nargs="+", default=list(SCORINGS), choices=SCORINGS)
    parser.add_argument("--tasks", default=TASKS)
    args = parser.parse_args()
    print("| family | scoring | exit | queries | read | seconds | images encoded of shown | tokens computed of asked |")
    print("|---|---|---|---|---|---|---|---|")
    for family in args.families:
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint = _checkpoint(family, Path(scratch))
            for scoring in args.scorings:
                print(_row(family, scoring, checkpoint, args.tasks), flush=True)


def _checkpoint(family: str, folder: Path) -> Path:
    from tests.model_adapters.chat_checkpoints import write_checkpoint

    return write_checkpoint(family, folder / family)


def _row(family: str, scoring: str, checkpoint: Path, tasks: str) -> str:
    model_args = f"pretrained={checkpoint},scoring={scoring},log=false"
    command = [
        *(str(Path(sys.executable).with_name("lmms_eval")), "--model", "hf_multi_image", "--model_args", model_args),
        *("--tasks", tasks, "--gen_kwargs", "max_new_tokens=4"),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    path = Path((run.stdout.strip().splitlines() or ["no record"])[-1])
    if not path.is_file():
        return f"| {family} | {scoring} | {run.returncode} | " + (run.stderr.strip().splitlines() or [""])[-1]
    return f"| {family} | {scoring} | {run.returncode} | {_of(read_record(path))} |"


def _of(record: RunRecord) -> str:
    outcomes = [outcome for task in record.outcomes.values() for outcome in task]
    read = sum(not outcome.unscored for outcome in outcomes)
    work = record.run.work
    computed, reused = work["prompt_tokens_computed"], work["prompt_tokens_reused"]
    assert isinstance(computed, int)
    assert isinstance(reused, int)
    images = f"{work['images_encoded']:,} of {work['images_shown']:,}"
    return f"{len(outcomes):,} | {read:,} | {work['seconds']:.0f} | {images} | {computed:,} of {computed + reused:,}"


if __name__ == "__main__":
    main()
