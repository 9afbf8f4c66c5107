"""What the miniature trains and is tested on: drawn anew on any machine, into a store of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion, Item
from minchange_eval.data.prepare import open_or_prepare
from minchange_eval.data.store import Store, write_store
from minchange_eval.data.store_card import StoreCard
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.captions import captions_of
from minchange_eval.generators.procedural.categories import CATEGORIES, CATEGORY, HELD_OUT, TRAIN_CATEGORIES
from minchange_eval.generators.procedural.pair_changes import OPPOSITE
from minchange_eval.generators.procedural.render import png_bytes
from minchange_eval.generators.procedural.suite import LICENCE, SPEC_K, draw_scenes, plan_spec

# The suite has seed 0, the bundled model's pictures 1,000,000, the training sets 2,000,000, plain pairs 4,000,000.
TEST_SEED, VALIDATION_SEED = 5_000_000, 6_000_000
TRAINING_EDGE_PX, TEST_EDGE_PX = 128, 224

TRAINING = "spec_mini_train"
VALIDATION = "table3_validation"
SPEC, VISMIN, HELD_OUT_SPEC, SCENES = "spec_mini", "vismin_mini", "table3_held_out", "table3_scenes"
ROLES = "table3_roles"
TESTS = (SPEC, VISMIN, HELD_OUT_SPEC, SCENES, ROLES)
MOVED_FIRST, CENTRE_FIRST = "moved_first", "centre_first"
SOURCE = "examples/spec_table3_mini"
PLAIN, LABELLED = "plain.tar", "labelled"


def draw_data(folder: Path, *, test_sets: int, validation_sets: int, labelled: int, scenes: int, plain: int) -> None:
    """Everything that is not there yet. `$MINCHANGE_HOME` is where the stores lie.

    Args:
        folder: of what lies beside the stores: plain pairs, and pictures of one thing each.
        test_sets: of each subset, of held-out categories.
        validation_sets: of each subset.
        labelled: pictures of one thing each, of every trained category.
        scenes: single pictures for classification.
        plain: image-caption pairs.
    """
    for name in (TRAINING, SPEC, VISMIN):
        open_or_prepare(name)
    _write(HELD_OUT_SPEC, _sets(HELD_OUT_SPEC, TEST_SEED, test_sets, TEST_EDGE_PX, HELD_OUT))
    _write(ROLES, _roles(ROLES, TEST_SEED, test_sets))
    _write(SCENES, _scenes(SCENES, TEST_SEED, scenes))
    _write(VALIDATION, _sets(VALIDATION, VALIDATION_SEED, validation_sets, TRAINING_EDGE_PX, TRAIN_CATEGORIES))
    _drawn_by("draw_plain_pairs.py", folder / PLAIN, "--n", plain)
    _drawn_by(
        "draw_labelled_pictures.py",
        folder / LABELLED,
        "--categories",
        "trained",
        "--seed",
        VALIDATION_SEED,
        "--each",
        labelled,
    )


def _write(name: str, items: Iterator[Item]) -> None:
    """Put drawn items into the store; nothing is drawn where they are there."""
    write_store(name, items, card=StoreCard(name=name, source=SOURCE, licence=LICENCE, synthetic=True))


def _drawn_by(script: str, output: Path, *flags: object) -> None:
    """What another example draws, whole or not at all."""
    if output.exists():
        return
    part = output.with_name(f"part_{output.name}")
    if part.is_dir():
        shutil.rmtree(part)
    command = [sys.executable, Path(__file__).parents[1] / script, "--output", part, *flags]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own
    part.replace(output)


def _sets(name: str, seed: int, each: int, edge_px: int, categories: Sequence[str]) -> Iterator[CandidateSet]:
    """Sets of SPEC's six kinds.

    Of five categories only three can fill a picture and four stand on the ground, which is fewer than the suite asks
    for; every kind of change still finds some.
    """
    for subset in SPEC_K:
        for number in range(each):
            yield plan_spec(seed, subset, number, edge_px, categories).drawn(f"{name}/{subset}/{number:04d}")


def _roles(name: str, seed: int, each: int) -> Iterator[CandidateSet]:
    """Relative position said in two ways of the same pictures: of the object that moves, and of the one in the centre.

    All sets of the suite speak of the one that moves, so the place of whatever is off the centre gives the answer away,
    whichever of the two it is. Said of the other one, that place is the opposite of the answer. Only of objects that no
    training set shows together: there either way of saying it may be trained on.
    """
    trained = {frozenset(item.facts["names"]) for item in Store.open(TRAINING).items("relative_spatial")}
    plans = (plan_spec(seed, "relative_spatial", number, TEST_EDGE_PX, TRAIN_CATEGORIES) for number in count())
    fresh = (planned for planned in plans if frozenset(planned.change.names) not in trained)
    for number, planned in enumerate(islice(fresh, each)):
        change = planned.change
        opposite = replace(change, names=change.names[::-1], values=tuple(OPPOSITE[value] for value in change.values))
        stream = BitStream(seed, name, number)
        exchanged = replace(
            planned,
            subset=CENTRE_FIRST,
            captions=captions_of(stream, "relative_spatial", opposite),
            query_captions=captions_of(stream, "relative_spatial", opposite),
        )
        for way in (replace(planned, subset=MOVED_FIRST), exchanged):
            yield way.drawn(f"{name}/{way.subset}/{number:04d}")


def _scenes(name: str, seed: int, count: int) -> Iterator[ChoiceQuestion]:
    """Plain scenes of trained categories, each to be named among all 58: SPEC's CLS in small."""
    options = tuple(f"a photo of {CATEGORY[category].a_name}" for category in CATEGORIES)
    for number, (pixels, _, shown) in enumerate(draw_scenes(seed, count, TRAINING_EDGE_PX, TRAIN_CATEGORIES)):
        question_id = f"{name}/{number:04d}"
        yield ChoiceQuestion(
            question_id=question_id,
            subset="scenes",
            images=(BytesImage(f"{question_id}.png", png_bytes(pixels)),),
            question="What is in the image?",
            options=options,
            answers=tuple(CATEGORIES.index(category) for category in shown),
        )
