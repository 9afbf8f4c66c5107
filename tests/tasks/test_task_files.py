"""Every task file leads to data that has a card, and names a subset, prompt and view that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from minchange_eval.core.metrics import SET_METRICS, Protocol
from minchange_eval.core.prompts import applies
from minchange_eval.core.queries import Direction, query_of_statement
from minchange_eval.data.releases import find_release
from minchange_eval.data.views import VIEWS
from minchange_eval.tasks import aggregation, hook
from minchange_eval.tasks.hook import TASKS_FOLDER
from minchange_eval.tasks.prompts import prompt, prompt_names
from minchange_eval.tasks.store_task import CandidateSetTask, ChoiceTask, StatementTask
from minchange_eval.tasks.variants import Variant
from tests.tasks.rendered import SNAPSHOT, STATEMENT


class Loader(yaml.SafeLoader):
    """Reads `!function a.b.c` as that name."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)  # noqa: S506 - a SafeLoader


FILES = sorted(TASKS_FOLDER.rglob("*.yaml"))
TASKS = [path for path in FILES if "class" in read(path)]
GROUPS = [path for path in FILES if "group" in read(path) and path.stem != "minchange_companions"]
COMPANIONS = TASKS_FOLDER / "companions" / "minchange_companions.yaml"
CLASSES = {f"{cls.__module__}.{cls.__name__}": cls for cls in (CandidateSetTask, ChoiceTask, StatementTask)}
ITEMS = {
    "sets": "sets",
    "questions": "questions",
    "statements": "questions",
}  # a statement is a question of true, false
_SETS = ("cyclic", "blank", "otherpair")
_PAIRS = (*_SETS, "swapped")
VARIANTS = {
    "spec": (*_SETS, "balanced"),
    "spec_mini": _SETS,
    "vismin": (*_PAIRS, "balanced"),
    "vismin_mini": _PAIRS,
    "med": (*_PAIRS, "raw", "templates", "balanced"),
    "med_real": (*_PAIRS, "raw"),
    "med_mini": (*_PAIRS, "templates"),
    "vsr_zeroshot": ("blank", "otherpair", "templates"),
    "vsr_random": ("blank", "otherpair", "templates"),
}


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_a_task_file_names_what_exists(path: Path) -> None:
    config = read(path)
    metadata = config["metadata"]
    release = find_release(metadata["dataset"])
    assert config["task"] == path.stem
    assert set(metadata) <= {
        "version",
        "dataset",
        "subset",
        "prompt",
        "protocol",
        "view",
        "variant",
        "bank",
        "wordings",
    }
    assert "subset" not in metadata or metadata["subset"] in release.subsets
    assert {"view", "prompt", "bank"} & set(metadata)
    assert metadata.get("prompt", "med") in prompt_names()
    assert metadata.get("protocol", "ours") in get_args(Protocol)
    variant = metadata.get("variant", "")
    assert variant in get_args(Variant)
    assert not variant or path.stem.endswith(f"_{variant}")
    assert (variant == "templates") == ("bank" in metadata)
    if "view" in metadata:
        assert metadata["view"] in VIEWS
    else:
        assert ITEMS[CLASSES[config["class"]].kind] == release.kind


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_the_words_of_a_task_ask_in_the_directions_of_its_items(path: Path) -> None:
    config = read(path)
    metadata, kind = config["metadata"], CLASSES[config["class"]].kind
    names = [f"{metadata['bank']}/{wording}" for wording in metadata.get("wordings", ())]
    names += [metadata["prompt"]] if "prompt" in metadata else []
    directions = {"sets": {"i2t", "t2i"}, "questions": {"choice"}, "statements": {"statement"}}[kind]
    assert all(set(prompt(name).templates) == directions for name in names)
    assert len(set(names)) == len(names)


def test_every_benchmark_has_its_variants_and_no_others() -> None:
    found = {path.stem for path in TASKS if read(path)["metadata"].get("variant")}
    assert found == {f"{name}_{variant}" for name, variants in VARIANTS.items() for variant in variants}


@pytest.mark.parametrize("name", ["vsr_zeroshot_templates", "vsr_random_templates"])
def test_statements_are_asked_in_all_four_styles_short_and_long_by_words_that_every_item_has(name: str) -> None:
    wordings = read(TASKS_FOLDER / "vsr" / f"{name}.yaml")["metadata"]["wordings"]
    prompts = [prompt(f"vsr_templates/{wording}") for wording in wordings]
    query = query_of_statement(STATEMENT)
    assert all(applies(query, wording) for wording in prompts)
    for length in "sl":
        styles = [
            wording.template(Direction.STATEMENT).labels
            for wording, short in zip(prompts, wordings, strict=True)
            if short.startswith(length)
        ]
        assert sorted(styles) == ["A/B", "true/false", "true/not", "yes/no"]


@pytest.mark.parametrize("path", GROUPS, ids=lambda path: path.stem)
def test_a_group_holds_every_subset_of_its_benchmark_once(path: Path) -> None:
    config = read(path)
    assert config["group"] == path.stem
    assert sorted(config["task"]) == sorted(f"{path.stem}_{subset}" for subset in find_release(path.stem).subsets)


def test_every_task_is_found_by_its_name_and_its_alias_and_the_companions_are_all_there() -> None:
    from lmms_eval.tasks import TaskManager

    hook.install()
    index = TaskManager().task_index
    names = {path.stem for path in FILES}
    assert names <= set(index)
    assert {f"minchange_{name.removeprefix('minchange_')}" for name in names} <= set(index)
    companions = read(COMPANIONS)
    assert companions["group"] == "minchange_companions"
    assert index["minchange_companions"]["type"] == "group"
    assert set(companions["task"]) <= set(index)
    assert len(set(companions["task"])) == len(companions["task"])


def test_the_docs_name_every_task_and_show_prompts_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    subsets = {path.stem for path in TASKS if "subset" in read(path)["metadata"] and not path.stem.startswith("vsr")}
    assert [path.stem for path in FILES if path.stem not in subsets and f"`{path.stem}`" not in page] == []
    assert all(f"`{name}`" in page for name in read(COMPANIONS)["task"])
    examples = page.split("```text\n")[1:]
    assert len(examples) > 10
    blocks = {block.partition("\n")[2].strip() for block in SNAPSHOT.read_text(encoding="utf-8").split("=== ")}
    assert [example for text in examples if (example := text.partition("\n```")[0].strip()) not in blocks] == []


def test_every_set_metric_of_the_record_is_in_lmms_evals_table_too() -> None:
    assert set(SET_METRICS) <= set(CandidateSetTask.metrics)


@pytest.mark.parametrize("task", [CandidateSetTask, ChoiceTask, StatementTask])
def test_no_metric_name_contains_another_since_groups_match_by_substring(task: Any) -> None:
    names = list(task.metrics)
    assert [(a, b) for a in names for b in names if a != b and a in b] == []


def test_shares_are_pooled_and_subsets_averaged() -> None:
    assert aggregation.share([(1, 2), (3, 3)]) == pytest.approx(4 / 5)
    assert aggregation.mean_of_subsets_share([("a", 1, 1), ("a", 0, 1), ("b", 1, 1)]) == pytest.approx(0.75)
    assert aggregation.group_total([1, 2], [10, 10], False) == 3
