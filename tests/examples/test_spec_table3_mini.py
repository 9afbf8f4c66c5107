"""The whole experiment, very small, and what its page says of made results."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.queries import Direction
from minchange_eval.core.record import ModelDescription, RunRecord, TaskRecord, make_record
from minchange_eval.data.store import write_store
from minchange_eval.data.store_card import StoreCard
from minchange_eval.generators.procedural.suite import draw_spec, draw_vismin
from minchange_eval.generators.procedural.training_sets import draw_spec_train

EXAMPLE = Path(__file__).parents[2] / "examples" / "spec_table3_mini"


@pytest.fixture(scope="module")
def example() -> Iterator[None]:
    """The example's modules, as `python examples/spec_table3_mini/run.py` finds them."""
    sys.path.insert(0, str(EXAMPLE))
    yield
    sys.path.remove(str(EXAMPLE))


@pytest.fixture(scope="module")
def small_run(example: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of every stage on a handful of small pictures, one step a training, one seed."""
    import run

    output = tmp_path_factory.mktemp("table3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(output / "home"))
        for name, items in (
            ("spec_mini_train", draw_spec_train(20, edge_px=64)),
            ("spec_mini", draw_spec(0, 2, 64)),
            ("vismin_mini", draw_vismin(0, 2, 64)),
        ):
            write_store(name, items, card=StoreCard(name=name, source="tests", synthetic=True))
        run.run(run.arguments([*SMALL, "--output", str(output)]))
        yield output


SIZES = {
    "seeds": 1,
    "side-by-side": 0,
    "steps": 1,
    "test-sets": 2,
    "validation-sets": 1,
    "labelled": 1,
    "scenes": 6,
    "plain": 80,
}
SMALL = [f"--{name}={size}" for name, size in SIZES.items()]


def numbers(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "numbers.json").read_text()))


def test_one_command_draws_trains_evaluates_and_writes_the_page(small_run: Path) -> None:
    rows = numbers(small_run)["tables"][0]["columns"][0]["cells"]
    assert list(rows) == ["base", "hard_negatives", "one_per_set", "full_sets", "both"]
    page = (small_run / "index.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert page.count("<polyline") == 2 * (3 + 2 + 3 * 4)


def test_the_same_command_again_trains_nothing_and_gives_the_same_numbers(small_run: Path) -> None:
    import run

    before = numbers(small_run)
    trained = sorted(path.stat().st_mtime_ns for path in small_run.glob("models/*/training.json"))
    run.run(run.arguments([*SMALL, "--output", str(small_run)]))
    assert sorted(path.stat().st_mtime_ns for path in small_run.glob("models/*/training.json")) == trained
    assert {**numbers(small_run), "about": None} == {**before, "about": None}


def test_control_and_both_have_the_same_images_and_captions_in_each_step(small_run: Path) -> None:
    from minchange_eval.trainers.clip.config import read_config
    from minchange_eval.trainers.clip.objectives import OBJECTIVES
    from minchange_eval.trainers.clip.plan import BatchPlan

    def members(row: str) -> list[set[tuple[str, int, int]]]:
        config = read_config(EXAMPLE / "recipes" / f"{row}.yaml", {"seed": 2})
        plan = BatchPlan(
            [3] * 40 + [9] * 40,
            ["absolute_size"] * 40 + ["count"] * 40,
            500,
            sets_per_batch=config.sets_per_batch,
            pairs_per_batch=config.pairs_per_batch,
            seed=config.seed,
            members=OBJECTIVES[config.objective].members,
        )
        return [{(key.source, key.number, key.member) for key in plan.at(step).members} for step in range(30)]

    assert members("both") == members("full_sets")


def test_one_per_set_has_as_many_members_of_each_subset_in_a_step_as_the_control(example: None) -> None:
    from minchange_eval.generators.procedural.suite import SPEC_K
    from minchange_eval.trainers.clip.config import read_config
    from minchange_eval.trainers.clip.plan import BatchPlan

    subsets = [name for name in SPEC_K for _ in range(60)]
    sizes = [SPEC_K[name] for name in subsets]

    def counts(row: str, members: Any) -> list[dict[str, int]]:
        config = read_config(EXAMPLE / "recipes" / f"{row}.yaml", {})
        plan = BatchPlan(
            sizes, subsets, 0, sets_per_batch=config.sets_per_batch, pairs_per_batch=0, mix=config.mix, members=members
        )
        return [
            {name: sum(subsets[key.number] == name for key in plan.at(step).members) for name in SPEC_K}
            for step in range(6)
        ]

    assert counts("one_per_set", "anchor") == counts("full_sets", "all") == [{n: 2 * k for n, k in SPEC_K.items()}] * 6


def outcome(set_id: str, query: int, chosen: int, direction: str = "i2t", k: int = 4) -> QueryOutcome:
    """A query of which the candidate at a place was chosen; candidates in the order of the set."""
    return QueryOutcome(
        query_id=f"{set_id}/{direction}/{query}",
        item_id=set_id,
        subset="relative_spatial",
        direction=Direction(direction),
        candidates=k,
        answers=(query,),
        scores=tuple(float(place == chosen) for place in range(k)),
        scored="pairs",
        images=(f"{set_id}-{query}",) if direction == "i2t" else tuple(f"{set_id}-{place}" for place in range(k)),
        hit=query == chosen,
        unscored=False,
        tie=False,
        near_tie=False,
    )


def record(chosen: list[list[int]]) -> RunRecord:
    """A model's choices on sets of left, right, above, below: [sets, queries], the same in both directions."""
    outcomes = [
        outcome(f"set-{number}", query, choice, direction)
        for number, choices in enumerate(chosen)
        for query, choice in enumerate(choices)
        for direction in ("i2t", "t2i")
    ]
    task = TaskRecord(
        name="made",
        kind="sets",
        dataset="made",
        subsets=("relative_spatial",),
        fingerprint="f",
        items=len(chosen),
        items_in_full=len(chosen),
        queries=len(outcomes),
    )
    return make_record([task], {"made": outcomes}, ModelDescription(adapter="open_clip", name="made"))


RIGHT, SWAPPED, OTHER_AXIS = [0, 1, 2, 3], [1, 0, 3, 2], [2, 2, 0, 0]


def test_a_wrong_choice_on_the_right_axis_is_told_from_one_on_the_other(example: None) -> None:
    from table3_numbers import places

    image = BytesImage("a", b"")
    sets = {
        f"set-{n}": CandidateSet(
            f"set-{n}",
            "relative_spatial",
            (image,) * 4,
            tuple("abcd"),
            facts={"values": ["left", "right", "above", "below"]},
        )
        for n in range(4)
    }
    found = places([record([RIGHT, SWAPPED, OTHER_AXIS, SWAPPED])], "made", sets)
    assert (found.choices, found.wrong_choices) == (32, 24)
    assert found.axis.value == pytest.approx(24 / 32)
    assert found.wrong.value == pytest.approx(16 / 24)


def test_said_of_the_object_in_the_centre_the_opposite_is_true(small_run: Path) -> None:
    import table3_data

    moved, centre = table3_data._roles("made", 7, 1)
    assert [image.sha256 for image in moved.images] == [image.sha256 for image in centre.images]
    first, second = moved.facts["names"]
    assert moved.captions[0].index(first) < moved.captions[0].index(second)
    assert "left" in moved.captions[0]
    assert centre.captions[0].index(second) < centre.captions[0].index(first)
    assert "right" in centre.captions[0]


def test_seeds_are_added_up_within_a_set_and_are_no_further_sets(example: None) -> None:
    from table3_numbers import I2T, Results

    half = [RIGHT, SWAPPED] * 8
    once = Results({"base": [record(half)], "row": [record(half)]})
    thrice = Results({"base": [record(half)], "row": [record(half)] * 3})
    one, three = (results.value("row", "made", I2T) for results in (once, thrice))
    assert (one.value, one.low, one.high) == (three.value, three.low, three.high)
    assert three.seeds == (0.5, 0.5, 0.5)


def test_a_difference_is_shown_only_where_the_test_holds_and_every_seed_has_its_sign(example: None) -> None:
    from table3_claims import claim
    from table3_numbers import I2T, Results, family

    low, high = record([SWAPPED] * 20), record([RIGHT] * 20)
    few = record([RIGHT] * 2 + [SWAPPED] * 18)
    runs = {"base": [few], "full_sets": [high, high, high], "both": [high, high, low], "one_per_set": [few, few, few]}
    results = Results(runs)
    clear, mixed, none = (
        family([results.difference("base", row, "made", I2T)])[0] for row in ("full_sets", "both", "one_per_set")
    )
    assert clear.shown
    assert "points higher than" in claim(clear).words
    assert mixed.holm < 0.05
    assert not mixed.shown
    assert "not shown" in claim(mixed).words
    assert not none.shown
    assert "+0.0 points" in claim(none).evidence


def test_rows_that_are_not_shown_to_be_worse_than_the_best_are_marked_with_it(example: None) -> None:
    from table3_numbers import I2T, Results

    low, high, nearly = record([SWAPPED] * 20), record([RIGHT] * 20), record([RIGHT] * 19 + [SWAPPED])
    column = Results({"base": [low], "full_sets": [nearly] * 3, "both": [high] * 3}).column("made", I2T)
    assert [row for row, value in column.items() if value.best] == ["full_sets", "both"]
