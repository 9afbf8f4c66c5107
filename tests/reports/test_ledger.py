from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.answers import Answer
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import queries_of_set, query_of_question
from minchange_eval.core.record import ModelDescription, RunRecord, TaskRecord, make_record
from minchange_eval.data.benchmark_card import benchmark_card
from minchange_eval.data.store_card import CARD_FILE, StoreCard
from minchange_eval.reports.ledger import LedgerRow, flags, ledger
from minchange_eval.reports.ledger_page import as_csv, as_json, as_markdown, reasons, verdicts

MED = {subset: values.items for subset, values in benchmark_card("med").subsets.items()}
# Table 1's Qwen2.5-VL-7B as k of the released n, which is the labelling of that row
QWEN = dict(zip(MED, (7, 8, 5, 6, 2, 3, 8, 6, 5, 6, 8), strict=True))
MODEL = ModelDescription(adapter="hf_multi_image", name="Qwen/Qwen2.5-VL-7B-Instruct", settings={"dtype": "bf16"})


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def med_outcomes(right: dict[str, int], unscored: int = 0) -> list[QueryOutcome]:
    outcomes = []
    for subset, n in MED.items():
        for number in range(n):
            item = ChoiceQuestion(
                f"{subset} {number}", subset, (BytesImage("i", f"{subset}{number}".encode()),), "?", ("a", "b"), (0,)
            )
            answer = Answer(choice=int(number >= right[subset])) if number >= unscored else Answer()
            outcomes.append(outcome_of(query_of_question(item), subset, answer))
    return outcomes


def med_record(right: dict[str, int] = QWEN, *, unscored: int = 0, **changes: Any) -> RunRecord:
    task: dict[str, Any] = {
        "name": "med",
        "kind": "questions",
        "dataset": "med",
        "subsets": tuple(MED),
        "fingerprint": "f" * 64,
        "items": 165,
        "items_in_full": 165,
        "items_released": 165,
        "queries": 165,
        "prompt_source": "rebuilt",
    }
    described = TaskRecord(**{**task, **changes})
    return make_record([described], {described.name: med_outcomes(right, unscored)}, MODEL)


def store_says(home: Path, dataset: str, **said: Any) -> None:
    folder = home / "store" / dataset
    folder.mkdir(parents=True)
    (folder / CARD_FILE).write_text(StoreCard(name=dataset, fingerprint="f" * 64, **said).model_dump_json())


def of(rows: tuple[LedgerRow, ...], subset: str, source: str = "Table 1") -> LedgerRow:
    (row,) = (row for row in rows if row.checked.row.subset == subset and source in row.checked.row.source)
    return row


def test_the_same_answers_bring_every_published_number_back(store_home: Path) -> None:
    store_says(store_home, "med", verified=True)
    rows = ledger("med", "run", med_record(), ["Qwen2.5-VL-7B"])
    assert {row.verdict for row in rows} == {"reproduced"}
    assert len(rows) == 12  # eleven types and their mean
    assert of(rows, "").task == "med"
    assert of(rows, "").difference == pytest.approx(0.0, abs=0.01)


def test_other_answers_lie_within_the_interval_or_differ(store_home: Path) -> None:
    store_says(store_home, "med", verified=True)
    rows = ledger("med", "run", med_record({**QWEN, "Object": 8, "Counting": 0}), ["Qwen2.5-VL-7B"])
    assert of(rows, "Object").verdict == "within interval"
    assert of(rows, "Object").difference == pytest.approx(100 * 8 / 13 - 53.85)
    assert of(rows, "Counting").verdict == "differs"
    assert verdicts(rows) == "9 reproduced, 2 within interval, 1 differs"


def test_a_truncated_published_number_is_reproduced_too(store_home: Path) -> None:
    store_says(store_home, "med", verified=True)
    rows = ledger("med", "run", med_record({**QWEN, "Scene": 7}), ["Qwen2.5-VL-7B (ours)"])
    assert of(rows, "Scene").checked.row.printed == "53.84"
    assert of(rows, "Scene").verdict == "reproduced"


