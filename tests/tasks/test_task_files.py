"""Every task file leads to data that has a card, and names a subset, prompt and view that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from minchange_eval.core.metrics import SET_METRICS, Protocol
from minchange_eval.data.releases import find_release
from minchange_eval.data.views import VIEWS
from minchange_eval.tasks import aggregation
from minchange_eval.tasks.hook import TASKS_FOLDER
from minchange_eval.tasks.prompts import prompt_names
from minchange_eval.tasks.store_task import CandidateSetTask, ChoiceTask


class Loader(yaml.SafeLoader):
    """Reads `!function a.b.c` as that name."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)  # noqa: S506 - a SafeLoader


FILES = sorted(TASKS_FOLDER.rglob("*.yaml"))
TASKS = [path for path in FILES if "class" in read(path)]
GROUPS = [path for path in FILES if "group" in read(path)]
CLASSES = {f"{cls.__module__}.{cls.__name__}": cls for cls in (CandidateSetTask, ChoiceTask)}


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_a_task_file_names_what_exists(path: Path) -> None:
    config = read(path)
    metadata = config["metadata"]
    release = find_release(metadata["dataset"])
    assert config["task"] == path.stem
    assert "subset" not in metadata or metadata["subset"] in release.subsets
    assert metadata.get("prompt", "med") in prompt_names()
    assert metadata.get("protocol", "ours") in get_args(Protocol)
    if "view" in metadata:
        assert metadata["view"] in VIEWS
    else:
        assert CLASSES[config["class"]].kind == release.kind


@pytest.mark.parametrize("path", GROUPS, ids=lambda path: path.stem)
def test_a_group_holds_every_subset_of_its_benchmark_once(path: Path) -> None:
    config = read(path)
    assert config["group"] == path.stem
    assert sorted(config["task"]) == sorted(f"{path.stem}_{subset}" for subset in find_release(path.stem).subsets)


def test_every_set_metric_of_the_record_is_in_lmms_evals_table_too() -> None:
    assert set(SET_METRICS) <= set(CandidateSetTask.metrics)


@pytest.mark.parametrize("task", [CandidateSetTask, ChoiceTask])
def test_no_metric_name_contains_another_since_groups_match_by_substring(task: Any) -> None:
    names = list(task.metrics)
    assert [(a, b) for a in names for b in names if a != b and a in b] == []


def test_shares_are_pooled_and_subsets_averaged() -> None:
    assert aggregation.share([(1, 2), (3, 3)]) == pytest.approx(4 / 5)
    assert aggregation.mean_of_subsets([("a", 1), ("a", 0), ("b", 1)]) == pytest.approx(0.75)
    assert aggregation.group_total([1, 2], [10, 10], False) == 3
