"""Candidate sets to train on: of the mini suite's kinds, and yet nothing of the suite.

Drawn at other seeds, of `TRAIN_CATEGORIES` only. Scenes are many, sentences are few: "a photo of one cat", …, "a photo
of nine cats" would be met in both. So a set is passed over where its captions hold those of one of the suite's sets,
and every sentence may be trained on, but no whole set of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import count

from minchange_eval.core.items import CandidateSet
from minchange_eval.data.release import Release
from minchange_eval.generators.procedural import suite
from minchange_eval.generators.procedural.categories import CATEGORIES, HELD_OUT, TRAIN_CATEGORIES
from minchange_eval.generators.procedural.suite import PlannedSet

SEED = 2_000_000  # the suite has 0, the pictures that the bundled model was trained on 1,000,000
VERSIONS = {"spec_mini_train": 1, "vismin_mini_train": 1}  # raised as those of the suite
EDGE_PX = 128
SETS_PER_SUBSET = 300
QUIRKS = (
    "drawn by minchange_eval.generators.procedural from bundled sprites; to train on, no benchmark",
    f"never shown: {', '.join(HELD_OUT)}",
    "no set has all captions of a set of spec_mini or vismin_mini",
)

Plan = Callable[[int, str, int, int, Sequence[str]], PlannedSet]


def draw_spec_train(
    sets_per_subset: int = SETS_PER_SUBSET, seed: int = SEED, edge_px: int = EDGE_PX
) -> Iterator[CandidateSet]:
    """Sets of SPEC's six subsets, one subset after the other; the first n of a subset do not depend on how many."""
    return _drawn("spec_mini_train", suite.plan_spec, suite.SPEC_CHANGES, sets_per_subset, seed, edge_px)


def draw_vismin_train(
    sets_per_subset: int = SETS_PER_SUBSET, seed: int = SEED, edge_px: int = EDGE_PX
) -> Iterator[CandidateSet]:
    """Pairs of VisMin's four categories; otherwise as `draw_spec_train`."""
    return _drawn("vismin_mini_train", suite.plan_vismin, suite.VISMIN_CHANGES, sets_per_subset, seed, edge_px)


def _drawn(
    name: str, plan: Plan, subsets: Iterable[str], sets_per_subset: int, seed: int, edge_px: int
) -> Iterator[CandidateSet]:
    for subset in subsets:
        made = 0
        for number in count():
            if made == sets_per_subset:
                break
            planned = plan(seed, subset, number, edge_px, TRAIN_CATEGORIES)
            if not _holds_one_of_the_suite(planned):
                yield planned.drawn(f"{name}/{subset}/{number:04d}")
                made += 1


def _holds_one_of_the_suite(planned: PlannedSet) -> bool:
    said = _texts(planned.captions) | _texts(planned.query_captions)
    return any(theirs <= said for caption in said for theirs in _suite_captions().get(caption, ()))


@cache
def _suite_captions() -> dict[str, list[frozenset[str]]]:
    """The sets of captions of the suite, by each of their captions."""
    by_caption: dict[str, list[frozenset[str]]] = {}
    for captions in _captions_of_the_suite():
        together = _texts(captions)
        for caption in together:
            by_caption.setdefault(caption, []).append(together)
    return by_caption


def _captions_of_the_suite() -> Iterator[tuple[str, ...]]:
    plans: tuple[tuple[Plan, Iterable[str]], ...] = (
        (suite.plan_spec, suite.SPEC_CHANGES),
        (suite.plan_vismin, suite.VISMIN_CHANGES),
    )
    for plan, subsets in plans:
        for subset in subsets:
            for number in range(suite.SETS_PER_SUBSET):
                planned = plan(suite.SEED, subset, number, suite.EDGE_PX, CATEGORIES)
                yield planned.captions
                if planned.query_captions:
                    yield planned.query_captions


def _texts(captions: Iterable[str]) -> frozenset[str]:
    # "A cat above a dog." of VisMin's kind and "a cat above a dog" of SPEC's are one caption
    return frozenset(caption.lower().rstrip(".") for caption in captions)


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
