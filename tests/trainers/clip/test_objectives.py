"""Every objective under both losses against loops over exponentials that share no code with it."""

import math
from dataclasses import replace
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from minchange_eval.core.errors import UsageError
from minchange_eval.trainers.clip import losses
from minchange_eval.trainers.clip.batches import Batch
from minchange_eval.trainers.clip.gather import World
from minchange_eval.trainers.clip.objectives import OBJECTIVES, Features

Loss = Literal["clip", "siglip"]
Floats = NDArray[np.float64]
ALL = list(product(OBJECTIVES, ("clip", "siglip")))


def _batch(sizes: list[int], pairs: int) -> Batch:
    """Sets of these sizes, then plain pairs; the anchor is the second member."""
    sets = torch.tensor([10 + number for number, size in enumerate(sizes) for _ in range(size)] + [-1] * pairs)
    anchors = torch.tensor([member == 1 for size in sizes for member in range(size)] + [False] * pairs)
    return Batch({}, {}, sets, anchors)


def _features(rows: int, seed: int, scale: float = 7.0, bias: float = -3.0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    images, texts = (
        normalize(torch.randn(rows, 6, generator=generator, dtype=torch.float64), dim=-1).requires_grad_()
        for _ in range(2)
    )
    scalars = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (scale, bias)]
    return Features(images, texts, scalars[0], scalars[1])


def _cost(loss: Loss, scores: list[float], own: int) -> float:
    """Of one query over its candidates."""
    if loss == "clip":
        return -math.log(math.exp(scores[own]) / sum(math.exp(score) for score in scores))
    return sum(math.log(1 + math.exp(-score if place == own else score)) for place, score in enumerate(scores))


def _contrastive(loss: Loss, score: Floats, rows: list[int]) -> float:
    total = 0.0
    for place, i in enumerate(rows):
        total += _cost(loss, [score[i, j] for j in rows], place) + _cost(loss, [score[j, i] for j in rows], place)
    return total / 2 / len(rows)


def _hard_negative(loss: Loss, score: Floats, sets: list[int], anchors: list[int]) -> float:
    total = 0.0
    for i in anchors:
        candidates = anchors + [row for row, number in enumerate(sets) if number == sets[i] and row != i]
        own = candidates.index(i)
        total += _cost(loss, [score[i, j] for j in candidates], own)
        total += _cost(loss, [score[j, i] for j in candidates], own)
    return total / len(anchors)


def _by_loops(name: str, loss: Loss, features: Features, batch: Batch) -> float:
    score = features.scale.item() * features.images.detach().numpy() @ features.texts.detach().numpy().T
    if loss == "siglip":
        assert features.bias is not None
        score = score + features.bias.item()
    sets = batch.sets.tolist()
    if name != "spec":
        return _contrastive(loss, score, list(range(len(sets))))
    plain = [row for row, number in enumerate(sets) if number == -1]
    total = _contrastive(loss, score, plain) if plain else 0.0
    anchors = batch.anchors.nonzero().flatten().tolist()
    return total + (0.2 * _hard_negative(loss, score, sets, anchors) if anchors else 0.0)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(("name", "loss"), ALL)
@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.integers(2, 9), max_size=4), pairs=st.integers(0, 7), seed=st.integers(0, 99))
def test_equals_its_definition_written_as_loops(
    name: str, loss: Loss, local: bool, sizes: list[int], pairs: int, seed: int
) -> None:
    if not sizes and not pairs:
        pairs = 2
    batch, objective = _batch(sizes, pairs), replace(OBJECTIVES[name], loss=loss, local_loss=local)
    features = _features(len(batch), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "CHUNK_ROWS", 3)
        total = objective.losses(features, batch, World()).total
    assert total.item() == pytest.approx(_by_loops(name, loss, features, batch), abs=1e-9)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(("name", "loss"), ALL)
def test_its_gradient_is_the_slope_of_the_loops(name: str, loss: Loss, local: bool) -> None:
    batch, objective = _batch([2, 4, 3], 5), replace(OBJECTIVES[name], loss=loss, local_loss=local)
    features = _features(len(batch), 1)
    inputs = [part for part in features if part is not None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "CHUNK_ROWS", 4)
        gradients = torch.autograd.grad(objective.losses(features, batch, World()).total, inputs)
    generator = torch.Generator().manual_seed(2)
    for place, gradient in enumerate(gradients):
        way = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        values = []
        for sign in (1e-5, -1e-5):
            moved = [part.detach() + (sign * way if at == place else 0) for at, part in enumerate(inputs)]
            values.append(_by_loops(name, loss, Features(*moved), batch))
        assert (gradient * way).sum().item() == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-6)


