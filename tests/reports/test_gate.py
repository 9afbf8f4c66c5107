from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.core.errors import NotComparableError, UsageError
from minchange_eval.core.record import RunRecord
from minchange_eval.core.slim_records import slim
from minchange_eval.reports.gate import GateResult, gate
from minchange_eval.reports.policy import BenchmarkPolicy, Policy, SliceRule
from tests.reports.made_records import OTHER, questions, record, sets

HALF = [number % 2 > 0 for number in range(400)]


def changed(hits: Sequence[bool], to_wrong: int = 0, to_right: int = 0) -> list[bool]:
    """The first right ones wrong, the first wrong ones right."""
    right = [number for number, hit in enumerate(hits) if hit][:to_wrong]
    wrong = [number for number, hit in enumerate(hits) if not hit][:to_right]
    return [hit != (number in {*right, *wrong}) for number, hit in enumerate(hits)]


def quiz(hits: Sequence[bool], parts: Sequence[str] = ("all",)) -> RunRecord:
    return record(quiz=questions(hits, parts), model=OTHER)


def judged(to_wrong: int, to_right: int, margin: float, n: int = 400) -> GateResult:
    return gate(quiz(HALF[:n]), quiz(changed(HALF[:n], to_wrong, to_right)), Policy(margin=margin))


@pytest.mark.parametrize(
    ("to_wrong", "to_right", "margin", "verdict", "code"),
    [
        (0, 0, 0.02, "pass", 0),  # identical models
        (0, 0, 0.005, "undecided", 6),  # no flip in 400 is no proof of a loss under half a point
        (0, 0, 0.0, "undecided", 6),
        (4, 4, 0.02, "pass", 0),
        (10, 10, 0.02, "undecided", 6),
        (20, 2, 0.02, "regression", 1),
        (10, 1, 0.05, "pass", 0),  # worse, and by less than is allowed
        (2, 30, 0.0, "pass", 0),
    ],
)
def test_a_verdict_is_what_the_bounds_say(to_wrong: int, to_right: int, margin: float, verdict: str, code: int) -> None:
    decided = judged(to_wrong, to_right, margin)
    (check,) = decided.checks
    assert (decided.verdict, int(decided.exit_code)) == (verdict, code)
    assert (check.verdict == "pass") == (check.lower > -margin)
    assert (check.verdict == "regression") == (check.upper < 0 and check.lower <= -margin)
    assert (len(check.to_wrong), len(check.to_right)) == (to_wrong, to_right)


def test_one_set_is_never_enough() -> None:
    for before, after in ((True, False), (True, True), (False, True)):
        assert gate(quiz([before]), quiz([after]), Policy(margin=0.5)).verdict == "undecided"


def test_undecided_can_be_let_through_and_a_regression_cannot() -> None:
    base = quiz(HALF)
    for to_wrong, verdict, code in ((10, "undecided", 0), (40, "regression", 1)):
        decided = gate(base, quiz(changed(HALF, to_wrong, 10)), undecided_passes=True)
        assert (decided.verdict, int(decided.exit_code)) == (verdict, code)


def test_one_regression_among_passes_is_a_regression() -> None:
    base = record(quiz=questions(HALF), pairs=sets(HALF))
    decided = gate(base, record(quiz=questions(changed(HALF, 60)), pairs=sets(HALF), model=OTHER))
    assert {check.name: check.verdict for check in decided.checks} == {
        "quiz macro": "regression",
        "pairs group_score": "pass",
    }
    assert decided.verdict == "regression"


def test_a_loss_that_is_shown_alone_is_not_shown_among_many() -> None:
    parts = [f"part {number:02}" for number in range(20)]
    hits = [number % 40 >= 20 for number in range(800)]  # twenty right and twenty wrong in each part
    worse = [hit and not (number % 20 == 0 and number < 240) for number, hit in enumerate(hits)]  # six of part 00
    policy = Policy(benchmarks={"quiz": BenchmarkPolicy(metrics={"macro": 0.2}, slices=SliceRule(of=("part 00",)))})
    base, candidate = quiz(hits, parts), quiz(worse, parts)
    alone = gate(base, candidate, policy.model_copy(update={"slices": None}))
    assert [check.verdict for check in alone.checks] == ["pass", "regression"]
    every = gate(base, candidate, Policy(margin=0.2, slices=SliceRule()))
    found = {check.slice: check for check in every.checks}
    assert found["part 00"].upper < 0
    assert found["part 00"].verdict == "undecided"


def test_slices_that_must_pass_need_no_correction_and_those_not_to_be_worse_are_corrected() -> None:
    parts = ["a", "b"]
    base, candidate = quiz(HALF, parts), quiz(changed(HALF, 3, 3), parts)
    must = gate(base, candidate, Policy(margin=0.1, slices=SliceRule()))
    assert [(check.slice, check.metric, check.margin, check.verdict) for check in must.checks] == [
        ("", "macro", 0.1, "pass"),
        ("a", "accuracy", 0.1, "pass"),
        ("b", "accuracy", 0.1, "pass"),
    ]
    tight = gate(base, candidate, Policy(margin=0.1, slices=SliceRule(margin=0.01)))
    assert tight.verdict == "undecided"
    kept = gate(base, candidate, Policy(margin=0.1, slices=SliceRule(rule="not worse")))
    assert [(check.slice, check.margin, check.verdict) for check in kept.checks][1:] == [
        ("a", None, "pass"),
        ("b", None, "pass"),
    ]
    lost = gate(base, quiz([hit and number % 4 != 1 for number, hit in enumerate(HALF)], parts), Policy(
        margin=0.9, slices=SliceRule(rule="not worse")))  # fmt: skip
    assert {check.slice: check.verdict for check in lost.checks} == {"": "pass", "a": "pass", "b": "regression"}


