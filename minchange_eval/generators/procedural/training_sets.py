"""Candidate sets to train on: of the mini suite's kinds, and yet nothing of the suite.

Drawn at other seeds, of `TRAIN_CATEGORIES` only. That alone is not enough. Scenes are many, sentences are few: "a photo
of one cat", …, "a photo of nine cats" would be met in both. So each caption of a set is worded on its own, and a set
whose captions hold all of one of the suite's sets is passed over: every sentence may be trained on, no whole set of
them. And what fills a picture leaves little room for another ground: a scene that one thing fills is passed over if the
suite has that thing, turned to the same side in the same view, as large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import count

from minchange_eval.core.items import CandidateSet
from minchange_eval.data.release import Release
from minchange_eval.generators.procedural import suite
from minchange_eval.generators.procedural.backdrops import View
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.captions import varied_captions, varied_pair_captions
from minchange_eval.generators.procedural.categories import CATEGORIES, HELD_OUT, TRAIN_CATEGORIES
from minchange_eval.generators.procedural.changes import Change
from minchange_eval.generators.procedural.scene import Scene
from minchange_eval.generators.procedural.suite import PlannedSet

SEED = 2_000_000  # the suite has 0, the pictures that the bundled model was trained on 1,000,000
VERSIONS = {"spec_mini_train": 2, "vismin_mini_train": 2}  # raised as those of the suite
EDGE_PX = 128
SETS_PER_SUBSET = 300
FILLS = 0.5  # of the picture, by the boxes of what is in it
QUIRKS = (
    "drawn by minchange_eval.generators.procedural from bundled sprites; to train on, no benchmark",
    f"never shown: {', '.join(HELD_OUT)}",
    "no set has all captions of a set of spec_mini or vismin_mini, and no picture is like one of theirs",
)

Plan = Callable[[int, str, int, int, Sequence[str]], PlannedSet]
Look = tuple[View, frozenset[tuple[str, str, bool]]]  # sprite, colour, mirrored


def draw_spec_train(
    sets_per_subset: int = SETS_PER_SUBSET, seed: int = SEED, edge_px: int = EDGE_PX
) -> Iterator[CandidateSet]:
    """Sets of SPEC's six subsets, one subset after the other; the first n of a subset do not depend on how many."""
    return _drawn("spec_mini_train", plan_spec_train, suite.SPEC_CHANGES, sets_per_subset, seed, edge_px)


def draw_vismin_train(
    sets_per_subset: int = SETS_PER_SUBSET, seed: int = SEED, edge_px: int = EDGE_PX
) -> Iterator[CandidateSet]:
    """Pairs of VisMin's four categories; otherwise as `draw_spec_train`."""
    return _drawn("vismin_mini_train", plan_vismin_train, suite.VISMIN_CHANGES, sets_per_subset, seed, edge_px)


def plan_spec_train(seed: int, subset: str, number: int, edge_px: int, categories: Sequence[str]) -> PlannedSet:
    """As `suite.plan_spec`, with captions worded one by one; both directions have the same."""
    planned = suite.plan_spec(seed, subset, number, edge_px, categories)
    return _reworded(planned, varied_captions, BitStream(seed, "spec", subset, number, "varied"))


def plan_vismin_train(seed: int, subset: str, number: int, edge_px: int, categories: Sequence[str]) -> PlannedSet:
    """As `suite.plan_vismin`, with captions worded one by one."""
    planned = suite.plan_vismin(seed, subset, number, edge_px, categories)
    return _reworded(planned, varied_pair_captions, BitStream(seed, "vismin", subset, number, "varied"))


def _reworded(
    planned: PlannedSet, word: Callable[[BitStream, str, Change], tuple[str, ...]], stream: BitStream
) -> PlannedSet:
    return replace(planned, captions=word(stream, planned.subset, planned.change), query_captions=())


def _drawn(
    name: str, plan: Plan, subsets: Iterable[str], sets_per_subset: int, seed: int, edge_px: int
) -> Iterator[CandidateSet]:
    for subset in subsets:
        made = 0
        for number in count():
            if made == sets_per_subset:
                break
            planned = plan(seed, subset, number, edge_px, TRAIN_CATEGORIES)
            if not _is_like_the_suite(planned):
                yield planned.drawn(f"{name}/{subset}/{number:04d}")
                made += 1


def _is_like_the_suite(planned: PlannedSet) -> bool:
    captions, looks = _of_the_suite()
    said = _texts(planned.captions)
    return any(theirs <= said for caption in said for theirs in captions.get(caption, ())) or any(
        _filling(scene) in looks for scene in planned.change.scenes
    )


@cache
def _of_the_suite() -> tuple[dict[str, list[frozenset[str]]], set[Look]]:
    """Its sets of captions, by each of their captions; and what fills its pictures."""
    by_caption: dict[str, list[frozenset[str]]] = {}
    looks: set[Look] = set()
    for planned in _plans_of_the_suite():
        for captions in (planned.captions, planned.query_captions):
            together = _texts(captions)
            for caption in together:
                by_caption.setdefault(caption, []).append(together)
        looks.update(look for scene in planned.change.scenes if (look := _filling(scene)) is not None)
    return by_caption, looks


def _plans_of_the_suite() -> Iterator[PlannedSet]:
    plans: tuple[tuple[Plan, Iterable[str]], ...] = (
        (suite.plan_spec, suite.SPEC_CHANGES),
        (suite.plan_vismin, suite.VISMIN_CHANGES),
    )
    for plan, subsets in plans:
        for subset in subsets:
            for number in range(suite.SETS_PER_SUBSET):
                yield plan(suite.SEED, subset, number, suite.EDGE_PX, CATEGORIES)


def _texts(captions: Iterable[str]) -> frozenset[str]:
    # "A cat above a dog." of VisMin's kind and "a cat above a dog" of SPEC's are one caption
    return frozenset(caption.lower().rstrip(".") for caption in captions)


def _filling(scene: Scene) -> Look | None:
    """What fills a picture, and in which view; None where the ground has more of it."""
    if sum(thing.area_px for thing in scene.things) < FILLS * scene.edge_px**2:
        return None
    return scene.backdrop.view, frozenset((one.look.sprite, one.look.colour, one.look.mirrored) for one in scene.things)


def _release(name: str, title: str, subsets: dict[str, int], read: Callable[[], Iterator[CandidateSet]]) -> Release:
    return Release(
        name=name,
        kind="sets",
        title=title,
        licence=suite.LICENCE,
        subsets=subsets,
        read=lambda _: read(),
        revision=f"seed {SEED}, version {VERSIONS[name]}",
        synthetic=True,
        quirks=QUIRKS,
        items=SETS_PER_SUBSET * len(subsets),
    )


def spec_mini_train() -> Release:
    """SPEC's six subsets with 300 sets each."""
    title = "Procedural scenes of SPEC's six kinds, to train on"
    return _release("spec_mini_train", title, suite.SPEC_K, draw_spec_train)


def vismin_mini_train() -> Release:
    """VisMin's four categories with 300 pairs each."""
    title = "Procedural scenes of VisMin's four kinds, to train on"
    return _release("vismin_mini_train", title, dict.fromkeys(suite.VISMIN_CHANGES, 2), draw_vismin_train)
