from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.core.answers import Answer
from minchange_eval.core.errors import UsageError
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.metrics import summarize
from minchange_eval.core.outcomes import outcome_of
from minchange_eval.core.queries import queries_of_set, query_of_question
from minchange_eval.core.record import (
    ModelDescription,
    RunRecord,
    TaskRecord,
    digest,
    make_record,
    read_record,
    write_record,
)
from minchange_eval.core.slim_records import require_whole, slim

FIXTURES = sorted((Path(__file__).parent / "records").glob("v*.jsonl"))
SCORE = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@st.composite
def records_of_sets(draw: st.DrawFn) -> RunRecord:
    """Sets of two, some of which share an image, with ties and unread answers."""
    outcomes = []
    for number in range(draw(st.integers(1, 6))):
        images = tuple(BytesImage(str(k), bytes([draw(st.integers(0, 8))])) for k in range(2))
        item = CandidateSet(f"s/{number}", f"part {number % 2}", images, ("zero", "one"))
        for query in queries_of_set(item):
            answer = draw(st.one_of(st.none(), st.tuples(SCORE, SCORE)))
            outcomes.append(outcome_of(query, item.subset, Answer(scores=answer, scored="pairs" if answer else None)))
    task = TaskRecord(
        name="s", kind="sets", dataset="s", subsets=("part 0", "part 1"), fingerprint="f" * 64, items=1,
        items_in_full=1, queries=len(outcomes),
    )  # fmt: skip
    return make_record([task], {"s": outcomes}, ModelDescription(adapter="open_clip", name="m"))


@settings(max_examples=25, deadline=None)
@given(records_of_sets())
def test_all_metrics_of_a_slim_record_are_those_of_the_whole_one(record: RunRecord) -> None:
    lines = slim(record).outcomes["s"]
    assert summarize(lines, "sets", resamples=200) == summarize(record.outcomes["s"], "sets", resamples=200)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_records_of_all_versions_can_be_slimmed_with_the_same_metrics(path: Path, tmp_path: Path) -> None:
    record = read_record(path)
    write_record(slim(record), tmp_path / "slim.jsonl.gz")
    slimmed = read_record(tmp_path / "slim.jsonl.gz")
    assert slimmed.metrics == record.metrics
    for task in record.tasks:
        assert summarize(slimmed.outcomes[task.name], task.kind) == summarize(record.outcomes[task.name], task.kind)


def test_a_slim_record_says_which_record_it_was_and_is_slimmed_once() -> None:
    record = read_record(FIXTURES[-1])
    assert slim(record).slim_of == digest(record)
    assert slim(slim(record)) == slim(record)


def test_words_reasons_and_scores_go_but_not_those_that_are_merged_or_not_finite() -> None:
    lines = [outcome for outcomes in slim(read_record(FIXTURES[-1])).outcomes.values() for outcome in outcomes]
    assert all(line.text is None and line.reason is None and not line.alternatives for line in lines)
    assert all(line.order or line.scores is None or None in line.scores for line in lines)
    assert any(line.scores is not None and None in line.scores for line in lines)
    assert any(line.order and line.scores is not None for line in lines)


def test_what_needs_every_answer_refuses_a_slim_record() -> None:
    record = read_record(FIXTURES[-1])
    require_whole(record, "the gallery")
    with pytest.raises(UsageError, match=f"the gallery needs them; .* begins with {digest(record)[:12]}"):
        require_whole(slim(record), "the gallery")


def test_a_million_queries_fit_into_memory_whole_and_slim(tmp_path: Path) -> None:
    n = 3_000
    image = BytesImage("i", b"i")
    question = ChoiceQuestion("q", "all", (image,), "Which?", ("a", "b"), (1,))
    one = outcome_of(query_of_question(question), "all", Answer(scores=(0.25, 0.5), scored="labels"))
    lines = [one.model_copy(update={"query_id": f"q{place}/choice", "item_id": f"q{place}"}) for place in range(n)]
    task = TaskRecord(
        name="q", kind="questions", dataset="q", subsets=("all",), fingerprint="f" * 64, items=n, items_in_full=n,
        queries=n,
    )  # fmt: skip
    write_record(make_record([task], {"q": lines}, ModelDescription(adapter="a", name="m")), tmp_path / "r")
    tracemalloc.start()
    try:
        for read in (read_record, lambda path: slim(read_record(path))):
            before = tracemalloc.get_traced_memory()[0]
            kept = read(tmp_path / "r")
            assert tracemalloc.get_traced_memory()[0] - before < 4_000 * n  # 4 GB a million
            del kept
    finally:
        tracemalloc.stop()
