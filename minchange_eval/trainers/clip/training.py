"""The training loop: plain pairs for L_clip, candidate sets for L_hn, deterministic for a seed on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from open_clip.loss import ClipLoss
from torch import Tensor

from minchange_eval.core.errors import UsageError
from minchange_eval.trainers.clip.losses import hard_negative_loss
from minchange_eval.trainers.clip.model import ContrastiveModel
from minchange_eval.trainers.clip.step import adamw, check_finite, clamp_scale, learning_rate_at, set_learning_rate


@dataclass(frozen=True)
class ClipTraining:
    """Settings of one run. Those without a default depend on the model and the data.

    Attributes:
        steps: optimizer steps.
        learning_rate: at the end of the warm-up; half a cosine wave takes it to zero from there.
        pairs_per_step: plain pairs for L_clip; 0 leaves L_clip out.
        sets_per_step: whole candidate sets for L_hn, one anchor drawn from each; 0 leaves L_hn out.
        warmup_steps: linear from zero. SPEC warms up for 800 of its 1,000 steps, VisMin-CLIP for 50.
        hard_negative_weight: of L_hn in L = L_clip + weight * L_hn; SPEC, arXiv:2312.00081 (0.2).
        weight_decay: not on biases, norms and logit_scale; CLIP, arXiv:2103.00020, table 18 (0.2).
        beta1: CLIP, table 18 (0.9).
        beta2: CLIP, table 18, vision transformers (0.98).
        epsilon: CLIP, table 18, vision transformers (1e-6).
        max_scale: logit_scale never multiplies the cosine by more; CLIP, section 2.5 (100).
        seed: order of the data and choice of the anchors.
        threads: CPU threads; another number adds floats in another order, so it is part of the run.
    """

    steps: int
    learning_rate: float
    pairs_per_step: int
    sets_per_step: int = 0
    warmup_steps: int = 50
    hard_negative_weight: float = 0.2
    weight_decay: float = 0.2
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    max_scale: float = 100.0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.warmup_steps <= self.steps:
            raise UsageError(
                f"clip training: expected steps >= 1 and 0 <= warmup_steps <= steps, "
                f"got steps={self.steps} warmup_steps={self.warmup_steps}"
            )
        if self.pairs_per_step == 1 or min(self.pairs_per_step, self.sets_per_step) < 0:
            raise UsageError(
                f"clip training: expected pairs_per_step 0 or at least 2 (one pair has nothing to be told from) and "
                f"sets_per_step at least 0, got {self.pairs_per_step} and {self.sets_per_step}"
            )
        if not (self.pairs_per_step or self.sets_per_step):
            raise UsageError("clip training: pairs_per_step and sets_per_step are both 0; give at least one")


@dataclass(frozen=True)
class PixelScale:
    """Mean and standard deviation of a model's preprocessing, for pixels in [0, 1]; one number a channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalized(self, pixels: Tensor) -> Tensor:
        """uint8 [n, 3, edge, edge] to float32, as torchvision's ToTensor and Normalize do.

        Channels lie last in memory, which makes the convolutions of a small ResNet half as fast again on a CPU.
        """
        shape = (1, 3, 1, 1)
        mean = torch.tensor(self.mean, device=pixels.device).view(shape)
        std = torch.tensor(self.std, device=pixels.device).view(shape)
        return ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class TrainingPairs:
    """Pictures and captions in memory, as small models need them.

    Attributes:
        pixels: uint8 [pairs, 3, edge, edge], already resized and cropped as the model's preprocessing does.
        tokens: int64 [pairs, context].
    """

    pixels: Tensor
    tokens: Tensor

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4 or self.tokens.ndim != 2:
            raise ValueError(
                f"expected uint8 pixels [pairs, 3, edge, edge] and tokens [pairs, context], got {self.pixels.dtype} "
                f"{tuple(self.pixels.shape)} and {tuple(self.tokens.shape)}"
            )
        if len(self.pixels) != len(self.tokens):
            raise ValueError(f"expected as many captions as pictures, got {len(self.tokens)} and {len(self.pixels)}")


