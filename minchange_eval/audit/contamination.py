"""What of an evaluation set is in the training data: images, names, ids, captions, and which rows are clean.

`contamination(collect(examples("train.jsonl")), collect(examples("vismin")))` is all that a trainer's guard needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from minchange_eval.audit.caption_overlap import CONTAINMENT, NGRAM, TEMPLATE_EXAMPLES, CaptionOverlap, Texts, overlap
from minchange_eval.audit.collection import NONE, Collection
from minchange_eval.audit.image_hash import ImageHash
from minchange_eval.audit.near_images import RADIUS, near_images

# kind -> what it says, strongest first
KINDS = {
    "pair": "same image and same caption",
    "image": "same image, byte for byte",
    "near_image": "same image but for encoding, size or a small edit",
    "image_name": "same file name or address, image not at hand",
    "id": "same id",
    "caption": "same caption, in words too rare to agree by chance",
    "ngrams": "captions agree in most of their rare word n-grams",
    "common_caption": "same caption, but a short or common one",
    "template": "only pieces of common templates are shared",
}
WEAK = ("common_caption", "template")  # shown, and no reason to leave a row out
STRONG = tuple(kind for kind in KINDS if kind not in WEAK)
_EXAMPLES = 5
_SHOWN_CHARACTERS = 160

Indices = NDArray[np.intp]
IMAGE, CAPTION = 1, 2  # columns of a collection's entries


class Match(BaseModel):
    """One training row beside one evaluation row.

    Attributes:
        shown_train, shown_evaluation: the image's name or the caption, cut where it is long.
        score: differing bits of a near image, containment of n-grams; None where the kind has no degree.
    """

    model_config = ConfigDict(frozen=True)

    train_id: str
    evaluation_id: str
    shown_train: str
    shown_evaluation: str
    score: float | None = None


class Finding(BaseModel):
    """All matches of one kind.

    Attributes:
        kind: a key of `KINDS`.
        title: what it says.
        counts: whether rows found this way are taken for contaminated.
        train_rows, evaluation_rows: how many rows of each side are concerned.
        train_share, evaluation_share: of all rows of that side.
        matches: pairs of distinct images, captions or ids that agree.
        examples: the closest of them.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    title: str
    counts: bool
    train_rows: int
    evaluation_rows: int
    train_share: float
    evaluation_share: float
    matches: int
    examples: tuple[Match, ...] = ()


