"""A balanced task asks the items that an audit kept, and of no other data."""

from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.data.audit_results import BalancedSubset, balanced_path, write_balanced
from minchange_eval.data.store import write_store
from minchange_eval.tasks.store_task import ChoiceTask
from tests.tasks.test_store_task import question


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path))
    return tmp_path


def built() -> ChoiceTask:
    metadata = {"dataset": "med", "prompt": "med", "variant": "balanced"}
    return ChoiceTask({"task": "med_balanced", "metadata": metadata})


def kept(fingerprint: str, *ids: str) -> None:
    write_balanced(BalancedSubset(dataset="med", fingerprint=fingerprint, ids=ids, removed={}, rounds=1, rules={}))


def test_it_asks_the_items_that_were_kept_and_counts_the_others() -> None:
    store = write_store("med", [question(number, "A. x", "B. y") for number in range(5)])
    kept(store.card.fingerprint, "med/1", "med/4")
    task = built()
    assert [item.question_id for item in task.items] == ["med/1", "med/4"]  # type: ignore[union-attr]
    assert (task.variant, task.left_out) == ("balanced", 3)
    assert [doc["item_id"] for doc in task.dataset["test"]] == ["med/1", "med/4"]


def test_without_a_list_or_with_one_of_other_data_it_says_which_command_to_run() -> None:
    store = write_store("med", [question(0, "A. x", "B. y")])
    with pytest.raises(UsageError, match="not found yet; run: minchange-eval audit med --balance"):
        built()
    kept("0" * 64, "med/0")
    with pytest.raises(UsageError, match=r"of other data than is prepared now .*; run: minchange-eval audit med --bal"):
        built()
    balanced_path("med", store.card.fingerprint).write_text("{")
    with pytest.raises(DataError, match="is damaged or of another version; run again: minchange-eval audit med --bal"):
        built()
