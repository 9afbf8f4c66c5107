from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from minchange_eval.model_adapters import streaming
from minchange_eval.model_adapters.encoder import Encoder, Tokens
from minchange_eval.model_adapters.streaming import stream_images
from tests.model_adapters.checkpoints import picture

ROW_BYTES = 64 * 64 * 4
BATCH = 4


class Watched(Encoder):
    """The mean of every pixel row, slowly; counts what is held between preparing and the end of the forward."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.rows: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
        self.lock = threading.Lock()
        self.prepared = self.finished = self.most_held = self.most_rows_beside_batches = self.side_by_side = 0
        self.most_side_by_side = 0

    def prepare_image(self, picture: Image.Image) -> dict[str, torch.Tensor]:
        row = torch.from_numpy(np.array(picture.convert("L").resize((64, 64)), dtype=np.float32))
        with self.lock:
            self.rows.add(row)
            self.prepared += 1
            self.most_held = max(self.most_held, self.prepared - self.finished)
        return {"image": row}

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        raise NotImplementedError

    def encode_images(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        with self.lock:
            self.side_by_side += 1
            self.most_side_by_side = max(self.most_side_by_side, self.side_by_side)
        time.sleep(0.02)
        with self.lock:
            self.side_by_side -= 1
            self.finished += len(inputs["image"])
        return inputs["image"].mean(dim=2)

    def encode_texts(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        raise NotImplementedError


def streamed(encoder: Watched, *, lanes: int, loaders: int, images: int = 24 * BATCH) -> np.ndarray:
    sources = [picture(number) for number in range(images)]
    batches = stream_images(encoder, sources, batch_size=BATCH, lanes=lanes, loaders=loaders)
    return np.concatenate([rows for rows, _ in batches])


@pytest.mark.parametrize("loaders", [0, 4])
def test_memory_does_not_grow_with_the_number_of_cores(monkeypatch: pytest.MonkeyPatch, loaders: int) -> None:
    monkeypatch.setattr(streaming, "BYTES_IN_FLIGHT", 5 * BATCH * ROW_BYTES)
    few, many = Watched(), Watched()
    assert np.array_equal(streamed(few, lanes=1, loaders=loaders), streamed(many, lanes=64, loaders=loaders))
    assert few.most_held <= 3 * BATCH + 1  # and the one that shows its size
    assert many.most_held <= 5 * BATCH + 1
    assert 1 < many.most_side_by_side <= 5


def test_a_batch_larger_than_the_bound_is_computed_while_the_next_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "BYTES_IN_FLIGHT", 1)
    encoder = Watched()
    assert len(streamed(encoder, lanes=8, loaders=2)) == 24 * BATCH
    assert BATCH + 1 < encoder.most_held <= 2 * BATCH + 1


def test_prepared_rows_are_let_go_of_when_their_batch_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(Watched):
        def encode_images(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
            self.most_rows_beside_batches = max(self.most_rows_beside_batches, len(self.rows))
            return super().encode_images(inputs)

    encoder = Counting()
    streamed(encoder, lanes=1, loaders=1, images=BATCH)
    assert encoder.most_rows_beside_batches == 0