@dataclass(frozen=True)
class TrainingSets:
    """Candidate sets in memory: their members as pairs, and the set that each belongs to.

    Attributes:
        members: pixels and tokens of all members.
        sets: int64 [members], from 0 without gaps; members of one set lie together.
    """

    members: TrainingPairs
    sets: Tensor

    def __post_init__(self) -> None:
        steps = self.sets.diff()
        if len(self.sets) != len(self.members.tokens) or len(self.sets) == 0 or self.sets[0] != 0:
            raise ValueError("expected one set number for each member, the first of them 0")
        if ((steps != 0) & (steps != 1)).any() or self.sets.bincount().min() < 2:
            raise ValueError("expected set numbers 0, 0, 1, 1, 1, 2, ... with at least two members each")


@dataclass(frozen=True)
class StepReport:
    """What one step did; as text, the progress line."""

    step: int
    steps: int
    clip_loss: float | None
    hard_negative_loss: float | None
    learning_rate: float
    elapsed_s: float

    def __str__(self) -> str:
        terms = [("L_clip", self.clip_loss), ("L_hn", self.hard_negative_loss)]
        shown = " ".join(f"{name} {value:.3f}" for name, value in terms if value is not None)
        remaining_s = self.elapsed_s / self.step * (self.steps - self.step)
        return f"step {self.step}/{self.steps}  {shown}  lr {self.learning_rate:.2e}  {remaining_s:.0f} s left"


