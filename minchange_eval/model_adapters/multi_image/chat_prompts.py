"""A chat turn as one row of tokens, by the family's own chat template and processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
_MEDIA = ("image", "video", "audio")
_IMAGE_TOKEN = ("image_token_id", "image_token_index")


@dataclass(frozen=True)
class Reply:
    """A reply to be scored.

    Attributes:
        text: its words; blanks around them count for nothing.
        ends: whether the token that ends the model's turn is scored behind them.
        blank: whether a blank goes before them; None: where the turn does not end in one, or in a mark.
    """

    text: str
    ends: bool = False
    blank: bool | None = None


@dataclass(frozen=True)
class ReplyTokens:
    """A reply as the tokens that it has behind its turn.

    Attributes:
        targets: what is to be scored; empty where there is nothing.
        merged: the last tokens of the turn, where they are no tokens any more with the reply behind them: of
            `ASSISTANT: ` the blank, when the reply makes it ` cat`. The first of `targets` has them in it.
    """

    targets: tuple[int, ...]
    merged: tuple[int, ...] = ()


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

    def replied(self, reply: ReplyTokens) -> Row:
        """The row with a reply whose tokens are to be scored.

        Raises:
            ModelError: the row does not end in the tokens that the reply has merged.
        """
        kept = len(self.ids) - len(reply.merged)
        if tuple(self.ids[kept:].tolist()) != reply.merged:
            raise ModelError(
                "the processor ends a turn in other tokens than its tokenizer; use scoring=letters or scoring=generate"
            )
        fed = np.array(reply.targets[:-1], dtype=np.int64)
        positions = self.positions[:, :kept]
        after = positions[:, -1:].max() + 1 + np.arange(len(fed), dtype=np.int64)
        return Row(
            ids=np.concatenate([self.ids[:kept], fed]),
            content=np.concatenate([self.content[:kept], fed]),
            positions=np.concatenate([positions, np.tile(after, (len(positions), 1))], axis=1),
            pictures=self.pictures,
            spans=self.spans,
            targets=reply.targets,
        )


class ChatPrompts:
    """Makes rows of chat turns.

    Args:
        loaded: the model with its processor.
        system_prompt: goes before the turn; empty for none.

    Raises:
        UsageError: the chat template takes no images, or no such system prompt.
        ModelError: the processor does not place images where the template has them.
    """

    def __init__(self, loaded: Loaded, system_prompt: str) -> None:
        self._processor, self._tokenizer = loaded.processor, loaded.tokenizer
        self._system = system_prompt
        self._by_number = loaded.family.by_number
        self._rope = getattr(loaded.net.model, "get_rope_index", None)
        self._config = loaded.net.config
        self._numbers: dict[str, int] = {}
        self._lengths: dict[tuple[str, bool], int] = {}
        self._check_system_prompt()
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
        return self._rendered(self._turns(parts), add_generation_prompt=True)

    def _turns(self, parts: Sequence[Part]) -> list[dict[str, Any]]:
        content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
        turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self._system:
            turns.insert(0, {"role": "system", "content": [{"type": "text", "text": self._system}]})
        return turns

    def _rendered(self, turns: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        owner = self._processor if self._processor.chat_template else self._tokenizer
        try:
            return str(owner.apply_chat_template(turns, add_generation_prompt=add_generation_prompt, tokenize=False))
        except (TemplateError, TypeError) as error:  # TypeError: a template that adds the content to a string
            asked = "a system prompt, a turn" if self._system else "a turn"
            raise UsageError(
                f"chat template: refuses {asked} of text and images: {first_line(error)}; expected the template of a "
                "chat model that sees images"
            ) from error

    def _check_system_prompt(self) -> None:
        """A template that drops it, or a prompt that would be read as marks, is refused before anything is asked."""
        if not self._system:
            return
        if self._system.strip() not in self.text([BLANK_IMAGE, "?"]):
            raise UsageError("system_prompt: the chat template of this model drops it; leave it out")
        mark = self._mark_in(self._system)
        if mark is not None:
            raise UsageError(f"system_prompt: expected words, got the token {mark}, which this model takes for a mark")

    def refusal(self, parts: Sequence[Part], reply: Reply | None = None) -> str | None:
        """Why a turn must not be asked: its own words would be taken for marks, or the reply has no words.

        Marks are the special tokens of the tokenizer, and whatever stands for an image, a video or a sound.
        """
        words = "".join(part if isinstance(part, str) else "\n" for part in parts)
        mark = self._mark_in(words) or (self._mark_in(reply.text) if reply else None)
        if mark is not None:
            return f"the text contains the token {mark}, which this model takes for the mark of an image or a turn"
        return "an option has no words that could be scored" if reply and not reply.text.strip() else None

    def _mark_in(self, words: str) -> str | None:
        return next((mark for mark in self._marks if mark in words), None)

    @cached_property
    def _marks(self) -> tuple[str, ...]:
        """The longest first, so that the one named is the one that is meant."""
        tokenizer = self._tokenizer
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        places = [
            getattr(self._config, f"{kind}_token_{number}", None) for kind in _MEDIA for number in ("id", "index")
        ]
        marks = {
            *tokenizer.all_special_tokens,
            *(str(token) for token in added if token.special),
            *(str(value) for name, value in vars(self._processor).items() if name.endswith("_token") and _named(value)),
            *(tokenizer.convert_ids_to_tokens(place) for place in places if place is not None),
        }
        return tuple(sorted((mark for mark in marks if mark and mark.strip()), key=lambda mark: (-len(mark), mark)))

    @property
    def images_lead(self) -> bool:
        """Whether the chat template shows the images before the words, wherever a turn has them."""
        mark = str(getattr(self._processor, "boi_token", None) or getattr(self._processor, "image_token", None) or "")
        text = self.text(["first of all", BLANK_IMAGE])
        return bool(mark) and mark in text and text.index(mark) < text.index("first of all")

    def reply(self, reply: Reply, written: str) -> ReplyTokens:
        """The tokens that a reply has behind its turn.

        Both are read together, for alone a reply may have other tokens: SentencePiece begins every text with a blank.
        Where the two merge into one token, the reply's tokens begin with it: scoring goes back to the last token that
        the turn has with the reply and without.

        Args:
            written: what stands before it.
        """
        blank = self._parts_by_blank(written) if reply.blank is None else reply.blank
        before = self._ids(written)
        both = self._ids(written + " " * blank + reply.text.strip())
        pairs = enumerate(zip(before, both, strict=False))
        shared = next((place for place, (own, other) in pairs if own != other), min(len(before), len(both)))
        targets = tuple(both[shared:])
        end = (self._end,) if reply.ends and targets and self._end is not None else ()
        return ReplyTokens((*targets, *end), tuple(before[shared:]) if targets else ())

    def _parts_by_blank(self, written: str) -> bool:
        return not (written[-1:].isspace() or written.endswith(tuple(self._tokenizer.all_special_tokens)))

    def _ids(self, text: str) -> list[int]:
        return [int(token) for token in self._tokenizer(text, add_special_tokens=False)["input_ids"]]

    @property
    def end_of_turn(self) -> str | None:
        """The token with which the model ends its turn, by its name."""
        return None if self._end is None else str(self._tokenizer.convert_ids_to_tokens(self._end))

    @cached_property
    def _end(self) -> int | None:
        """The first special token that the chat template writes behind a reply; else the end of the tokenizer."""
        word = "Understood"
        turns = [*self._turns(["?"]), {"role": "assistant", "content": [{"type": "text", "text": word}]}]
        try:
            _, found, behind = self._rendered(turns, add_generation_prompt=False).rpartition(word)
        except UsageError:  # a template that only asks
            found = behind = ""
        special = set(self._tokenizer.all_special_ids)
        ends = [token for token in self._ids(behind) if token in special] if found else []
        eos: int | None = self._tokenizer.eos_token_id
        return ends[0] if ends else eos

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
        except ValueError as error:
            raise ModelError(f"processor {type(self._processor).__name__}: {first_line(error)}") from error
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

    @cached_property
    def _image_token(self) -> int:
        """Looked up where rows are made only: who is fed in the plain way needs none."""
        for name in _IMAGE_TOKEN:
            token = getattr(self._config, name, None)
            if token is not None:
                return int(token)
        raise ModelError(f"model {self._config.model_type}: its configuration names no image token")

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


def _named(token: object) -> bool:
    """Whether a token is given by its name, not by its number."""
    return isinstance(token, str) or hasattr(token, "content")
