import time
import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.trainers.clip.plan import BatchPlan, MemberKey

PINNED = [
    ("set", 3, 0, False),
    ("set", 3, 1, False),
    ("set", 3, 2, True),
    ("set", 0, 0, True),
    ("set", 0, 1, False),
    ("pair", 48, 0, False),
    ("pair", 18, 0, False),
    ("pair", 45, 0, False),
]
SIZES = st.lists(st.integers(2, 9), min_size=1, max_size=40)
PAIRS = st.just(0) | st.integers(2, 30)


def _plan(sizes: list[int], pairs: int = 50, *, batch: int = 6, pairs_per_batch: int = 4, seed: int = 0) -> BatchPlan:
    """Sets of one size are one subset."""
    sets_per_batch = min(batch, len(sizes))
    subsets = [f"of {size}" for size in sizes]
    return BatchPlan(sizes, subsets, pairs, sets_per_batch=sets_per_batch, pairs_per_batch=pairs_per_batch, seed=seed)


def _sets(members: tuple[MemberKey, ...]) -> list[int]:
    """Numbers of the sets, each once, in order."""
    return list(dict.fromkeys(key.number for key in members if key.source == "set"))


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(1, 12), st.integers(0, 9))
def test_an_epoch_sees_each_set_once_with_all_its_members(sizes: list[int], batch: int, seed: int) -> None:
    plan = _plan(sizes, batch=batch, seed=seed)
    for epoch in (0, 1):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        keys = [key for step in steps for key in plan.at(step).members if key.source == "set"]
        assert sorted((key.number, key.member) for key in keys) == [
            (number, member) for number, size in enumerate(sizes) for member in range(size)
        ]


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(1, 12))
def test_batches_of_an_epoch_differ_by_one_set_at_most(sizes: list[int], batch: int) -> None:
    plan = _plan(sizes, batch=batch)
    held = [len(_sets(plan.at(step).members)) for step in range(plan.steps_per_epoch)]
    assert max(held) <= batch
    assert max(held) - min(held) <= 1


@settings(max_examples=60, deadline=None)
@given(SIZES, PAIRS, st.integers(1, 8), st.integers(0, 40))
def test_the_ranks_share_one_batch_whole_sets_on_one_rank_each(
    sizes: list[int], pairs_per_batch: int, world: int, step: int
) -> None:
    plan = _plan(sizes, pairs_per_batch=pairs_per_batch)
    alone = plan.at(step).members
    if len(sizes) // plan.steps_per_epoch + pairs_per_batch < world:  # the smallest batch
        with pytest.raises(UsageError, match=f"{world} ranks cannot share"):
            plan.at(step, 0, world)
        return
    shares = [plan.at(step, rank, world).members for rank in range(world)]
    assert sorted(key for share in shares for key in share) == sorted(alone)
    for share in shares:
        members = Counter(key.number for key in share if key.source == "set")
        assert all(count == sizes[number] for number, count in members.items())
        assert share


@settings(max_examples=60, deadline=None)
@given(SIZES, PAIRS, st.integers(1, 6))
def test_ranks_differ_by_one_set_of_members_and_one_pair_at_most(
    sizes: list[int], pairs_per_batch: int, world: int
) -> None:
    plan = _plan(sizes, batch=30, pairs_per_batch=pairs_per_batch)
    if len(_sets(plan.at(0).members)) + pairs_per_batch < world:
        return
    shares = [Counter(key.source for key in plan.at(0, rank, world).members) for rank in range(world)]
    assert max(share["pair"] for share in shares) - min(share["pair"] for share in shares) <= 1
    assert max(share["set"] for share in shares) - min(share["set"] for share in shares) <= max(sizes)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 99), st.integers(0, 9))
def test_a_step_is_the_same_whatever_was_planned_before(sizes: list[int], step: int, seed: int) -> None:
    first, second = _plan(sizes, seed=seed), _plan(sizes, seed=seed)
    for earlier in range(5):
        second.at(earlier * 7, 0, 1)
    assert first.at(step) == second.at(step)


