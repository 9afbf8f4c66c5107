from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from minchange_eval.core.errors import DataError, IncompleteError
from minchange_eval.core.metrics import whole
from minchange_eval.core.record import ModelDescription, RunRecord, make_record
from minchange_eval.core.slim_records import slim
from minchange_eval.core.statistics import holm
from minchange_eval.data.audit_results import (
    AuditResult,
    BalancedSubset,
    BestRule,
    RuleResult,
    Share,
    write_audit,
    write_balanced,
)
from minchange_eval.data.benchmark_card import benchmark_card
from minchange_eval.data.published_results import published_rows
from minchange_eval.reports.leaderboard import Board, Row, distinct, labels_of, leaderboards, model_name
from minchange_eval.reports.run_results import RunResults, results_in
from tests.reports.made_records import questions, record, sets, task

FINGERPRINT = "f" * 64


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))


def model(name: str, **settings: str) -> ModelDescription:
    return ModelDescription(
        adapter="open_clip", name=name, weights_sha256=name.encode().hex().ljust(64, "0")[:64], settings=settings
    )


def run(made: RunRecord, name: str = "run") -> RunResults:
    return results_in(made, Path(f"{name}.jsonl"))


def of(hits: Sequence[bool | None], name: str, dataset: str = "quiz", **changes: object) -> RunResults:
    return run(record(model=model(name), changes=changes, **{dataset: questions(hits, ("x", "y"))}), name)


def row(board: Board, label: str) -> Row:
    (found,) = [one for one in board.rows if one.label == label]
    return found


def test_values_intervals_and_counts_are_those_of_the_record() -> None:
    made = record(quiz=questions([True, False, None, True, True, False] * 5, ("x", "y")))
    (board,) = leaderboards([run(made)])
    (shown,) = [one for one in board.rows if one.role == "model"]
    for value in made.metrics["quiz"]:
        cell = shown.cells[value.name, value.subset]
        assert (cell.value, cell.low, cell.high) == (value.value, value.low, value.high)
        assert (cell.n, cell.unscored, cell.ties) == (value.n, value.unscored, value.ties)
    assert board.metrics[0] == "macro"
    assert board.columns("macro") == (("macro", ""), ("accuracy", "x"), ("accuracy", "y"))


def test_models_that_the_best_is_not_significantly_ahead_of_lead_with_it() -> None:
    rng = np.random.default_rng(0)
    best = rng.random(200) < 0.8
    near, far = best.copy(), best.copy()
    near[np.flatnonzero(best)[:3]] = False
    far[np.flatnonzero(best)[:60]] = False
    runs = [of(list(map(bool, hits)), name) for hits, name in ((far, "far"), (best, "best"), (near, "near"))]
    (board,) = leaderboards(runs)
    assert {one.label for one in board.rows if "micro" in one.leads} == {"best", "near"}
    # the same from the tests alone
    ours = holm([binomtest(0, int((best & ~other).sum())).pvalue / 2 for other in (near, far)])  # all for the best
    assert ours[0] >= 0.05 > ours[1]
    assert [one.label for one in board.ordered("micro") if one.role == "model"] == ["best", "near", "far"]


def test_identical_models_lead_together_and_are_told_apart() -> None:
    hits = [True, False] * 20
    lines = questions(hits, ("x", "y"))
    twins = [run(record(model=model("twin", dtype=dtype), quiz=lines), f"twin_{dtype}") for dtype in ("fp32", "bf16")]
    (board,) = leaderboards(twins)
    assert {(one.label, "macro" in one.leads) for one in board.rows if one.role == "model"} == {
        ("twin (fp32)", True),
        ("twin (bf16)", True),
    }


def test_the_same_run_given_twice_is_shown_once_and_said() -> None:
    made = record(quiz=questions([True, False] * 10))
    again = made.model_copy(update={"run": made.run.model_copy(update={"host": "elsewhere"})})
    kept, said = distinct([run(made, "one"), run(again, "two")])
    assert [one.path.name for one in kept] == ["one.jsonl"]
    assert said == ["two.jsonl says the same as one.jsonl and is shown once."]


