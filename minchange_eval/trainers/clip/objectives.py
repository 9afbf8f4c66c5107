"""What is minimised, by name: which members of a set a batch holds, and the loss over them.

    name          of each set in the batch   loss
    spec          all members                L_clip(plain pairs) + lambda L_hn(sets)
    vismin        all members                L_clip(plain pairs and members)
    full_sets     all members                L_clip(plain pairs and members)
    one_per_set   its anchor                 L_clip(plain pairs and anchors)

L_clip is the plain contrastive loss: every row of the batch is told from every other row. `vismin` and `full_sets` have
hard negatives in the batch and nothing in the loss that knows of them. They are one computation under two names, that
of the paper and that of the control: whatever the objective, sets that share their original are one set with the
original once (`SetData`), since two copies of it in a batch would be taken for negatives of each other. `one_per_set`
sees the same pictures without their hard negatives. `spec` alone has a term of its own: an anchor is told from the
other anchors and from the hard negatives of its own set, never from those of another set, and set members stay out of
L_clip.

Under `siglip` each softmax over candidates becomes a sigmoid of each candidate, over the same candidates: L_clip
becomes SigLIP's loss, each direction of L_hn the sum of -log sigmoid(z * logit) over the candidates in the denominator
of Eq. 7 or 8, mean over the anchors. A pair of two anchors counts in both directions, a hard negative caption only
with its anchor's image and a hard negative image only with its anchor's caption, as in SPEC. Sound, but other than
under `clip`: with a sigmoid an easy hard negative costs nothing and a hard one its own amount, whatever the number of
anchors beside it; a softmax shares one unit among all.

Sources: SPEC, arXiv:2312.00081, Eq. 6 to 9; VisMin, arXiv:2407.16772 (and its trainer, Enhance-FineGrained, data type
sdgen); CLIP, arXiv:2103.00020; SigLIP, arXiv:2303.15343. `full_sets` and `one_per_set` are this project's controls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from minchange_eval.core.errors import UsageError
from minchange_eval.trainers.clip.batches import PLAIN, Batch
from minchange_eval.trainers.clip.gather import Pool, World, gather_pool, gather_rows
from minchange_eval.trainers.clip.losses import Comparison, compared, contrastive_loss, hard_negative_loss


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
        parts: scalars without gradient, unweighted, by name (`clip` or `siglip`, `hard_negative`); means over the
            ranks likewise.
    """

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """An objective and how it is computed.

    Attributes:
        name: as in `OBJECTIVES`.
        members: `all` members of a set are in the batch, or the `anchor` only; for `BatchPlan`.
        hard_negatives: whether set members enter through L_hn, and not through the contrastive loss.
        loss: `clip` (softmax) or `siglip` (sigmoid).
        hard_negative_weight: lambda; SPEC, arXiv:2312.00081 (0.2).
        local_loss: each rank computes the share of its own rows, in chunks, so that memory is linear in the batch;
            else every rank has the whole matrix. The same loss and gradient. `siglip` is always computed so.
    """

    name: str
    members: Literal["all", "anchor"]
    hard_negatives: bool = False
    loss: Literal["clip", "siglip"] = "clip"
    hard_negative_weight: float = 0.2
    local_loss: bool = False

    def losses(self, features: Features, batch: Batch, world: World) -> Losses:
        """The losses of this rank's rows in the global batch; every rank calls it in the same step.

        Args:
            features: of this rank's rows; computed with in float32 under autocast too.
            batch: for `sets` and `anchors`.
            world: of the ranks that share the batch.

        Raises:
            UsageError: the loss needs a bias that the model lacks.
            ValueError: sets without an anchor.
        """
        device = features.images.device
        pool = gather_pool(batch, world, device)
        plain = pool.sets == PLAIN
        parts: dict[str, Tensor] = {}
        with torch.autocast(device.type, enabled=False):
            terms = self._terms(features, world)
            if not self.hard_negatives:
                parts[self.loss] = terms.contrastive(pool)
            elif plain.any():
                parts[self.loss] = terms.contrastive(pool.only(plain))
            if self.hard_negatives and not plain.all():
                parts["hard_negative"] = terms.hard_negative(pool.only(~plain))
            weights = {"hard_negative": self.hard_negative_weight}
            total = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
            if features.bias is not None:
                total = total + 0 * features.bias.sum()  # under softmax it cancels; DDP wants a gradient of it
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    def _terms(self, features: Features, world: World) -> _Terms:
        if self.loss == "siglip" and features.bias is None:
            raise UsageError(
                "loss siglip: the model has no logit_bias, without which it starts by taking half of all pairs for "
                "true (SigLIP, section 3.2); use loss clip, or a model with a logit_bias"
            )
        images, texts = _float32(features.images), _float32(features.texts)
        scale = _float32(features.scale).reshape(())
        bias = torch.zeros_like(scale) if features.bias is None else _float32(features.bias).reshape(())
        return _Terms(images, texts, scale, bias, world, self.loss, self.local_loss)