def test_med_real_is_compared_by_k_of_35(store_home: Path) -> None:
    store_says(store_home, "med_real", verified=True)
    outcomes = [
        outcome_of(
            query_of_question(ChoiceQuestion(str(k), "real", (BytesImage("i", b"%d" % k),), "?", ("a", "b"), (0,))),
            "real",
            Answer(choice=int(k >= 24)),
        )
        for k in range(35)
    ]
    task = TaskRecord(
        name="med_real",
        kind="questions",
        dataset="med_real",
        subsets=("real",),
        fingerprint="f" * 64,
        items=35,
        items_in_full=35,
        items_released=35,
        queries=35,
    )
    record = make_record([task], {"med_real": outcomes}, MODEL)
    (row,) = ledger("med_real", "run", record, ["Qwen2.5-VL-7B"])
    assert (row.checked.row.printed, row.verdict) == ("68.57", "reproduced")  # 24/35 is 68.571
    (row,) = ledger("med_real", "run", record, ["Qwen2.5-VL-7B (ours)"])
    assert (row.checked.row.printed, row.verdict) == ("74.29", "within interval")


def test_a_number_of_another_labelling_is_not_comparable(store_home: Path) -> None:
    store_says(store_home, "med", verified=True)
    rows = ledger("med", "run", med_record(), ["GPT-4o-2024-08-06"])
    assert of(rows, "Object").why == "published for another labelling of the same items (8/14)"
    assert of(rows, "Attribute").verdict != "not comparable"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"items": 44, "limit": 44}, "44 of 165 items were asked (--limit 44)"),
        ({"items_in_full": 44, "items": 44}, "44 of 165 released items were prepared"),
        ({"rows_skipped": 2}, "2 items were left out"),
        ({"synthetic": True}, "med is synthetic"),
        ({"variant": "cyclic"}, "asked only as cyclic, not as the paper does"),
        ({"fingerprint": "0" * 64}, "fingerprint 000000000000 is not that of the data prepared here"),
        ({"dataset": "vismin"}, "the run has no task on med"),
    ],
)
def test_a_run_of_other_items_or_questions_is_not_comparable_and_says_why(
    store_home: Path, changes: dict[str, Any], why: str
) -> None:
    store_says(store_home, "med", verified=True)
    rows = ledger("med", "run", med_record(**changes), ["Qwen2.5-VL-7B"])
    assert {row.verdict for row in rows} == {"not comparable"}
    assert not any(row.incomplete for row in rows)
    (reason,) = reasons(rows)
    assert why in reason


def test_a_run_with_too_many_unscored_answers_is_incomplete() -> None:
    rows = ledger("med", "run", med_record(unscored=2), ["Qwen2.5-VL-7B"], trust_data=True)
    assert {(row.verdict, row.incomplete) for row in rows} == {("not comparable", True)}
    assert "22 of 165 queries are unscored" in rows[0].why


def test_without_a_store_the_data_is_not_known_to_be_official_unless_it_is_vouched_for(store_home: Path) -> None:
    rows = ledger("med", "run", med_record(), ["Qwen2.5-VL-7B"])
    assert "--trust-data" in rows[0].why
    assert rows[0].ours is not None
    assert {row.verdict for row in ledger("med", "run", med_record(), ["Qwen2.5-VL-7B"], trust_data=True)} == {
        "reproduced"
    }
    store_says(store_home, "med")
    assert "is not known as the official revision" in ledger("med", "run", med_record(), ["Qwen2.5-VL-7B"])[0].why


def test_a_clone_at_the_cards_commit_is_the_official_revision(store_home: Path) -> None:
    store_says(store_home, "med", revision=benchmark_card("med").revision + "0" * 33)
    assert {row.verdict for row in ledger("med", "run", med_record(), ["Qwen2.5-VL-7B"])} == {"reproduced"}


def test_the_raw_options_are_preferred_to_ours_where_both_were_asked(store_home: Path) -> None:
    plain, raw = med_record({**QWEN, "Object": 0}), med_record(name="med_raw", variant="raw")
    both = make_record(
        [*plain.tasks, *raw.tasks], {"med": plain.outcomes["med"], "med_raw": raw.outcomes["med_raw"]}, MODEL
    )
    assert {row.task for row in ledger("med", "run", both, ["Qwen2.5-VL-7B"], trust_data=True)} == {"med_raw"}