def test_a_run_and_its_slim_record_are_one_run() -> None:
    made = record(quiz=questions([True, False] * 10, ("x", "y")))
    kept, said = distinct([run(made, "whole"), run(slim(made), "small")])
    assert ([one.path.name for one in kept], len(said)) == (["whole.jsonl"], 1)


def test_a_single_model_leads_nothing() -> None:
    (board,) = leaderboards([of([True, False] * 10, "alone")])
    assert not any(one.leads for one in board.rows)


def test_other_data_of_the_same_name_has_a_table_of_its_own() -> None:
    runs = [of([True] * 20, "a"), of([True] * 20, "b", fingerprint="e" * 64)]
    boards = leaderboards(runs)
    assert [board.key.fingerprint[0] for board in boards] == ["e", "f"]
    assert len({board.title for board in boards}) == 2
    assert all(any("fingerprint differs" in line for line in board.remarks) for board in boards)


def test_a_mini_suite_and_an_official_benchmark_share_no_table() -> None:
    lines = sets([True, False] * 10, "object")
    runs = [
        run(record(model=model("a"), vismin=lines), "official"),
        run(record(model=model("a"), vismin_mini=lines, changes={"synthetic": True}), "mini"),
    ]
    official, mini = leaderboards(runs)
    assert (official.synthetic, mini.synthetic) == (False, True)
    assert {one.role for one in mini.rows} == {"model", "chance"}  # no published number stands beside a drawn one
    assert any("no official benchmark" in line for line in mini.remarks)


def test_a_limited_run_is_marked_and_never_ranked() -> None:
    runs = [
        of([True, False] * 20, "full"),
        of([True] * 10, "cut", items_in_full=40, limit=10),
    ]
    (board,) = leaderboards(runs)
    cut = row(board, "cut")
    assert cut.role == "partial"
    assert cut.marks == ("10 of 40 items (--limit 10): not ranked, not a score to publish",)
    assert not cut.leads
    assert board.ordered("macro")[-1] is cut  # although its value is the highest


def test_unscored_answers_are_counted_and_many_of_them_marked() -> None:
    (board,) = leaderboards([of([True, None] + [True] * 18, "few"), of([True, None] * 10, "many")])
    assert row(board, "few").marks == ()
    assert row(board, "few").cells["micro", ""].unscored == 1
    assert row(board, "many").marks == ("incomplete: 50% of its queries are unscored and count as misses",)


def test_a_model_asked_with_another_prompt_carries_a_mark_with_the_reason() -> None:
    said = {"prompt_source": "ours"}
    usual = [of([True, False] * 10, name, prompt_sha256="1" * 64, **said) for name in ("a", "b")]
    other = of([True, False] * 10, "c", prompt_sha256="2" * 64, **said)
    (board,) = leaderboards([*usual, other])
    assert row(board, "a").marks == row(board, "b").marks == ()
    assert row(board, "c").marks == ("asked with another prompt than most here: 22222222, ours",)


def test_blind_variants_stand_in_the_table_of_what_they_blind() -> None:
    lines = questions([True, False] * 10, ("x", "y"))
    tasks = {"quiz": task("quiz", lines), "quiz_blank": task("quiz_blank", lines, dataset="quiz", variant="blank")}
    made = make_record(tasks.values(), dict.fromkeys(tasks, lines), model("a"))
    (board,) = leaderboards([run(made)])
    assert row(board, "a, blank images").role == "blind model"
    assert not row(board, "a, blank images").leads


def test_other_variants_have_tables_of_their_own() -> None:
    lines = questions([True, False] * 10, ("x", "y"))
    tasks = {"quiz": task("quiz", lines), "quiz_raw": task("quiz_raw", lines, dataset="quiz", variant="raw")}
    made = make_record(tasks.values(), dict.fromkeys(tasks, lines), model("a"))
    assert [board.key.variant for board in leaderboards([run(made)])] == ["", "raw"]


