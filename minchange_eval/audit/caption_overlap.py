"""Captions that two collections share: equal but for case and punctuation, or in most of their rare word n-grams.

Containment of an evaluation caption in a training caption is the share of its n-grams that stand there too (Broder
1997; n-gram contamination checks as in Brown et al. 2020, arXiv:2005.14165, appendix C). Benchmarks of minimal changes
are full of templates ("… is to the left of the …"): an n-gram that stands in many examples of either collection is a
piece of a template and is no evidence; captions that agree in such pieces only are counted apart.

Short captions agree by chance: "the dog is behind the car" is written again by whoever sees it. Words drawn on their
own with probabilities p would agree on a given text once in 2^b pairs of captions, b = sum of -log2 p over its words.
An agreement counts where b exceeds log2 of the number of pairs compared by `SPARE_BITS`.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

NGRAM = 5  # words
CONTAINMENT = 0.6
LEAST_SHARED = 3  # rare n-grams: one alone may be chance
TEMPLATE_EXAMPLES = 3  # an n-gram in more examples than this, or than the share below of them, is a template's
TEMPLATE_SHARE = 1 / 5000
SPARE_BITS = 10.0  # a chance agreement in a thousand comparisons of collections, were words independent

_JOINED_AT_A_TIME = 1 << 22
_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")

Indices = NDArray[np.intp]
Keys = NDArray[np.uint64]


class _Words(dict[int, str]):
    """Character to what stands for it: letters, marks and digits stay, the rest separates.

    Scripts that write no spaces have each character as a word; symbols (emoji) are words of their own.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] in "LMN":
            spaceless = category[0] != "M" and unicodedata.name(character, "").startswith(_WITHOUT_SPACES)
            self[code] = f" {character} " if spaceless else character
        else:
            self[code] = f" {character} " if category == "So" else " "
        return self[code]


_WORDS = _Words()


def normalised(caption: str) -> str:
    """Words in lower case with one blank between them; compatibility forms (full width, ligatures) are one.

    A caption of punctuation only stays as it is.

    >>> normalised("The  cat\\u2019s UNDER the bed.")
    'the cat s under the bed'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", caption).casefold())
    return " ".join(folded.translate(_WORDS).split()) or folded.strip()


@dataclass(frozen=True)
class Texts:
    """Distinct normalised captions of one collection.

    Attributes:
        captions: [n].
        home: [n] the first example that each stands in; n-grams of one example's captions count once, since the
            captions of a candidate set share almost all of theirs.
        examples: how many examples the collection has.
    """

    captions: Sequence[str]
    home: Indices
    examples: int


@dataclass(frozen=True)
class CaptionOverlap:
    """What was found.

    Attributes:
        train, evaluation: [pairs] indices of captions whose rare n-grams agree; equal captions are not among them.
        containment: [pairs] share of the evaluation caption's rare n-grams that the training caption has.
        of_template: [evaluation captions] no such pair, but most of its n-grams stand somewhere in training.
        word_bits: -log2 of the share of examples, of both collections, that have a word; a match itself not counted.
        least_bits: what the words of an agreement must add up to.
    """

    train: Indices
    evaluation: Indices
    containment: NDArray[np.float64]
    of_template: NDArray[np.bool_]
    word_bits: Mapping[str, float]
    least_bits: float

    def beyond_chance(self, shared: Iterable[str]) -> NDArray[np.bool_]:
        """Whether texts that two captions share, normalised, are too rare to be a coincidence."""
        return np.array([_bits(text, self.word_bits) >= self.least_bits for text in shared], dtype=bool)


def _bits(text: str, word_bits: Mapping[str, float]) -> float:
    return sum(word_bits[word] for word in set(text.split()))


@dataclass(frozen=True)
class _Grams:
    """Distinct (n-gram, caption) pairs, sorted by n-gram."""

    keys: Keys
    captions: Indices


def overlap(train: Texts, evaluation: Texts, *, ngram: int = NGRAM, containment: float = CONTAINMENT) -> CaptionOverlap:
    """Find captions of two collections that share most of their rare n-grams.

    Args:
        ngram: words; captions with fewer have no n-grams and are compared as equal or not only.
        containment: least share of an evaluation caption's rare n-grams, beside at least `LEAST_SHARED` of them.

    Raises:
        ValueError: `ngram` below 1, or `containment` not in (0, 1].
    """
    if ngram < 1 or not 0 < containment <= 1:
        raise ValueError(f"expected ngram of at least 1 and containment in (0, 1], got {ngram} and {containment}")
    numbers: dict[str, int] = {}
    of_train, of_evaluation = _grams(train, ngram, numbers), _grams(evaluation, ngram, numbers)
    templates = np.union1d(_templates(of_train, train), _templates(of_evaluation, evaluation))
    rare_train, rare_evaluation = _without(of_train, templates), _without(of_evaluation, templates)
    counts = np.bincount(rare_evaluation.captions, minlength=len(evaluation.captions))
    t, e, share = _joined(rare_train, rare_evaluation, counts, containment)
    word_bits = _word_bits(train, evaluation)
    least_bits = math.log2(max(len(train.captions), 1) * max(len(evaluation.captions), 1)) + SPARE_BITS
    real = np.array(
        [
            train.captions[i] != evaluation.captions[j]
            and _bits(_common_words(train.captions[i], evaluation.captions[j]), word_bits) >= least_bits
            for i, j in zip(t, e, strict=True)
        ],
        dtype=bool,
    )
    t, e, share = t[real], e[real], share[real]
    order = np.lexsort((t, e, -share))
    covered = _covered(of_evaluation, of_train, len(evaluation.captions)) >= containment
    covered[e] = False
    return CaptionOverlap(t[order], e[order], share[order], covered, word_bits, least_bits)


def _word_bits(train: Texts, evaluation: Texts) -> dict[str, float]:
    examples: Counter[str] = Counter()
    for texts in (train, evaluation):
        by_example: dict[int, set[str]] = {}
        for caption, home in zip(texts.captions, texts.home.tolist(), strict=True):
            by_example.setdefault(home, set()).update(caption.split())
        for words in by_example.values():
            examples.update(words)
    every = train.examples + evaluation.examples
    # the two examples that agree are no sign of how common their words are
    return {word: math.log2(every / max(count - 2, 0.5)) for word, count in examples.items()}


def _common_words(first: str, second: str) -> str:
    return " ".join(set(first.split()) & set(second.split()))


def _grams(texts: Texts, ngram: int, numbers: dict[str, int]) -> _Grams:
    words = [caption.split() for caption in texts.captions]
    lengths = np.array([len(caption) for caption in words], dtype=np.intp)
    flat = np.fromiter(
        (numbers.setdefault(word, len(numbers)) for word in chain.from_iterable(words)), np.uint64, lengths.sum()
    )
    starts = len(flat) - ngram + 1
    if starts <= 0:
        return _Grams(np.zeros(0, np.uint64), np.zeros(0, np.intp))
    keys = np.zeros(starts, dtype=np.uint64)
    for place in range(ngram):
        keys = _mixed(keys + flat[place : place + starts])
    caption = np.repeat(np.arange(len(lengths)), lengths)
    inside = caption[:starts] == caption[ngram - 1 :]
    return _distinct(keys[inside], caption[:starts][inside])


def _mixed(keys: Keys) -> Keys:
    """A step of splitmix64: n-grams are compared by 64-bit hash, of which a billion have one clash in 40 runs."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Keys = keys ^ (keys >> np.uint64(31))
    return mixed


