"""What a training is made of, from its settings: model, data, the plan of the batches, and how a step is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from minchange_eval.core.errors import UsageError
from minchange_eval.model_adapters.encoder import Encoder
from minchange_eval.trainers.clip.config import TrainConfig
from minchange_eval.trainers.clip.gather import World
from minchange_eval.trainers.clip.loader import TrainingData
from minchange_eval.trainers.clip.objectives import OBJECTIVES, Objective
from minchange_eval.trainers.clip.plan import BatchPlan
from minchange_eval.trainers.clip.processes import Processes
from minchange_eval.trainers.clip.sources import SetData, open_pairs
from minchange_eval.trainers.clip.step import TrainStep, adamw, refuse_batch_statistics
from minchange_eval.trainers.clip.trained_model import TwoTowers, load_for_training


@dataclass(frozen=True)
class Ingredients:
    """Everything that the steps work on.

    Attributes:
        encoder: whose model is trained in place.
        base: the model as it was given, for the record.
        data: tokenized, images on demand.
        plan: which members each step takes.
        steps: in all.
        optimizer: over what is trained; of torch, its moments are what a state holds.
        step: how one step is taken, with accelerate around model and optimizer.
    """

    encoder: Encoder
    base: dict[str, Any]
    data: TrainingData
    plan: BatchPlan
    steps: int
    optimizer: torch.optim.AdamW
    step: TrainStep

    @property
    def fingerprints(self) -> dict[str, Any]:
        """What must be the same when the training is gone on with."""
        sets, pairs = self.data.sets, self.data.pairs
        return {
            "model": self.base["weights_sha256"],
            **{card.name: card.fingerprint for card in (sets.cards if sets else ())},
            **({pairs.name: pairs.fingerprint} if pairs else {}),
        }


def ingredients(config: TrainConfig, processes: Processes) -> Ingredients:
    """Load and check everything that the settings name.

    Raises:
        UsageError: something is not there, or does not go with the rest.
        DataError: a damaged data set, or one that teaches nothing.
        ModelError: the model cannot be loaded.
    """
    encoder = load_for_training(
        config.model,
        config.adapter,
        processes.device,
        seed=config.seed,
        pretrained=config.pretrained,
        force_quick_gelu=config.force_quick_gelu,
    )
    base = {
        "adapter": config.adapter,
        "name": encoder.name,
        "weights_sha256": encoder.weights_sha256,
        "activation": encoder.settings.get("activation"),
    }
    sets = SetData.open(config.sets) if config.sets else None
    pairs = open_pairs(config.plain) if config.plain else None
    data = TrainingData(sets, pairs, encoder, config.cache_mb)
    objective = _objective(config)
    plan = _plan(config, data, objective)
    steps = config.steps or (config.epochs or 0) * plan.steps_per_epoch
    if config.warmup_steps > steps:
        raise UsageError(f"warmup_steps={config.warmup_steps}: the training has only {steps} steps; lower it")
    optimizer, step = _made_trainable(config, processes, encoder, objective)
    return Ingredients(encoder, base, data, plan, steps, optimizer, step)


def _objective(config: TrainConfig) -> Objective:
    return replace(
        OBJECTIVES[config.objective],
        loss=config.loss,
        hard_negative_weight=config.hard_negative_weight,
        local_loss=config.local_loss,
    )


def _plan(config: TrainConfig, data: TrainingData, objective: Objective) -> BatchPlan:
    sets, pairs = data.sets, data.pairs
    return BatchPlan(
        sets.sizes if sets else [],
        sets.subsets if sets else [],
        len(pairs) if pairs else 0,
        sets_per_batch=config.sets_per_batch,
        pairs_per_batch=config.pairs_per_batch,
        mix=config.mix or None,
        seed=config.seed,
        members=objective.members,
    )


def _made_trainable(
    config: TrainConfig, processes: Processes, encoder: Encoder, objective: Objective
) -> tuple[torch.optim.AdamW, TrainStep]:
    towers = TwoTowers(
        encoder,
        lock_image=config.lock_image,
        lock_text=config.lock_text,
        freeze_batch_norm=config.freeze_batch_norm,
    )
    optimizer = adamw(
        towers.parameters(),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        beta1=config.beta1,
        beta2=config.beta2,
        epsilon=config.epsilon,
    )
    world = World(processes.rank, processes.world)
    refuse_batch_statistics(towers, config.accumulate, world)
    wrapped, prepared = processes.accelerator.prepare(towers, optimizer)
    scale = encoder.model.logit_scale
    assert isinstance(scale, torch.nn.Parameter)
    step = TrainStep(
        towers=wrapped,
        optimizer=prepared,
        objective=objective,
        logit_scale=scale,
        max_scale=config.max_scale,
        accumulate=config.accumulate,
        backend=processes.accelerator,
        world=world,
    )
    return optimizer, step