def test_a_balanced_subset_says_what_was_removed_and_why() -> None:
    lines = questions([True, False] * 10, ("x", "y"))
    part = task("quiz_balanced", lines, dataset="quiz", variant="balanced").model_copy(update={"left_out": 3})
    runs = [run(make_record([part], {"quiz_balanced": lines}, model("a")))]
    (before,) = leaderboards(runs)
    assert any("3 items are not asked, which give the answer away" in line for line in before.remarks)
    assert not any("wording" in line for line in before.remarks)
    removed = {"1": ("longest", "words"), "2": ("longest",), "3": ()}
    write_balanced(
        BalancedSubset(dataset="quiz", fingerprint=FINGERPRINT, ids=("4",), removed=removed, rounds=1, rules={})
    )
    (board,) = leaderboards(runs)
    assert any(line.endswith("longest (2), words (1).") for line in board.remarks)


def test_single_tasks_of_a_group_have_slices_but_no_whole() -> None:
    parts = {f"pairs_{part}": sets([True, False] * 6, part) for part in ("x", "y")}
    described = [task(name, lines, dataset="pairs") for name, lines in parts.items()]
    whole_run = run(make_record(described, parts, model("group"), groups={"pairs": tuple(parts)}))
    apart = run(make_record(described, parts, model("apart")))
    one = run(make_record(described[:1], dict(list(parts.items())[:1]), model("one")))
    (board,) = leaderboards([whole_run, apart, one])
    assert ("group_score", "") in row(board, "group").cells
    assert ("group_score", "") not in row(board, "apart").cells
    assert {subset for _, subset in row(board, "one").cells} == {"x"}  # its whole is that of a part only
    assert ("group_score", "y") in row(board, "apart").cells


def test_published_and_human_numbers_stand_beside_as_printed_and_unranked() -> None:
    made = record(med=questions([True, False] * 11, tuple(benchmark_card("med").subsets)))
    (board,) = leaderboards([run(made)])
    printed = {one.model: one.printed for one in published_rows("med") if (one.metric, one.subset) == ("macro", "")}
    shown = {one.label: one for one in board.rows if one.role in ("published", "human")}
    assert {one.role for one in shown.values()} == {"published", "human"}
    for label, line in shown.items():
        assert not line.leads
        assert line.notes  # the source
        if ("macro", "") in line.cells:
            assert line.cells["macro", ""].printed is not None
            assert float(line.cells["macro", ""].printed.rstrip("≈")) == pytest.approx(float(printed[label]))


def test_chance_is_a_line_for_each_kind_of_answer_where_they_differ() -> None:
    scored = sets([True, False] * 6, "x")
    in_words = [
        line.model_copy(
            update={"scores": None, "scored": None, "choice": line.answers[0] if line.hit else 1 - line.answers[0]}
        )
        for line in scored
    ]
    runs = [run(record(model=model(name), pairs=lines)) for name, lines in (("clip", scored), ("chat", in_words))]
    (board,) = leaderboards(runs)
    chance = {one.label: one.cells["group_score", ""].value for one in board.rows if one.role == "chance"}
    assert chance == {
        "Chance, similarity scores": pytest.approx(1 / 6),
        "Chance, single answers": pytest.approx(1 / 16),
    }
    (alone,) = leaderboards(runs[:1])
    assert [one.label for one in alone.rows if one.role == "chance"] == ["Chance"]


def _audit(fingerprint: str) -> AuditResult:
    share = {"hits": 15, "n": 20, "value": 0.75, "low": 0.6, "high": 0.9, "chance": 0.25}
    shares = (Share(metric="macro", **share), Share(metric="accuracy", subset="x", **share))
    best = BestRule(asks="answer", name="longest", chosen={"longest": 5}, p=0.01, shares=shares)
    return AuditResult(dataset="quiz", fingerprint=fingerprint, kind="questions", items=20, rules=(), bests=(best,))


