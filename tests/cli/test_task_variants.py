"""Every variant of every benchmark, asked of models that are not ours, in both interfaces that lmms-eval has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.record import RunRecord
from minchange_eval.data.prepare import prepare
from tests.cli.runs import Run, Runner
from tests.cli.test_evaluate import PARROTS
from tests.data.official_layouts import (
    write_med_real_release,
    write_med_release,
    write_spec_release,
    write_vismin_release,
    write_vsr_release,
)

TASKS = {
    **{f"spec_{variant}": variant for variant in ("cyclic", "blank", "otherpair")},
    **{f"vismin_{variant}": variant for variant in ("cyclic", "swapped", "blank", "otherpair")},
    **{f"med_{variant}": variant for variant in ("cyclic", "swapped", "blank", "otherpair", "raw", "templates")},
    **{f"med_real_{variant}": variant for variant in ("cyclic", "swapped", "blank", "otherpair", "raw")},
    **{f"vsr_zeroshot_{variant}": variant for variant in ("blank", "otherpair", "templates")},
    "med": "",
    "med_mini_cyclic": "cyclic",
    "vsr_zeroshot": "",
    "vsr_random": "",
    "vsr_random_templates": "templates",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a few items of every official benchmark."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(folder))
        prepare("spec", write_spec_release(folder / "spec_release", 2, seed=1))
        prepare("vismin", write_vismin_release(folder / "vismin_release", 2, seed=2))
        prepare("med", write_med_release(folder / "med_release", 2))
        prepare("med_real", write_med_real_release(folder / "med_real_release"))
        prepare("vsr", write_vsr_release(folder / "vsr_release"))
    return folder


def whole(record: RunRecord, task: str) -> dict[str, MetricValue]:
    return {value.name: value for value in record.metrics[task] if not value.subset}


@pytest.fixture(scope="module", params=["parrot", "parrot_chat"])
def run(request: pytest.FixtureRequest, runner: Runner, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All variants, answered with the first option by a model of the simple interface, and by one that chats."""
    output = str(tmp_path_factory.mktemp("output"))
    options = ["--tasks", ",".join(TASKS), "--limit", "40", "--output_path", output]
    done = runner.run(["--model", request.param, *options], home, before=PARROTS)
    assert done.code == 0, done.output
    return done


@pytest.fixture(scope="module")
def record(run: Run) -> RunRecord:
    return run.record


@pytest.mark.slow
def test_every_answer_to_every_variant_is_read(record: RunRecord) -> None:
    assert {task.name: task.variant for task in record.tasks} == TASKS
    assert [outcome.query_id for outcomes in record.outcomes.values() for outcome in outcomes if outcome.unscored] == []


@pytest.mark.slow
def test_the_first_place_is_right_in_one_of_two_orders_and_never_in_all(record: RunRecord) -> None:
    for task in ("spec_cyclic", "vismin_cyclic"):
        values = whole(record, task)
        assert (values["i2t_accuracy"].value, values["group_score"].value) == (0, 0)
        assert values["consistency"].value == 0
        assert values["position_bias"].value == 1
    asked = record.outcomes["vismin_cyclic"]
    assert {outcome.form for outcome in asked} == {"cyclic0", "cyclic1"}
    assert all(
        sum(outcome.hit for outcome in asked if outcome.base_id == base) == 1 for base in {o.base_id for o in asked}
    )


@pytest.mark.slow
def test_blank_and_other_images_keep_the_clusters_of_the_item_and_its_queries(record: RunRecord) -> None:
    blank, other = (
        {outcome.query_id: outcome.images for outcome in record.outcomes[f"vsr_zeroshot_{variant}"]}
        for variant in ("blank", "otherpair")
    )
    assert blank == other == {outcome.query_id: outcome.images for outcome in record.outcomes["vsr_zeroshot"]}


@pytest.mark.slow
def test_whoever_always_agrees_is_right_on_true_and_wrong_on_false_statements(record: RunRecord) -> None:
    values = whole(record, "vsr_zeroshot")
    assert (values["accuracy"].value, values["accuracy_true"].value, values["accuracy_false"].value) == (0.5, 1, 0)
    assert (values["yes_rate"].value, values["answered"].value) == (1, 1)
    assert {name for outcome in record.outcomes["vsr_zeroshot"] for name in outcome.slices} == {
        "group: Projective",
        "relation: left of",
    }
    templates = whole(record, "vsr_zeroshot_templates")
    assert (templates["consistency"].value, templates["spread"].value, templates["bias"].value) == (1, 0, 1)
    assert len({outcome.form for outcome in record.outcomes["vsr_zeroshot_templates"]}) == 8


@pytest.mark.slow
def test_what_is_blind_or_swapped_stands_beside_what_sees_the_same_items(run: Run) -> None:
    table = [re.split(r" {2,}", line)[:2] for line in run.output.splitlines() if line.startswith("med")]
    place = table.index(["med", "macro"])
    assert table[place : place + 3] == [["med", "macro"], ["med_blank", "macro"], ["med_otherpair", "macro"]]
    place = table.index(["med_swapped", "micro"])
    assert table[place + 1 : place + 4] == [
        ["med (same items)", "macro"],
        ["med (same items)", "micro"],
        ["med, med_swapped", "consistency"],
    ]


@pytest.mark.slow
def test_the_record_says_whose_words_were_used(record: RunRecord) -> None:
    sources = {task.name: task.prompt_source for task in record.tasks}
    assert sources["vismin_blank"] == "released"  # the question columns of the data
    assert sources["vismin_cyclic"] == "published"  # in another order those would name the wrong places
    assert sources["med_raw"] == "rebuilt"
    assert sources["vsr_zeroshot_templates"] == sources["spec_cyclic"] == "ours"


@pytest.mark.slow
def test_a_constant_letter_is_shown_for_what_it_is_under_med_cyclic(record: RunRecord) -> None:
    values = whole(record, "med_mini_cyclic")
    assert values["macro"].value == 0 < values["macro"].chance
    assert (values["consistency"].value, values["position_bias"].value) == (0, 1)
    assert values["macro"].unscored == 0


@pytest.mark.slow
def test_lmms_evals_own_table_has_the_numbers_of_the_record(run: Run, record: RunRecord) -> None:
    (file,) = run.record_path.parent.glob("*_results.json")
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    compared = 0
    for task in TASKS:
        for name, value in whole(record, task).items():
            if f"{name},none" in results[task]:
                assert results[task][f"{name},none"] == pytest.approx(value.value), (task, name)
                compared += 1
    assert compared > 2 * len(TASKS)
