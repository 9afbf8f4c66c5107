"""What is minimised, by name: which members of a set a batch holds, and the loss over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from minchange_eval.trainers.clip.batches import Batch
from minchange_eval.trainers.clip.gather import World


class Features(NamedTuple):
    """What both towers make of one rank's rows; a model's forward may return it or a tuple in this order.

    Attributes:
        images: [rows, width], unit length.
        texts: [rows, width], unit length; text i is true of image i.
        scale: scalar, the inverse temperature exp(logit_scale).
        bias: scalar, SigLIP's logit_bias; None for a model without one.
    """

    images: Tensor
    texts: Tensor
    scale: Tensor
    bias: Tensor | None = None


class Losses(NamedTuple):
    """One rank's losses.

    Attributes:
        total: scalar to call backward on; its mean over the ranks is the loss of the global batch, so that the mean of
            the ranks' gradients (which DDP takes) is the gradient of the global batch.
        parts: scalars without gradient, unweighted, by name (`clip`, `hard_negative`); means over the ranks likewise.
    """

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """An objective and how it is computed.

    Attributes:
        name: as in `OBJECTIVES`.
        grouping: what stays together: a candidate `set`, or all sets that share their `original` image as one group.
        members: `all` members of a group are in the batch, or the `anchor` only; for `BatchPlan`.
        hard_negatives: whether set members enter through L_hn, and not through the contrastive loss.
        loss: `clip` (softmax) or `siglip` (sigmoid).
        hard_negative_weight: lambda.
        local_loss: each rank computes its own rows' share in chunks: memory linear in the batch.
    """

    name: str
    grouping: Literal["set", "original"]
    members: Literal["all", "anchor"]
    hard_negatives: bool = False
    loss: Literal["clip", "siglip"] = "clip"
    hard_negative_weight: float = 0.2
    local_loss: bool = False

    def losses(self, features: Features, batch: Batch, world: World) -> Losses:
        """The losses of this rank's rows in the global batch; every rank calls it in the same step."""
        raise NotImplementedError


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("spec", grouping="set", members="all", hard_negatives=True),
        Objective("vismin", grouping="original", members="all"),
        Objective("full_sets", grouping="set", members="all"),
        Objective("one_per_set", grouping="set", members="anchor"),
    )
}