def train(
    model: ContrastiveModel,
    config: ClipTraining,
    pixel_scale: PixelScale,
    *,
    pairs: TrainingPairs | None = None,
    sets: TrainingSets | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> None:
    """Train a CLIP in place and leave it in evaluation mode.

    The same model, data, settings and machine give the same bytes of weights.

    Args:
        pixel_scale: mean and standard deviation of the model's preprocessing.
        pairs: needed if `pairs_per_step` > 0.
        sets: needed if `sets_per_step` > 0.
        on_step: called after each step.

    Raises:
        UsageError: fewer pairs or sets than one step takes.
        ModelError: the loss is no longer a number.
    """
    clip_term = _ClipTerm(model, config, pixel_scale, pairs) if config.pairs_per_step else None
    set_term = _SetTerm(model, config, pixel_scale, sets) if config.sets_per_step else None
    optimizer = _optimizer(model, config)
    start_s = time.perf_counter()
    model.train()
    with _deterministic(config.threads):
        for step in range(1, config.steps + 1):
            set_learning_rate(optimizer, learning_rate(step, config))
            clip = clip_term.next_loss() if clip_term else None
            hard = set_term.next_loss() if set_term else None
            _update(model, optimizer, _total(clip, hard, config.hard_negative_weight), step, config)
            if on_step:
                on_step(_report(step, config, clip, hard, time.perf_counter() - start_s))
    model.eval()


def learning_rate(step: int, config: ClipTraining) -> float:
    """Linear warm-up, then half a cosine wave to zero.

    Args:
        step: 1 to `config.steps`; step 0 would be zero, the last step is the last value above zero.
    """
    return learning_rate_at(step, steps=config.steps, warmup_steps=config.warmup_steps, peak=config.learning_rate)


class _ClipTerm:
    """L_clip of the next batch of plain pairs."""

    def __init__(
        self, model: ContrastiveModel, config: ClipTraining, scale: PixelScale, pairs: TrainingPairs | None
    ) -> None:
        count = len(pairs.tokens) if pairs else 0
        if not pairs or count < config.pairs_per_step:
            raise UsageError(f"clip training: pairs_per_step={config.pairs_per_step} needs as many pairs, got {count}")
        self._model, self._scale, self._pairs = model, scale, pairs
        self._batches = _endless(count, config.pairs_per_step, torch.Generator().manual_seed(config.seed))
        self._loss = ClipLoss()

    def next_loss(self) -> Tensor:
        images, texts = _encoded(self._model, self._scale, self._pairs, next(self._batches))
        loss: Tensor = self._loss(images, texts, self._model.logit_scale.exp())
        return loss


class _SetTerm:
    """L_hn of the next batch of candidate sets."""

    def __init__(
        self, model: ContrastiveModel, config: ClipTraining, scale: PixelScale, sets: TrainingSets | None
    ) -> None:
        count = int(sets.sets[-1]) + 1 if sets else 0
        if not sets or count < config.sets_per_step:
            raise UsageError(f"clip training: sets_per_step={config.sets_per_step} needs as many sets, got {count}")
        self._model, self._scale, self._sets = model, scale, sets
        self._generator = torch.Generator().manual_seed(config.seed)
        self._batches = _endless(count, config.sets_per_step, self._generator)

    def next_loss(self) -> Tensor:
        rows = torch.isin(self._sets.sets, next(self._batches)).nonzero().squeeze(1)
        sets = self._sets.sets[rows]
        anchors = one_anchor_per_set(sets, self._generator)
        images, texts = _encoded(self._model, self._scale, self._sets.members, rows)
        device = images.device
        return hard_negative_loss(images, texts, self._model.logit_scale.exp(), sets.to(device), anchors.to(device))


def _encoded(model: ContrastiveModel, scale: PixelScale, pairs: TrainingPairs, rows: Tensor) -> tuple[Tensor, Tensor]:
    device = model.logit_scale.device
    pixels = scale.normalized(pairs.pixels[rows].to(device))
    return model.encode_image(pixels, normalize=True), model.encode_text(pairs.tokens[rows].to(device), normalize=True)


def one_anchor_per_set(sets: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one member of each set, all of a set equally likely.

    Args:
        sets: [members], equal numbers lie together.

    Returns:
        [members], boolean.
    """
    _, sizes = torch.unique_consecutive(sets, return_counts=True)
    starts = sizes.cumsum(0) - sizes
    drawn = (torch.rand(len(sizes), generator=generator) * sizes).long()
    anchors = torch.zeros(len(sets), dtype=torch.bool)
    anchors[starts + drawn] = True
    return anchors


def _optimizer(model: ContrastiveModel, config: ClipTraining) -> torch.optim.Optimizer:
    return adamw(
        model.parameters(),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        beta1=config.beta1,
        beta2=config.beta2,
        epsilon=config.epsilon,
    )


def _endless(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of row numbers without repeats inside an epoch, for ever; an epoch's remainder is dropped."""
    whole = count - count % size
    while True:
        yield from torch.randperm(count, generator=generator)[:whole].view(-1, size)


def _total(clip: Tensor | None, hard: Tensor | None, weight: float) -> Tensor:
    if clip is None:
        assert hard is not None
        return weight * hard
    return clip if hard is None else clip + weight * hard


def _update(
    model: ContrastiveModel, optimizer: torch.optim.Optimizer, loss: Tensor, step: int, config: ClipTraining
) -> None:
    check_finite(step, {"loss": loss.item()}, config.learning_rate)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    clamp_scale(model.logit_scale, config.max_scale)


def _report(step: int, config: ClipTraining, clip: Tensor | None, hard: Tensor | None, elapsed_s: float) -> StepReport:
    return StepReport(
        step=step,
        steps=config.steps,
        clip_loss=None if clip is None else clip.item(),
        hard_negative_loss=None if hard is None else hard.item(),
        learning_rate=learning_rate(step, config),
        elapsed_s=elapsed_s,
    )


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Fixed thread count and deterministic kernels, and afterwards whatever was set before."""
    threads_before = torch.get_num_threads()
    strict_before = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict_before)
        torch.set_num_threads(threads_before)
