"""A model that is still being trained, looked at between two steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from minchange_eval.core.items import ImageSource
from minchange_eval.model_adapters.encoder import Encoder, Tokens
from minchange_eval.model_adapters.streaming import Inputs, loaded
from minchange_eval.model_adapters.weights import weights_sha256

if TYPE_CHECKING:
    import torch
    from PIL import Image


class LiveEncoder(Encoder):
    """An encoder under the name and with the digest that it has at this step; its captions are tokenized once.

    Args:
        encoder: whose model is in float32.
        inputs: what is kept from one step's look to the next.
        name: of the model; None: the encoder's.
    """

    def __init__(self, encoder: Encoder, inputs: KeptInputs, name: str | None = None) -> None:
        self.model, self.device = encoder.model, encoder.device
        self.name = name or encoder.name
        self.weights_sha256 = weights_sha256(encoder.model.state_dict())
        self.settings, self.packages = encoder.settings, encoder.packages
        self._encoder, self._inputs = encoder, inputs

    def prepare_image(self, picture: Image.Image) -> dict[str, torch.Tensor]:
        return self._encoder.prepare_image(picture)

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        return self._inputs.tokens(self._encoder, captions)

    def encode_images(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self._encoder.encode_images(inputs)

    def encode_texts(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self._encoder.encode_texts(inputs)


class KeptInputs:
    """Images and captions as a model takes them, kept from one evaluation to the next.

    Images are kept as far as they fit, and those that come first stay: every evaluation asks for all of them in the
    same order, where leaving out the one that was not used for longest would leave out each of them just before it is
    asked for. Captions are a thousandth of that and all kept.

    Args:
        bound_bytes: most that the images may take.
    """

    def __init__(self, bound_bytes: int) -> None:
        self._bound_bytes = self._bytes_left = bound_bytes
        self._images: dict[str, Inputs] = {}
        self._tokens: dict[tuple[str, ...], Tokens] = {}
        self._made_for: object = None
        self._lock = threading.Lock()

    @property
    def image_bytes(self) -> int:
        """What the kept images take."""
        return self._bound_bytes - self._bytes_left

    def image(self, encoder: Encoder, source: ImageSource) -> Inputs:
        """One image, from memory where it is there; called in loader threads.

        Raises:
            DataError: it cannot be read.
        """
        self._forget_other_models(encoder)
        kept = self._images.get(source.sha256)
        if kept is None:
            kept = loaded(encoder, source)
            self._keep(source.sha256, kept)
        return kept

    def tokens(self, encoder: Encoder, captions: Sequence[str]) -> Tokens:
        """Captions that belong to one batch, tokenized the first time that they are asked for."""
        self._forget_other_models(encoder)
        batch = tuple(captions)
        if batch not in self._tokens:
            self._tokens[batch] = encoder.tokenize(captions)
        return self._tokens[batch]

    def _keep(self, sha256: str, prepared: Inputs) -> None:
        size = sum(values.nbytes for values in prepared.values())
        with self._lock:
            if size <= self._bytes_left and sha256 not in self._images:
                self._images[sha256] = prepared
                self._bytes_left -= size

    def _forget_other_models(self, encoder: Encoder) -> None:
        made_for = [encoder.settings.get(name) for name in ("architecture", "preprocess", "tokenizer")]
        with self._lock:
            if made_for != self._made_for:
                self._images, self._tokens, self._bytes_left = {}, {}, self._bound_bytes
                self._made_for = made_for


@contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards for each module the mode that it was in: frozen ones may differ from the rest."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
