import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from safetensors.torch import save

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.trainers.clip.model import ContrastiveModel, new_model
from minchange_eval.trainers.clip.training import (
    ClipTraining,
    PixelScale,
    StepReport,
    TrainingPairs,
    TrainingSets,
    learning_rate,
    one_anchor_per_set,
    train,
)

SHORT = ClipTraining(steps=6, learning_rate=1e-2, pairs_per_step=8, sets_per_step=3, warmup_steps=2, seed=5)


Run = Callable[..., ContrastiveModel]


@pytest.fixture
def trained(pixel_scale: PixelScale, pairs: TrainingPairs, sets: TrainingSets, small_clip: dict[str, Any]) -> Run:
    """A new small model after a run with these settings."""

    def run(config: ClipTraining) -> ContrastiveModel:
        model = new_model(small_clip, seed=1)
        train(model, config, pixel_scale, pairs=pairs, sets=sets)
        return model

    return run


@pytest.fixture
def model(small_clip: dict[str, Any]) -> ContrastiveModel:
    return new_model(small_clip, seed=1)


def _bytes(model: ContrastiveModel) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})


def test_the_same_seed_gives_the_same_bytes_of_weights_whatever_was_drawn_before(
    trained: Run,
) -> None:
    first = _bytes(trained(SHORT))
    torch.rand(3)
    assert _bytes(trained(SHORT)) == first


def test_another_seed_gives_other_weights(trained: Run) -> None:
    other = ClipTraining(**{**vars(SHORT), "seed": 6})
    assert _bytes(trained(other)) != _bytes(trained(SHORT))


def test_it_learns_to_name_eight_colours_it_sees_in_new_pictures(
    trained: Run, pictures: Callable[..., TrainingPairs], pixel_scale: PixelScale
) -> None:
    model = trained(ClipTraining(steps=80, learning_rate=3e-3, pairs_per_step=32, warmup_steps=5))
    unseen = pictures(torch.arange(8), seed=2)
    with torch.no_grad():
        images = model.encode_image(pixel_scale.normalized(unseen.pixels), normalize=True)
        texts = model.encode_text(unseen.tokens, normalize=True)
    assert (images @ texts.T).argmax(1).tolist() == list(range(8))


def test_the_hard_negative_loss_alone_trains_too(
    model: ContrastiveModel, sets: TrainingSets, pixel_scale: PixelScale
) -> None:
    reports: list[StepReport] = []
    config = ClipTraining(steps=30, learning_rate=3e-3, pairs_per_step=0, sets_per_step=8, warmup_steps=5)
    train(model, config, pixel_scale, sets=sets, on_step=reports.append)
    losses = [report.hard_negative_loss for report in reports]
    assert all(report.clip_loss is None for report in reports)
    assert None not in losses
    assert losses[-1] < losses[0] / 2  # type: ignore[operator]


def test_the_weight_of_the_hard_negatives_reaches_the_weights(trained: Run) -> None:
    heavier = ClipTraining(**{**vars(SHORT), "hard_negative_weight": 2.0})
    assert _bytes(trained(heavier)) != _bytes(trained(SHORT))


def test_the_model_is_left_in_evaluation_mode_and_torch_as_it_was(trained: Run) -> None:
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    model = trained(SHORT)
    assert not model.training  # type: ignore[attr-defined]
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, strict)


def test_the_temperature_never_multiplies_by_more_than_its_bound(trained: Run) -> None:
    config = ClipTraining(steps=5, learning_rate=0.5, pairs_per_step=8, warmup_steps=0, max_scale=15)
    assert trained(config).logit_scale.exp().item() <= 15.001


def test_the_rate_rises_to_its_peak_and_falls_to_nearly_nothing() -> None:
    config = ClipTraining(steps=100, learning_rate=1.0, pairs_per_step=2, warmup_steps=10)
    rates = [learning_rate(step, config) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert all(later < earlier for earlier, later in pairwise(rates[9:]))
    assert 0 < rates[-1] < 1e-3
    assert rates[54] == pytest.approx(0.5 * (1 + math.cos(math.pi * 45 / 91)))


def test_the_progress_line_shows_both_losses_and_the_time_left() -> None:
    report = StepReport(step=10, steps=40, clip_loss=2.5, hard_negative_loss=0.125, learning_rate=0.001, elapsed_s=5.0)
    assert str(report) == "step 10/40  L_clip 2.500 L_hn 0.125  lr 1.00e-03  15 s left"


def test_each_set_gets_one_anchor_and_each_member_its_turn() -> None:
    sets, generator = torch.tensor([4, 4, 7, 7, 7]), torch.Generator().manual_seed(0)
    drawn = torch.stack([one_anchor_per_set(sets, generator) for _ in range(600)])
    assert (drawn[:, :2].sum(1) == 1).all()
    assert (drawn[:, 2:].sum(1) == 1).all()
    assert drawn.float().mean(0).tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3], abs=0.07)


def test_pixels_are_scaled_as_torchvision_does(pictures: Callable[..., TrainingPairs]) -> None:
    from torchvision.transforms.functional import normalize

    pixels = pictures(torch.arange(3), seed=3).pixels
    scale = PixelScale((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    expected = normalize(pixels.float() / 255, list(scale.mean), list(scale.std))
    assert torch.allclose(scale.normalized(pixels), expected, atol=1e-6)


def test_a_loss_that_is_no_number_stops_the_run_with_the_step(
    model: ContrastiveModel, pairs: TrainingPairs, sets: TrainingSets, pixel_scale: PixelScale
) -> None:
    model.logit_scale.data.fill_(math.nan)
    with pytest.raises(ModelError, match="step 1: the loss is nan; lower learning_rate"):
        train(model, SHORT, pixel_scale, pairs=pairs, sets=sets)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 0}, "steps >= 1"),
        ({"warmup_steps": 7}, "warmup_steps <= steps"),
        ({"pairs_per_step": 1}, "at least 2"),
        ({"pairs_per_step": 0, "sets_per_step": 0}, "both 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changed: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ClipTraining(**{**vars(SHORT), **changed})


def test_fewer_pairs_or_sets_than_a_step_takes_are_refused(
    model: ContrastiveModel, pairs: TrainingPairs, sets: TrainingSets, pixel_scale: PixelScale
) -> None:
    few = TrainingPairs(pairs.pixels[:7], pairs.tokens[:7])
    with pytest.raises(UsageError, match="pairs_per_step=8 needs as many pairs, got 7"):
        train(model, SHORT, pixel_scale, pairs=few, sets=sets)
    with pytest.raises(UsageError, match="sets_per_step=3 needs as many sets, got 0"):
        train(model, SHORT, pixel_scale, pairs=pairs)


def test_data_of_another_shape_is_refused(pairs: TrainingPairs) -> None:
    with pytest.raises(ValueError, match="expected uint8 pixels"):
        TrainingPairs(pairs.pixels.float(), pairs.tokens)
    with pytest.raises(ValueError, match="as many captions as pictures"):
        TrainingPairs(pairs.pixels, pairs.tokens[:5])
    with pytest.raises(ValueError, match="at least two members"):
        TrainingSets(TrainingPairs(pairs.pixels[:3], pairs.tokens[:3]), torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match="set numbers"):
        TrainingSets(TrainingPairs(pairs.pixels[:4], pairs.tokens[:4]), torch.tensor([0, 0, 2, 2]))
