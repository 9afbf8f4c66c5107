"""How far a long loop has come, on stderr: a bar at a terminal, a line now and then in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Thing = TypeVar("Thing")
_LINE_EVERY_S = 20.0


def shown(name: str, unit: str, things: Iterable[Thing], total: int | None) -> Iterator[Thing]:
    """The things, with rate and remaining time on stderr.

    Args:
        name: what is gone through.
        unit: what is counted, in the plural.
        total: how many there will be; None where that is not known.
    """
    from tqdm import tqdm

    if sys.stderr.isatty():
        yield from tqdm(things, desc=name, total=total, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True)
        return
    began = said = time.monotonic()
    for done, thing in enumerate(things, 1):
        yield thing
        now = time.monotonic()
        if now - said >= _LINE_EVERY_S:
            said = now
            rate = done / (now - began)
            left = f", {tqdm.format_interval((total - done) / rate)} left" if total and total > done else ""
            print(f"{name}: {done:,} {unit}, {rate:.1f} a second{left}", file=sys.stderr, flush=True)
