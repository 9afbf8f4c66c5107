"""SPEC's and VisMin's kinds of change, measured in the drawn pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from minchange_eval.core.errors import UsageError
from minchange_eval.generators.procedural import changes, pair_changes
from minchange_eval.generators.procedural.backdrops import View
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.categories import CATEGORIES, HELD_OUT, TRAIN_CATEGORIES
from minchange_eval.generators.procedural.changes import CELLS, Change
from minchange_eval.generators.procedural.colours import pixel_colours
from minchange_eval.generators.procedural.render import rendered
from minchange_eval.generators.procedural.scene import Scene
from minchange_eval.generators.procedural.suite import EDGE_PX, SPEC_CHANGES, SPEC_K, VISMIN_CHANGES, draw_spec
from tests.generators.drawn import Mask, box_area, centre_of, covered_px, mask_of, may_change

seeds = st.integers(0, 10**6)
some = settings(max_examples=40, deadline=None, derandomize=True)
ALL_CHANGES = {**SPEC_CHANGES, **VISMIN_CHANGES}


def drawn_change(kind: str, seed: int, edge_px: int = EDGE_PX, categories: tuple[str, ...] = CATEGORIES) -> Change:
    return ALL_CHANGES[kind](BitStream(seed, "test", kind), edge_px, categories)


def only_mask(scene: Scene) -> Mask:
    (thing,) = scene.things
    return mask_of(scene, thing)


def masks_of_two(scene: Scene, names: tuple[str, ...]) -> tuple[Mask, Mask]:
    first, second = (next(thing for thing in scene.things if thing.name == name) for name in names)
    return mask_of(scene, first), mask_of(scene, second)


@some
@given(seeds)
def test_absolute_sizes_keep_the_papers_shares_of_the_picture(seed: int) -> None:
    small, medium, large = (box_area(only_mask(s)) / EDGE_PX**2 for s in drawn_change("absolute_size", seed).scenes)
    assert small <= 0.2
    assert 0.4 <= medium <= 0.6
    assert large >= 0.8


@some
@given(seeds)
def test_relative_sizes_keep_the_papers_ratios_by_box_and_by_visible_pixels(seed: int) -> None:
    change = drawn_change("relative_size", seed)
    boxes, covered = [], []
    for scene in change.scenes:
        first, second = masks_of_two(scene, change.names)
        boxes.append(box_area(first) / box_area(second))
        things = [next(thing for thing in scene.things if thing.name == name) for name in change.names]
        covered.append(covered_px(scene, things[0]) / covered_px(scene, things[1]))
    for smaller, equal, larger in (boxes, covered):
        assert smaller <= 0.5
        assert 0.9 <= equal <= 1.1
        assert larger >= 2


@some
@given(seeds)
def test_absolute_position_is_the_cell_of_the_centre(seed: int) -> None:
    for scene, value in zip(drawn_change("absolute_spatial", seed).scenes, CELLS, strict=True):
        x, y = centre_of(only_mask(scene))
        assert CELLS[int(3 * y / EDGE_PX) * 3 + int(3 * x / EDGE_PX)] == value


@some
@given(seeds)
def test_relative_position_is_the_one_direction_in_which_the_centres_differ(seed: int) -> None:
    change = drawn_change("relative_spatial", seed)
    seen = []
    for scene in change.scenes:
        (x1, y1), (x2, y2) = (centre_of(mask) for mask in masks_of_two(scene, change.names))
        dx, dy = x1 - x2, y1 - y2
        assert max(abs(dx), abs(dy)) >= 4 * min(abs(dx), abs(dy)), "a person would hesitate"
        horizontal = abs(dx) > abs(dy)
        seen.append(("left" if dx < 0 else "right") if horizontal else ("above" if dy < 0 else "below"))
    assert tuple(seen) == change.values == changes.DIRECTIONS


@some
@given(seeds)
def test_existence_takes_one_whole_object_away(seed: int) -> None:
    change = drawn_change("existence", seed)
    present, absent = change.scenes
    (name,) = change.names
    assert name in {thing.name for thing in present.things}
    assert name not in {thing.name for thing in absent.things}
    (gone,) = (thing for thing in present.things if thing.name == name)
    differ = (rendered(present) != rendered(absent)).any(axis=2)
    covered = mask_of(present, gone)
    assert (differ & covered).sum() >= 0.95 * covered.sum()


@some
@given(seeds)
def test_count_shows_as_many_separate_shapes_as_the_caption_says(seed: int) -> None:
    change = drawn_change("count", seed)
    touching = np.ones((3, 3))
    masks = [mask_of(change.scenes[8], thing) for thing in change.scenes[8].things]
    assert (np.sum(masks, axis=0) <= 1).all(), "objects overlap"
    pieces = ndimage.label(masks[0], touching)[1]  # a kite has a tail of several pieces
    for scene, value in zip(change.scenes, change.values, strict=True):
        together = np.any([mask_of(scene, thing) for thing in scene.things], axis=0)
        assert ndimage.label(together, touching)[1] == int(value) * pieces
        assert len(scene.things) == int(value)


@some
@given(seeds, st.sampled_from(sorted(ALL_CHANGES)))
def test_pixels_outside_the_changed_objects_and_their_shadows_are_identical(seed: int, kind: str) -> None:
    change = drawn_change(kind, seed)
    elsewhere = ~may_change(change.scenes)
    first, *others = (rendered(scene) for scene in change.scenes)
    for other in others:
        assert (first[elsewhere] == other[elsewhere]).all()
        assert (first != other).any()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seeds, st.sampled_from(sorted(ALL_CHANGES)), st.sampled_from([64, 96, 128, 336]))
def test_nothing_is_cut_off_and_nothing_overlaps_at_any_size(seed: int, kind: str, edge_px: int) -> None:
    change = drawn_change(kind, seed, edge_px)
    for scene in change.scenes:
        for thing in scene.things:
            left, top, right, bottom = thing.box
            assert min(left, top) >= 0
            assert max(right, bottom) <= edge_px
        if change.values[0] not in ("in front", "behind"):
            covered = np.sum([mask_of(scene, thing) for thing in scene.things], axis=0)
            assert (covered <= 1).mean() > 0.999, "objects overlap"


@some
@given(seeds, st.sampled_from(["existence", "object", "count", "counting"]))
def test_things_on_the_ground_have_their_feet_below_the_horizon(seed: int, kind: str) -> None:
    for scene in drawn_change(kind, seed).scenes:
        if scene.backdrop.view is View.GROUND:
            for thing in scene.things:
                assert thing.box[3] > scene.edge_px * scene.backdrop.horizon_percent // 100


@some
@given(seeds)
def test_an_attribute_is_named_by_the_pixels_that_are_drawn(seed: int) -> None:
    change = drawn_change("attribute", seed)
    for scene, value in zip(change.scenes, change.values, strict=True):
        thing = next(thing for thing in scene.things if thing.name == change.names[0])
        colours = pixel_colours(rendered(scene)[mask_of(scene, thing)])
        named = colours[colours != ""]
        commonest = max(set(named.tolist()), key=named.tolist().count)
        assert commonest == value.split()[-1]


@some
@given(seeds)
def test_what_stands_in_front_hides_a_part_of_what_stands_behind(seed: int) -> None:
    change = pair_changes.depth_changed(BitStream(seed), EDGE_PX, CATEGORIES)
    for scene, value in zip(change.scenes, change.values, strict=True):
        small, large = masks_of_two(scene, change.names)
        both = small & large
        assert both.sum() >= 0.15 * small.sum()
        assert both.sum() <= 0.75 * small.sum(), "hidden too far to be recognised"
        picture = rendered(scene)
        alone = {
            name: rendered(Scene(EDGE_PX, scene.backdrop, (thing,)))
            for name in change.names
            for thing in scene.things
            if thing.name == name
        }
        as_small = (picture == alone[change.names[0]]).all(axis=2)[both].mean()
        as_large = (picture == alone[change.names[1]]).all(axis=2)[both].mean()
        assert (as_small > as_large) == (value == "in front")


def test_every_subset_has_the_papers_k() -> None:
    for item in draw_spec(5, 1, 64):
        assert item.k == SPEC_K[item.subset]


def test_training_categories_never_show_a_held_out_one() -> None:
    assert not set(HELD_OUT) & set(TRAIN_CATEGORIES)
    for kind in ALL_CHANGES:
        for seed in range(25):
            change = drawn_change(kind, seed, 64, TRAIN_CATEGORIES)
            assert not {thing.name for scene in change.scenes for thing in scene.things} & set(HELD_OUT)


def test_unknown_or_too_few_categories_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown categories unicorn"):
        list(draw_spec(0, 1, 64, ("cat", "unicorn")))
    with pytest.raises(UsageError, match="8 that stand on the ground"):
        list(draw_spec(0, 1, 64, ("cat", "car")))
