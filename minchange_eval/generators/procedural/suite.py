"""The mini suite: small data sets of SPEC's, VisMin's and MED's kinds, drawn anew from a seed on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.data.release import Release
from minchange_eval.generators.procedural import changes, pair_changes, question_states, questions
from minchange_eval.generators.procedural.backdrops import Backdrop, View, kinds_of
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.captions import captions_of, pair_captions, plain_caption
from minchange_eval.generators.procedural.categories import CATEGORIES, HELD_OUT, TRAIN_CATEGORIES
from minchange_eval.generators.procedural.changes import Change
from minchange_eval.generators.procedural.render import png_bytes, rendered
from minchange_eval.generators.procedural.scene import Scene, Thing, look_within

__all__ = ["CATEGORIES", "HELD_OUT", "TRAIN_CATEGORIES", "draw_scenes", "draw_spec", "spec_mini"]

SEED = 0
# raised whenever pixels or texts of a data set change, so that what an earlier version drew is drawn anew
VERSIONS = {"spec_mini": 1, "vismin_mini": 2, "med_mini": 2}
EDGE_PX = 224
LICENCE = "Apache-2.0"
QUIRKS = (
    "drawn by minchange_eval.generators.procedural from bundled sprites; stands in for no official benchmark",
    f"no training recipe of this project shows these categories: {', '.join(HELD_OUT)}",
)

SPEC_CHANGES: dict[str, Callable[[BitStream, int, Sequence[str]], Change]] = {
    "absolute_size": changes.absolute_size,
    "relative_size": changes.relative_size,
    "absolute_spatial": changes.absolute_spatial,
    "relative_spatial": changes.relative_spatial,
    "existence": changes.existence,
    "count": changes.count,
}
SPEC_K = {
    "absolute_size": 3,
    "relative_size": 3,
    "absolute_spatial": 9,
    "relative_spatial": 4,
    "existence": 2,
    "count": 9,
}
VISMIN_CHANGES: dict[str, Callable[[BitStream, int, Sequence[str]], Change]] = {
    "object": pair_changes.object_replaced,
    "attribute": pair_changes.attribute_changed,
    "relation": pair_changes.relation_changed,
    "counting": pair_changes.number_changed,
}


def draw_spec(
    seed: int, sets_per_subset: int, edge_px: int = EDGE_PX, categories: Sequence[str] | None = None
) -> Iterator[CandidateSet]:
    """Candidate sets of SPEC's six subsets, one subset after the other.

    Args:
        seed: other seeds give other sets; the first n sets of a subset do not depend on how many are drawn.
        sets_per_subset: how many of each.
        edge_px: pictures are square.
        categories: what may be in them; None is all of `CATEGORIES`.

    Raises:
        UsageError: a category is unknown, or there are too few for every kind of change.
    """
    names = checked(categories)
    for subset in SPEC_CHANGES:
        for number in range(sets_per_subset):
            yield plan_spec(seed, subset, number, edge_px, names).drawn(f"spec_mini/{subset}/{number:04d}")


@dataclass(frozen=True)
class PlannedSet:
    """A candidate set before it is drawn; attributes as of `CandidateSet`, scenes in place of images."""

    subset: str
    change: Change
    captions: tuple[str, ...]
    query_captions: tuple[str, ...] = ()
    image_to_text: tuple[tuple[int, ...], ...] = ()
    text_to_image: tuple[tuple[int, ...], ...] = ()

    def drawn(self, set_id: str) -> CandidateSet:
        """The set with its pictures, under this identity."""
        change = self.change
        return CandidateSet(
            set_id=set_id,
            subset=self.subset,
            images=images_of(set_id, change.scenes),
            captions=self.captions,
            query_captions=self.query_captions,
            image_to_text=self.image_to_text,
            text_to_image=self.text_to_image,
            facts={**change.facts, "values": list(change.values), "names": list(change.names)},
        )


def plan_spec(seed: int, subset: str, number: int, edge_px: int, categories: Sequence[str]) -> PlannedSet:
    """One of SPEC's sets before it is drawn."""
    stream = BitStream(seed, "spec", subset, number)
    change = SPEC_CHANGES[subset](stream, edge_px, categories)
    return PlannedSet(
        subset,
        change,
        captions=captions_of(stream, subset, change),
        query_captions=captions_of(stream, subset, change),
        image_to_text=_orders(stream, SPEC_K[subset]),
        text_to_image=_orders(stream, SPEC_K[subset]),
    )


