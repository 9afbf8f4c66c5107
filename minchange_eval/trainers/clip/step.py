"""One optimizer step: forward, loss, backward, update, and what must hold before and after it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, distributed, nn

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.trainers.clip.batches import Batch
from minchange_eval.trainers.clip.gather import World
from minchange_eval.trainers.clip.objectives import Features, Losses, Objective


class Backend(Protocol):
    """What a step leaves to the precision and the ranks. `accelerate.Accelerator` is one."""

    def backward(self, loss: Tensor) -> object:
        """`loss.backward()`, scaled where the precision needs it."""

    def autocast(self) -> AbstractContextManager[object]:
        """Around the towers' forward; the loss is float32 in any case."""

    def no_sync(self, model: nn.Module) -> AbstractContextManager[object]:
        """Around a forward and backward whose gradients are not yet averaged over the ranks."""


class Float32:
    """Everything in the weights' own precision; DDP modules average their gradients themselves."""

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def autocast(self) -> AbstractContextManager[object]:
        return nullcontext()

    def no_sync(self, model: nn.Module) -> AbstractContextManager[object]:
        if isinstance(model, nn.parallel.DistributedDataParallel):
            unsynced: AbstractContextManager[object] = model.no_sync()
            return unsynced
        return nullcontext()


class Optimizer(Protocol):
    """Of torch, or accelerate's around one."""

    @property
    def param_groups(self) -> list[dict[str, object]]: ...

    def zero_grad(self) -> None: ...

    def step(self) -> object: ...


@dataclass(frozen=True)
class TrainStep:
    """How every step of a run is taken.

    Attributes:
        towers: `towers(images, texts)` gives what `Features` holds, in that order; in DDP where there are ranks.
        optimizer: of its parameters.
        objective: what is minimised.
        logit_scale: the parameter whose exponential multiplies the cosines.
        max_scale: the most that it multiplies by; CLIP, arXiv:2103.00020, section 2.5 (100).
        accumulate: parts that a rank's share of the batch is taken in. The features of all parts are computed first
            without activations; the loss is over the whole batch; each part is computed again to take its gradient.
            Memory of one part, the gradient of the whole batch, a third more work. Gao et al. 2021 (GradCache),
            arXiv:2101.06983; open_clip's accum_freq.
        backend: precision and ranks.
        world: the ranks that share each batch.

    Raises:
        UsageError: the model's batch norms forbid several parts or ranks.
    """

    towers: nn.Module
    optimizer: Optimizer
    objective: Objective
    logit_scale: Tensor
    max_scale: float = 100.0
    accumulate: int = 1
    backend: Backend = Float32()  # noqa: RUF009  (has no state)
    world: World = World()  # noqa: RUF009

    def __post_init__(self) -> None:
        refuse_batch_statistics(self.towers, self.accumulate, self.world)

    def take(self, step: int, batch: Batch, learning_rate: float) -> dict[str, float]:
        """Take one step on this rank's share of a batch; every rank takes it at the same time.

        Args:
            step: for messages, from 1.
            batch: on any device; its parts are moved one at a time.
            learning_rate: of this step.

        Returns:
            `loss` and the objective's parts, of the global batch: the same numbers on every rank.

        Raises:
            ModelError: the loss is not a number; on every rank, before any weight has changed.
        """
        set_learning_rate(self.optimizer, learning_rate)
        self.optimizer.zero_grad()
        take = self._whole if self.accumulate == 1 else self._in_parts
        values = take(step, batch, learning_rate)
        self.optimizer.step()
        clamp_scale(self.logit_scale, self.max_scale)
        return values

    def _whole(self, step: int, batch: Batch, learning_rate: float) -> dict[str, float]:
        losses = self.objective.losses(self._features(batch), batch, self.world)
        values = global_losses(losses, self.world)
        check_finite(step, values, learning_rate)
        self.backend.backward(losses.total)
        return values

    def _in_parts(self, step: int, batch: Batch, learning_rate: float) -> dict[str, float]:
        parts = batch.split(self.accumulate)
        states, cached = [], []
        for part in parts:
            states.append(_random_state(self.logit_scale.device))
            with torch.no_grad():
                cached.append(self._features(part))
        leaves = _leaves(cached)
        losses = self.objective.losses(leaves, batch, self.world)
        values = global_losses(losses, self.world)
        check_finite(step, values, learning_rate)
        losses.total.backward()  # type: ignore[no-untyped-call]
        self._backward(parts, states, leaves)
        return values

    def _backward(self, parts: Sequence[Batch], states: Sequence[Sequence[Tensor]], leaves: Features) -> None:
        """Each part's forward again, with the gradients that the whole batch gives its features."""
        rows = [len(part) for part in parts]
        by_image, by_text = (torch.split(_gradient(leaf), rows) for leaf in leaves[:2])
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last else self.backend.no_sync(self.towers):
                _set_random_state(self.logit_scale.device, states[number])
                features = self._features(part)
                product = (features.images * by_image[number]).sum() + (features.texts * by_text[number]).sum()
                if last:  # one temperature for all parts, and DDP wants every parameter where it averages
                    product = product + features.scale * _gradient(leaves.scale)
                    if features.bias is not None and leaves.bias is not None:
                        product = product + features.bias * _gradient(leaves.bias)
                self.backend.backward(product.sum())

    def _features(self, part: Batch) -> Features:
        there = part.to(self.logit_scale.device)
        with self.backend.autocast():
            return Features(*self.towers(there.images, there.texts))


