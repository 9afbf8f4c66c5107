from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.gate_passes import lower_bounds, pass_rates
from minchange_eval.reports.gate import gate
from tests.reports.made_records import questions, record

DOCS = Path(__file__).parents[2] / "docs" / "ci.md"


@pytest.mark.parametrize(("clusters", "to_wrong", "to_right"), [(44, 0, 0), (165, 3, 1), (500, 20, 20)])
def test_the_table_has_the_bound_that_the_gate_has(clusters: int, to_wrong: int, to_right: int) -> None:
    before = [number < to_wrong for number in range(clusters)]
    after = [to_wrong <= number < to_wrong + to_right for number in range(clusters)]
    (check,) = gate(record(quiz=questions(before)), record(quiz=questions(after))).checks
    (bound,) = lower_bounds(clusters, np.array([to_wrong]), np.array([to_right]))
    assert bound == pytest.approx(check.lower)


def test_a_row_of_the_table_in_the_docs_comes_back() -> None:
    rates = pass_rates(165, 0.05, (0.02, 0.05), draws=10_000, seed=0)
    (row,) = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| 165 | 5% |")]
    assert [f"{100 * rate:.0f} %" for rate in rates] == [row.split(" | ")[place] for place in (4, 6)]
