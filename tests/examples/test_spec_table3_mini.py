"""The whole experiment, very small, and what its page says of made results."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.queries import Direction
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
    """A run of every stage on a handful of small pictures, a few steps a training, one seed."""
    import run

    output = tmp_path_factory.mktemp("table3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(output / "home"))
        for name, items in (
            ("spec_mini_train", draw_spec_train(27, edge_px=64)),
            ("spec_mini", draw_spec(0, 2, 64)),
            ("vismin_mini", draw_vismin(0, 2, 64)),
        ):
            write_store(name, items, card=StoreCard(name=name, source="tests", synthetic=True))
        run.run(run.arguments(SMALL + ["--output", str(output)]))
        yield output


SMALL = "--seeds 1 --side-by-side 0 --steps 2 --test-sets 2 --validation-sets 2 --scenes 6 --plain 80".split()


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
    run.run(run.arguments(SMALL + ["--output", str(small_run)]))
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
