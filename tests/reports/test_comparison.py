from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from minchange_eval.core.answers import Answer
from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import queries_of_set
from minchange_eval.core.record import ModelDescription, RunRecord, TaskRecord, make_record
from minchange_eval.reports.comparison import DifferenceRow, compare


def record(hits: dict[str, Sequence[bool]], model: str = "m", subset: str = "object") -> RunRecord:
    """A record of pairs, each with four hits: image 0, image 1, caption 0, caption 1."""
    lines = [line for name, of in hits.items() for line in pair(name, of, subset)]
    task = TaskRecord(
        name="pairs",
        kind="sets",
        dataset="pairs",
        subsets=(subset,),
        fingerprint="f" * 64,
        items=len(hits),
        items_in_full=len(hits),
        queries=len(lines),
    )
    return make_record([task], {"pairs": lines}, ModelDescription(adapter="open_clip", name=model))


def pair(name: str, hits: Sequence[bool], subset: str) -> list[QueryOutcome]:
    images = tuple(BytesImage(f"{name}:{i}", f"{name}:{i}".encode()) for i in range(2))
    queries = queries_of_set(CandidateSet(name, subset, images, ("zero", "one")))
    lines = []
    for query, hit in zip(queries, hits, strict=True):
        scores = tuple(float((position in query.answers) == hit) for position in range(2))
        lines.append(outcome_of(query, subset, Answer(scores=scores)))
    return lines


def row(rows: Sequence[DifferenceRow], metric: str, part: str = "") -> DifferenceRow:
    (found,) = [one for one in rows if (one.metric, one.slice) == (metric, part)]
    return found


RIGHT, WRONG = (True,) * 4, (False,) * 4


def test_pairs_are_matched_by_their_content_in_whatever_order_the_lines_come() -> None:
    names = [f"s{i}" for i in range(30)]
    good = {name: RIGHT if i % 3 else WRONG for i, name in enumerate(names)}
    bad = good | {"s1": WRONG, "s2": WRONG, "s3": RIGHT}
    shuffled = random.Random(0).sample(names, len(names))
    result = compare(record(good), record({name: bad[name] for name in shuffled}))
    group = row(result.rows, "group_score")
    assert (group.flips.to_wrong, group.flips.to_right) == (("s1", "s2"), ("s3",))
    assert group.difference == pytest.approx(group.second - group.first) == pytest.approx(-1 / 30)
    assert (group.n, group.items, group.clusters) == (30, 30, 30)
