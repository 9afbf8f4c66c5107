import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from minchange_eval.trainers.clip.losses import hard_negative_loss


def _batch(sizes: list[int], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    members = sum(sizes)
    images = normalize(torch.randn(members, 6, generator=generator, dtype=torch.float64), dim=-1)
    texts = normalize(torch.randn(members, 6, generator=generator, dtype=torch.float64), dim=-1)
    sets = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    starts = torch.tensor(sizes).cumsum(0) - torch.tensor(sizes)
    drawn = [int(torch.randint(size, (1,), generator=generator)) for size in sizes]
    anchors = torch.zeros(members, dtype=torch.bool)
    anchors[starts + torch.tensor(drawn)] = True
    return images, texts, sets, anchors


def _by_the_paper(images: Tensor, texts: Tensor, scale: float, sets: list[int], anchors: list[int]) -> float:
    """Eq. 6 to 9, one exponential at a time."""

    def similarity(image: int, text: int) -> float:
        dot = sum(float(a) * float(b) for a, b in zip(images[image], texts[text], strict=True))
        norms = math.hypot(*images[image].tolist()) * math.hypot(*texts[text].tolist())
        return math.exp(scale * dot / norms)

    total = 0.0
    for i in anchors:
        negatives = [m for m, number in enumerate(sets) if number == sets[i] and m != i]
        in_text = sum(similarity(i, j) for j in anchors) + sum(similarity(i, h) for h in negatives)
        in_image = sum(similarity(j, i) for j in anchors) + sum(similarity(h, i) for h in negatives)
        total += -math.log(similarity(i, i) / in_text) - math.log(similarity(i, i) / in_image)
    return total / len(anchors)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=5), st.integers(0, 99), st.floats(0.5, 30))
def test_equals_the_papers_equations_written_as_loops(sizes: list[int], seed: int, scale: float) -> None:
    images, texts, sets, anchors = _batch(sizes, seed)
    expected = _by_the_paper(images, texts, scale, sets.tolist(), anchors.nonzero().flatten().tolist())
    assert hard_negative_loss(images, texts, scale, sets, anchors).item() == pytest.approx(expected, abs=1e-9)


def test_two_orthogonal_members_give_twice_log_of_one_plus_exp_of_minus_the_scale() -> None:
    unit = torch.eye(2)
    loss = hard_negative_loss(unit, unit, 3.0, torch.tensor([0, 0]), torch.tensor([True, False]))
    assert loss.item() == pytest.approx(2 * math.log(1 + math.exp(-3)))


def test_members_that_cannot_be_told_apart_cost_the_log_of_their_number_in_each_direction() -> None:
    alike = torch.ones(5, 1)
    sets, anchors = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([False, True, False, True, False])
    # the anchor of the first set has 2 anchors + 2 hard negatives to choose from, that of the second 2 + 1
    assert hard_negative_loss(alike, alike, 7.0, sets, anchors).item() == pytest.approx(math.log(4) + math.log(3))


def test_hard_negatives_of_another_set_do_not_count() -> None:
    images, texts, sets, anchors = _batch([2, 3], 0)
    before = hard_negative_loss(images, texts, 5.0, sets, anchors)
    lone = _batch([2], 1)
    strangers = torch.ones(1, dtype=torch.bool)
    more = hard_negative_loss(
        torch.cat([images, lone[0][:1]]),
        torch.cat([texts, lone[1][:1]]),
        5.0,
        torch.cat([sets, torch.tensor([2])]),
        torch.cat([anchors, ~strangers]),
    )
    assert torch.equal(before, more)


def test_exchanging_images_and_texts_changes_nothing() -> None:
    images, texts, sets, anchors = _batch([2, 9, 4], 3)
    here = hard_negative_loss(images, texts, 10.0, sets, anchors)
    assert hard_negative_loss(texts, images, 10.0, sets, anchors).item() == pytest.approx(here.item())


def test_the_order_of_the_members_changes_nothing() -> None:
    images, texts, sets, anchors = _batch([3, 4], 5)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    here = hard_negative_loss(images, texts, 10.0, sets, anchors)
    there = hard_negative_loss(images[order], texts[order], 10.0, sets[order], anchors[order])
    assert there.item() == pytest.approx(here.item())


def test_with_every_member_an_anchor_it_is_open_clips_loss_twice() -> None:
    from open_clip.loss import ClipLoss

    images, texts, sets, _ = _batch([2, 3], 7)
    loss = hard_negative_loss(images, texts, 8.0, sets, torch.ones(5, dtype=torch.bool))
    assert loss.item() == pytest.approx(2 * ClipLoss()(images, texts, 8.0).item())


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_gradients_are_finite_at_both_ends_of_the_temperature(scale: float) -> None:
    images, texts, sets, anchors = _batch([2, 9], 11)
    images, texts = images.float().requires_grad_(), texts.float().requires_grad_()
    learned = torch.tensor(scale, requires_grad=True)
    hard_negative_loss(images, texts, learned, sets, anchors).backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in (images, texts, learned))  # type: ignore[arg-type]


def test_wrong_shapes_and_a_batch_without_anchor_are_refused() -> None:
    images, texts, sets, anchors = _batch([2, 2], 0)
    with pytest.raises(ValueError, match="expected images and texts"):
        hard_negative_loss(images, texts[:3], 1.0, sets, anchors)
    with pytest.raises(ValueError, match="at least one anchor"):
        hard_negative_loss(images, texts, 1.0, sets, anchors & False)
