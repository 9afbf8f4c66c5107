"""One measurement in a process of its own: what it returns, and the most memory that it and its children held."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SAMPLE_EVERY_S = 0.05


@dataclass(frozen=True)
class Measured:
    """What came of a call in another process.

    Attributes:
        result: what it returned.
        peak_rss_mb: the largest sum over it and its children, everything that is resident: also shared libraries and
            pages of mapped files, which the kernel can drop.
        peak_own_mb: the same without pages of files.
    """

    result: Any
    peak_rss_mb: float
    peak_own_mb: float


class Clock:
    """Wall and processor seconds since it was made, the latter of this process, its threads and its ended children."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), _cpu_s()

    def spent(self) -> dict[str, float]:
        """What was spent until now."""
        return {"seconds": time.monotonic() - self._wall, "cpu_s": _cpu_s() - self._cpu}


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measured(call: Callable[..., Any], *args: Any, log: Path) -> Measured:
    """Run a call in a fresh process, its output in a file."""
    fresh = multiprocessing.get_context("spawn")
    answer, into = fresh.Pipe(duplex=False)
    child = fresh.Process(target=_child, args=(call, args, into, log))
    child.start()
    into.close()
    assert child.pid is not None
    peak_rss = peak_own = 0.0
    while child.exitcode is None:
        rss, own = _resident_mb(child.pid)
        peak_rss, peak_own = max(peak_rss, rss), max(peak_own, own)
        child.join(SAMPLE_EVERY_S)
    if child.exitcode or not answer.poll():
        raise SystemExit(f"the measurement failed; its output ends with:\n{log.read_text()[-2000:]}")
    return Measured(answer.recv(), peak_rss, peak_own)


def _child(call: Callable[..., Any], args: tuple[Any, ...], into: Connection, log: Path) -> None:
    with log.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    into.send(call(*args))


def resident_mb(pid: int | str = "self") -> float:
    """What one process holds now, pages of files included."""
    return _status_mb(pid)[0]


def _resident_mb(pid: int) -> tuple[float, float]:
    held = [_status_mb(one) for one in _family(pid)]
    return sum(rss for rss, _ in held), sum(own for _, own in held)


def _family(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _status_mb(pid: int | str) -> tuple[float, float]:
    held = {"VmRSS:": 0.0, "RssFile:": 0.0}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, *value = line.split()
            if name in held:
                held[name] = int(value[0]) / 1024
    return held["VmRSS:"], held["VmRSS:"] - held["RssFile:"]