def _distinct(keys: Keys, captions: Indices) -> _Grams:
    order = np.lexsort((captions, keys))
    keys, captions = keys[order], captions[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[1:] != keys[:-1]) | (captions[1:] != captions[:-1])
    return _Grams(keys[new], captions[new])


def _templates(grams: _Grams, texts: Texts) -> Keys:
    limit = max(TEMPLATE_EXAMPLES, math.ceil(texts.examples * TEMPLATE_SHARE))
    by_example = _distinct(grams.keys, texts.home[grams.captions])
    keys, counts = np.unique(by_example.keys, return_counts=True)
    common: Keys = keys[counts > limit]
    return common


def _without(grams: _Grams, templates: Keys) -> _Grams:
    rare = ~np.isin(grams.keys, templates)
    return _Grams(grams.keys[rare], grams.captions[rare])


def _joined(
    train: _Grams, evaluation: _Grams, counts: Indices, containment: float
) -> tuple[Indices, Indices, NDArray[np.float64]]:
    """Pairs of captions with enough n-grams in common, by an inverted index of the training captions."""
    by_caption = np.argsort(evaluation.captions, kind="stable")
    keys, captions = evaluation.keys[by_caption], evaluation.captions[by_caption]
    begin, end = np.searchsorted(train.keys, keys, "left"), np.searchsorted(train.keys, keys, "right")
    found: list[tuple[Indices, Indices, Indices]] = []
    for rows in _whole_captions(captions, end - begin):
        hits = end[rows] - begin[rows]
        before = np.repeat(np.cumsum(hits) - hits, hits)
        e = np.repeat(captions[rows], hits)
        t = train.captions[np.arange(len(e)) - before + np.repeat(begin[rows], hits)]
        pairs, shared = np.unique(np.stack([e, t]), axis=1, return_counts=True)
        enough = (shared >= LEAST_SHARED) & (shared >= containment * counts[pairs[0]])
        found.append((pairs[1][enough], pairs[0][enough], shared[enough]))
    if not found:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)
    t, e, shared = (np.concatenate(part) for part in zip(*found, strict=True))
    return t, e, shared / counts[e]


def _whole_captions(captions: Indices, hits: Indices) -> Iterator[slice]:
    """Stretches of rows with a bounded number of hits, never cut inside a caption."""
    ends = np.append(np.flatnonzero(np.diff(captions)) + 1, len(captions))
    total = np.concatenate([[0], np.cumsum(hits)])
    start = 0
    while start < len(captions):
        reached = np.searchsorted(total[ends], total[start] + _JOINED_AT_A_TIME, "right") - 1
        following = np.searchsorted(ends, start, "right")
        stop = int(ends[max(reached, following)])
        yield slice(start, stop)
        start = stop


def _covered(grams: _Grams, others: _Grams, captions: int) -> NDArray[np.float64]:
    """Share of each caption's n-grams that stand anywhere in the other collection; 0 with too few n-grams."""
    all_of_it = np.bincount(grams.captions, minlength=captions)
    known = np.bincount(grams.captions, weights=np.isin(grams.keys, others.keys), minlength=captions)
    return np.where(all_of_it >= LEAST_SHARED, known / np.maximum(all_of_it, 1), 0.0)
