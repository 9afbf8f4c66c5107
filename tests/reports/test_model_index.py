from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.core.record import ModelDescription, RunRecord
from minchange_eval.reports.leaderboard import Report, leaderboards
from minchange_eval.reports.model_index import as_model_card
from minchange_eval.reports.run_results import results_in
from tests.reports.made_records import questions, record, sets


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))


def card(*records: RunRecord) -> str:
    runs = [results_in(one, Path(f"{number}.jsonl")) for number, one in enumerate(records)]
    return as_model_card(Report(leaderboards(runs), "ours", len(runs)), runs)


def test_the_hub_reads_every_result_and_writes_the_same_again() -> None:
    hub = pytest.importorskip("huggingface_hub")
    made = record(
        model=ModelDescription(adapter="open_clip", name='clip: "b" # é'),
        med=questions([True, False, None] * 11, ("Object", "Scene")),
        vismin=sets([True, False] * 9, "object"),
    )
    read = hub.ModelCard(card(made))
    read.data.license = "mit"
    results = read.data.eval_results
    assert read.data.model_name == 'clip: "b" # é'
    by_metric = {(one.dataset_name, one.metric_type): one for one in results}
    macro = by_metric["MED: Micro Edit Detection, Object, Scene only", "macro"]
    (value,) = [one for one in made.metrics["med"] if (one.name, one.subset) == ("macro", "")]
    assert macro.metric_value == round(100 * value.value, 2)
    assert macro.metric_args["n"] == 33
    assert macro.metric_args["unscored"] == 11
    assert macro.metric_args["chance"] == 25
    assert macro.dataset_args["protocol"] == "ours"
    assert macro.metric_args["interval_95"] == [round(100 * value.low, 2), round(100 * value.high, 2)]
    again = hub.ModelCard(str(read))
    assert again.data.to_dict() == read.data.to_dict()
    assert {one.dataset_name for one in again.data.eval_results} == {one.dataset_name for one in results}
    read.data.to_yaml()


def test_a_part_of_a_benchmark_is_named_as_such() -> None:
    hub = pytest.importorskip("huggingface_hub")
    made = record(model=ModelDescription(adapter="open_clip", name="clip"), vismin=sets([True, False] * 9, "counting"))
    results = hub.ModelCard(card(made)).data.eval_results
    assert results
    assert all(one.dataset_name.endswith(", counting only") for one in results)
    assert all(one.dataset_args["subsets"] == ["counting"] for one in results)


def test_results_of_a_limited_run_enter_no_card() -> None:
    cut = record(quiz=questions([True] * 5), changes={"items_in_full": 10, "limit": 5})
    with pytest.raises(UsageError, match="without --limit"):
        card(cut)


def test_a_card_is_of_one_model() -> None:
    names = ("a", "b")
    made = [
        record(model=ModelDescription(adapter="open_clip", name=name), quiz=questions([True, False])) for name in names
    ]
    with pytest.raises(UsageError, match="expected runs of one model, got 2"):
        card(*made)