@dataclass(frozen=True)
class _Terms:
    """The terms of an objective over one rank's features; each is this rank's share times the number of ranks."""

    images: Tensor
    texts: Tensor
    scale: Tensor
    bias: Tensor
    world: World
    loss: Literal["clip", "siglip"]
    local: bool

    def contrastive(self, pool: Pool) -> Tensor:
        """L_clip, or SigLIP's loss, over the members of a pool."""
        images, texts = self._rows(pool)
        targets = self._there(torch.arange(len(pool))[pool.own])
        comparison = Comparison(self.loss, targets)
        if self.loss == "siglip":  # a pair is one sigmoid in both directions: one direction is the mean of both
            share = compared(comparison, images, texts, self.scale, self.bias, pool.counts, self.world)
            return share * self.world.size / len(pool)
        all_images, all_texts = self._everyone(images, texts, pool)
        if not self.local:
            return contrastive_loss(all_images, all_texts, self.scale)
        share = self._both(comparison, (images, all_texts), (texts, all_images))
        return share * self.world.size / (2 * len(pool))

    def hard_negative(self, pool: Pool) -> Tensor:
        """L_hn over the sets of a pool."""
        anchor_count = int(pool.anchors.sum())
        if not anchor_count:
            raise ValueError("expected an anchor in each set, got none")
        images, texts = self._rows(pool)
        sets, anchors = self._there(pool.sets), self._there(pool.anchors)
        own = pool.anchors[pool.own].nonzero().squeeze(1)
        targets = own + pool.own.start
        comparison = Comparison(self.loss, self._there(targets), self._there(pool.sets[targets]), sets, anchors)
        queries = self._there(own)
        if self.loss == "siglip":
            share = self._both(comparison, (images[queries], texts), (texts[queries], images), pool.counts)
            return share * self.world.size / anchor_count
        all_images, all_texts = self._everyone(images, texts, pool)
        if not self.local:
            return hard_negative_loss(all_images, all_texts, self.scale, sets, anchors)
        share = self._both(comparison, (images[queries], all_texts), (texts[queries], all_images))
        return share * self.world.size / anchor_count

    def _both(
        self,
        comparison: Comparison,
        image_to_text: tuple[Tensor, Tensor],
        text_to_image: tuple[Tensor, Tensor],
        counts: tuple[int, ...] = (),
    ) -> Tensor:
        """Both directions, summed over the queries."""
        first, second = (
            compared(comparison, queries, candidates, self.scale, self.bias, counts, self.world)
            for queries, candidates in (image_to_text, text_to_image)
        )
        return first + second

    def _rows(self, pool: Pool) -> tuple[Tensor, Tensor]:
        """This rank's members of a pool."""
        if len(pool.rows) == len(self.images):
            return self.images, self.texts
        rows = self._there(pool.rows)
        return self.images[rows], self.texts[rows]

    def _everyone(self, images: Tensor, texts: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
        """The members of all ranks."""
        if self.world.size == 1:
            return images, texts
        both = gather_rows(torch.cat([images, texts], dim=1), pool.counts, self.world)
        first, second = both.chunk(2, dim=1)
        return first, second

    def _there(self, numbers: Tensor) -> Tensor:
        return numbers.to(self.images.device, non_blocking=True)


def _float32(values: Tensor) -> Tensor:
    """At least float32: half precision has 3 digits, a loss over thousands of candidates needs more."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("spec", members="all", hard_negatives=True),
        Objective("vismin", members="all"),
        Objective("full_sets", members="all"),
        Objective("one_per_set", members="anchor"),
    )
}