def test_the_best_blind_rule_is_shown_for_exactly_this_data_and_else_how_to_get_it() -> None:
    runs = [of([True, False] * 10, "a")]
    write_audit(_audit("e" * 64))
    (before,) = leaderboards(runs)
    assert any("minchange-eval audit quiz" in line for line in before.remarks)
    write_audit(_audit(FINGERPRINT))
    (board,) = leaderboards(runs)
    (rule,) = [one for one in board.rows if one.role == "blind rule"]
    assert rule.label == "Best blind rule: longest"
    assert (rule.cells["macro", ""].value, rule.cells["accuracy", "x"].low) == (0.75, 0.6)
    assert not any("not shown" in line for line in board.remarks)


def test_the_blind_rule_of_a_variant_is_one_that_reads_what_it_shows() -> None:
    lines = questions([True, False] * 10, ("x", "y"))
    tasks = {
        f"quiz_{variant}": task(f"quiz_{variant}", lines, dataset="quiz", variant=variant)
        for variant in ("raw", "cyclic")
    }
    runs = [run(make_record(tasks.values(), dict.fromkeys(tasks, lines), model("a")))]
    audit = _audit(FINGERPRINT)
    (best,) = audit.bests
    rule = RuleResult(
        name="longest",
        kind="fixed",
        sees="place",
        asks="answer",
        says="",
        hits=1,
        n=2,
        value=0.5,
        low=0,
        high=1,
        chance=0.25,
        decided=2,
        decided_hits=1,
        p=1,
        holm=1,
    )
    raw = best.model_copy(update={"variant": "raw", "name": "letters"})
    write_audit(audit.model_copy(update={"bests": (best, raw)}))
    found = {
        board.key.variant: [one.label for one in board.rows if one.role == "blind rule"] for board in leaderboards(runs)
    }
    assert found == {"cyclic": ["Best blind rule: longest"], "raw": ["Best blind rule: letters"]}
    write_audit(audit.model_copy(update={"rules": (rule,)}))  # the constant place of one order is none in all of them
    found = {
        board.key.variant: [one.label for one in board.rows if one.role == "blind rule"] for board in leaderboards(runs)
    }
    assert found == {"cyclic": [], "raw": []}


def test_beside_runs_of_one_subset_stands_what_others_get_on_that_subset() -> None:
    runs = [run(record(med=questions([True, False] * 10, ("Object",))))]
    shares = tuple(
        Share(metric=metric, subset=subset, hits=1, n=20, value=value, low=0.2, high=0.9, chance=0.25)
        for metric, subset, value in (("macro", "", 0.5), ("accuracy", "Object", 0.7), ("accuracy", "Scene", 0.3))
    )
    best = BestRule(asks="answer", name="longest", chosen={"longest": 5}, p=0.01, shares=shares)
    write_audit(
        AuditResult(dataset="med", fingerprint=FINGERPRINT, kind="questions", items=40, rules=(), bests=(best,))
    )
    (board,) = leaderboards(runs)
    rule = row(board, "Best blind rule: longest")
    assert rule.cells["macro", ""].value == 0.7
    assert "chance" not in rule.about  # that was tested over both subsets
    human = {one.subset: one.printed for one in published_rows("med") if one.role == "human"}
    assert row(board, "Human").cells["macro", ""].printed == human["Object"] != human[""]


def test_the_chance_of_a_mean_is_that_of_a_run_of_every_subset() -> None:
    lines = questions([True, False] * 6, ("x", "y"))
    narrow = [line for line in lines if line.subset == "x"]
    wide = run(record(model=model("wide"), quiz=lines), "wide")
    one = run(record(model=model("one"), quiz=narrow), "one")
    one = replace(
        one,
        entries=tuple(
            replace(
                entry,
                values={
                    at: value.model_copy(update={"chance": 0.5}) for at, value in entry.values.items() if not at[1]
                },
            )
            for entry in one.entries
        ),
    )
    (board,) = leaderboards([one, wide])
    assert row(board, "Chance").cells["macro", ""].value == 0.25


