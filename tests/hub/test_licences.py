from __future__ import annotations

import re
from itertools import pairwise

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.data.benchmark_card import benchmark_card, card_names
from minchange_eval.data.store_card import StoreCard
from minchange_eval.hub.licences import LICENCES, SOURCES, Strictness, inherited, licence_of, sources_of


def test_each_step_of_the_order_beats_the_one_before() -> None:
    ladder = ["MIT", "CC-BY-4.0", "CC-BY-SA-4.0"]
    for weaker, stricter in pairwise(ladder):
        assert inherited({"a": weaker, "b": stricter}).hub == inherited({"b": stricter, "a": weaker}).hub
        assert inherited({"a": weaker, "b": stricter}).hub == stricter.lower()
    assert inherited({"a": "CC-BY-4.0", "b": "CC-BY-NC-4.0"}).strictness is Strictness.NON_COMMERCIAL
    assert inherited({"a": "CC-BY-NC-4.0", "b": "CC-BY-NC-ND-4.0"}).strictness is Strictness.NO_DERIVATIVES
    assert inherited({"a": "CC-BY-NC-ND-4.0", "b": ""}).strictness is Strictness.UNSTATED


@pytest.mark.parametrize("name", sorted(LICENCES))
def test_every_licence_is_known_by_its_spdx_and_its_hub_name_and_is_its_own_inheritance(name: str) -> None:
    licence = licence_of(name.upper())
    assert licence_of(licence.spdx) == licence
    assert inherited({"a": licence.spdx, "b": licence.spdx}).licences == (licence,)
    assert inherited({"a": licence.spdx, "b": "MIT"}).strictness is licence.strictness


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("CC-BY-SA-4.0", "CC-BY-NC-4.0", "not for profit"),
        ("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "demands its own licence"),
        ("CC-BY-SA-4.0", "ODbL-1.0", "demands its own licence"),
        ("CC-BY-SA-4.0", "CC-BY-ND-4.0", "allows nothing to be made of it"),
        ("ODbL-1.0", "CC-BY-NC-4.0", "not for profit"),
    ],
)
def test_licences_that_cannot_both_be_kept_are_refused_by_name_in_either_order(
    one: str, other: str, reason: str
) -> None:
    for sources in ({"left": one, "right": other}, {"right": other, "left": one}):
        with pytest.raises(UsageError, match=f"left.*right|right.*left.*cannot.*{reason}") as caught:
            inherited(sources)
        assert one in str(caught.value)
        assert reason in str(caught.value)


def test_a_later_version_of_a_share_alike_licence_stands_for_an_earlier_one() -> None:
    assert inherited({"a": "CC-BY-SA-3.0", "b": "CC-BY-SA-4.0"}).hub == "cc-by-sa-4.0"
    assert inherited({"a": "CC-BY-NC-SA-4.0", "b": "CC-BY-NC-SA-3.0"}).hub == "cc-by-nc-sa-4.0"


def test_share_alike_not_for_profit_contains_not_for_profit() -> None:
    assert inherited({"a": "CC-BY-NC-SA-4.0", "b": "CC-BY-NC-4.0"}).hub == "cc-by-nc-sa-4.0"


def test_conditions_that_do_not_contain_each_other_are_all_named() -> None:
    assert inherited({"a": "CC-BY-ND-4.0", "b": "CC-BY-NC-4.0"}).hub == ["cc-by-nd-4.0", "cc-by-nc-4.0"]


@pytest.mark.parametrize("name", ["med", "s-vco", "vsre"])
def test_sources_that_state_no_licence_are_refused_until_a_person_has_looked(name: str) -> None:
    found = inherited({"mine": "CC-BY-SA-4.0", name: SOURCES[name]})
    with pytest.raises(UsageError, match=f"{name} states no licence; .* --licence-reviewed"):
        found.require_reviewed(reviewed=False)
    found.require_reviewed(reviewed=True)
    assert found.hub == "unknown"


def test_words_that_are_no_known_licence_are_not_guessed() -> None:
    found = inherited({"a": "free for research (mostly MIT)"})
    assert found.hub == "other"
    with pytest.raises(UsageError, match=re.escape("a states 'free for research (mostly MIT)'")):
        found.require_reviewed(reviewed=False)


def test_what_may_only_be_passed_on_unchanged_is_flagged() -> None:
    with pytest.raises(UsageError, match=r"a \(CC-BY-ND-4.0\) may only be passed on unchanged"):
        inherited({"a": "cc-by-nd-4.0"}).require_reviewed(reviewed=False)


def test_what_is_made_of_vismins_training_set_is_share_alike() -> None:
    made = {"vismin": SOURCES["mair-lab/vismin"], "drawn": "Apache-2.0"}
    assert inherited(made).hub == "cc-by-sa-4.0"
    inherited(made).require_reviewed(reviewed=False)


def test_the_parts_of_a_card_are_sources_of_their_own() -> None:
    card = StoreCard(name="both", licence="not stated by the authors; images of MMVP: mit")
    assert sources_of(card) == {"both": "not stated by the authors", "both images of MMVP": "mit"}
    assert sources_of(StoreCard(name="both", licence="MIT AND CC-BY-SA-4.0")) == {
        "both": "MIT",
        "both (2)": "CC-BY-SA-4.0",
    }
    assert inherited(sources_of(StoreCard(name="both", licence="MIT OR CC-BY-4.0"))).to_review


@pytest.mark.parametrize(
    "stated",
    [
        "CC-BY-NC-4.0; MIT",
        "MIT; CC-BY-NC-4.0",
        "images: CC-BY-NC-4.0; images: MIT",
        "images: CC-BY-NC-4.0 AND MIT; images: MIT",
    ],
)
def test_no_licence_is_lost_beside_another_one(stated: str) -> None:
    found = inherited(sources_of(StoreCard(name="both", licence=stated)))
    assert found.strictness is Strictness.NON_COMMERCIAL
    assert not found.to_review


@pytest.mark.parametrize("stated", ["CC-BY-NC-4.0, MIT", "images: all rights reserved, MIT", "MIT WITH Conditions"])
def test_words_beside_a_known_licence_wait_for_a_person(stated: str) -> None:
    assert inherited(sources_of(StoreCard(name="both", licence=stated))).to_review


def test_a_name_alone_gives_no_licence() -> None:
    for name in ("spec", "vismin", "mine"):
        assert sources_of(StoreCard(name=name, licence="")) == {name: ""}
    assert sources_of(StoreCard(name="mair-lab/vismin")) == {"mair-lab/vismin": "CC-BY-SA-4.0"}


@pytest.mark.parametrize("name", card_names())
def test_the_licence_of_every_benchmark_is_known_or_waits_for_a_person(name: str) -> None:
    found = inherited(sources_of(StoreCard(name=name, licence=benchmark_card(name).licence)))
    assert bool(found.to_review) == (name in {"med", "med_real", "vsr"})
