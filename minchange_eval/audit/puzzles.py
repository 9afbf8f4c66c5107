"""What is left of an item for who may not look: candidates, and which of them is to be found.

One idea for choice questions and for candidate sets: "which option is the answer?", "which caption is the original?",
"which image is the original?", "at which place does the right candidate stand?". A rule gives every candidate a score
and picks the highest; where it prefers none, one of the tied ones, drawn for the puzzle by its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.items import CandidateSet, ChoiceQuestion, ImageSource, Item, item_id
from minchange_eval.core.queries import option_text, queries_of_set, query_of_question
from minchange_eval.core.statistics import clusters_of
from minchange_eval.data.audit_results import Asks
from minchange_eval.data.vsr_relations import statement_slices

Floats = NDArray[np.float64]
_TIED = 1e-9


@dataclass(frozen=True)
class Puzzle:
    """One thing to find without looking.

    Attributes:
        item_id: of the item that it is part of.
        key: unique among the puzzles of one kind.
        subset: the benchmark's own division.
        slices: further slices of the data that the item is in.
        cluster: number of the cluster that the item is in; clusters share images.
        texts: candidates as a model is shown them; empty where the candidates are images or bare places.
        released: the same with their letters and stray blanks.
        images: candidates that are images.
        places: how many candidates there are.
        answers: right ones.
        context: the question, or the statement.
    """

    item_id: str
    key: str
    subset: str
    cluster: int
    places: int
    answers: tuple[int, ...]
    texts: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    images: tuple[ImageSource, ...] = ()
    context: str = ""
    slices: tuple[str, ...] = ()


# Which of the images (and captions) of an item is the original, as the release says; absent: it does not say.
_ORIGINAL: Mapping[str, Callable[[Item], int | None]] = {
    "vismin": lambda item: 0,
    "vismin_mini": lambda item: 0,
    "med": lambda item: 0,
    "med_mini": lambda item: int(bool(item.facts["edit_first"])),
}


def original_of(dataset: str, item: Item) -> int | None:
    """Which image (of a candidate set, also which caption) is the original and no edit; None where it is not said."""
    if dataset in _ORIGINAL:
        return _ORIGINAL[dataset](item)
    said = item.facts.get("original")
    return said if isinstance(said, int) and 0 <= said < len(item.images) else None


def puzzles_of(items: Sequence[Item], dataset: str) -> dict[Asks, list[Puzzle]]:
    """Every puzzle that the items make, by what is to be found, in the order of the items.

    Items share a cluster that share an image, or a group where the data names groups (`facts["group"]`).
    """
    clusters = clusters_of(_keys(number, item) for number, item in enumerate(items))
    found: dict[Asks, list[Puzzle]] = {}
    for item, cluster in zip(items, clusters.tolist(), strict=True):
        for asks, puzzle in _of_item(item, original_of(dataset, item), cluster):
            found.setdefault(asks, []).append(puzzle)
    return found


def _keys(number: int, item: Item) -> list[str]:
    group = item.facts.get("group")
    named = [] if group is None else [f"group {group}"]
    return [f"item {number}", *(image.sha256 for image in item.images), *named]


def _of_item(item: Item, original: int | None, cluster: int) -> Iterable[tuple[Asks, Puzzle]]:
    if isinstance(item, ChoiceQuestion):
        options = _option_puzzle(item, cluster)
        if options.places > len(options.answers):  # else all of them are right, and there is nothing to find
            yield "answer", options
        if original is not None and len(item.images) > 1:
            yield "image", _image_puzzle(item, original, cluster)
        return
    for query in queries_of_set(item):
        asks: Asks = "i2t_place" if query.direction == "i2t" else "t2i_place"
        yield asks, Puzzle(item.set_id, query.query_id, item.subset, cluster, query.candidates, query.answers)
    if original is not None:
        yield "caption", _caption_puzzle(item, original, cluster)
        yield "image", _image_puzzle(item, original, cluster)


def _option_puzzle(item: ChoiceQuestion, cluster: int) -> Puzzle:
    query = query_of_question(item)
    as_released = {shown: raw for raw, shown in reversed(list(zip(item.options, _shown(item), strict=True)))}
    return Puzzle(
        item_id=item.question_id,
        key=item.question_id,
        subset=item.subset,
        cluster=cluster,
        places=len(query.texts),
        answers=query.answers,
        texts=query.texts,
        released=tuple(as_released[text] for text in query.texts),
        context=item.question,
        slices=statement_slices(item),
    )


def _shown(item: ChoiceQuestion) -> list[str]:
    return [option_text(option) for option in item.options]


def _caption_puzzle(item: CandidateSet, original: int, cluster: int) -> Puzzle:
    return Puzzle(
        item_id=item.set_id,
        key=item.set_id,
        subset=item.subset,
        cluster=cluster,
        places=item.k,
        answers=(original,),
        texts=tuple(caption.strip() for caption in item.captions),
        released=item.captions,
    )


def _image_puzzle(item: Item, original: int, cluster: int) -> Puzzle:
    name = item_id(item)
    return Puzzle(name, name, item.subset, cluster, len(item.images), (original,), images=item.images)


class Pile:
    """Puzzles of one kind with their candidates laid end to end, so that a rule's choices are a few array operations.

    Attributes:
        asks: what is to be found.
        puzzles: in the order of the data.
        ordered: whether the place of a candidate means anything; in candidate sets the original stands first by the
            release's own convention, which no query shows.
    """

    def __init__(self, asks: Asks, puzzles: Sequence[Puzzle], *, ordered: bool = True) -> None:
        self.asks: Asks = asks
        self.puzzles = tuple(puzzles)
        self.ordered = ordered

    def __len__(self) -> int:
        return len(self.puzzles)

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        """[puzzles] candidates of each."""
        return np.array([puzzle.places for puzzle in self.puzzles], dtype=np.intp)

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """[puzzles] place of the first candidate of each among all candidates."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.intp)

    @cached_property
    def owner(self) -> NDArray[np.intp]:
        """[candidates] number of the puzzle."""
        return np.repeat(np.arange(len(self)), self.sizes)

    @cached_property
    def place(self) -> NDArray[np.intp]:
        """[candidates] place in the puzzle."""
        return np.arange(len(self.owner)) - self.starts[self.owner]

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """[candidates] whether it is to be found."""
        mask = np.zeros(len(self.owner), dtype=np.bool_)
        for start, puzzle in zip(self.starts.tolist(), self.puzzles, strict=True):
            mask[[start + answer for answer in puzzle.answers]] = True
        return mask

    @cached_property
    def chance(self) -> Floats:
        """[puzzles] share of candidates that are right."""
        return np.array([len(puzzle.answers) / puzzle.places for puzzle in self.puzzles])

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """[puzzles] number of the cluster."""
        return np.array([puzzle.cluster for puzzle in self.puzzles], dtype=np.intp)

    @cached_property
    def _draw(self) -> Floats:
        """[candidates] one draw each that depends on the puzzle's id alone."""
        drawn = []
        for puzzle in self.puzzles:
            seed = int.from_bytes(hashlib.blake2b(puzzle.key.encode(), digest_size=8).digest(), "big")
            drawn.append(np.random.Generator(np.random.PCG64(seed)).random(puzzle.places))
        return np.concatenate(drawn)

    def choices(self, scores: Floats) -> Choices:
        """What a rule picks.

        Args:
            scores: [candidates] higher is preferred; differences below 1e-9 are ties.
        """
        top = np.maximum.reduceat(scores, self.starts)
        tied = scores >= top[self.owner] - _TIED
        drawn = np.where(tied, self._draw, -1.0)
        chosen = np.flatnonzero(drawn == np.maximum.reduceat(drawn, self.starts)[self.owner])
        decided = np.add.reduceat(tied.astype(np.intp), self.starts) < self.sizes
        return Choices(chosen - self.starts, self.right[chosen], decided)

    def shares(self, scores: Floats) -> Floats:
        """[candidates] positive scores as shares of their puzzle's sum; equal shares where all are 0."""
        total = np.add.reduceat(scores, self.starts)[self.owner]
        return np.divide(scores, total, out=1 / self.sizes[self.owner], where=total > 0)


@dataclass(frozen=True)
class Choices:
    """[puzzles] the place chosen, whether it is right, and whether the rule preferred some candidates to others."""

    place: NDArray[np.intp]
    hit: NDArray[np.bool_]
    decided: NDArray[np.bool_]
