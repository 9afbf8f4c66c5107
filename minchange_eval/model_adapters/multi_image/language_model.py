"""Forwards over rows of tokens: alone, in padded batches, and from a beginning that several rows share."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minchange_eval.model_adapters.multi_image.chat_prompts import Row
from minchange_eval.model_adapters.multi_image.checkpoint import Loaded
from minchange_eval.model_adapters.multi_image.features import Features

if TYPE_CHECKING:
    import torch

_LEAST_STEP = 64  # tokens


@dataclass
class State:
    """A batch of rows after a forward.

    Attributes:
        logits: [rows, places, vocabulary]: of the last places.
        cache: keys and values of all tokens so far.
        mask: [rows, tokens so far]: 0 where it is padding.
        after: [rows]: the position of the token to come.
    """

    logits: torch.Tensor
    cache: Any
    mask: torch.Tensor
    after: torch.Tensor


class LanguageModel:
    """A loaded model, fed with rows.

    Args:
        loaded: the model.
        features: its encoded images.
    """

    def __init__(self, loaded: Loaded, features: Features) -> None:
        self._net, self._features = loaded.net, features
        self._device = loaded.net.device
        tokenizer = loaded.tokenizer
        # padding is masked, so any token does; some tokenizers have none of their own
        self._pad = int(next(t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if t is not None))
        self._image_kinds = "token_type_ids" in inspect.signature(loaded.net.forward).parameters

    def run(
        self, rows: Sequence[Row], start: int = 0, stop: int | None = None, *, past: Any = None, width: int = 0,
        keep: int = 1, cached: bool = False,
    ) -> State:  # fmt: skip
        """One forward over the places `start` to `stop` of rows.

        Args:
            stop: None: to the end of each row.
            past: what is computed of the places before `start`, for one row or for each.
            width: pad to this many places; 0: to the longest row.
            keep: at how many places, counted from the end, logits are wanted.
            cached: whether keys and values are wanted.
        """

        parts = [row.ids[start:stop] for row in rows]
        width = max(width, *(len(part) for part in parts))
        ids = np.full((len(rows), width), self._pad, dtype=np.int64)
        mask = np.zeros((len(rows), start + width), dtype=np.int64)
        mask[:, :start] = 1
        dimensions = len(rows[0].positions)
        positions = np.zeros((dimensions, len(rows), width), dtype=np.int64)
        for number, (row, part) in enumerate(zip(rows, parts, strict=True)):
            ids[number, width - len(part) :] = part
            mask[number, start + width - len(part) :] = 1
            positions[:, number, width - len(part) :] = row.positions[:, start:stop]
        given: dict[str, Any] = {
            "input_ids": self._tensor(ids),
            "attention_mask": self._tensor(mask),
            "position_ids": self._tensor(positions if dimensions > 1 else positions[0]),
            "use_cache": cached,
            "logits_to_keep": keep,
        }
        if past is not None:
            given["past_key_values"] = past
        shown = [
            picture
            for row in rows
            for picture, (first, end) in zip(row.pictures, row.spans, strict=True)
            if first >= start and (stop is None or end <= stop)
        ]
        if shown:
            given["mm_encoder_outputs"] = {"image": self._features.of(shown)}
        if self._image_kinds:
            given["token_type_ids"] = self._tensor(self._kinds(rows, start, stop, width))
        output = self._net(**given)
        after = self._tensor(positions[:, :, -1].max(axis=0) + 1)
        return State(output.logits, output.past_key_values if cached else None, given["attention_mask"], after)

    def step(self, state: State, tokens: torch.Tensor, rows: Sequence[Row]) -> State:
        """One more token, [rows], for each row."""
        import torch

        positions = state.after[:, None]
        mask = torch.cat([state.mask, torch.ones_like(state.mask[:, :1])], dim=1)
        dimensions = len(rows[0].positions)
        output = self._net(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=positions.expand(dimensions, -1, -1) if dimensions > 1 else positions,
            past_key_values=state.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return State(output.logits, output.past_key_values, mask, state.after + 1)

    def _kinds(self, rows: Sequence[Row], start: int, stop: int | None, width: int) -> NDArray[np.int64]:
        kinds = np.zeros((len(rows), width), dtype=np.int64)
        for number, row in enumerate(rows):
            part = row.content[start:stop]
            kinds[number, width - len(part) :] = part < 0
        return kinds

    def _tensor(self, values: NDArray[np.int64]) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


def bucket(tokens: int) -> int:
    """The width to which a row of so many tokens is padded, so that its shape does not depend on the others.

    Steps are of 64 tokens, and of an eighth of long rows: rows of a few lengths meet in a batch, and little is padding.
    """
    step = max(_LEAST_STEP, 1 << max(0, tokens.bit_length() - 4))
    return -(-tokens // step) * step


def branched(cache: Any, rows: int) -> Any:
    """The same keys and values as the beginning of so many rows; the given cache stays as it is.

    Nothing is copied: a layer that grows makes a new tensor of the old and the new.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer

    branch = DynamicCache()
    for layer in cache.layers:
        new = DynamicLayer()
        new.lazy_initialization(layer.keys, layer.values)
        new.keys = layer.keys.expand(rows, -1, -1, -1)
        new.values = layer.values.expand(rows, -1, -1, -1)
        branch.layers.append(new)
    return branch


def grows_plainly(config: Any) -> bool:
    """Whether a model keeps the keys and values of all tokens, so that prompts can go on from a shared beginning."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=config.get_text_config()).layers)


def log_probabilities(state: State, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
    """Per row: of each target after those before it; without targets of every token of the vocabulary."""
    import torch

    found = []
    for number, row in enumerate(rows):
        logits = state.logits[number, -row.wanted :].float()
        values = torch.log_softmax(logits, dim=-1)
        if row.targets:
            values = values.gather(1, torch.tensor(row.targets, device=values.device)[:, None])
        found.append(values.reshape(-1).cpu().numpy())
    return found
