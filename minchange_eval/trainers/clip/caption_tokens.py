"""Every caption of the training data as tokens, made once before the first step.

So that captions which the model cuts are counted before anything is trained, and that loader threads and an evaluation
between two steps never share a tokenizer (fast tokenizers are not safe in two threads).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minchange_eval.model_adapters.encoder import Encoder

_AT_A_TIME = 1024  # captions of one call of the tokenizer
_SMALL = (np.int8, np.int16, np.int32)  # 77 tokens of a million captions are 154 MB as int16, 616 MB as int64


@dataclass(frozen=True)
class CaptionTokens:
    """Tokens of numbered captions, each value in the smallest integers that hold them all.

    Attributes:
        inputs: name -> [captions, tokens].
        dtypes: name -> as the model takes it.
        cut: how many captions are longer than the model's context.
        first_cut: number of the first of them; -1 where there is none.
    """

    inputs: dict[str, NDArray[np.integer]]
    dtypes: dict[str, torch.dtype]
    cut: int
    first_cut: int

    @classmethod
    def of(cls, encoder: Encoder, captions: Iterable[str]) -> CaptionTokens:
        """Tokenize captions, cut as the model's own tokenizer cuts; in one pass over them."""
        parts: dict[str, list[NDArray[np.integer]]] = {}
        dtypes: dict[str, torch.dtype] = {}
        cut, first_cut, number = 0, -1, 0
        for some in _in_parts(captions):
            tokens = encoder.tokenize(some)
            for name, values in tokens.inputs.items():
                dtypes[name] = values.dtype
                parts.setdefault(name, []).append(_small(values))
            for place, is_cut in enumerate(tokens.truncated):
                if is_cut:
                    cut, first_cut = cut + 1, number + place if first_cut < 0 else first_cut
            number += len(some)
        return cls({name: np.concatenate(arrays) for name, arrays in parts.items()}, dtypes, cut, first_cut)

    def rows(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """The inputs of some captions: name -> [numbers, tokens]."""
        at = np.asarray(numbers, dtype=np.int64)
        return {name: torch.from_numpy(values[at]).to(self.dtypes[name]) for name, values in self.inputs.items()}


def _in_parts(captions: Iterable[str]) -> Iterator[list[str]]:
    following = iter(captions)
    while some := list(islice(following, _AT_A_TIME)):
        yield some


def _small(values: Tensor) -> NDArray[np.integer]:
    array: NDArray[np.integer] = values.cpu().numpy()
    low, high = array.min(initial=0), array.max(initial=0)
    for kind in _SMALL:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    return array