def checked(categories: Sequence[str] | None) -> Sequence[str]:
    """The categories to draw from; None is all of them."""
    if categories is None:
        return CATEGORIES
    changes.check_categories(categories)
    return categories


def draw_vismin(
    seed: int, sets_per_subset: int, edge_px: int = EDGE_PX, categories: Sequence[str] | None = None
) -> Iterator[CandidateSet]:
    """Candidate sets of VisMin's four categories, one category after the other; image 0 is the original.

    Arguments and errors as for `draw_spec`.
    """
    names = checked(categories)
    for subset in VISMIN_CHANGES:
        for number in range(sets_per_subset):
            yield plan_vismin(seed, subset, number, edge_px, names).drawn(f"vismin_mini/{subset}/{number:04d}")


def plan_vismin(seed: int, subset: str, number: int, edge_px: int, categories: Sequence[str]) -> PlannedSet:
    """One of VisMin's pairs before it is drawn."""
    stream = BitStream(seed, "vismin", subset, number)
    change = VISMIN_CHANGES[subset](stream, edge_px, categories)
    # what replaces an object must fit its place, so a coin decides which of the two is called the original
    if BitStream(seed, "vismin", subset, number, "original").one_in(2):
        change = change.exchanged()
    return PlannedSet(subset, change, captions=pair_captions(stream, subset, change))


def draw_med(
    seed: int, questions_per_type: int, edge_px: int = EDGE_PX, categories: Sequence[str] | None = None
) -> Iterator[ChoiceQuestion]:
    """Questions of MED's eleven types, one type after the other; each letter and each order comes equally often.

    In half of the questions the first image is the edited one (`facts["edit_first"]`), in the others the original; the
    options are true or false of the images as shown.
    Arguments and errors as for `draw_spec`; questions need some categories more, which the message names. Action
    questions show a person whatever the categories.
    """
    names = checked(categories)
    question_states.check_categories(names)
    for kind in question_states.KINDS:
        for number in range(questions_per_type):
            question = plan_question(seed, kind, number, edge_px, names)
            question_id = f"med_mini/{kind.lower().replace(' ', '_')}/{number:04d}"
            yield ChoiceQuestion(
                question_id=question_id,
                subset=kind,
                images=images_of(question_id, question.scenes),
                question=question.question,
                options=tuple(f"{letter}. {text}" for letter, text in zip("ABCD", question.options, strict=True)),
                answers=(question.answer,),
                facts={
                    "edit_first": question.edit_first,
                    "first": question.clauses[0],
                    "second": question.clauses[1],
                },
            )


def plan_question(seed: int, kind: str, number: int, edge_px: int, categories: Sequence[str]) -> questions.Question:
    """A question before it is drawn.

    Letter and order are dealt out in rounds of four, so that both are balanced, and independent of the text.
    """
    round_, place = divmod(number, 4)
    deal = BitStream(seed, "med", kind, "deal", round_)
    letter, edit_first = deal.shuffled(range(4))[place], deal.shuffled((True, True, False, False))[place]
    stream = BitStream(seed, "med", kind, number)
    return questions.ask(stream, kind, letter, edit_first, edge_px, categories)


def images_of(item_id: str, scenes: Sequence[Scene]) -> tuple[BytesImage, ...]:
    """The pictures of scenes as lossless PNG files in memory."""
    return tuple(BytesImage(f"{item_id}/{i}.png", png_bytes(rendered(scene))) for i, scene in enumerate(scenes))