def test_blind_tasks_are_gated_only_where_the_policy_names_them() -> None:
    def both(hits: Sequence[bool]) -> RunRecord:
        made = record(quiz=questions(HALF), quiz_blank=questions(hits))
        tasks = tuple(one.model_copy(update={"variant": "blank" * (one.name == "quiz_blank")}) for one in made.tasks)
        return made.model_copy(update={"tasks": tasks})

    base, candidate = both(HALF), both([False] * 400)
    assert [check.benchmark for check in gate(base, candidate).checks] == ["quiz"]
    named = gate(base, candidate, Policy(benchmarks={"quiz_blank": BenchmarkPolicy()}))
    assert [check.benchmark for check in named.checks] == ["quiz", "quiz_blank"]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (BenchmarkPolicy(metrics={"marco": 0.1}), "metrics.marco is no metric .* did you mean macro?"),
        (
            BenchmarkPolicy(slices=SliceRule(of=("no",))),
            "slices.of 'no' is no slice of quiz in a gated metric; there are a, b",
        ),
        (BenchmarkPolicy(metrics={}), "it gates nothing"),
    ],
)
def test_a_policy_that_asks_for_what_is_not_there_is_refused(own: BenchmarkPolicy, said: str) -> None:
    base = quiz(HALF, ["a", "b"])
    with pytest.raises(UsageError, match=said):
        gate(base, base, Policy(benchmarks={"quiz": own}))


def test_a_slice_that_the_policy_names_for_all_benchmarks_must_be_in_one() -> None:
    base = record(quiz=questions(HALF, ["a", "b"]), other=questions(HALF, ["c", "d"], prefix="r"))
    decided = gate(base, base, Policy(slices=SliceRule(of=("c",))))
    assert [(check.benchmark, check.slice) for check in decided.checks] == [("other", ""), ("quiz", ""), ("other", "c")]
    with pytest.raises(
        UsageError, match=r"slices\.of 'e' is no slice of any benchmark in a gated metric; there are a, b, c, d"
    ):
        gate(base, base, Policy(slices=SliceRule(of=("c", "e"))))


def test_a_slice_that_no_gated_metric_has_is_refused() -> None:
    lines = [line.model_copy(update={"slices": ("far",)}) for line in sets(HALF)]
    base = record(pairs=lines)
    policy = Policy(benchmarks={"pairs": BenchmarkPolicy(slices=SliceRule(of=("far",)))})
    with pytest.raises(UsageError, match="'far' is no slice of pairs in a gated metric"):
        gate(base, base, policy)
    metrics = BenchmarkPolicy(metrics={"i2t_accuracy": 0.1}, slices=SliceRule(of=("far",)))
    assert [check.slice for check in gate(base, base, Policy(benchmarks={"pairs": metrics})).checks] == ["", "far"]


def test_records_of_other_questions_have_no_verdict() -> None:
    with pytest.raises(NotComparableError):
        gate(quiz(HALF), quiz(HALF[:-1]))


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 60), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_slim_records_have_the_verdict_of_whole_ones(n: int, seed: int, slim_base: bool, slim_candidate: bool) -> None:
    draw = random.Random(seed)
    base, candidate = (
        record(quiz=questions([draw.random() < 0.6 for _ in range(n)], ["a", "b"]), pairs=sets(
            [draw.random() < 0.6 for _ in range(n)]), model=OTHER)
        for _ in range(2)
    )  # fmt: skip
    wholes = gate(base, candidate, Policy(slices=SliceRule()))
    given_ = slim(base) if slim_base else base, slim(candidate) if slim_candidate else candidate
    assert gate(*given_, Policy(slices=SliceRule())).model_dump_json() == wholes.model_dump_json()


def test_the_tasks_of_a_group_may_be_asked_one_by_one() -> None:
    base = record(one=questions(HALF), two=questions(HALF, prefix="r"))
    grouped = base.model_copy(update={"groups": {"both": ("one", "two")}})
    assert [check.name for check in gate(grouped, base).checks] == ["both macro"]
    assert [check.name for check in gate(base, grouped).checks] == ["one macro", "two macro"]


def test_a_reader_is_told_of_equal_weights_drawn_data_and_limits() -> None:
    changes = {"synthetic": True, "limit": 400, "items_in_full": 900}
    base = record(quiz=questions(HALF), changes=changes)
    assert gate(base, base).remarks == (
        "both models have the same weights",
        "quiz: drawn by this package's generator, not an official benchmark",
        "quiz: 400 of 900 items were asked, of both models",
    )
