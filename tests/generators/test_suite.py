"""The mini suite: the same pixels and texts on every machine, and what its releases say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import numpy as np
import pytest

from minchange_eval.core.images import open_image
from minchange_eval.core.items import CandidateSet, Item, item_id
from minchange_eval.data.fingerprint import Fingerprint
from minchange_eval.generators.procedural.categories import CATEGORIES, HELD_OUT, TRAIN_CATEGORIES
from minchange_eval.generators.procedural.suite import (
    SEED,
    draw_med,
    draw_scenes,
    draw_spec,
    draw_vismin,
    med_mini,
    spec_mini,
    vismin_mini,
)

# Whoever changes a pixel or a word on purpose raises the data set's number in suite.VERSIONS, and writes the new digest
# here.
GOLDEN = {
    "spec": "f27f28bf430693a6ec6a0338f92b8889730cea17cf07af9ce1e2aa5513f5b7c7",
    "vismin": "a19e76308689025c98a6f8d1b1dc0d7cc71a6f67fa9ce72d8790c0bfdf34c5ca",
    "med": "5547279275f3096820868c57fc7c0d36cb13de8acc49d7637db0a6e7e4b83090",
    "scenes": "900217e7c022ce62198625f5baf04b25157a4d579c9c18061edb31bef95d1450",
}


def digest(items: Iterable[Item]) -> str:
    fingerprint = Fingerprint(over_pixels=True)
    for item in items:
        fingerprint.add(item)
    return fingerprint.hexdigest()


def digest_of_scenes(seed: int) -> str:
    import hashlib

    total = hashlib.sha256()
    for pixels, caption, names in draw_scenes(seed, 60, 64):
        total.update(pixels.tobytes() + caption.encode() + "/".join(names).encode())
    return total.hexdigest()


@pytest.mark.parametrize("family", GOLDEN)
def test_the_same_seed_gives_the_same_pixels_and_texts_on_every_machine(family: str) -> None:
    drawn = {
        "spec": lambda: digest(draw_spec(SEED, 3)),
        "vismin": lambda: digest(draw_vismin(SEED, 12)),
        "med": lambda: digest(draw_med(SEED, 4)),
        "scenes": lambda: digest_of_scenes(SEED),
    }
    assert drawn[family]() == GOLDEN[family]


def test_other_seeds_give_other_sets_and_more_sets_leave_the_first_as_they_are() -> None:
    one, other = digest(draw_vismin(1, 1, 64)), digest(draw_vismin(2, 1, 64))
    assert one != other
    few = {item_id(item): digest([item]) for item in draw_spec(1, 1, 64)}
    many = {item_id(item): digest([item]) for item in draw_spec(1, 2, 64)}
    assert few.items() <= many.items()


@pytest.mark.parametrize(("release", "items"), [(spec_mini(), 600), (vismin_mini(), 400), (med_mini(), 220)])
def test_a_release_is_synthetic_complete_and_names_what_is_held_out(release, items: int) -> None:  # type: ignore[no-untyped-def]
    assert release.synthetic
    assert release.items == items
    assert release.revision
    assert all(name in " ".join(release.quirks) for name in HELD_OUT)
    first = next(iter(release.read(None)))
    assert first.subset in release.subsets
    assert (first.k if isinstance(first, CandidateSet) else len(first.options)) == release.subsets[first.subset]


def test_the_revision_of_a_release_is_of_its_own_pixels_and_texts() -> None:
    revisions = {release.name: release.revision for release in (spec_mini(), vismin_mini(), med_mini())}
    assert revisions == {
        "spec_mini": "seed 0, version 1",
        "vismin_mini": "seed 0, version 2",
        "med_mini": "seed 0, version 2",
    }


def test_every_item_of_the_suite_has_an_identity_of_its_own_and_images_that_differ() -> None:
    seen: Counter[str] = Counter()
    for item in [*draw_spec(SEED, 5, 64), *draw_vismin(SEED, 10, 64), *draw_med(SEED, 5, 64)]:
        seen[item_id(item)] += 1
        assert len({image.sha256 for image in item.images}) == len(item.images)
        if isinstance(item, CandidateSet):
            assert len(set(item.captions)) == len(set(item.query_captions)) == item.k
    assert max(seen.values()) == 1


def test_pictures_are_lossless_and_square() -> None:
    from minchange_eval.generators.procedural.render import png_bytes

    pixels, _, _ = next(draw_scenes(3, 1, 97))
    assert pixels.shape == (97, 97, 3)
    item = next(iter(draw_spec(3, 1)))
    assert open_image(item.images[0]).size == (224, 224)
    from minchange_eval.core.images import decode

    assert (np.asarray(decode(png_bytes(pixels), "scene")) == pixels).all()


def test_no_place_among_the_candidates_is_right_more_often_than_another() -> None:
    sets = list(draw_spec(SEED, 20, 64))
    places = Counter(order.index(i) for item in sets if item.k == 3 for i, order in enumerate(item.image_to_text))
    assert all(abs(places[place] - 40) <= 16 for place in range(3))


def test_training_scenes_show_what_they_name_and_nothing_held_out() -> None:
    for pixels, caption, names in islice(draw_scenes(9, 200), 200):
        assert 1 <= len(names) <= 3
        assert not set(names) & set(HELD_OUT)
        assert all((name if name != "tv" else "TV") in caption for name in names)
        assert pixels.std() > 0


def test_the_suite_shows_held_out_categories_too() -> None:
    shown = {name for item in draw_spec(SEED, 60, 64) for name in item.facts["names"]}
    assert set(HELD_OUT) <= shown
    assert len(CATEGORIES) == 58
    assert len(TRAIN_CATEGORIES) + len(HELD_OUT) == 58
