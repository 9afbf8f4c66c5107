"""A chat turn as one row of tokens, by the family's own chat template and processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.core.items import ImageSource
from minchange_eval.core.prompts import Part
from minchange_eval.model_adapters.model_args import first_line
from minchange_eval.model_adapters.multi_image.checkpoint import Loaded
from minchange_eval.model_adapters.multi_image.pictures import Picture, Pictures, StandIn

_PLACES_AN_IMAGE = 2**20  # more than any image takes in a prompt


@dataclass(frozen=True)
class Row:
    """One prompt, and what is to be known of its end.

    Attributes:
        ids: its tokens, images as their placeholders; of a reply to be scored, all but its last token.
        content: the same, each placeholder as a number that no other image and no other place of it has.
        positions: [1 or 3, tokens]: where each token stands, as the model counts.
        pictures: its images in their order.
        spans: first placeholder and end of each image.
        targets: the tokens of a reply to be scored; empty: all that could come next.
    """

    ids: NDArray[np.int64]
    content: NDArray[np.int64]
    positions: NDArray[np.int64]
    pictures: tuple[Picture, ...]
    spans: tuple[tuple[int, int], ...]
    targets: tuple[int, ...] = ()

    @property
    def wanted(self) -> int:
        """At how many places, counted from the end, the next token is looked at."""
        return max(1, len(self.targets))

    def replied(self, targets: tuple[int, ...]) -> Row:
        """The row with a reply whose tokens are to be scored."""
        fed = np.array(targets[:-1], dtype=np.int64)
        after = self.positions[:, -1:].max() + 1 + np.arange(len(fed), dtype=np.int64)
        return Row(
            ids=np.concatenate([self.ids, fed]),
            content=np.concatenate([self.content, fed]),
            positions=np.concatenate([self.positions, np.tile(after, (len(self.positions), 1))], axis=1),
            pictures=self.pictures,
            spans=self.spans,
            targets=targets,
        )


class ChatPrompts:
    """Makes rows of chat turns.

    Args:
        loaded: the model with its processor.
        system_prompt: goes before the turn; empty for none.
    """

    def __init__(self, loaded: Loaded, system_prompt: str) -> None:
        self._processor, self._tokenizer = loaded.processor, loaded.tokenizer
        self._system = system_prompt
        self._by_number = loaded.family.by_number
        self._rope = getattr(loaded.net.model, "get_rope_index", None)
        self._image_token = _image_token(loaded)
        self._numbers: dict[str, int] = {}
        self._lengths: dict[tuple[str, bool], int] = {}
        self.pictures = self._prepared()

    def row(self, parts: Sequence[Part], opening: str = "") -> Row:
        """A turn as a row.

        Args:
            parts: words and images.
            opening: with what the reply begins.

        Raises:
            DataError: an image cannot be read.
            ModelError: template and processor do not agree with the model.
        """
        sources = [part for part in parts if not isinstance(part, str)]
        several = self._by_number and len(sources) > 1
        pictures = tuple(self.pictures.of(source, several) for source in sources)
        ids = np.array(self._tokens(self.text(parts) + opening, pictures), dtype=np.int64)
        return self._placed(ids, pictures, several)

    def prepare(self, parts: Sequence[Part]) -> None:
        """Begin to prepare the images of a turn that will come soon."""
        sources = [part for part in parts if not isinstance(part, str)]
        self.pictures.prepare(sources, self._by_number and len(sources) > 1)

    def text(self, parts: Sequence[Part]) -> str:
        """A turn as the chat template writes it, up to where the reply begins."""
        from jinja2 import TemplateError

        content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
        turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self._system:
            turns.insert(0, {"role": "system", "content": [{"type": "text", "text": self._system}]})
        owner = self._processor if self._processor.chat_template else self._tokenizer
        try:
            return str(owner.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
        except TemplateError as error:
            asked = "a system prompt, a turn" if self._system else "a turn"
            raise UsageError(f"chat template: refuses {asked} of text and images: {first_line(error)}") from error

    @property
    def images_lead(self) -> bool:
        """Whether the chat template shows the images before the words, wherever a turn has them."""
        mark = str(getattr(self._processor, "boi_token", None) or getattr(self._processor, "image_token", None) or "")
        text = self.text(["first of all", BLANK_IMAGE])
        return bool(mark) and mark in text and text.index(mark) < text.index("first of all")

    def reply(self, text: str, written: str) -> tuple[int, ...]:
        """The tokens of a reply.

        Args:
            text: of the reply.
            written: what stands before it; a blank goes between where the turn does not end in one, or in a mark.
        """
        blank = "" if written[-1:].isspace() or written.endswith(tuple(self._tokenizer.all_special_tokens)) else " "
        ids = self._tokenizer(blank + text, add_special_tokens=False)["input_ids"]
        return tuple(int(token) for token in ids)

    def whole(self, parts: Sequence[Part], opening: str = "") -> dict[str, Any]:
        """All that the processor gives for a turn, for a model that is fed in the plain way; each tensor [1, …]."""
        from minchange_eval.core.images import open_image

        images = [open_image(part) for part in parts if not isinstance(part, str)]
        text = self.text(parts) + opening
        real: StandIn = self._processor.image_processor
        self._processor.image_processor = real.real
        try:
            given = {"images": [images]} if images else {}
            return dict(self._processor(text=[text], return_tensors="pt", **self._special(text), **given))
        finally:
            self._processor.image_processor = real

    def _special(self, text: str) -> dict[str, Any]:
        """A template that writes the first token itself must not get another."""
        first = self._tokenizer.bos_token
        return {"add_special_tokens": False} if first and text.startswith(first) else {}

    def _tokens(self, text: str, pictures: Sequence[Picture]) -> list[int]:
        blanks = {"images": [[Image.new("RGB", (2, 2))] * len(pictures)]} if pictures else {}
        with self._processor.image_processor.showing(pictures):
            try:
                found = self._processor(text=[text], **self._special(text), **blanks)["input_ids"][0]
            except ValueError as error:
                raise ModelError(f"processor {type(self._processor).__name__}: {first_line(error)}") from error
        return list(found)

    def _placed(self, ids: NDArray[np.int64], pictures: tuple[Picture, ...], several: bool) -> Row:
        places = np.flatnonzero(ids == self._image_token)
        lengths = [self._length(picture, several) for picture in pictures]
        if sum(lengths) != len(places):
            raise ModelError(
                f"processor {type(self._processor).__name__}: expected {sum(lengths)} placeholders for "
                f"{len(pictures)} images, got {len(places)}; does the prompt contain the image token?"
            )
        content, spans, done = ids.copy(), [], 0
        for picture, length in zip(pictures, lengths, strict=True):
            own = places[done : done + length]
            number = self._numbers.setdefault(picture.key, len(self._numbers))
            content[own] = -1 - number * _PLACES_AN_IMAGE - np.arange(length)
            spans.append((int(own[0]), int(own[-1]) + 1))
            done += length
        return Row(ids, content, self._positions(ids, pictures), pictures, tuple(spans))

    def _positions(self, ids: NDArray[np.int64], pictures: Sequence[Picture]) -> NDArray[np.int64]:
        import torch

        plain = np.arange(len(ids), dtype=np.int64)[None]
        if self._rope is None:
            return plain
        if not pictures:
            return np.repeat(plain, 3, axis=0)
        tokens = torch.from_numpy(ids)[None]
        grids = torch.cat([picture.outline["image_grid_thw"] for picture in pictures])
        kinds = (tokens == self._image_token).int()
        found: NDArray[np.int64] = self._rope(tokens, mm_token_type_ids=kinds, image_grid_thw=grids)[0][:, 0].numpy()
        return found

    def _length(self, picture: Picture, several: bool) -> int:
        """How many placeholders an image takes: as many as in a prompt of itself."""
        place = (picture.key, several)
        if place not in self._lengths:
            shown = [picture] * (2 if several else 1)
            blank = BLANK_IMAGE
            tokens = self._tokens(self.text([blank] * len(shown)), shown)
            self._lengths[place] = tokens.count(self._image_token) // len(shown)
        return self._lengths[place]

    def _prepared(self) -> Pictures:
        """Put the stand-in into the processor, and see how it asks for images."""
        real = self._processor.image_processor
        stand_in = StandIn(real)
        self._processor.image_processor = stand_in
        text = self.text([BLANK_IMAGE, "?"])
        try:
            self._processor(text=[text], images=[[Image.new("RGB", (64, 64))]], **self._special(text))
        except ValueError as error:
            raise ModelError(
                f"processor {type(self._processor).__name__}: its chat template places no image: {first_line(error)}"
            ) from error
        return Pictures(stand_in)


class _Blank:
    """An image of which only the place in a text matters."""

    sha256 = ""
    name = ""

    def read(self) -> bytes:
        return b""


BLANK_IMAGE: ImageSource = _Blank()


def _image_token(loaded: Loaded) -> int:
    config = loaded.net.config
    for name in ("image_token_id", "image_token_index"):
        token = getattr(config, name, None)
        if token is not None:
            return int(token)
    raise ModelError(f"model {config.model_type}: its configuration names no image token")