def test_spec_tells_an_anchor_from_its_own_negatives_and_other_anchors_only() -> None:
    batch = _batch([3, 3], 4)
    features = _features(len(batch), 3)
    total = OBJECTIVES["spec"].losses(features, batch, World()).parts["hard_negative"]
    moved = features.images.detach().clone()
    moved[6:] = moved[6:].flip(0)  # plain pairs
    assert OBJECTIVES["spec"].losses(features._replace(images=moved), batch, World()).parts["hard_negative"] == total


def test_the_parts_add_up_with_the_weight() -> None:
    batch = _batch([3, 2], 4)
    found = replace(OBJECTIVES["spec"], hard_negative_weight=0.7).losses(_features(len(batch), 3), batch, World())
    assert list(found.parts) == ["clip", "hard_negative"]
    assert found.total.item() == pytest.approx((found.parts["clip"] + 0.7 * found.parts["hard_negative"]).item())
    assert not any(part.requires_grad for part in found.parts.values())


def test_spec_without_plain_pairs_is_the_hard_negative_loss_alone() -> None:
    batch = _batch([3, 2], 0)
    assert list(OBJECTIVES["spec"].losses(_features(5, 3), batch, World()).parts) == ["hard_negative"]


def test_vismin_and_full_sets_are_one_computation_under_two_names() -> None:
    assert replace(OBJECTIVES["vismin"], name="full_sets") == OBJECTIVES["full_sets"]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_sigmoid_loss_is_refused_for_a_model_without_a_bias(name: str) -> None:
    batch = _batch([2], 2)
    features = _features(4, 0)._replace(bias=None)
    with pytest.raises(UsageError, match="has no logit_bias"):
        replace(OBJECTIVES[name], loss="siglip").losses(features, batch, World())


def test_the_softmax_loss_leaves_a_bias_as_it_is() -> None:
    batch, features = _batch([2, 3], 2), _features(7, 0)
    for local in (False, True):
        total = replace(OBJECTIVES["spec"], local_loss=local).losses(features, batch, World()).total
        assert features.bias is not None
        assert torch.autograd.grad(total, features.bias)[0] == 0


def test_the_loss_is_in_float32_under_autocast() -> None:
    batch, features = _batch([2, 3], 3), _features(8, 0)
    half = Features(*(part.detach().bfloat16() for part in features if part is not None))
    single = Features(*(part.float() for part in half if part is not None))
    for name, loss in ALL:
        objective = replace(OBJECTIVES[name], loss=loss, local_loss=True)  # type: ignore[arg-type]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total = objective.losses(half, batch, World()).total
        assert total.dtype == torch.float32
        assert total == objective.losses(single, batch, World()).total


class _Largest(TorchDispatchMode):
    """Elements of the largest tensor that anything computes."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for part in found if isinstance(found, tuple | list) else [found]:
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return found


@pytest.mark.parametrize(("name", "loss"), ALL)
def test_local_loss_never_holds_more_than_some_rows_of_the_matrix(
    name: str, loss: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CHUNK_ROWS", 8)
    batch = _batch([4] * 60, 200)
    held = {}
    for local in (False, True):
        with _Largest() as largest:
            objective = replace(OBJECTIVES[name], loss=loss, local_loss=local)
            objective.losses(_features(440, 0), batch, World()).total.backward()  # type: ignore[no-untyped-call]
        held[local] = largest.elements
    assert held[True] <= 8 * 440
    if loss == "clip":
        assert held[False] >= 200 * 200


def test_plain_losses_are_those_of_open_clip() -> None:
    from open_clip.loss import ClipLoss, SigLipLoss

    features = _features(9, 5)
    batch = _batch([2, 3], 4)
    plain = OBJECTIVES["full_sets"]
    assert features.bias is not None
    assert plain.losses(features, batch, World()).total.item() == pytest.approx(ClipLoss()(*features[:3]).item())
    sigmoid = replace(plain, loss="siglip").losses(features, batch, World()).total.item()
    assert sigmoid == pytest.approx(SigLipLoss()(*features).item())