def test_the_order_is_pinned() -> None:
    members = _plan([2, 3, 2, 3, 2], batch=2, pairs_per_batch=3, seed=1).at(1).members
    assert [tuple(key) for key in members] == PINNED


def test_seeds_and_epochs_have_orders_of_their_own() -> None:
    sizes = [2] * 30
    orders = [tuple(_sets(_plan(sizes, batch=30, seed=seed).at(epoch).members)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4


def test_each_set_has_one_anchor_and_each_member_its_turn() -> None:
    plan = _plan([3, 4], batch=2, pairs_per_batch=0)
    drawn = Counter((key.number, key.member) for step in range(1200) for key in plan.at(step).members if key.is_anchor)
    assert sum(drawn.values()) == 2400
    for (number, _), count in drawn.items():
        assert count == pytest.approx(1200 / (3 + number), rel=0.2)
    assert len(drawn) == 7


def test_every_set_comes_at_every_place_as_often() -> None:
    plan = _plan([2] * 4, batch=1, pairs_per_batch=0)
    first = Counter(_sets(plan.at(epoch * 4).members)[0] for epoch in range(800))
    assert all(count == pytest.approx(200, rel=0.25) for count in first.values())


def test_each_batch_holds_each_subset_in_proportion_to_its_size() -> None:
    sizes = [2] * 60 + [3] * 30 + [9] * 10
    plan = _plan(sizes, batch=20)
    for step in range(5):
        held = Counter(sizes[number] for number in _sets(plan.at(step).members))
        assert held[2] == pytest.approx(12, abs=1)
        assert held[3] == pytest.approx(6, abs=1)
        assert held[9] == pytest.approx(2, abs=1)


def _mixed(mix: dict[str, float], counts: dict[str, int], sets_per_batch: int) -> tuple[BatchPlan, list[str]]:
    subsets = [name for name, count in counts.items() for _ in range(count)]
    return BatchPlan([2] * len(subsets), subsets, 0, sets_per_batch=sets_per_batch, pairs_per_batch=0, mix=mix), subsets


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 4), st.integers(8, 40), st.integers(8, 40))
def test_a_mix_holds_in_each_batch_and_each_set_is_seen(weight: float, first: int, second: int) -> None:
    plan, subsets = _mixed({"a": weight, "b": 1.0}, {"a": first, "b": second}, 5)
    seen: set[int] = set()
    for step in range(plan.steps_per_epoch):
        sets = _sets(plan.at(step).members)
        held = Counter(subsets[number] for number in sets)
        assert held["a"] == pytest.approx(weight / (weight + 1) * len(sets), abs=1.01)
        seen.update(sets)
    assert seen == set(range(len(subsets)))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 10), st.integers(2, 20), st.integers(2, 20), st.integers(1, 12))
def test_no_set_is_twice_in_a_batch_or_the_mix_is_refused(weight: float, first: int, second: int, batch: int) -> None:
    if batch > first + second:
        return
    try:
        plan, _ = _mixed({"a": weight, "b": 1.0}, {"a": first, "b": second}, batch)
    except UsageError as error:
        assert "lower its weight or sets_per_batch" in str(error)  # noqa: PT017
        return
    for step in range(2 * plan.steps_per_epoch):
        numbers = [key.number for key in plan.at(step).members if key.is_anchor]
        assert len(set(numbers)) == len(numbers)


def test_a_mix_may_take_every_set_of_a_subset_into_one_batch() -> None:
    third = 1 / 3  # 3 of 5 sets: by weights of floating point 3.0000000000000004
    plan, _ = _mixed({"a": third, "b": third, "c": 1.0}, {"a": 1, "b": 1, "c": 3}, 5)
    assert plan.steps_per_epoch == 1
    assert sorted(_sets(plan.at(0).members)) == [0, 1, 2, 3, 4]


