"""Images as a model's own processor prepares them, each distinct one once, ahead of the model."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minchange_eval.core.errors import DataError
from minchange_eval.core.images import open_image
from minchange_eval.core.items import ImageSource

if TYPE_CHECKING:
    import torch
    from PIL import Image

_LOADERS = 2
_BYTES_READY = 512 * 2**20  # of prepared images that wait for the vision tower


@dataclass(frozen=True)
class Picture:
    """One image, prepared.

    Attributes:
        key: of its content and of the pixels that the model gets; two pictures with one key are one picture.
        outline: what the processor needs to know to place it in a prompt; pixels without their values.
    """

    key: str
    outline: dict[str, Any]


class StandIn:
    """Stands in a processor for its image processor: tells it about images that are prepared already.

    The processor's own code then finds how many placeholders they take, and puts them where they belong.
    """

    def __init__(self, image_processor: Any) -> None:
        self.real = image_processor
        self._shown: Sequence[Picture] = ()
        self._given: dict[str, Any] = {}
        self._called_by_prompt = self._answers_by_prompt = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    @contextmanager
    def showing(self, pictures: Sequence[Picture]) -> Iterator[None]:
        """Inside, every call is answered with these."""
        self._shown = pictures
        try:
            yield
        finally:
            self._shown = ()

    def prepared(self, images: Sequence[Image.Image]) -> Any:
        """What the real one makes of the images of one prompt, as tensors."""
        return self.real(
            [list(images)] if self._called_by_prompt else images, **{**self._given, "return_tensors": "pt"}
        )

    def __call__(self, images: Any, **given: Any) -> Any:
        from transformers import BatchFeature

        if not self._shown:  # the first call of all, which shows how this processor asks, and what it gets
            self._given = given
            self._called_by_prompt = isinstance(images[0], (list, tuple))
            first = images[0][0] if self._called_by_prompt else images[0]
            self._answers_by_prompt = len(self.prepared([first, first])["pixel_values"]) == 1
            return self.real(images, **given)
        outlines = [picture.outline for picture in self._shown]
        return BatchFeature({name: self._joined([o[name] for o in outlines]) for name in outlines[0]})

    def _joined(self, values: list[Any]) -> Any:
        """One value for all images of a prompt, from one value each."""
        import torch

        if isinstance(values[0], torch.Tensor):
            place = 1 if self._answers_by_prompt and values[0].dim() > 1 else 0
            if not values[0].is_floating_point():
                same = {v.shape[:place] + v.shape[place + 1 :] for v in values}
                return torch.cat(values, dim=place) if len(same) == 1 else values[0]
            shape = list(values[0].shape)
            shape[place] = sum(v.shape[place] for v in values)
            return torch.zeros(()).expand(shape)
        if self._answers_by_prompt:  # [[of image 1, of image 2]]
            return [[entry for value in values for entry in value[0]]]
        return [entry for value in values for entry in value]


class Pictures:
    """Prepared images by content.

    Args:
        stand_in: has the model's own image processor, and has seen how it is called.
    """

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self._pool = ThreadPoolExecutor(_LOADERS)
        self._coming: dict[tuple[str, bool], Future[tuple[Picture, dict[str, torch.Tensor]]]] = {}
        self._known: dict[tuple[str, bool], Picture] = {}
        self._pixels: OrderedDict[str, dict[str, torch.Tensor]] = OrderedDict()
        self._sources: dict[str, tuple[ImageSource, bool]] = {}
        self._bytes = 0

    def prepare(self, sources: Iterable[ImageSource], among_several: bool) -> None:
        """Begin to read, decode and prepare images that will be needed soon."""
        for source in sources:
            place = (source.sha256, among_several)
            if place not in self._coming and place not in self._known:
                self._coming[place] = self._pool.submit(self._load, source, among_several)

    def of(self, source: ImageSource, among_several: bool) -> Picture:
        """An image, prepared.

        Raises:
            DataError: it cannot be read.
        """
        place = (source.sha256, among_several)
        if place not in self._known:
            self.prepare([source], among_several)
            picture, pixels = self._coming.pop(place).result()
            self._known[place] = picture
            self._sources[picture.key] = (source, among_several)
            self._keep(picture.key, pixels)
        return self._known[place]

    def pixels(self, picture: Picture) -> dict[str, torch.Tensor]:
        """What the vision tower gets of a picture; prepared again where it was let go."""
        if picture.key not in self._pixels:
            return self._load(*self._sources[picture.key])[1]
        return self._pixels[picture.key]

    def let_go(self, picture: Picture) -> None:
        """Its pixels are encoded."""
        pixels = self._pixels.pop(picture.key, {})
        self._bytes -= sum(values.nbytes for values in pixels.values())

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _keep(self, key: str, pixels: dict[str, torch.Tensor]) -> None:
        self._pixels[key] = pixels
        self._bytes += sum(values.nbytes for values in pixels.values())
        while self._bytes > _BYTES_READY and len(self._pixels) > 1:
            _, old = self._pixels.popitem(last=False)
            self._bytes -= sum(values.nbytes for values in old.values())

    def _load(self, source: ImageSource, among_several: bool) -> tuple[Picture, dict[str, torch.Tensor]]:
        import torch

        try:
            image = open_image(source)
        except OSError as error:
            raise DataError(f"image {source.name}: cannot be read ({error}); prepare the data again") from error
        found = self._stand_in.prepared([image, image] if among_several else [image])
        content = {name: value[: max(1, len(value) // 2)] if among_several else value for name, value in found.items()}
        pixels = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
        digest = hashlib.sha256(source.sha256.encode())
        for name in sorted(pixels):
            values = pixels[name].contiguous()
            digest.update(f"{name}\0{values.dtype}\0{list(values.shape)}\0".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().data if values.numel() else b"")
        outline = {name: _outline(value) for name, value in content.items()}
        return Picture(digest.hexdigest(), outline), pixels


def _outline(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return torch.zeros(()).expand(value.shape)  # one number in memory, whatever the shape
    return value
