"""Rows of all ranks on every rank, with gradient, where ranks hold different numbers of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional

from minchange_eval.trainers.clip.batches import Batch


@dataclass(frozen=True)
class World:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> World:
        """As torch.distributed was started; one process where it was not."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())


@dataclass(frozen=True)
class Pool:
    """The members of the global batch that one loss is over, in the order of the ranks.

    Attributes:
        sets: int64 [members of all ranks], on the CPU, as in `Batch`.
        anchors: bool [members of all ranks], on the CPU.
        counts: members of each rank.
        rank: of this process; its members are the rows `own` of this pool.
        rows: int64 [counts[rank]], their rows in this rank's batch.
    """

    sets: Tensor
    anchors: Tensor
    counts: tuple[int, ...]
    rank: int
    rows: Tensor

    def __len__(self) -> int:
        return len(self.sets)

    @property
    def own(self) -> slice:
        """This rank's members."""
        return rows_of_rank(self.counts, self.rank)

    def only(self, chosen: Tensor) -> Pool:
        """The pool of the members that are chosen; bool [members of all ranks]."""
        by_rank = torch.split(chosen, list(self.counts))
        return Pool(
            self.sets[chosen],
            self.anchors[chosen],
            tuple(int(part.sum()) for part in by_rank),
            self.rank,
            self.rows[by_rank[self.rank]],
        )


def gather_pool(batch: Batch, world: World, device: torch.device) -> Pool:
    """All members of the global batch.

    Args:
        device: where ranks exchange what they have (NCCL exchanges nothing that lies on the CPU).
    """
    rows = torch.arange(len(batch))
    if world.size == 1:
        return Pool(batch.sets, batch.anchors, (len(batch),), 0, rows)
    own_count = torch.tensor([len(batch)], device=device)
    each = [torch.empty_like(own_count) for _ in range(world.size)]
    distributed.all_gather(each, own_count)
    counts = tuple(int(count) for count in torch.cat(each).tolist())
    own = torch.stack([batch.sets, batch.anchors.long()], dim=1).to(device)
    members = _gathered(own, counts).cpu()
    return Pool(members[:, 0], members[:, 1].bool(), counts, world.rank, rows)


def gather_rows(rows: Tensor, counts: Sequence[int], world: World) -> Tensor:
    """Rows of all ranks in the order of the ranks.

    Backwards each row gets the sum of the gradients that all ranks have for it.

    Args:
        rows: [counts[world.rank], width]; a rank may have none.
        counts: rows of each rank.

    Returns:
        [sum(counts), width].
    """
    if world.size == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows, tuple(counts), world.rank)
    return gathered


def rows_of_rank(counts: Sequence[int], rank: int) -> slice:
    """Where a rank's rows lie among the rows of all ranks."""
    ends = list(accumulate(counts))
    return slice(ends[rank] - counts[rank], ends[rank])


def padded(rows: Tensor, length: int) -> Tensor:
    """[n, width] to [length, width], zeros at the end: collectives exchange equal shapes only."""
    return functional.pad(rows, (0, 0, 0, length - len(rows))).contiguous()


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: tuple[int, ...], rank: int) -> Tensor:
        ctx.own = rows_of_rank(counts, rank)
        return _gathered(rows, counts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # all_reduce: gloo has no reduce_scatter
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total[ctx.own], None, None


def _gathered(rows: Tensor, counts: Sequence[int]) -> Tensor:
    own = padded(rows.detach(), max(counts))
    everyone = [torch.empty_like(own) for _ in counts]
    distributed.all_gather(everyone, own)
    return torch.cat([part[:count] for part, count in zip(everyone, counts, strict=True)])
