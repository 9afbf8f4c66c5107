"""Charts of what several runs answered, benchmark by benchmark.

Each chart is bounded: what it leaves out is in the tables, and its note says how much that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minchange_eval.reports.agreement import agreement
from minchange_eval.reports.answered import Answered, Answers, answered
from minchange_eval.reports.change_chart import ChangedAreas, change_chart
from minchange_eval.reports.figure import Figure
from minchange_eval.reports.option_order import option_order
from minchange_eval.reports.slice_dots import slice_dots


@dataclass(frozen=True)
class BenchmarkCharts:
    """The charts of one benchmark in one variant."""

    title: str
    dataset: str
    fingerprint: str
    variant: str
    synthetic: bool
    figures: tuple[Figure, ...]


def charts_of(runs: Sequence[Sequence[Answers]], labels: Sequence[str]) -> tuple[BenchmarkCharts, ...]:
    """The charts of every benchmark that the runs answered.

    Args:
        runs: of each run what `answers_in` found in its record.
        labels: what each run's model is called.
    """
    areas = ChangedAreas()
    return tuple(
        BenchmarkCharts(
            title=of.title,
            dataset=of.dataset,
            fingerprint=of.fingerprint,
            variant=of.variant,
            synthetic=of.synthetic,
            figures=_figures(of, f"chart-{number}", areas),
        )
        for number, of in enumerate(answered(runs, labels))
    )


def _figures(of: Answered, name: str, areas: ChangedAreas) -> tuple[Figure, ...]:
    figures = [
        *slice_dots(of, name),
        change_chart(of, f"{name}-change", areas),
        *option_order(of, f"{name}-order"),
        agreement(of),
    ]
    return tuple(figure for figure in figures if figure is not None)
