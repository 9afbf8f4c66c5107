"""Sets to train on: of the suite's kinds, without anything of the suite."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from minchange_eval.data.fingerprint import Fingerprint
from minchange_eval.data.releases import find_release
from minchange_eval.generators.procedural import suite
from minchange_eval.generators.procedural.backdrops import View
from minchange_eval.generators.procedural.categories import HELD_OUT, TRAIN_CATEGORIES
from minchange_eval.generators.procedural.training_sets import (
    SEED,
    draw_spec_train,
    draw_vismin_train,
    plan_spec_train,
)

# Whoever changes a pixel or a word on purpose raises the number in training_sets.VERSIONS, and writes the digest here.
GOLDEN = {
    "spec_mini_train": "40d83fa33fb869b91e3c218ff59ed19747d9874ae4ecdb6ad0e1504200c85c4d",
    "vismin_mini_train": "79dd8f3ff0a155f6d85673b958240c510bc597c80ba765de199c482f1974fd09",
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
    ours = [said(item.captions) for item in draw_spec_train(25, edge_px=32)]
    ours += [said(item.captions) for item in draw_vismin_train(25, edge_px=32)]
    assert not any(one <= whole for whole in ours for one in theirs)
    single = Counter(caption for whole in ours for caption in whole)
    assert any(caption in single for one in theirs for caption in one)  # which is no leak: every sentence is trained on


@pytest.mark.parametrize(("name", "items"), [("spec_mini_train", 1800), ("vismin_mini_train", 1200)])
def test_a_release_says_its_seed_its_size_and_what_it_never_shows(name: str, items: int) -> None:
    release = find_release(name)
    assert release.synthetic
    assert release.items == items
    assert release.revision == "seed 2000000, version 2"
    assert all(held_out in " ".join(release.quirks) for held_out in HELD_OUT)
    first = next(iter(islice(release.read(None), 1)))
    assert first.set_id.startswith(f"{name}/")  # type: ignore[union-attr]


def test_a_scene_that_one_thing_fills_is_none_of_the_suite() -> None:
    def filling(planned: suite.PlannedSet) -> list[tuple[str, bool, View]]:
        shown = [
            (scene.things[0].look, scene.backdrop.view, scene.things[0].area_px) for scene in planned.change.scenes
        ]
        return [(look.sprite, look.mirrored, view) for look, view, area_px in shown if area_px > planned_edge_px**2 / 2]

    planned_edge_px = suite.EDGE_PX
    theirs = {
        look
        for number in range(100)
        for look in filling(suite.plan_spec(suite.SEED, "absolute_size", number, suite.EDGE_PX, suite.CATEGORIES))
    }
    drawn = {item.set_id for item in islice(draw_spec_train(20, edge_px=64), 20)}
    planned_edge_px = 64
    kept, passed_over = [], []
    for number in range(max(int(set_id.rpartition("/")[2]) for set_id in drawn) + 1):
        looks = filling(plan_spec_train(SEED, "absolute_size", number, 64, TRAIN_CATEGORIES))
        (kept if f"spec_mini_train/absolute_size/{number:04d}" in drawn else passed_over).extend(looks)
    assert not theirs & set(kept)
    assert theirs & set(passed_over)