class Side(BaseModel):
    """What one collection holds: rows, distinct images (how many have a perceptual hash), distinct captions."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    images: int
    images_at_hand: int
    images_hashed: int
    unreadable: tuple[str, ...]
    captions: int
    own_ids: bool


class Contamination(BaseModel):
    """What two collections share.

    Attributes:
        radius, ngram, containment: the thresholds in force.
        kinds: those whose rows are taken for contaminated.
        findings: every kind, also those with nothing found.
        contaminated_train, contaminated_evaluation: rows with a finding of `kinds`.
        clean_train_ids, clean_evaluation_ids: ids that no contaminated row has, in their order; not part of the JSON.
    """

    model_config = ConfigDict(frozen=True)

    train: Side
    evaluation: Side
    radius: int
    ngram: int
    containment: float
    kinds: tuple[str, ...]
    findings: tuple[Finding, ...]
    contaminated_train: int
    contaminated_evaluation: int
    clean_train_ids: tuple[str, ...] = Field(default=(), repr=False, exclude=True)
    clean_evaluation_ids: tuple[str, ...] = Field(default=(), repr=False, exclude=True)

    def finding(self, kind: str) -> Finding:
        """The finding of one kind.

        Raises:
            KeyError: there is no such kind.
        """
        return {finding.kind: finding for finding in self.findings}[kind]


def contamination(
    train: Collection,
    evaluation: Collection,
    *,
    radius: int = RADIUS,
    ngram: int = NGRAM,
    containment: float = CONTAINMENT,
    kinds: Sequence[str] = STRONG,
) -> Contamination:
    """Compare training data with an evaluation set.

    Args:
        radius: most differing bits of two perceptual hashes that are taken for one image, 0 to 16.
        ngram: words of an n-gram.
        containment: least share of an evaluation caption's rare n-grams that a training caption must have.
        kinds: which findings make a row contaminated.

    Raises:
        ValueError: a threshold out of range, or a kind that does not exist.
    """
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"no kind {sorted(unknown)[0]!r}; there are {', '.join(KINDS)}")
    comparing = _Comparing(train, evaluation, radius, ngram, containment)
    found = {kind: getattr(comparing, kind)() for kind in KINDS}
    dirty_train = _union([found[kind].train_rows for kind in kinds])
    dirty_evaluation = _union([found[kind].evaluation_rows for kind in kinds])
    return Contamination(
        train=_side(train),
        evaluation=_side(evaluation),
        radius=radius,
        ngram=ngram,
        containment=containment,
        kinds=tuple(kind for kind in KINDS if kind in kinds),
        findings=tuple(
            _finding(kind, matches, kind in kinds, len(train.ids), len(evaluation.ids))
            for kind, matches in found.items()
        ),
        contaminated_train=len(dirty_train),
        contaminated_evaluation=len(dirty_evaluation),
        clean_train_ids=_without(train.ids, dirty_train),
        clean_evaluation_ids=_without(evaluation.ids, dirty_evaluation),
    )


@dataclass(frozen=True)
class _Matches:
    """Matches of one kind: the rows concerned, how many distinct things agree, and the first of them."""

    train_rows: Indices
    evaluation_rows: Indices
    matches: int
    examples: tuple[Match, ...]


@dataclass(frozen=True)
class _Comparing:
    """Two collections while they are compared; a method for each kind of `KINDS`."""

    train: Collection
    evaluation: Collection
    radius: int
    ngram: int
    containment: float

    def image(self) -> _Matches:
        return self._of_images(*self._same_images)

    def near_image(self) -> _Matches:
        return self._of_images(*self._near_images)

    def image_name(self) -> _Matches:
        return self._of_images(*self._same_names)

    def caption(self) -> _Matches:
        t, e = self._same_captions
        return self._of_captions(t[self._telling], e[self._telling])

    def common_caption(self) -> _Matches:
        t, e = self._same_captions
        return self._of_captions(t[~self._telling], e[~self._telling])

    def ngrams(self) -> _Matches:
        return self._of_captions(self._overlap.train, self._overlap.evaluation, self._overlap.containment)

    def template(self) -> _Matches:
        captions = self._overlap.of_template.copy()
        captions[self._same_captions[1]] = False
        rows = self.evaluation.examples_with(CAPTION, captions)
        shown = [
            Match(
                train_id="",
                evaluation_id=_first_id(self.evaluation, CAPTION, caption),
                shown_train="",
                shown_evaluation=_cut(self.evaluation.written[caption]),
            )
            for caption in np.flatnonzero(captions)[:_EXAMPLES]
        ]
        return _Matches(np.zeros(0, np.intp), rows, int(captions.sum()), tuple(shown))

    def id(self) -> _Matches:
        if not (self.train.own_ids and self.evaluation.own_ids):
            return _Matches(np.zeros(0, np.intp), np.zeros(0, np.intp), 0, ())
        shared = set(self.train.ids) & set(self.evaluation.ids)
        t = _rows_where(self.train.ids, shared)
        e = _rows_where(self.evaluation.ids, shared)
        shown = [self.evaluation.ids[row] for row in e[:_EXAMPLES]]
        examples = [Match(train_id=one, evaluation_id=one, shown_train="", shown_evaluation="") for one in shown]
        return _Matches(t, e, len(shared), tuple(examples))

    def pair(self) -> _Matches:
        """Entries of the two that agree in image (by content, nearly, or by name) and in caption."""
        of_image: dict[int, list[int]] = {}
        for t, e in zip(*self._agreeing_images, strict=True):
            of_image.setdefault(int(e), []).append(int(t))
        caption_of = dict(zip(self._same_captions[1].tolist(), self._same_captions[0].tolist(), strict=True))
        wanted = _examples_by_pair(self.train)
        train_rows: set[int] = set()
        evaluation_rows: set[int] = set()
        found: dict[tuple[int, int], Match] = {}
        for example, image, caption in self.evaluation.entries.tolist():
            for t in of_image.get(image, ()):
                rows = wanted.get((t, caption_of.get(caption, NONE)), ()) if caption != NONE else ()
                if rows:
                    train_rows.update(rows)
                    evaluation_rows.add(example)
                    found.setdefault((image, caption), self._pair_match(rows[0], example, t, caption))
        return _Matches(_sorted(train_rows), _sorted(evaluation_rows), len(found), tuple(found.values())[:_EXAMPLES])

    def _pair_match(self, train_row: int, evaluation_row: int, train_image: int, caption: int) -> Match:
        return Match(
            train_id=self.train.ids[train_row],
            evaluation_id=self.evaluation.ids[evaluation_row],
            shown_train=_cut(self.train.images[train_image].shown),
            shown_evaluation=_cut(self.evaluation.written[caption]),
        )

    @cached_property
    def _same_images(self) -> tuple[Indices, Indices]:
        return _joined(_by_digest(self.train), _by_digest(self.evaluation))

    @cached_property
    def _near_images(self) -> tuple[Indices, Indices, NDArray[np.float64]]:
        (of_train, train), (of_evaluation, evaluation) = _hashed(self.train), _hashed(self.evaluation)
        j, i, distance = near_images(evaluation, train, self.radius)
        t, e = of_train[i], of_evaluation[j]
        order = np.lexsort((t, e, distance))
        t, e, distance = t[order], e[order], distance[order]
        same = set(zip(*(side.tolist() for side in self._same_images), strict=True))
        other = np.array([pair not in same for pair in zip(t.tolist(), e.tolist(), strict=True)], dtype=bool)
        return t[other], e[other], distance[other].astype(np.float64)

    @cached_property
    def _same_names(self) -> tuple[Indices, Indices]:
        t, e = _joined(_by_name(self.train), _by_name(self.evaluation))
        # where both pictures are at hand, their content has been compared and a name adds nothing
        open_question = np.array(
            [not (_at_hand(self.train, i) and _at_hand(self.evaluation, j)) for i, j in zip(t, e, strict=True)], bool
        )
        return t[open_question], e[open_question]

    @cached_property
    def _agreeing_images(self) -> tuple[Indices, Indices]:
        t, e = zip(self._same_images, self._near_images[:2], self._same_names, strict=True)
        return np.concatenate(t), np.concatenate(e)

    @cached_property
    def _same_captions(self) -> tuple[Indices, Indices]:
        return _joined(
            {caption: number for number, caption in enumerate(self.train.captions)},
            {caption: number for number, caption in enumerate(self.evaluation.captions)},
        )

    @cached_property
    def _telling(self) -> NDArray[np.bool_]:
        """Which of the shared captions are no coincidence: said of few images, in words too rare to agree by chance."""
        t, e = self._same_captions
        of_train, of_evaluation = _images_of_captions(self.train), _images_of_captions(self.evaluation)
        few = (of_train[t] <= TEMPLATE_EXAMPLES) & (of_evaluation[e] <= TEMPLATE_EXAMPLES)
        telling: NDArray[np.bool_] = few & self._overlap.beyond_chance(self.evaluation.captions[i] for i in e)
        return telling

    @cached_property
    def _overlap(self) -> CaptionOverlap:
        return overlap(_texts(self.train), _texts(self.evaluation), ngram=self.ngram, containment=self.containment)

    def _of_images(self, t: Indices, e: Indices, scores: NDArray[np.float64] | None = None) -> _Matches:
        shown = ([image.shown for image in self.train.images], [image.shown for image in self.evaluation.images])
        return self._matches(IMAGE, t, e, shown, scores)

    def _of_captions(self, t: Indices, e: Indices, scores: NDArray[np.float64] | None = None) -> _Matches:
        return self._matches(CAPTION, t, e, (self.train.written, self.evaluation.written), scores)

    def _matches(
        self,
        column: int,
        t: Indices,
        e: Indices,
        shown: tuple[Sequence[str], Sequence[str]],
        scores: NDArray[np.float64] | None,
    ) -> _Matches:
        flagged_train, flagged = np.zeros(len(shown[0]), dtype=bool), np.zeros(len(shown[1]), dtype=bool)
        flagged_train[t], flagged[e] = True, True
        examples = [
            Match(
                train_id=_first_id(self.train, column, t[place]),
                evaluation_id=_first_id(self.evaluation, column, e[place]),
                shown_train=_cut(shown[0][t[place]]),
                shown_evaluation=_cut(shown[1][e[place]]),
                score=None if scores is None else float(scores[place]),
            )
            for place in range(min(_EXAMPLES, len(t)))
        ]
        return _Matches(
            self.train.examples_with(column, flagged_train),
            self.evaluation.examples_with(column, flagged),
            len(t),
            tuple(examples),
        )


def _finding(kind: str, matches: _Matches, counts: bool, train: int, evaluation: int) -> Finding:
    return Finding(
        kind=kind,
        title=KINDS[kind],
        counts=counts,
        train_rows=len(matches.train_rows),
        evaluation_rows=len(matches.evaluation_rows),
        train_share=len(matches.train_rows) / train if train else 0.0,
        evaluation_share=len(matches.evaluation_rows) / evaluation if evaluation else 0.0,
        matches=matches.matches,
        examples=matches.examples,
    )


def _side(collection: Collection) -> Side:
    hashed = [image.hashed for image in collection.images if image.hashed is not None]
    return Side(
        name=collection.name,
        rows=len(collection.ids),
        images=len(collection.images),
        images_at_hand=len(hashed),
        images_hashed=sum(image.perceptual is not None for image in hashed),
        unreadable=tuple(image.fault for image in collection.unreadable),
        captions=len(collection.captions),
        own_ids=collection.own_ids,
    )


def _joined(train: Mapping[str, int], evaluation: Mapping[str, int]) -> tuple[Indices, Indices]:
    """Numbers of what has the same key on both sides, in the order of the evaluation set."""
    shared = [(train[key], number) for key, number in evaluation.items() if key in train]
    pairs = np.array(shared, dtype=np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _by_digest(collection: Collection) -> dict[str, int]:
    return {
        image.hashed.sha256: number
        for number, image in enumerate(collection.images)
        # what makes no picture and came under several names is an error page that a server sent for each
        if image.hashed is not None and image.hashed.sha256 and not (image.hashed.fault and len(image.names) > 1)
    }


def _by_name(collection: Collection) -> dict[str, int]:
    """File names without their folders, as far as a name stands for one image of the collection."""
    named = {(_file_name(name), number) for number, image in enumerate(collection.images) for name in image.names}
    times = Counter(name for name, _ in named)
    return {name: number for name, number in sorted(named, key=lambda pair: pair[1]) if name and times[name] == 1}


def _file_name(name: str) -> str:
    try:
        path = urlsplit(name).path if "://" in name else name
    except ValueError:  # a bracket where an address would have a host
        path = name
    return PurePosixPath(path.replace("\\", "/")).name


def _at_hand(collection: Collection, number: int) -> bool:
    hashed = collection.images[number].hashed
    return hashed is not None and not hashed.fault


def _hashed(collection: Collection) -> tuple[Indices, list[ImageHash]]:
    found = [(number, image.hashed) for number, image in enumerate(collection.images) if image.hashed is not None]
    return np.array([number for number, _ in found], dtype=np.intp), [hashed for _, hashed in found]


def _texts(collection: Collection) -> Texts:
    home = np.zeros(len(collection.captions), dtype=np.intp)
    entries = collection.entries[collection.entries[:, CAPTION] != NONE]
    captions, first = np.unique(entries[:, CAPTION], return_index=True)
    home[captions] = entries[first, 0]
    return Texts(collection.captions, home, len(collection.ids))


def _images_of_captions(collection: Collection) -> Indices:
    """[captions] of how many distinct images each is said; rows without an image count as one each."""
    entries = collection.entries[collection.entries[:, CAPTION] != NONE]
    image = np.where(entries[:, IMAGE] == NONE, -1 - entries[:, 0], entries[:, IMAGE])
    said = np.unique(np.stack([entries[:, CAPTION], image]), axis=1)
    return np.bincount(said[0], minlength=len(collection.captions))


def _examples_by_pair(collection: Collection) -> dict[tuple[int, int], list[int]]:
    by_pair: dict[tuple[int, int], list[int]] = {}
    for example, image, caption in collection.entries.tolist():
        if image != NONE and caption != NONE:
            by_pair.setdefault((image, caption), []).append(example)
    return by_pair


def _first_id(collection: Collection, column: int, number: int) -> str:
    row: int = collection.entries[np.argmax(collection.entries[:, column] == number), 0]
    return collection.ids[row]


def _rows_where(ids: Sequence[str], wanted: set[str]) -> Indices:
    return np.array([row for row, one in enumerate(ids) if one in wanted], dtype=np.intp)


def _sorted(rows: Iterable[int]) -> Indices:
    return np.array(sorted(rows), dtype=np.intp)


def _union(rows: Sequence[Indices]) -> Indices:
    return np.unique(np.concatenate([np.zeros(0, np.intp), *rows]))


def _without(ids: Sequence[str], dirty: Indices) -> tuple[str, ...]:
    # by id and not by row: who filters by a list of ids must not keep a contaminated row that shares its id
    left_out = {ids[row] for row in dirty}
    return tuple(one for one in ids if one not in left_out)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
