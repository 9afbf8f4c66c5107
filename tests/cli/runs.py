"""Runs of the `lmms_eval` command as processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minchange_eval.core.record import RunRecord, read_record


@dataclass(frozen=True)
class Run:
    """What one run left: exit code (negative: the signal that ended it) and output."""

    code: int
    output: str

    @property
    def record_path(self) -> Path:
        """The last line printed."""
        return Path(self.output.rstrip().splitlines()[-1])

    @property
    def record(self) -> RunRecord:
        return read_record(self.record_path)


class Runner:
    """Starts runs through the zygote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0
        self._zygote = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                "HF_HUB_OFFLINE": "1",
                "TQDM_DISABLE": "1",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
        )
        assert self._line() == "ready"

    def close(self) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait(30)
        assert self._zygote.stdout is not None
        self._zygote.stdout.close()

    def run(
        self,
        argv: Sequence[str],
        home: Path,
        *,
        env: Mapping[str, str] | None = None,
        before: str = "",
        end: tuple[signal.Signals, float] | None = None,
        once: Callable[[], bool] | None = None,
    ) -> Run:
        """Run to the end, or until it is sent a signal that many seconds after its evaluation has begun.

        Args:
            once: what must be the case too before these seconds count.
            before: Python source, run in the process first: what is to go wrong.
        """
        self._number += 1
        out = self.folder / f"run{self._number}.log"
        request = {
            "argv": list(argv),
            "env": {"MINCHANGE_HOME": str(home), **(env or {})},
            "out": str(out),
            "before": before,
        }
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps(request) + "\n")
        self._zygote.stdin.flush()
        pid = int(self._line())
        if end is not None:
            _wait(lambda: out.exists() and b"Running generate_until" in out.read_bytes())
            if once is not None:
                _wait(once)
            _send(pid, *end)
        code = int(self._line())
        return Run(code, re.sub(r"\x1b\[[0-9;]*m", "", out.read_text(errors="replace")))

    def _line(self) -> str:
        assert self._zygote.stdout is not None
        return self._zygote.stdout.readline().strip()


def _wait(begun: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not begun():
        assert time.monotonic() < deadline, "the evaluation never began"
        time.sleep(0.005)


def _send(pid: int, what: signal.Signals, after_s: float) -> None:
    time.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):  # done already, which is a point to be killed at too
        os.killpg(pid, what)
