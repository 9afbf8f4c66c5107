import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.trainers.clip.batches import PLAIN, Batch
from minchange_eval.trainers.clip.gather import World
from minchange_eval.trainers.clip.objectives import OBJECTIVES
from minchange_eval.trainers.clip.step import (
    Float32,
    TrainStep,
    adamw,
    check_finite,
    clamp_scale,
    learning_rate_at,
    refuse_batch_statistics,
)

VIT: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {"layers": 2, "width": 16, "head_width": 8, "image_size": 16, "patch_size": 8},
    "text_cfg": {"context_length": 6, "vocab_size": 30, "width": 16, "heads": 2, "layers": 1},
}


class Towers(nn.Module):
    """open_clip's CLIP, with dropout on the embeddings where asked for."""

    def __init__(self, model_cfg: dict[str, Any], dropout: float = 0.0) -> None:
        from open_clip.model import CLIP

        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.clip = CLIP(**model_cfg).double()
        self.dropout = nn.Dropout(dropout)
        self.largest = 0

    def forward(self, images: dict[str, Tensor], texts: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        self.largest = max(self.largest, len(images["image"]) if torch.is_grad_enabled() else 0)
        image_rows = self.dropout(self.clip.encode_image(images["image"]))
        text_rows = self.dropout(self.clip.encode_text(texts["text"]))
        return normalize(image_rows, dim=-1), normalize(text_rows, dim=-1), self.clip.logit_scale.exp()


@pytest.fixture
def batch() -> Batch:
    """Two sets of three, one of two, five plain pairs."""
    generator = torch.Generator().manual_seed(0)
    sets = torch.tensor([4, 4, 4, 1, 1, 1, 2, 2] + [PLAIN] * 5)
    anchors = torch.zeros(13, dtype=torch.bool)
    anchors[[0, 4, 6]] = True
    images = torch.randn(13, 3, 16, 16, generator=generator, dtype=torch.float64)
    return Batch({"image": images}, {"text": torch.randint(1, 30, (13, 6), generator=generator)}, sets, anchors)


def _step(towers: Towers, **changed: Any) -> TrainStep:
    sgd = torch.optim.SGD(towers.parameters(), lr=1.0)
    return replace(TrainStep(towers, sgd, OBJECTIVES["spec"], towers.clip.logit_scale), **changed)


def _gradients(towers: Towers) -> dict[str, Tensor]:
    return {name: part.grad for name, part in towers.named_parameters() if part.grad is not None}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("accumulate", [2, 4, 50])
def test_a_batch_in_parts_gives_the_losses_and_gradients_of_the_whole(name: str, accumulate: int, batch: Batch) -> None:
    whole, parts = Towers(VIT), Towers(VIT)
    expected = _step(whole, objective=OBJECTIVES[name]).take(1, batch, 0.0)
    found = _step(parts, objective=OBJECTIVES[name], accumulate=accumulate).take(1, batch, 0.0)
    assert found == pytest.approx(expected, rel=1e-12)
    for part, gradient in _gradients(whole).items():
        torch.testing.assert_close(_gradients(parts)[part], gradient, rtol=1e-9, atol=1e-12, msg=part)
    assert parts.largest <= max(3, -(-13 // accumulate) + 1) < whole.largest  # a set of three is never cut


def test_both_forwards_of_a_part_drop_the_same(batch: Batch) -> None:
    towers = Towers(VIT, dropout=0.5)
    step = _step(towers, accumulate=3)
    torch.manual_seed(5)
    step.take(1, batch, 0.0)
    found = _gradients(towers)
    after = torch.get_rng_state()
    torch.manual_seed(5)
    again = Towers(VIT, dropout=0.5)
    torch.manual_seed(5)
    parts = [again(part.images, part.texts) for part in batch.split(3)]
    images, texts = (torch.cat([part[side] for part in parts]) for side in (0, 1))
    from minchange_eval.trainers.clip.objectives import Features

    OBJECTIVES["spec"].losses(Features(images, texts, parts[0][2]), batch, World()).total.backward()  # type: ignore[no-untyped-call]
    for name, gradient in _gradients(again).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12, msg=name)
    assert torch.equal(torch.get_rng_state(), after)


def test_a_step_moves_the_weights_by_its_own_learning_rate(batch: Batch) -> None:
    towers = Towers(VIT)
    before = towers.clip.text_projection.detach().clone()
    _step(towers).take(1, batch, 0.25)
    gradient = towers.clip.text_projection.grad
    torch.testing.assert_close(towers.clip.text_projection.detach(), before - 0.25 * gradient)


def test_a_learning_rate_of_zero_leaves_the_weights_as_they_are(batch: Batch) -> None:
    towers = Towers(VIT)
    before = {name: part.detach().clone() for name, part in towers.named_parameters()}
    _step(towers).take(1, batch, 0.0)
    assert all(torch.equal(part, before[name]) for name, part in towers.named_parameters())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_is_no_number_stops_before_any_weight_changes(batch: Batch, accumulate: int) -> None:
    towers = Towers(VIT)
    before = {name: part.detach().clone() for name, part in towers.named_parameters()}
    batch.images["image"][12] = math.nan  # a plain pair
    step = _step(towers, accumulate=accumulate)
    with pytest.raises(
        ModelError, match=r"step 9: the loss is nan \(clip nan, hard_negative \d.*lower learning_rate=1"
    ):
        step.take(9, batch, 1.0)
    assert all(torch.equal(part, before[name]) for name, part in towers.named_parameters())


def test_the_scale_stays_in_its_bounds(batch: Batch) -> None:
    towers = Towers(VIT)
    _step(towers, max_scale=10.0).take(1, batch, 1e-9)
    assert towers.clip.logit_scale.exp().item() == pytest.approx(10)
    low = torch.tensor(-3.0)
    clamp_scale(low, 10.0)
    assert low == 0


def test_the_losses_are_those_of_the_global_batch_by_name(batch: Batch) -> None:
    values = _step(Towers(VIT)).take(1, batch, 0.0)
    assert list(values) == ["loss", "clip", "hard_negative"]
    assert values["loss"] == pytest.approx(values["clip"] + 0.2 * values["hard_negative"])


def test_accelerate_is_a_backend_and_its_bfloat16_comes_near_float32(batch: Batch) -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    towers, single = Towers(VIT).float(), Towers(VIT).float()
    images = {"image": batch.images["image"].float()}
    batch = replace(batch, images=images)
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        accelerator = Accelerator(mixed_precision="bf16", cpu=True)
        wrapped, optimizer = accelerator.prepare(towers, torch.optim.SGD(towers.parameters(), lr=1.0))
        for accumulate in (1, 3):
            values = TrainStep(
                wrapped,
                optimizer,
                OBJECTIVES["spec"],
                towers.clip.logit_scale,
                backend=accelerator,
                accumulate=accumulate,
            ).take(1, batch, 0.0)
            expected = _step(single).take(1, batch, 0.0)
            assert values == pytest.approx(expected, rel=0.03)
            assert values != expected
            found, exact = _gradients(towers)["clip.text_projection"], _gradients(single)["clip.text_projection"]
            assert (found - exact).norm() < 0.1 * exact.norm()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


class TimesEight(Float32):
    """Loss scaling as float16 has it, without its unscaling."""

    def backward(self, loss: Tensor) -> None:
        super().backward(loss * 8)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_loss_scaling_reaches_every_gradient_once(batch: Batch, accumulate: int) -> None:
    plain, scaled = Towers(VIT), Towers(VIT)
    _step(plain).take(1, batch, 0.0)
    _step(scaled, backend=TimesEight(), accumulate=accumulate).take(1, batch, 0.0)
    for name, gradient in _gradients(plain).items():
        torch.testing.assert_close(_gradients(scaled)[name], 8 * gradient, rtol=1e-9, atol=1e-11, msg=name)


def test_batch_norms_forbid_parts_and_ranks_unless_they_are_frozen(small_clip: dict[str, Any]) -> None:
    towers = Towers(small_clip)
    refuse_batch_statistics(towers, 1, World())
    with pytest.raises(UsageError, match=r"accumulate=4: clip\.visual\.bn1 takes mean and variance"):
        _step(towers, accumulate=4)
    with pytest.raises(UsageError, match=r"2 processes: clip\.visual\.bn1 .* set freeze_batch_norm"):
        _step(towers, world=World(0, 2))
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(Towers(small_clip))
    refuse_batch_statistics(synced, 1, World(0, 2))
    with pytest.raises(UsageError, match="accumulate=2"):
        refuse_batch_statistics(synced, 2, World(0, 2))
    for module in towers.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    refuse_batch_statistics(towers, 4, World(0, 2))


def test_the_parts_of_a_model_with_batch_norms_would_not_add_up(small_clip: dict[str, Any], batch: Batch) -> None:
    generator = torch.Generator().manual_seed(1)
    images = {"image": torch.randn(13, 3, 32, 32, generator=generator, dtype=torch.float64)}
    batch = replace(batch, images=images, texts={"text": batch.texts["text"][:, :4].contiguous()})
    whole, parts = Towers(small_clip), Towers(small_clip)
    expected = _step(whole).take(1, batch, 0.0)
    step = _step(parts)
    object.__setattr__(step, "accumulate", 2)
    assert step.take(1, batch, 0.0)["loss"] != pytest.approx(expected["loss"], rel=1e-3)


def test_only_matrices_decay() -> None:
    towers = Towers(VIT)
    towers.clip.visual.conv1.weight.requires_grad_(False)
    decayed, kept = adamw(
        towers.parameters(), learning_rate=1e-3, weight_decay=0.1, beta1=0.9, beta2=0.98, epsilon=1e-6
    ).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert all(part.ndim >= 2 for part in decayed["params"])
    assert any(part is towers.clip.logit_scale for part in kept["params"])
    count = len(decayed["params"]) + len(kept["params"])
    assert count == len(list(towers.parameters())) - 1


@pytest.mark.parametrize("rate", [lambda step: learning_rate_at(step, steps=9, warmup_steps=3, peak=2.0)])
def test_the_rate_rises_and_falls(rate: Callable[[int], float]) -> None:
    assert [rate(step) for step in (1, 2, 3)] == pytest.approx([2 / 3, 4 / 3, 2])
    assert [rate(step) for step in (4, 9)] == pytest.approx([1 + math.cos(math.pi / 7), 1 + math.cos(6 * math.pi / 7)])


def test_a_constant_rate_stays_after_the_warm_up() -> None:
    rates = [learning_rate_at(step, steps=5, warmup_steps=2, peak=3.0, schedule="constant") for step in range(1, 6)]
    assert rates == [1.5, 3, 3, 3, 3]


def test_a_finite_loss_passes_whatever_its_parts() -> None:
    check_finite(1, {"loss": 1.0, "clip": math.inf}, 0.1)
    with pytest.raises(ModelError, match=r"step 2: the loss is inf; lower learning_rate=0\.1"):
        check_finite(2, {"loss": math.inf}, 0.1)
