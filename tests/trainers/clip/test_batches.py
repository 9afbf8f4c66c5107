import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.trainers.clip.batches import PLAIN, Batch


def _batch(sizes: list[int], pairs: int) -> Batch:
    """Sets of these sizes around the plain pairs; row i holds the number i."""
    numbers = [number for number, size in enumerate(sizes) for _ in range(size)]
    half = len(numbers) // 2
    while 0 < half < len(numbers) and numbers[half] == numbers[half - 1]:
        half += 1
    sets = torch.tensor(numbers[:half] + [PLAIN] * pairs + numbers[half:], dtype=torch.int64)
    rows = torch.arange(len(sets))
    return Batch(
        {"image": rows[:, None].float()}, {"text": rows[:, None]}, sets, torch.zeros(len(sets), dtype=torch.bool)
    )


@given(st.lists(st.integers(2, 9), max_size=6), st.integers(0, 12), st.integers(1, 20))
def test_parts_are_the_batch_in_order_and_never_cut_a_set(sizes: list[int], pairs: int, parts: int) -> None:
    batch = _batch(sizes, pairs)
    split = batch.split(parts)
    assert torch.cat([part.sets for part in split]).tolist() == batch.sets.tolist()
    assert torch.cat([part.images["image"] for part in split]).flatten().tolist() == list(range(len(batch)))
    assert torch.cat([part.texts["text"] for part in split]).flatten().tolist() == list(range(len(batch)))
    assert len(split) <= parts
    of_sets = [set(part.sets.tolist()) - {PLAIN} for part in split]
    assert sum(len(numbers) for numbers in of_sets) == len(set().union(*of_sets))


@given(st.integers(1, 60), st.integers(1, 9))
def test_plain_pairs_are_split_evenly(pairs: int, parts: int) -> None:
    rows = [len(part) for part in _batch([], pairs).split(parts)]
    assert len(rows) == min(pairs, parts)
    assert max(rows) - min(rows) <= 1


def test_sets_of_one_size_are_split_evenly() -> None:
    assert [len(part) for part in _batch([3] * 8, 0).split(4)] == [6] * 4


def test_a_part_is_a_view() -> None:
    batch = _batch([2], 4)
    part = batch.split(2)[0]
    assert part.images["image"].data_ptr() == batch.images["image"].data_ptr()


def test_moving_a_batch_leaves_sets_and_anchors_on_the_cpu() -> None:
    moved = _batch([2], 2).to(torch.device("meta"))
    assert {moved.images["image"].device.type, moved.texts["text"].device.type} == {"meta"}
    assert {moved.sets.device.type, moved.anchors.device.type} == {"cpu"}


def test_rows_that_do_not_match_are_refused() -> None:
    batch = _batch([2], 2)
    with pytest.raises(ValueError, match="expected 4 rows"):
        Batch({"image": torch.zeros(3, 1)}, batch.texts, batch.sets, batch.anchors)
    with pytest.raises(ValueError, match="int64"):
        Batch(batch.images, batch.texts, batch.sets.float(), batch.anchors)


def test_a_set_in_two_places_is_refused() -> None:
    with pytest.raises(ValueError, match="lie together"):
        Batch({}, {}, torch.tensor([4, 4, 5, 4]), torch.zeros(4, dtype=torch.bool))
