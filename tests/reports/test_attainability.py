from __future__ import annotations

from collections import Counter

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.data.published_results import published_benchmarks, published_rows
from minchange_eval.reports.attainability import check_averages, check_published, released_sizes
from minchange_eval.reports.published_page import as_csv, as_json, markdown

Where = tuple[str, str, str]


def impossible(benchmark: str) -> set[Where]:
    return {
        (check.row.model, check.row.subset, check.row.metric)
        for check in check_published(benchmark)
        if check.verdict == "not attainable"
    }


def test_the_two_rows_of_vismin_that_other_data_must_have_made_are_found() -> None:
    assert impossible("vismin") == {
        ("Idefics2", "object", "text_score"),  # 95.4 and 67.6 of 579
        ("Idefics2", "object", "group_score"),
        ("LLaVA-1.6 7B", "object", "text_score"),  # 93.0, 32.2, 7.8 and 73.6
        ("LLaVA-1.6 7B", "object", "group_score"),
        ("LLaVA-1.6 7B", "relation", "image_score"),
        ("LLaVA-1.6 7B", "counting", "text_score"),
    }


def test_vismins_human_row_can_be_as_it_is_truncated_throughout() -> None:
    human = [check for check in check_published("vismin") if check.row.role == "human" and check.row.subset]
    assert len(human) == 12
    assert {(check.verdict, check.result.roundings) for check in human if check.result} == {
        ("attainable", ("truncation",))
    }
    assert {check.said for check in human} >= {"553/579, truncated", "474/622, truncated"}


def test_ten_rows_of_meds_table_need_another_labelling_in_two_types() -> None:
    table = [check for check in check_published("med") if check.row.source == "arXiv 2506.07227 Table 1"]
    older = {check.row.model for check in table if check.older}
    assert len(older) == 10
    assert {check.row.subset for check in table if check.older} == {"Object", "Action Relation"}
    others = [check for check in table if check.verdict == "not attainable" and not check.older]
    (scene,) = others
    assert (scene.row.model, scene.row.subset, scene.row.printed) == ("Qwen2.5-VL-7B (ours)", "Scene", "53.84")
    assert scene.said.startswith("7/13 truncated, but other values of this row are rounded")


def test_med_real_is_k_of_35_throughout() -> None:
    hits = {check.row.printed: check.result.hits for check in check_published("med_real") if check.result}
    assert [hits[value] for value in ("82.86", "68.57", "74.29", "34.29", "45.71", "40.0", "51.43")] == [
        *((29,), (24,), (26,), (12,), (16,), (14,), (18,))
    ]


def test_specs_table_has_no_power_and_its_notebook_can_be() -> None:
    verdicts: dict[str, Counter[str]] = {}
    for check in check_published("spec"):
        if check.row.role == "model" and check.row.subset:
            verdicts.setdefault(check.row.source.split(" (")[0], Counter())[check.verdict] += 1
    assert set(verdicts["SPEC paper Table 2"]) == {"no power"}
    assert set(verdicts["SPEC repo notebooks/evaluate_example_local.ipynb output"]) == {"attainable"}


def test_averages_that_do_not_follow_from_their_columns_are_named() -> None:
    wrong = {
        (check.row.benchmark, check.row.model, check.row.printed): round(check.mean, 2)
        for benchmark in published_benchmarks()
        for check in check_averages(benchmark)
        if check.follows == "does not follow"
    }
    assert wrong == {
        ("vismin", "LLaVA-1.6 7B", "38.28"): 45.31,
        ("vismin", "Gemini 1.0 Pro", "49.63"): 60.0,
        ("vismin", "GPT-4o", "73.93"): 80.44,
        ("spec", "SPEC-CLIP ViT-B/32 (L_hn + L_clip, ours)", "53.3"): 54.23,
        ("med", "Qwen2.5-VL-7B base (prose)", "40.24"): 39.74,
        ("med", "LLaVA-V1.6-7B base (prose)", "40.44"): 31.04,
        ("med", "LLaVA-V1.6-7B ours (prose)", "44.04"): 40.44,
    }


def test_every_average_that_has_columns_is_checked() -> None:
    assert {name: len(check_averages(name)) for name in published_benchmarks() if check_averages(name)} == {
        "spec": 8,
        "vismin": 17,
        "med": 17,
        "average": 29,
        "vsre_features": 2,
    }
    assert {check.columns for check in check_averages("med")} == {11}
    assert {check.columns for check in check_averages("average")} == {6, 7, 9}


def test_a_mean_that_rounding_of_its_columns_can_explain_follows() -> None:
    (baseline, _) = check_averages("vsre_features")
    assert baseline.row.printed == "0.57"
    assert baseline.mean == pytest.approx(0.5757, abs=1e-4)  # of columns that may each be off by .005
    assert baseline.follows == "follows"


def test_every_published_number_has_a_verdict_and_says_why_where_it_is_not_tested() -> None:
    for benchmark in published_benchmarks():
        checks = check_published(benchmark)
        assert [check.row for check in checks] == list(published_rows(benchmark))
        for check in checks:
            assert bool(check.said) == (check.verdict != "no power")
            assert check.result is not None or released_sizes(check.row)[1]


def test_the_number_of_items_is_that_of_the_card_and_of_queries_where_queries_are_counted() -> None:
    sizes = {
        (row.subset, row.metric): released_sizes(row)[0]
        for row in published_rows("spec")
        if row.source.startswith("SPEC paper") and row.role == "model"
    }
    assert sizes["count", "i2t_accuracy"] == sizes["absolute_spatial", "cls_accuracy"] == (4500,)
    assert sizes["existence", "t2i_accuracy"] == (1000,)
    assert sizes["", "i2t_accuracy"] == (1500, 1500, 4500, 2000, 1000, 4500)


def test_what_guessing_gets_and_what_was_read_off_a_chart_is_not_tested() -> None:
    for benchmark in published_benchmarks():
        for check in check_published(benchmark):
            if check.row.role == "chance" or check.row.approximate:
                assert check.verdict == "not tested"


def test_the_page_names_what_was_found_before_the_tables() -> None:
    page = markdown(["vismin"])
    found, tables = page.split("## vismin", 1)
    assert "| [vismin](#vismin) | 221 | 184 | 8 | 16 | 13 | 14 of 17 |" in found
    assert "GPT-4o, pair_mean 73.93" in found
    assert "object text_score 95.4" in found
    assert sum(line.startswith("| ") for line in tables.splitlines()) == 221 + 2  # two sources, a head each


def test_csv_and_json_hold_every_number() -> None:
    assert len(as_csv(["med", "med_real"]).splitlines()) == 1 + 177 + 11
    assert as_json(["med_real"]).count('"verdict"') == 11


def test_a_benchmark_that_nothing_is_published_on_is_named() -> None:
    with pytest.raises(UsageError, match="no published results of 'spec_mini'"):
        check_published("spec_mini")
