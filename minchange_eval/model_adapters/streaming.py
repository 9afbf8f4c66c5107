"""Batches of one fixed shape, loaded while earlier ones are computed, never all in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.core.errors import DataError, ModelError
from minchange_eval.core.images import open_image
from minchange_eval.core.items import ImageSource
from minchange_eval.model_adapters.encoder import Encoder, Tokens

if TYPE_CHECKING:
    import torch

BYTES_IN_FLIGHT = 512 * 2**20  # of prepared images: on many cores, fewer forwards of large batches run side by side

Content = TypeVar("Content")
Prepared = TypeVar("Prepared")
Inputs = dict[str, "torch.Tensor"]  # name -> [rows, …], or of one row
LoadImage = Callable[[Encoder, ImageSource], Inputs]
Rows = tuple[NDArray[np.float32], tuple[bool, ...]]  # [rows, width], each of length 1; was the text of each cut?


class BatchTooLargeError(ModelError):
    """A forward ran out of memory; a smaller batch may fit."""


def loaded(encoder: Encoder, source: ImageSource) -> Inputs:
    """One image as the model takes it, read, decoded and preprocessed.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return encoder.prepare_image(open_image(source))
    except OSError as error:
        raise DataError(f"image {source.name}: cannot be read ({error}); prepare the data again") from error


def stream_images(
    encoder: Encoder,
    sources: Sequence[ImageSource],
    *,
    batch_size: int,
    lanes: int,
    loaders: int,
    load: LoadImage = loaded,
) -> Iterator[Rows]:
    """Embeddings of images, batch after batch, in the order of `sources`.

    Args:
        batch_size: rows of each forward; the last one is filled up.
        lanes: forwards that run side by side.
        loaders: threads that read, decode and preprocess ahead of the forwards; 0: the lanes do it themselves.
        load: how one image becomes the model's input; called in those threads.

    Raises:
        DataError: an image cannot be read; it is named.
        BatchTooLargeError: out of memory; the batches that came before are good.
    """
    with _threads(loaders) as pool:

        def prepare(batch: Sequence[ImageSource]) -> list[Callable[[], Inputs]]:
            if pool is None:
                return [partial(load, encoder, source) for source in batch]
            return [pool.submit(load, encoder, source).result for source in batch]

        def compute(rows: list[Callable[[], Inputs]]) -> Rows:
            uncut = (False,) * len(rows)
            return _forward(encoder, encoder.encode_images, _stacked(rows), batch_size), uncut

        fitting = BYTES_IN_FLIGHT // (batch_size * _row_bytes(encoder))
        yield from _stream(sources, prepare, compute, batch_size, lanes, fitting)


def stream_texts(encoder: Encoder, captions: Sequence[str], *, batch_size: int, lanes: int) -> Iterator[Rows]:
    """Embeddings of captions, batch after batch, in the order of `captions`; arguments and errors as for images."""

    def compute(tokens: Tokens) -> Rows:
        return _forward(encoder, encoder.encode_texts, tokens.inputs, batch_size), tokens.truncated

    # Fast tokenizers refuse to be used by two threads at once, so captions are prepared in the calling thread.
    yield from _stream(captions, encoder.tokenize, compute, batch_size, lanes, 2 * lanes + 1)


def _stream(
    contents: Sequence[Content],
    prepare: Callable[[Sequence[Content]], Prepared],
    compute: Callable[[Prepared], Rows],
    batch_size: int,
    lanes: int,
    fitting: int,
) -> Iterator[Rows]:
    """Keep every lane busy and one batch ready for it, as far as that many batches fit in memory; two always do."""
    running: deque[Future[Rows]] = deque()
    most = max(2, min(2 * lanes + 1, fitting))
    with _threads(min(lanes, most)) as pool:
        assert pool is not None
        for start in range(0, len(contents), batch_size):
            running.append(pool.submit(compute, prepare(contents[start : start + batch_size])))
            if len(running) >= most:
                yield _result(running.popleft(), batch_size)
        while running:
            yield _result(running.popleft(), batch_size)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor | None]:
    """A pool that drops what is still waiting when its user stops, by an error or by Ctrl-C."""
    if count == 0:
        yield None
        return
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_NO_MEMORY = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed", "cudnn_status_alloc_failed")


def _result(batch: Future[Rows], batch_size: int) -> Rows:
    try:
        return batch.result()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise BatchTooLargeError(_out_of_memory(batch_size)) from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says that there is no more memory; on CPU it has no type of its own for that."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error).lower() for sign in _NO_MEMORY)


def _out_of_memory(batch_size: int) -> str:
    return f"out of memory in a forward of batch size {batch_size}; take a smaller model, dtype=bf16 or another device"


def _row_bytes(encoder: Encoder) -> int:
    """What one prepared image takes; its shape is the same for every picture."""
    return sum(values.nbytes for values in encoder.prepare_image(Image.new("RGB", (64, 64))).values())


def _stacked(rows: list[Callable[[], Inputs]]) -> Inputs:
    """Rows as one batch. The list is emptied: its owner lives as long as the forward, and would hold them twice."""
    import torch

    loaded = [row() for row in rows]
    rows.clear()
    return {name: torch.stack([row[name] for row in loaded]) for name in loaded[0]}


def _forward(
    encoder: Encoder, tower: Callable[[Inputs], torch.Tensor], inputs: Inputs, batch_size: int
) -> NDArray[np.float32]:
    """Embeddings [rows, width] in float32 of length 1; a row of zeros becomes NaN, and its queries unscored."""
    import torch

    rows = len(next(iter(inputs.values())))
    if rows < batch_size:  # filled up with copies of the first row: zeros are no valid input for every model
        order = torch.tensor([*range(rows), *[0] * (batch_size - rows)])
        inputs = {name: values[order] for name, values in inputs.items()}
    with torch.inference_mode():
        embeddings = tower({name: values.to(encoder.device) for name, values in inputs.items()})[:rows].float()
        unit: NDArray[np.float32] = (embeddings / embeddings.norm(dim=-1, keepdim=True)).cpu().numpy()
    return unit