def learning_rate_at(
    step: int, *, steps: int, warmup_steps: int, peak: float, schedule: Literal["cosine", "constant"] = "cosine"
) -> float:
    """Linear warm-up, then half a cosine wave to zero, or the peak all along.

    Args:
        step: 1 to `steps`; step 0 would be zero, the last step of a cosine is the last value above zero.
    """
    if step <= warmup_steps:
        return peak * step / warmup_steps
    if schedule == "constant":
        return peak
    done = (step - warmup_steps) / (steps - warmup_steps + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def adamw(
    parameters: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> torch.optim.AdamW:
    """AdamW over what is trained; no decay of biases, norms and the temperature. CLIP, arXiv:2103.00020, table 18."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(beta1, beta2), eps=epsilon, foreach=True)


def clamp_scale(logit_scale: Tensor, max_scale: float) -> None:
    """Keep exp(logit_scale) between 1 and `max_scale`."""
    with torch.no_grad():
        logit_scale.clamp_(0, math.log(max_scale))


def check_finite(step: int, losses: Mapping[str, float], learning_rate: float) -> None:
    """Raises: ModelError if `loss` is not a finite number; the message names the parts."""
    if math.isfinite(losses["loss"]):
        return
    parts = ", ".join(f"{name} {value:.4g}" for name, value in losses.items() if name != "loss")
    raise ModelError(
        f"clip training, step {step}: the loss is {losses['loss']}{f' ({parts})' if parts else ''}; "
        f"lower learning_rate={learning_rate:g}"
    )


def global_losses(losses: Losses, world: World) -> dict[str, float]:
    """`loss` and the parts of the global batch: means over the ranks."""
    values = torch.stack([losses.total.detach(), *losses.parts.values()])
    if world.size > 1:
        distributed.all_reduce(values)
        values = values / world.size
    return dict(zip(["loss", *losses.parts], values.tolist(), strict=True))


def refuse_batch_statistics(model: nn.Module, accumulate: int, world: World) -> None:
    """Refuse what batch norms make depend on how a batch is cut.

    Raises:
        UsageError: a batch norm in train mode that would see one part or one rank of the batch only.
    """
    if accumulate == 1 and world.size == 1:
        return
    for name, module in model.named_modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
        if norm and (accumulate > 1 or not isinstance(module, nn.SyncBatchNorm)):
            cut = f"accumulate={accumulate}" if accumulate > 1 else f"{world.size} processes"
            raise UsageError(
                f"{cut}: {name} takes mean and variance of the batch it sees, so parts of a batch do not add up to the "
                f"whole; set freeze_batch_norm, or take the batch whole in one process"
            )


def _leaves(parts: Sequence[Features]) -> Features:
    """Features of all parts as inputs of the loss, to take gradients of."""
    bias = parts[0].bias
    return Features(
        torch.cat([part.images for part in parts]).detach().requires_grad_(),
        torch.cat([part.texts for part in parts]).detach().requires_grad_(),
        parts[0].scale.detach().clone().requires_grad_(),
        None if bias is None else bias.detach().clone().requires_grad_(),
    )


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _random_state(device: torch.device) -> list[Tensor]:
    """For dropout: both forwards of a part drop the same."""
    on_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_device]


def _set_random_state(device: torch.device, state: Sequence[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
