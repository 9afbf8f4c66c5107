"""What is said when not even one prompt fits into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minchange_eval.core.errors import ModelError
from minchange_eval.model_adapters.streaming import is_out_of_memory


@contextmanager
def the_last_try() -> Iterator[None]:
    """Around what cannot be made smaller.

    Raises:
        ModelError: out of memory in it.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            "out of memory in a forward of one prompt; take a smaller model, dtype=bf16, max_pixels or another device"
        ) from error
