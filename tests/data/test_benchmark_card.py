from __future__ import annotations

import csv
from pathlib import Path

import pytest

import minchange_eval.data
from minchange_eval.core.chance import chance
from minchange_eval.core.errors import UsageError
from minchange_eval.data.benchmark_card import benchmark_card, card_names
from minchange_eval.data.releases import known_releases

PUBLISHED = Path(minchange_eval.data.__file__).parent / "published"


@pytest.mark.parametrize("name", card_names())
def test_every_card_is_complete_and_its_chance_follows_from_k(name: str) -> None:
    card = benchmark_card(name)
    assert card.name == name
    assert card.title
    assert card.licence
    assert card.paper
    assert card.how_to_get
    assert card.readings or card.synthetic
    for subset in card.subsets.values():
        for metric, value in subset.chance.items():
            expected = 1 / subset.k if metric == "accuracy" else chance(metric, subset.k, "scores")
            assert value == pytest.approx(expected, abs=1e-9)


def test_every_release_that_is_evaluated_on_has_a_card_that_agrees_with_it() -> None:
    for name, release in known_releases().items():
        if name.endswith("_train"):
            assert name not in card_names()
            continue
        card = benchmark_card(name)
        assert {subset: values.k for subset, values in card.subsets.items()} == dict(release.subsets)
        assert (card.kind, card.synthetic) == (release.kind, release.synthetic)


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.csv")), ids=lambda path: path.stem)
def test_published_numbers_name_their_source_and_a_subset_of_the_card(path: Path) -> None:
    known = {*benchmark_card(path.stem).subsets, "all", "mean"}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        assert row["source"]
        assert row["subset"] in known
        assert 0 <= float(row["value"]) <= 100


def test_an_unknown_card_is_named() -> None:
    with pytest.raises(UsageError, match="no benchmark card 'x'; there are med"):
        benchmark_card("x")