def _orders(stream: BitStream, k: int) -> tuple[tuple[int, ...], ...]:
    """An order of the candidates for each of K queries, so that no place is right more often than another."""
    return tuple(tuple(stream.shuffled(range(k))) for _ in range(k))


def draw_scenes(
    seed: int, count: int, edge_px: int = 64, categories: Sequence[str] | None = None
) -> Iterator[tuple[NDArray[np.uint8], str, tuple[str, ...]]]:
    """Single pictures with ordinary captions, to train on.

    One to three objects of different categories, anywhere and of any size, without regard to the ground. Backgrounds
    come from a pool of a few hundred, since they take the longest.

    Args:
        categories: None is `TRAIN_CATEGORIES`.

    Yields:
        Pixels [edge, edge, RGB] uint8, the caption, the names of the categories to be seen.
    """
    names = categories or TRAIN_CATEGORIES
    pool = [kind for view in (View.SURFACE, View.GROUND, View.SKY) for kind in kinds_of(view)]
    for number in range(count):
        stream = BitStream(seed, "scene", number)
        shown = stream.sample(names, stream.choice((1, 1, 2, 3)))
        place = stream.below(256)
        backdrop = Backdrop(pool[place % len(pool)], place + seed * 256, 30 + place % 20)
        scene = Scene(edge_px, backdrop, _scattered(stream, edge_px, shown))
        yield rendered(scene), plain_caption(stream, shown), tuple(shown)


def _scattered(stream: BitStream, edge_px: int, names: Sequence[str]) -> tuple[Thing, ...]:
    """Things anywhere in the picture that do not overlap: one in the whole of it, more in quarters."""
    things = []
    places = stream.shuffled(range(4))
    for place, name in zip(places, names, strict=False):
        region = edge_px if len(names) == 1 else edge_px // 2
        side = region * (stream.between(7, 19) if len(names) == 1 else stream.between(12, 19)) // 20
        look = look_within(name, side, side, mirrored=stream.one_in(2))
        left, top = stream.below(region - look.width + 1), stream.below(region - look.height + 1)
        if len(names) > 1:
            left, top = left + region * (place % 2), top + region * (place // 2)
        things.append(Thing(name, look, left, top))
    return tuple(things)


def revision_of(name: str) -> str:
    """What a store of the suite was drawn from: seed and version."""
    return f"seed {SEED}, version {VERSIONS[name]}"


SETS_PER_SUBSET = 100  # of spec_mini and vismin_mini


def spec_mini() -> Release:
    """SPEC's six subsets with 100 sets each."""
    return Release(
        name="spec_mini",
        kind="sets",
        title="Mini SPEC: procedural scenes of SPEC's six kinds",
        licence=LICENCE,
        subsets=SPEC_K,
        read=lambda _: draw_spec(SEED, SETS_PER_SUBSET),
        revision=revision_of("spec_mini"),
        synthetic=True,
        quirks=QUIRKS,
        items=600,
    )


def vismin_mini() -> Release:
    """VisMin's four categories with 100 sets each."""
    return Release(
        name="vismin_mini",
        kind="sets",
        title="Mini VisMin: procedural scenes of VisMin's four kinds",
        licence=LICENCE,
        subsets=dict.fromkeys(VISMIN_CHANGES, 2),
        read=lambda _: draw_vismin(SEED, SETS_PER_SUBSET),
        revision=revision_of("vismin_mini"),
        synthetic=True,
        quirks=QUIRKS,
        items=400,
    )


def med_mini() -> Release:
    """MED's eleven types with 20 questions each."""
    return Release(
        name="med_mini",
        kind="questions",
        title="Mini MED: procedural scenes of MED's eleven types of edit",
        licence=LICENCE,
        subsets=dict.fromkeys(question_states.KINDS, 4),
        read=lambda _: draw_med(SEED, 20),
        revision=revision_of("med_mini"),
        synthetic=True,
        quirks=QUIRKS,
        items=220,
    )
