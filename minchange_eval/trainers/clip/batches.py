"""One rank's share of a global batch, as loaders make it and steps take it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

PLAIN = -1  # the set number of a plain pair


@dataclass(frozen=True)
class Batch:
    """Images and captions of one rank in one step; row i of each is one member, caption i is true of image i.

    Attributes:
        images: name -> [rows, …], as `Encoder.prepare_image` names them.
        texts: name -> [rows, …], as `Encoder.tokenize` names them.
        sets: int64 [rows], on the CPU: number of the candidate set or group in the data, -1 for a plain pair. Members
            of one set lie together and are never on two ranks.
        anchors: bool [rows], on the CPU: the members that the others of their set are hard negatives of; false for
            plain pairs.

    Raises:
        ValueError: different numbers of rows, other types, or a set that does not lie together.
    """

    images: Mapping[str, Tensor]
    texts: Mapping[str, Tensor]
    sets: Tensor
    anchors: Tensor

    def __post_init__(self) -> None:
        if self.sets.ndim != 1 or self.sets.dtype != torch.int64 or self.anchors.dtype != torch.bool:
            raise ValueError(
                f"expected sets int64 [rows] and anchors bool [rows], got {self.sets.dtype} {tuple(self.sets.shape)} "
                f"and {self.anchors.dtype} {tuple(self.anchors.shape)}"
            )
        rows = {name: len(values) for name, values in {**self.images, **self.texts, "anchors": self.anchors}.items()}
        if set(rows.values()) != {len(self)}:
            raise ValueError(f"expected {len(self)} rows, as sets has, in everything; got {rows}")
        runs = torch.unique_consecutive(self.sets[self.sets != PLAIN])
        if len(runs) != len(runs.unique()):
            raise ValueError("expected the members of one set to lie together")

    def __len__(self) -> int:
        return len(self.sets)

    def to(self, device: torch.device) -> Batch:
        """Images and texts on another device; `sets` and `anchors` stay, so that no step waits for the device."""
        return replace(self, images=_moved(self.images, device), texts=_moved(self.texts, device))

    def split(self, parts: int) -> tuple[Batch, ...]:
        """Consecutive parts of about as many rows, never cut through a set; views, no copies.

        Fewer than `parts` where there are fewer places to cut.
        """
        cuts = sorted({0, len(self), *self._cuts(parts)})
        return tuple(self._rows(start, end) for start, end in pairwise(cuts)) or (self,)

    def _cuts(self, parts: int) -> Iterator[int]:
        """The place nearest to each even division where no set is cut."""
        new = torch.ones(len(self) + 1, dtype=torch.bool)
        new[1:-1] = (self.sets[1:] != self.sets[:-1]) | (self.sets[1:] == PLAIN)
        places = new.nonzero().squeeze(1)
        for part in range(1, parts):
            yield int(places[(places - len(self) * part / parts).abs().argmin()])

    def _rows(self, start: int, end: int) -> Batch:
        return Batch(
            {name: values[start:end] for name, values in self.images.items()},
            {name: values[start:end] for name, values in self.texts.items()},
            self.sets[start:end],
            self.anchors[start:end],
        )


def _moved(inputs: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: values.to(device, non_blocking=True) for name, values in inputs.items()}
