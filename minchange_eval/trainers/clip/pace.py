"""How fast a training goes, and how much of the time the model waits for data."""

from __future__ import annotations

from collections import deque

OVER_STEPS = 50


class Pace:
    """Rates over the last steps; evaluations and saving apart.

    Attributes:
        total_s: that all steps took.
    """

    def __init__(self) -> None:
        self.total_s = 0.0
        self._last: deque[tuple[float, int, float]] = deque(maxlen=OVER_STEPS)
        self._waited_s = 0.0

    def add(self, seconds: float, rows: int, waited_s: float) -> None:
        """One step: how long it took, its rows, and how long all so far waited for data."""
        self.total_s += seconds
        self._last.append((seconds, rows, waited_s - self._waited_s))
        self._waited_s = waited_s

    @property
    def step_s(self) -> float:
        """Seconds a step."""
        return sum(seconds for seconds, _, _ in self._last) / max(len(self._last), 1)

    @property
    def images_per_s(self) -> float:
        """Rows of all processes a second."""
        return sum(rows for _, rows, _ in self._last) / max(sum(seconds for seconds, _, _ in self._last), 1e-9)

    @property
    def waited(self) -> float:
        """Share of the time in which there was no batch yet."""
        return sum(waited for _, _, waited in self._last) / max(sum(seconds for seconds, _, _ in self._last), 1e-9)
