"""Encoded images, each distinct one encoded once and kept within a bound."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minchange_eval.model_adapters.multi_image.pictures import Picture, Pictures

if TYPE_CHECKING:
    import torch


def feature_key(picture: Picture) -> str:
    """What tells one encoded image from another: the image's content and the pixels that the model gets of it."""
    return picture.key


class Features:
    """What a model's `get_image_features` gives for images, one image at a time.

    One image at a time, so that the bits of an image do not depend on what was encoded with it.

    Args:
        net: the model.
        pictures: where pixels come from.
        most_bytes: how much is kept; the least recently used goes first.

    Attributes:
        computed: how many images were encoded.
    """

    def __init__(self, net: Any, pictures: Pictures, most_bytes: int) -> None:
        self._encode = net.get_image_features
        self._names = set(inspect.signature(net.model.get_image_features).parameters)
        self._device, self._dtype = net.device, net.dtype
        self._pictures, self._most = pictures, most_bytes
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._kind: Any = None
        self._bytes = 0
        self.computed = 0

    def of(self, pictures: Sequence[Picture]) -> Any:
        """The features of images in their order, as one output of the model's own kind; each distinct one once."""
        distinct = {feature_key(picture): picture for picture in pictures}
        encoded = {key: self._one(picture) for key, picture in distinct.items()}
        found = [encoded[feature_key(picture)] for picture in pictures]
        joined = {"pooler_output": _joined([one["pooler_output"] for one in found])}
        if "deepstack_features" in found[0]:  # one entry a layer of the vision tower
            layers = zip(*(one["deepstack_features"] for one in found), strict=True)
            joined["deepstack_features"] = [_joined(layer) for layer in layers]
        return self._kind(**joined)

    def forget(self) -> None:
        """Let all go."""
        self._kept.clear()
        self._bytes = 0

    def _one(self, picture: Picture) -> dict[str, Any]:
        key = feature_key(picture)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        features = self._computed(self._pictures.pixels(picture))
        self._pictures.let_go(picture)
        self.computed += 1
        self._kept[key] = features
        self._bytes += _size(features)
        while self._bytes > self._most and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= _size(old)
        return features

    def _computed(self, pixels: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        given = {name: self._placed(values) for name, values in pixels.items() if name in self._names}
        output = self._encode(**given, return_dict=True)
        self._kind = type(output)
        parts = ("pooler_output", "deepstack_features")
        return {name: output[name] for name in parts if output.get(name) is not None}

    def _placed(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self._device, self._dtype) if values.is_floating_point() else values.to(self._device)


def _joined(values: Sequence[Any]) -> Any:
    """One image after the other: the rows of tensors, or the entries of tuples that have one an image."""
    import torch

    if isinstance(values[0], torch.Tensor):
        return torch.cat(list(values), dim=0)
    return tuple(entry for value in values for entry in value)


def _size(value: Any) -> int:
    """Bytes of all tensors in it."""
    if isinstance(value, Mapping):
        return sum(_size(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_size(one) for one in value)
    return int(value.nbytes)