def test_limited_runs_alone_have_chance_beside_them() -> None:
    (board,) = leaderboards([of([True, False] * 10, "a", items_in_full=100)])
    assert {one.role for one in board.rows} == {"partial", "chance"}


def test_no_label_shows_a_folder_of_this_machine() -> None:
    assert model_name("/home/someone/checkpoints/clip-b") == "clip-b"
    assert model_name("./clip-b") == "clip-b"
    assert model_name("runs/demo/clip-b") == "clip-b"
    assert model_name(" ") == "(no name)"
    assert model_name("Qwen/Qwen2.5-VL-7B-Instruct") == "Qwen/Qwen2.5-VL-7B-Instruct"


def test_runs_of_one_model_on_different_benchmarks_share_a_label() -> None:
    runs = [of([True] * 4, "a", "quiz"), of([True] * 4, "a", "other")]
    assert labels_of(runs) == ["a", "a"]


def test_a_header_that_its_lines_contradict_is_refused() -> None:
    made = record(quiz=questions([True, False] * 10, ("x", "y")))
    told = tuple(
        value.model_copy(update={"value": 0.9}) if (value.name, value.subset) == ("macro", "") else value
        for value in made.metrics["quiz"]
    )
    with pytest.raises(DataError, match=r"the header says macro of quiz is 0[.]9"):
        run(made.model_copy(update={"metrics": {"quiz": told}}))


def test_a_slice_that_its_lines_contradict_is_refused_too() -> None:
    lines = [line.model_copy(update={"slices": ("group: a",)}) for line in questions([True, False] * 10, ("x", "y"))]
    made = record(quiz=lines)
    for subset in ("y", "group: a"):
        told = tuple(
            value.model_copy(update={"value": 0.9}) if (value.name, value.subset) == ("accuracy", subset) else value
            for value in made.metrics["quiz"]
        )
        assert told != made.metrics["quiz"]
        with pytest.raises(DataError, match=rf"the header says accuracy of quiz, {subset}, is 0[.]9"):
            run(made.model_copy(update={"metrics": {"quiz": told}}))


def test_a_record_of_no_queries_is_incomplete() -> None:
    made = record(quiz=questions([True, False]))
    empty = made.model_copy(update={"outcomes": {"quiz": ()}})
    with pytest.raises(IncompleteError, match="expected answered queries, got none"):
        run(empty)


def test_the_published_reading_is_that_of_the_record() -> None:
    lines = sets([True, False] * 6, "x")
    tied = [line.model_copy(update={"scores": (0.5, 0.5), "hit": False, "tie": True}) for line in lines]
    made = make_record([task("spec", tied, protocol="spec")], {"spec": tied}, model("clip"))
    ours, theirs = (results_in(made, Path("r.jsonl"), reading) for reading in ("ours", "published"))
    assert ours.entries[0].values["i2t_accuracy", ""].value == 0
    assert theirs.entries[0].values["i2t_accuracy", ""].value == whole(made.published["spec"])["i2t_accuracy"].value > 0


def test_a_model_that_was_asked_other_items_is_marked_and_not_tested() -> None:
    one, other = questions([True] * 20, ("x", "y")), questions([True, False] * 10, ("x", "y"), prefix="p")
    runs = [run(record(model=model(name), quiz=lines), name) for name, lines in (("a", one), ("b", other))]
    (board,) = leaderboards(runs)
    assert row(board, "b").marks == ("not tested against the best model: they were asked other items",)
    assert not row(board, "b").leads


def test_one_set_is_a_table() -> None:
    (board,) = leaderboards([run(record(pairs=sets([True])))])
    (shown,) = [one for one in board.rows if one.role == "model"]
    cell = shown.cells["group_score", ""]
    assert (cell.n, cell.value) == (1, 1.0)
    assert cell.low is not None
    assert cell.low < 0.5
