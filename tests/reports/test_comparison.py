from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from minchange_eval.core.answers import Answer, read_answer
from minchange_eval.core.errors import IncompleteError, NotComparableError, UsageError
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import queries_of_set, query_of_question
from minchange_eval.core.record import ModelDescription, RunRecord, TaskRecord, make_record
from minchange_eval.core.slim_records import slim
from minchange_eval.core.statistics import holm, paired_difference, sign_flip_p_value
from minchange_eval.reports.comparison import DifferenceRow, compare

RIGHT, WRONG = (True,) * 4, (False,) * 4


def pair(name: str, hits: Sequence[bool | None], subset: str, shared: str = "", by: float = 1.0) -> list[QueryOutcome]:
    """A set of two: hits of image 0, image 1, caption 0, caption 1; None is a score that is not finite."""
    bytes_of = (shared or f"{name}:0", f"{name}:1")
    images = tuple(BytesImage(f"{name}:{i}", content.encode()) for i, content in enumerate(bytes_of))
    lines = []
    for query, hit in zip(queries_of_set(CandidateSet(name, subset, images, ("zero", "one"))), hits, strict=True):
        scores = None if hit is None else tuple(by * float((place in query.answers) == hit) for place in range(2))
        lines.append(outcome_of(query, subset, Answer(scores=scores, scored="pairs" if scores else None)))
    return lines


def record(lines: Sequence[QueryOutcome], *, model: str = "m", groups: Any = None, **said: Any) -> RunRecord:
    """A record with one task for each subset in a group, or of one task."""
    parts: dict[str, list[QueryOutcome]] = {}
    for line in lines:
        parts.setdefault(f"pairs_{line.subset}" if groups else "pairs", []).append(line)
    tasks = []
    for name, of in parts.items():
        items = len({line.item_id for line in of})
        known: dict[str, Any] = {
            "name": name,
            "kind": "questions" if of[0].direction == "choice" else "sets",
            "dataset": "pairs",
            "subsets": tuple(sorted({line.subset for line in of})),
            "fingerprint": "f" * 64,
            "items": items,
            "items_in_full": items,
            "queries": len({line.query_id for line in of}),
        }
        tasks.append(TaskRecord(**(known | said)))
    described = ModelDescription(adapter="open_clip", name=model)
    return make_record(tasks, parts, described, groups={groups: tuple(parts)} if groups else None)


def sets(hits: dict[str, Sequence[bool | None]], subset: str = "object") -> list[QueryOutcome]:
    return [line for name, of in hits.items() for line in pair(name, of, subset)]


def row(rows: Sequence[DifferenceRow], metric: str, part: str = "") -> DifferenceRow:
    (found,) = [one for one in rows if (one.metric, one.slice) == (metric, part)]
    return found


def test_pairs_are_matched_by_their_content_in_whatever_order_the_lines_come() -> None:
    names = [f"s{i}" for i in range(30)]
    good = {name: RIGHT if i % 3 else WRONG for i, name in enumerate(names)}
    bad = good | {"s1": WRONG, "s2": WRONG, "s3": RIGHT}
    shuffled = random.Random(0).sample(names, len(names))
    group = row(compare(record(sets(good)), record(sets({name: bad[name] for name in shuffled}))).rows, "group_score")
    assert (group.flips.to_wrong, group.flips.to_right) == (("s1", "s2"), ("s3",))
    assert group.difference == pytest.approx(group.second - group.first) == pytest.approx(-1 / 30)
    assert (group.n, group.items, group.clusters) == (30, 30, 30)


def test_a_subset_asked_for_twice_counts_once() -> None:
    hits = {f"s{i}": RIGHT if i % 2 else WRONG for i in range(20)}
    lines = sets(hits)
    once, twice = record(lines), record([*lines, *lines])
    assert compare(once, twice).rows == compare(once, once).rows


def test_every_row_is_the_paired_difference_of_hand_counted_arrays() -> None:
    first = sets({f"a{i}": RIGHT for i in range(20)}) + sets({f"b{i}": RIGHT for i in range(5)}, "count")
    second = sets({f"a{i}": WRONG if i < 6 else RIGHT for i in range(20)}) + sets(
        {f"b{i}": (True, False, True, True) if i < 2 else RIGHT for i in range(5)}, "count"
    )
    rows = compare(record(first), record(second)).rows
    totals = np.zeros((25, 2))
    totals[:20, 1] = totals[20:, 0] = 1  # subsets by name: count, object
    after = totals.copy()
    after[:6, 1] = after[20:22, 0] = 0
    expected = paired_difference(totals, after, totals)
    group = row(rows, "group_score")
    for name in ("difference", "low", "high", "lower", "upper", "p", "p_mcnemar", "smallest_effect"):
        assert getattr(group, name) == pytest.approx(getattr(expected, name)), name
    assert group.difference == pytest.approx((-6 / 20 - 2 / 5) / 2)
    assert group.p == sign_flip_p_value([1 / 20] * 6 + [1 / 5] * 2)
    accuracy = row(rows, "i2t_accuracy", "count")
    assert (accuracy.difference, accuracy.n, accuracy.clusters) == (pytest.approx(-2 / 10), 10, 5)
    assert accuracy.p_mcnemar is None
    assert row(rows, "image_score", "count").flips.to_wrong == ()


