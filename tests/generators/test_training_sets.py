"""Sets to train on: of the suite's kinds, without anything of the suite."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from minchange_eval.data.fingerprint import Fingerprint
from minchange_eval.data.releases import find_release
from minchange_eval.generators.procedural import suite
from minchange_eval.generators.procedural.categories import HELD_OUT
from minchange_eval.generators.procedural.training_sets import draw_spec_train, draw_vismin_train

# Whoever changes a pixel or a word on purpose raises the number in training_sets.VERSIONS, and writes the digest here.
GOLDEN = {
    "spec_mini_train": "24da2a1e3fa943d1197727c5e5fbefd89b27f9ee2ab11f065f57004383ff34f7",
    "vismin_mini_train": "d18512872f8ac5563a7c5639af98a3df118620a8564d745b73f326a4545d6335",
}


@pytest.mark.parametrize("draw", [draw_spec_train, draw_vismin_train])
def test_the_same_seed_gives_the_same_pixels_and_texts_on_every_machine(draw) -> None:  # type: ignore[no-untyped-def]
    fingerprint = Fingerprint(over_pixels=True)
    names = set()
    for item in draw(3):
        fingerprint.add(item)
        names.add(item.set_id.split("/")[0])
    assert {fingerprint.hexdigest()} == {GOLDEN[name] for name in names}


def test_no_category_that_is_held_out_is_shown_or_named() -> None:
    for item in [*draw_spec_train(12, edge_px=32), *draw_vismin_train(12, edge_px=32)]:
        assert not set(item.facts["names"]) & set(HELD_OUT)
        assert not any(name in caption.lower() for name in HELD_OUT for caption in item.captions)


def test_no_training_set_holds_all_captions_of_a_set_of_the_suite() -> None:
    def said(captions: tuple[str, ...]) -> frozenset[str]:
        return frozenset(caption.lower().rstrip(".") for caption in captions)

    plans = [
        plan(suite.SEED, subset, number, suite.EDGE_PX, suite.CATEGORIES)
        for plan, subsets in ((suite.plan_spec, suite.SPEC_CHANGES), (suite.plan_vismin, suite.VISMIN_CHANGES))
        for subset in subsets
        for number in range(100)
    ]
    theirs = {said(captions) for plan in plans for captions in (plan.captions, plan.query_captions) if captions}
    ours = [said(item.captions + item.query_captions) for item in draw_spec_train(25, edge_px=32)]
    ours += [said(item.captions) for item in draw_vismin_train(25, edge_px=32)]
    assert not any(one <= whole for whole in ours for one in theirs)
    single = Counter(caption for whole in ours for caption in whole)
    assert any(caption in single for one in theirs for caption in one)  # which is no leak: every sentence is trained on


@pytest.mark.parametrize(("name", "items"), [("spec_mini_train", 1800), ("vismin_mini_train", 1200)])
def test_a_release_says_its_seed_its_size_and_what_it_never_shows(name: str, items: int) -> None:
    release = find_release(name)
    assert release.synthetic
    assert release.items == items
    assert release.revision == "seed 2000000, version 1"
    assert all(held_out in " ".join(release.quirks) for held_out in HELD_OUT)
    first = next(iter(islice(release.read(None), 1)))
    assert first.set_id.startswith(f"{name}/")  # type: ignore[union-attr]
