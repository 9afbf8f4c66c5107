"""What needs no second process; exchange between ranks is in test_two_ranks."""

import torch

from minchange_eval.trainers.clip.batches import PLAIN, Batch
from minchange_eval.trainers.clip.gather import Pool, World, gather_pool, gather_rows, padded, rows_of_rank

# two ranks of three and four members; this is the second
POOL = Pool(
    sets=torch.tensor([7, 7, PLAIN, 8, 8, PLAIN, PLAIN]),
    anchors=torch.tensor([True, False, False, False, True, False, False]),
    counts=(3, 4),
    rank=1,
    rows=torch.arange(4),
)


def test_one_process_is_a_world_of_its_own() -> None:
    assert World.here() == World(0, 1)


def test_one_process_has_the_whole_pool_and_gathers_nothing() -> None:
    sets, anchors = torch.tensor([3, 3, PLAIN]), torch.tensor([True, False, False])
    pool = gather_pool(Batch({}, {}, sets, anchors), World(), torch.device("cpu"))
    rows = torch.zeros(3, 2)
    assert (pool.counts, pool.own, len(pool)) == ((3,), slice(0, 3), 3)
    assert gather_rows(rows, pool.counts, World()) is rows


def test_a_chosen_pool_knows_its_members_and_their_rows_on_this_rank() -> None:
    plain = POOL.only(POOL.sets == PLAIN)
    assert (plain.counts, plain.rows.tolist(), plain.own) == ((1, 2), [2, 3], slice(1, 3))
    sets = POOL.only(POOL.sets != PLAIN)
    assert (sets.counts, sets.rows.tolist(), sets.own) == ((2, 2), [0, 1], slice(2, 4))
    assert sets.anchors.tolist() == [True, False, False, True]


def test_a_rank_may_have_nothing_of_what_is_chosen() -> None:
    first = POOL.only(POOL.sets == 7)
    assert (first.counts, first.rows.tolist(), first.own) == ((2, 0), [], slice(2, 2))


def test_rows_of_a_rank_lie_after_those_of_the_ranks_before() -> None:
    assert [rows_of_rank((2, 0, 3), rank) for rank in range(3)] == [slice(0, 2), slice(2, 2), slice(2, 5)]


def test_padding_keeps_the_rows_and_adds_zeros() -> None:
    rows = torch.ones(2, 3)
    assert padded(rows, 4).tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert torch.equal(padded(rows, 2), rows)