def test_sets_that_share_an_image_are_one_cluster() -> None:
    first = [line for i in range(12) for line in pair(f"s{i}", RIGHT, "object", shared=f"scene {i // 3}")]
    second = [line for i in range(12) for line in pair(f"s{i}", WRONG, "object", shared=f"scene {i // 3}")]
    group = row(compare(record(first), record(second)).rows, "group_score")
    assert (group.items, group.clusters) == (12, 4)
    assert group.p == 2 * 0.5**4
    assert group.p_mcnemar is None


def test_a_group_is_compared_once_with_its_tasks_as_slices() -> None:
    lines = sets({f"a{i}": RIGHT for i in range(12)}) + sets({f"b{i}": WRONG for i in range(12)}, "count")
    grouped = compare(record(lines, groups="pairs"), record(lines, groups="pairs")).rows
    assert {one.benchmark for one in grouped} == {"pairs"}
    assert {one.slice for one in grouped} == {"", "count", "object"}
    alone = record(lines, groups="pairs").model_copy(update={"groups": {}})
    assert {one.benchmark for one in compare(record(lines, groups="pairs"), alone).rows} == {
        "pairs_count",
        "pairs_object",
    }


def test_a_single_subset_is_no_row_of_its_own() -> None:
    lines = sets({f"a{i}": RIGHT for i in range(12)})
    rows = compare(record(lines), record(lines)).rows
    assert [one.slice for one in rows] == [""] * 6


def test_holm_is_over_all_rows_of_the_benchmark_for_each_claim() -> None:
    first = sets({f"a{i}": RIGHT for i in range(40)}) + sets({f"b{i}": WRONG for i in range(40)}, "count")
    second = sets({f"a{i}": WRONG if i < 8 else RIGHT for i in range(40)}) + sets(
        {f"b{i}": RIGHT if i < 15 else WRONG for i in range(40)}, "count"
    )
    rows = compare(record(first), record(second)).rows
    assert [one.holm_worse for one in rows] == list(holm([one.p_worse for one in rows]))
    assert [one.holm_better for one in rows] == list(holm([one.p_better for one in rows]))
    lost, won = row(rows, "group_score", "object"), row(rows, "group_score", "count")
    assert lost.p_worse == 0.5**8
    assert lost.p_better == won.p_worse == lost.holm_better == 1
    assert lost.holm_worse == pytest.approx(18 * 0.5**8)  # the p values of 18 rows are no lower


def test_flips_come_worst_first() -> None:
    hits = {f"s{i}": RIGHT for i in range(6)}
    second = [
        *pair("s0", (False, True, True, True), "object", by=9.0),  # one of two results turned, far behind
        *pair("s1", (False, False, True, True), "object", by=0.1),
        *pair("s2", (False, True, True, True), "object", by=0.5),
        *pair("s3", (False, False, True, True), "object", by=0.2),
        *(line for name in ("s4", "s5") for line in pair(name, RIGHT, "object")),
    ]
    rows = compare(record(sets(hits)), record(second)).rows
    assert row(rows, "i2t_accuracy").flips.to_wrong == ("s3", "s1", "s0", "s2")
    assert row(rows, "text_score").flips.to_wrong == ("s0", "s2", "s3", "s1")
    assert row(compare(record(second), record(sets(hits))).rows, "i2t_accuracy").flips.to_right == (
        *("s3", "s1", "s0", "s2"),
    )


def test_a_model_beside_itself_shows_nothing_and_its_bounds_are_no_points() -> None:
    same = record(sets({f"s{i}": RIGHT if i % 3 else WRONG for i in range(50)}))
    for one in compare(same, same).rows:
        assert (one.difference, one.p, one.holm_worse, one.holm_better) == (0, 1, 1, 1)
        assert one.lower == pytest.approx(-(1 - 0.05 ** (1 / 50)))
        assert one.flips.to_right == one.flips.to_wrong == ()
        assert one.smallest_effect is None


def test_one_set_can_be_compared_and_decides_nothing() -> None:
    rows = compare(record(sets({"s": RIGHT})), record(sets({"s": WRONG}))).rows
    assert all(one.difference == -1 and one.p == 1 and one.low == -1 and one.high >= 0 for one in rows)


