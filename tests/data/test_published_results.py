from __future__ import annotations

import csv
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.data.benchmark_card import benchmark_card, card_names
from minchange_eval.data.published_results import PublishedRow, published_benchmarks, published_rows

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "reported_results.csv"
ALL = [row for benchmark in published_benchmarks() for row in published_rows(benchmark)]


def test_every_number_that_was_collected_is_there() -> None:
    assert len(ALL) == 1360
    counts = Counter(row.benchmark for row in ALL)
    assert (counts["spec"], counts["vismin"], counts["med"], counts["med_real"]) == (167, 221, 177, 11)


def test_every_number_names_its_source_and_is_a_number() -> None:
    for row in ALL:
        assert row.model
        assert row.source
        assert row.published_metric
        assert row.exact.is_finite()
        assert row.unit == "score" or 0 <= row.value <= 100


def test_the_values_are_those_of_the_collection_as_printed() -> None:
    if not REFERENCE.exists():
        pytest.skip("the collection is not beside this checkout")
    with REFERENCE.open(newline="", encoding="utf-8") as file:
        collected = Counter((r["model"], r["subset"], r["metric"], r["value"]) for r in csv.DictReader(file))
    ours = Counter((r.model, r.published_subset, r.published_metric, r.printed) for r in ALL)
    assert ours == collected


@pytest.mark.parametrize("name", ["spec", "vismin", "med", "med_real", "vsr"])
def test_subsets_are_those_of_the_card(name: str) -> None:
    assert {row.subset for row in published_rows(name)} <= {*benchmark_card(name).subsets, ""}


def test_benchmarks_with_a_card_come_first() -> None:
    assert set(published_benchmarks()[:5]) <= set(card_names())


def test_no_number_stands_twice_with_two_values_in_one_source() -> None:
    seen = Counter((r.model, r.benchmark, r.published_subset, r.published_metric, r.source) for r in ALL)
    twice = {key for key, times in seen.items() if times > 1}
    assert {key[1] for key in twice} <= {"vsr_collected"}  # whose table lists some models more than once


def test_a_number_keeps_its_decimals_and_a_fraction_is_read_in_percent() -> None:
    def row(printed: str, unit: str) -> PublishedRow:
        return PublishedRow("m", "b", "", "accuracy", printed, unit, "model", "s", "", "", "")  # type: ignore[arg-type]

    assert [row(printed, "percent").decimals for printed in ("42.5", "42.50", "100")] == [1, 2, 0]
    assert (row("0.72", "fraction").exact, row("0.72", "fraction").decimals) == (Decimal(72), 0)
    assert (row("0.725", "fraction").value, row("0.725", "fraction").decimals) == (72.5, 1)


def test_humans_chance_and_blind_rules_are_told_from_models() -> None:
    roles = {(row.benchmark, row.model): row.role for row in ALL}
    assert roles["vismin", "MTurk human"] == roles["med", "Human"] == roles["vsr", "human"] == "human"
    assert roles["spec", "Random chance"] == "chance"
    assert roles["med", "constant D"] == roles["vsr", "majority label"] == "blind"
    assert roles["vismin", "GPT-4o"] == "model"


def test_what_nothing_is_published_on_is_named_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="no published results of 'spex' are known here; there are med, med_real"):
        published_rows("spex")
