"""How long an audit of a table of choice questions takes: `python -m benchmarks.audit`.

Questions and options are made up of words drawn with Zipf's frequencies; in a third of the questions the longest option
is the answer, so that there is something to find. Measured is the verb `audit` from its start to its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

VOCABULARY = 30_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=15_000)
    parser.add_argument("--options", type=int, default=4)
    parser.add_argument("--words", type=int, default=13, help="of an option, on average")
    args, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "made_up.jsonl"
        _write(table, args.questions, args.options, args.words)
        command = [sys.executable, "-m", "minchange_eval.cli.main", "audit", str(table), *flags]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=_home(folder))
        wall_s = time.perf_counter() - start
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("\n".join(done.stdout.splitlines()[:2]))
    print(
        f"{args.questions:,} questions of {args.options} options: {wall_s:.0f} s "
        f"(processor {spent.ru_utime + spent.ru_stime:.0f} s), {spent.ru_maxrss / 1024:.0f} MB"
    )


def _home(folder: str) -> dict[str, str]:
    return {**os.environ, "MINCHANGE_HOME": f"{folder}/home"}


def _write(path: Path, questions: int, options: int, words: int) -> None:
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(questions):
            texts = [_sentence(rng, int(rng.integers(words // 2, words * 3 // 2 + 1))) for _ in range(options)]
            lengths = [len(text) for text in texts]
            answer = lengths.index(max(lengths)) if rng.random() < 1 / 3 else int(rng.integers(options))
            row = {"question": _sentence(rng, 8), "options": texts, "answer": answer}
            file.write(json.dumps(row) + "\n")


def _sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(f"w{min(int(rank), VOCABULARY)}" for rank in rng.zipf(1.3, words)).capitalize() + "."


if __name__ == "__main__":
    main()