def test_unscored_queries_are_misses_and_counted() -> None:
    hits: dict[str, Sequence[bool | None]] = {f"s{i}": RIGHT for i in range(40)}
    mended = hits | {"s3": (True, None, True, True)}
    rows = compare(record(sets(hits)), record(sets(mended))).rows
    text = row(rows, "text_score")
    assert (text.first_unscored, text.second_unscored) == (0, 1)
    assert text.flips.to_wrong == ("s3",)
    assert row(rows, "image_score").second_unscored == 0


def test_records_without_any_query_are_incomplete() -> None:
    empty = RunRecord(tasks=(), model=ModelDescription(adapter="a", name="m"), metrics={}, outcomes={})
    with pytest.raises(IncompleteError, match="expected at least one task, got none"):
        compare(empty, empty)


def test_a_score_that_is_not_finite_is_refused() -> None:
    lines = sets({f"s{i}": RIGHT for i in range(40)})
    broken = lines[0].model_copy(update={"scores": (1.0, None), "hit": False, "unscored": True})
    with pytest.raises(IncompleteError, match="not finite"):
        compare(record(lines), record([broken, *lines[1:]]))


def test_other_sets_data_or_images_are_refused() -> None:
    lines = sets({f"s{i}": RIGHT for i in range(20)})
    with pytest.raises(NotComparableError, match="4 queries of its own"):
        compare(record(lines), record([*lines[4:], *pair("s20", RIGHT, "object")]))
    with pytest.raises(NotComparableError, match="fingerprint"):
        compare(record(lines), record(lines, fingerprint="e" * 64))
    shared = [line for i in range(20) for line in pair(f"s{i}", RIGHT, "object", shared="one scene")]
    with pytest.raises(NotComparableError, match="same sets, images and slices"):
        compare(record(lines), record(shared))


def test_a_slim_record_is_compared_with_a_whole_one_but_not_read_again() -> None:
    first = record(sets({f"s{i}": RIGHT for i in range(20)}), protocol="vismin")
    second = record(sets({f"s{i}": RIGHT if i else WRONG for i in range(20)}), protocol="vismin")
    whole = compare(first, second)
    assert compare(slim(first), second) == compare(first, slim(second)) == compare(slim(first), slim(second))
    assert compare(slim(first), second).rows[0].p == whole.rows[0].p
    with pytest.raises(UsageError, match="slim"):
        compare(slim(first), second, protocol="published")


def test_the_published_protocol_is_the_papers_own_reading() -> None:
    tied = {f"s{i}": RIGHT for i in range(20)}
    first = record(sets(tied), protocol="spec")
    lines = sets(tied)
    ties = [line.answered(scores=(0.5, 0.5), scored="pairs") if line.item_id == "s0" else line for line in lines]
    second = record(ties, protocol="spec")
    ours = row(compare(first, second).rows, "i2t_accuracy")
    theirs = row(compare(first, second, protocol="published").rows, "i2t_accuracy")
    assert ours.difference == pytest.approx(-2 / 40)  # a tie is a miss
    assert theirs.difference == pytest.approx(-1 / 40)  # the first of equal scores wins: right for one of two


def cyclic(name: str, chosen: Sequence[int]) -> list[QueryOutcome]:
    """A question of two options in both orders; what was chosen in each, as shown."""
    item = ChoiceQuestion(name, "kind", (BytesImage(name, name.encode()),), "Which?", ("a", "b"), (0,))
    query = query_of_question(item)
    lines = []
    for form, (order, place) in enumerate(zip(((0, 1), (1, 0)), chosen, strict=True)):
        outcome = outcome_of(query, "kind", read_answer("AB"[place], "AB"))
        judged = outcome.model_copy(
            update={
                "query_id": f"{query.query_id}@c{form}",
                "form": f"c{form}",
                "order": order,
                "answers": (order.index(0),),
            }
        )
        lines.append(judged.answered(choice=place, text="AB"[place]))
    return lines


def test_orders_of_a_question_are_merged_before_they_are_compared() -> None:
    first = record([line for i in range(20) for line in cyclic(f"q{i:02}", (0, 1))])  # right in both orders
    second = record([line for i in range(20) for line in cyclic(f"q{i:02}", (0, 1) if i > 3 else (0, 0))])
    rows = compare(first, second).rows
    macro = row(rows, "macro")
    assert (macro.n, macro.items, macro.first, macro.second) == (20, 20, 1.0, pytest.approx(0.8))
    assert macro.flips.to_wrong == ("q00", "q01", "q02", "q03")
    assert row(rows, "consistency").difference == pytest.approx(-0.2)
    assert {one.metric for one in rows} == {"macro", "micro", "consistency"}