def spec_record(dataset: str, subset: str, sets: int) -> RunRecord:
    outcomes = []
    for number in range(sets):
        images = tuple(BytesImage(str(k), f"{number}{k}".encode()) for k in range(2))
        item = CandidateSet(f"{number}", subset, images, ("zero", "one"))
        outcomes += [outcome_of(query, subset, Answer(scores=(0.25, 0.125))) for query in queries_of_set(item)]
    task = TaskRecord(
        name=f"{dataset}_{subset}",
        kind="sets",
        dataset=dataset,
        subsets=(subset,),
        fingerprint="f" * 64,
        items=sets,
        items_in_full=sets,
        queries=4 * sets,
        protocol="spec",
        synthetic=dataset.endswith("_mini"),
    )
    return make_record([task], {task.name: outcomes}, MODEL)


def test_one_subset_is_compared_but_never_taken_for_the_whole() -> None:
    rows = ledger("spec", "run", spec_record("spec", "existence", 3), ["CLIP ViT-B/32 (OpenAI)"], trust_data=True)
    existence = [
        row for row in rows if row.checked.row.subset == "existence" and row.checked.row.metric != "cls_accuracy"
    ]
    assert {row.verdict for row in existence} <= {"reproduced", "within interval", "differs"}
    whole = [row for row in rows if not row.checked.row.subset]
    assert {row.why for row in whole} == {
        "the run has no i2t_accuracy over all subsets",
        "the run has no t2i_accuracy over all subsets",
    }
    (other,) = {row.why for row in rows if row.checked.row.subset == "count" and row.checked.row.metric[:3] == "i2t"}
    assert other == "the run has no i2t_accuracy of count"


def test_a_mini_suite_is_shown_beside_its_benchmark_and_never_compared() -> None:
    rows = ledger("spec", "run", spec_record("spec_mini", "existence", 3), ["CLIP ViT-B/32 (OpenAI)"], trust_data=True)
    assert {row.verdict for row in rows} == {"not comparable"}
    shown = [row for row in rows if row.ours]
    assert {row.checked.row.subset for row in shown} == {"existence"}
    assert shown[0].why == "spec_mini is synthetic: drawn by this package's generator, another data set"


def test_image_classification_is_not_compared_as_its_prompt_is_not_released() -> None:
    rows = ledger("spec", "run", spec_record("spec", "existence", 3), ["CLIP ViT-B/32 (OpenAI)"], trust_data=True)
    assert {row.why for row in rows if row.checked.row.metric == "cls_accuracy"} == {
        "neither prompt nor code of this metric is released"
    }


def test_flags_that_matter_stand_beside_each_other() -> None:
    said = {name: (published, ours) for name, published, ours in flags("med", med_record())}
    assert said["dtype"] == ("bf16 (Qwen), fp16 (LLaVA); LLaMA by vLLM", "bf16")
    assert said["average"][0].startswith("macro over 11 types")
    assert "Object 14" in said["labelling"][0]
    assert said["prompt"][1] == "rebuilt"
    clip = {name: published for name, published, _ in flags("spec", spec_record("spec", "existence", 2))}
    assert {"activation", "dtype", "processor", "prompt", "average"} <= set(clip)


HOSTILE = "</td><script>alert(1)</script>|`\x1b[2J\u202e"


def test_a_hostile_label_stays_on_its_line_and_makes_no_markup() -> None:
    rows = ledger("med", HOSTILE, med_record(), ["Qwen2.5-VL-7B"], trust_data=True)
    runs = [(HOSTILE, rows, flags("med", med_record()))]
    for page in (as_markdown("med", runs), as_csv(runs), as_json("med", runs)):
        assert "\x1b" not in page
        assert "\u202e" not in page
    assert "<script>" not in as_markdown("med", runs)
    assert len(as_csv(runs).splitlines()) == 13
