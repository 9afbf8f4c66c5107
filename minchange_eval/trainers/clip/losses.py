"""SPEC's hard-negative loss, CLIP's and SigLIP's, whole and in chunks whose memory is linear in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, distributed
from torch.nn import functional

from minchange_eval.trainers.clip.gather import World, padded, rows_of_rank

CHUNK_ROWS = 512  # rows of a matrix of similarities in memory at a time


def hard_negative_loss(images: Tensor, texts: Tensor, scale: Tensor | float, sets: Tensor, anchors: Tensor) -> Tensor:
    """L_hn = L_hn^I2T + L_hn^T2I over the members of candidate sets.

    The paper's item is a pair (I_i, T_i) with hard negatives of its own; here it is an anchor, and the other members
    of its candidate set are its hard negatives. With s(I, T) = exp(scale * cos(I, T)), mean over the anchors i:

        L_hn^I2T = -log s(I_i, T_i) / (sum of s(I_i, T_j) over the anchors j + sum of s(I_i, T_h) over i's negatives h)

    and L_hn^T2I the same with the images and texts exchanged. Hard negatives of other anchors are not in the sum.
    With every member an anchor this is the contrastive loss over all members, twice (CLIP halves it).

    Args:
        images: [members, width], unit length.
        texts: [members, width], unit length; text i is true of image i.
        scale: the inverse temperature, exp(logit_scale) in CLIP's terms.
        sets: [members], integers; equal numbers are of one candidate set.
        anchors: [members], boolean; at least one. One anchor a set is the paper's reading.

    Returns:
        A scalar. log(anchors + hard negatives of one anchor) in each direction when nothing can be told apart.

    Raises:
        ValueError: other shapes, or no anchor.

    Source: SPEC, arXiv:2312.00081, Eq. 6 to 9. Eq. 6 prints squared norms in the cosine; norms are meant.
    """
    members = images.shape[0]
    if images.ndim != 2 or images.shape != texts.shape or sets.shape != (members,) or anchors.shape != (members,):
        raise ValueError(
            "expected images and texts [members, width], sets and anchors [members], got "
            f"{tuple(images.shape)}, {tuple(texts.shape)}, {tuple(sets.shape)}, {tuple(anchors.shape)}"
        )
    targets = anchors.nonzero().squeeze(1)
    if not len(targets):
        raise ValueError("expected at least one anchor, got none")
    absent = ~(anchors[None, :] | (sets[:, None] == sets[None, :]))[targets]
    image_to_text = (scale * images[targets] @ texts.T).masked_fill(absent, -torch.inf)
    text_to_image = (scale * texts[targets] @ images.T).masked_fill(absent, -torch.inf)
    return functional.cross_entropy(image_to_text, targets) + functional.cross_entropy(text_to_image, targets)


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """CLIP's symmetric loss over pairs: mean of -log softmax in both directions, halved.

    Args:
        images: [pairs, width], unit length.
        texts: [pairs, width], unit length; text i is true of image i, the others are taken as false of it.
        scale: the inverse temperature, exp(logit_scale).

    Returns:
        A scalar. log(pairs) when nothing can be told apart.

    Source: CLIP, arXiv:2103.00020, figure 3.
    """
    logits = scale * images @ texts.T
    own = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


@dataclass(frozen=True)
class Comparison:
    """Which candidates of the global batch each query of this rank is compared with, and how.

    Attributes:
        loss: `clip`: -log softmax of the query's own candidate among those it is compared with. `siglip`: sum over
            them of -log sigmoid(z * logit), z = 1 for its own candidate and -1 for the others.
        targets: int64 [queries], number of each query's own candidate.
        sets: int64 [queries], set of each query; None compares every query with every candidate.
        candidate_sets: int64 [candidates]; with `sets`, a query is compared with the anchors and its own set.
        candidate_anchors: bool [candidates].
    """

    loss: Literal["clip", "siglip"]
    targets: Tensor
    sets: Tensor | None = None
    candidate_sets: Tensor | None = None
    candidate_anchors: Tensor | None = None

    def summed(
        self, at: tuple[slice, slice], queries: Tensor, candidates: Tensor, scale: Tensor, bias: Tensor
    ) -> Tensor:
        """The losses of some queries against some candidates, summed; softmax needs all candidates at once.

        Args:
            at: which queries and which candidates these are.
            queries: [rows, width].
            candidates: [columns, width].
            scale: scalar.
            bias: scalar; not used by `clip`, where it cancels.
        """
        logits = scale * queries @ candidates.T
        absent = self._absent(*at)
        if self.loss == "clip":
            logits = logits if absent is None else logits.masked_fill(absent, -torch.inf)
            return functional.cross_entropy(logits, self.targets[at[0]], reduction="sum")
        columns = torch.arange(at[1].start, at[1].stop, device=logits.device)
        logits = logits + bias
        right = functional.logsigmoid(torch.where(self.targets[at[0], None] == columns, logits, -logits))
        return -(right if absent is None else right.masked_fill(absent, 0)).sum()

    def _absent(self, rows: slice, columns: slice) -> Tensor | None:
        if self.sets is None:
            return None
        assert self.candidate_sets is not None
        assert self.candidate_anchors is not None
        return ~(self.candidate_anchors[columns] | (self.sets[rows, None] == self.candidate_sets[columns]))


def compared(
    comparison: Comparison,
    queries: Tensor,
    candidates: Tensor,
    scale: Tensor,
    bias: Tensor,
    counts: Sequence[int] = (),
    world: World = World(),  # noqa: B008  (frozen)
) -> Tensor:
    """The losses of this rank's queries against all candidates, summed; memory linear in their numbers.

    `CHUNK_ROWS` rows of the matrix are there at a time. Gradients are taken chunk by chunk together with the loss, so
    nothing is computed twice. With `counts` the candidates go round the ranks and carry their gradients home: no rank
    ever holds those of all.

    Args:
        queries: [queries, width].
        candidates: [candidates, width]; all of them, or with `counts` this rank's own.
        scale: scalar.
        bias: scalar.
        counts: candidates of each rank, where they shall go round.

    Source: SigLIP, arXiv:2303.15343, section 3.3 (for the round).
    """
    alone = not counts
    held = (len(candidates),) if alone else tuple(counts)
    total: Tensor = _Compared.apply(comparison, held, World() if alone else world, queries, candidates, scale, bias)
    return total


class _Compared(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        comparison: Comparison,
        counts: tuple[int, ...],
        world: World,
        queries: Tensor,
        candidates: Tensor,
        scale: Tensor,
        bias: Tensor,
    ) -> Tensor:
        visiting, gradient = candidates, torch.zeros_like(candidates)
        total, by_query = torch.zeros_like(scale), torch.zeros_like(queries)
        by_scale, by_bias = torch.zeros_like(scale), torch.zeros_like(bias)
        for hop in range(world.size):
            columns = rows_of_rank(counts, (world.rank - hop) % world.size)
            for start in range(0, len(queries), CHUNK_ROWS):
                rows = slice(start, min(start + CHUNK_ROWS, len(queries)))
                with torch.enable_grad():
                    leaves = [part.detach().requires_grad_() for part in (queries[rows], visiting, scale, bias)]
                    loss = comparison.summed((rows, columns), *leaves)
                found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
                total += loss.detach()
                by_query[rows] += found[0]
                gradient += found[1]
                by_scale += found[2]
                by_bias += found[3]
            visiting, gradient = _passed_on(visiting, gradient, counts, hop, world)
        ctx.save_for_backward(by_query, gradient, by_scale, by_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(gradients[0] * saved for saved in ctx.saved_tensors)


def _passed_on(
    visiting: Tensor, gradient: Tensor, counts: Sequence[int], hop: int, world: World
) -> tuple[Tensor, Tensor]:
    """Candidates and their gradients go to the next rank, those of the rank before come."""
    if world.size == 1:
        return visiting, gradient
    sent = padded(torch.cat([visiting, gradient], dim=1), max(counts))
    received = torch.empty_like(sent)
    after, before = (world.rank + 1) % world.size, (world.rank - 1) % world.size
    exchange = [
        distributed.P2POp(distributed.isend, sent, after),
        distributed.P2POp(distributed.irecv, received, before),
    ]
    for request in distributed.batch_isend_irecv(exchange):
        request.wait()
    width = visiting.shape[1]
    rows = counts[(world.rank - hop - 1) % world.size]
    return received[:rows, :width], received[:rows, width:].clone()