def test_ranks_that_a_smaller_batch_of_the_epoch_cannot_feed_are_refused_at_the_first_step() -> None:
    plan = _plan([2, 2, 2], batch=2, pairs_per_batch=0)  # two sets in one step, one in the other
    for step in (0, 1):
        with pytest.raises(UsageError, match="2 ranks cannot share 1 sets and 0 pairs"):
            plan.at(step, 0, 2)


def test_a_mix_may_leave_a_subset_out() -> None:
    plan, subsets = _mixed({"a": 1, "b": 0}, {"a": 6, "b": 6}, 3)
    assert plan.steps_per_epoch == 2
    assert {subsets[number] for step in range(2) for number in _sets(plan.at(step).members)} == {"a"}


@pytest.mark.parametrize("mix", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, {"a": -1.0, "b": 2.0}, {"a": 0, "b": 0}])
def test_a_mix_that_is_not_of_the_subsets_is_refused(mix: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="mix: expected a weight of at least 0 for each of a, b"):
        _mixed(mix, {"a": 6, "b": 6}, 3)


def test_pairs_come_once_an_epoch_and_the_rest_is_another_each_time() -> None:
    plan = BatchPlan([], [], 11, sets_per_batch=0, pairs_per_batch=4)
    epochs = [
        [key.number for step in (2 * epoch, 2 * epoch + 1) for key in plan.at(step).members] for epoch in range(30)
    ]
    assert plan.steps_per_epoch == 2
    assert all(len(set(numbers)) == 8 for numbers in epochs)
    assert set().union(*epochs) == set(range(11))


def test_the_anchor_alone_is_planned_where_the_objective_wants_no_more() -> None:
    plan = BatchPlan([3, 4, 5], ["a"] * 3, 0, sets_per_batch=3, pairs_per_batch=0, members="anchor")
    members = plan.at(0).members
    assert sorted(key.number for key in members) == [0, 1, 2]
    assert all(key.is_anchor for key in members)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sets_per_batch": 0, "pairs_per_batch": 0}, "not both 0"),
        ({"sets_per_batch": -1, "pairs_per_batch": 4}, "at least 0"),
        ({"sets_per_batch": 0, "pairs_per_batch": 1}, "nothing to be told from"),
        ({"sets_per_batch": 1, "pairs_per_batch": 0, "members": "anchor"}, "nothing to be told from"),
        ({"sets_per_batch": 2, "pairs_per_batch": 0, "members": "anchor"}, "nothing to be told from"),  # 2 and 1 of 3
        ({"sets_per_batch": 4, "pairs_per_batch": 0}, "sets_per_batch=4, but the data hold 3 candidate sets"),
        ({"sets_per_batch": 0, "pairs_per_batch": 9}, "pairs_per_batch=9, but the data hold 8 plain pairs"),
    ],
)
def test_settings_that_cannot_be_planned_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BatchPlan([2, 2, 2], ["a"] * 3, 8, **settings)  # type: ignore[arg-type]


def test_a_set_without_negatives_is_refused_by_its_number() -> None:
    with pytest.raises(DataError, match="candidate set 1 of subset count: expected at least 2 members, got 1"):
        BatchPlan([2, 1], ["size", "count"], 0, sets_per_batch=1, pairs_per_batch=0)


def test_a_million_pairs_and_all_of_vismin_are_planned_in_no_time_and_little_memory() -> None:
    sizes = np.full(64_392, 2)
    subsets = np.repeat(["object", "attribute", "counting", "relation"], [37_017, 10_352, 10_050, 6_973]).tolist()
    tracemalloc.start()
    plan = BatchPlan(sizes, subsets, 1_000_000, sets_per_batch=768, pairs_per_batch=2048)
    times = [time.perf_counter()]
    for step in range(12):
        assert len(plan.at(step * 60, 3, 8).members) == pytest.approx((2 * 767 + 2048) / 8, abs=2)
        times.append(time.perf_counter())
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    took = sorted(later - earlier for earlier, later in pairwise(times))
    assert took[len(took) // 2] < 0.25
    assert peak_bytes < 100e6
