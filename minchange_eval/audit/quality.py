"""Data quality: what can be told of a data set without any model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from minchange_eval.audit.caption_overlap import normalised
from minchange_eval.audit.change import Cells, cells, changed_area, word_edits
from minchange_eval.audit.hash_file import HashFile
from minchange_eval.audit.image_hash import ImageHash, each_image, hash_picture, unreadable
from minchange_eval.audit.near_images import near_images
from minchange_eval.audit.place_balance import place_balances
from minchange_eval.audit.plain_files import NamedImage
from minchange_eval.audit.quality_report import Example, QualityCheck, QualityReport, Spread, Weight
from minchange_eval.audit.text_faults import (
    TEXT_FAULTS,
    has_edge_blanks,
    has_glued_letter,
    speaks_of_captions,
)
from minchange_eval.core.errors import DataError
from minchange_eval.core.images import open_image
from minchange_eval.core.items import CandidateSet, ChoiceQuestion, ImageSource, Item, item_id
from minchange_eval.core.queries import option_text
from minchange_eval.data.store import Store

Progress = Callable[[Iterable[Item], int | None], Iterable[Item]]

ASPECT_DIFFERENCE = 0.05  # of width / height: the images of a pair were not made from one
UNLIKE_BITS = 20  # of 64 between the hashes of a pair; unrelated pictures have 32, and one pair in a thousand below 20
USUALLY = 0.9  # what holds for this share of pairs is a rule of the data set, and its exceptions are suspicious
_EXAMPLES = 5
_SHOWN_CHARACTERS = 140
_NUMBERS = re.compile(r"\d+")
_ORDINALS = {"third": 3, "3rd": 3, "fourth": 4, "4th": 4, "fifth": 5, "5th": 5}
_NAMED_IMAGE = re.compile(rf"\b({'|'.join(_ORDINALS)})\s+(?:image|picture|photo)", re.IGNORECASE)

Found = tuple[int, str]  # number of the item, and what stands there


@dataclass(frozen=True)
class _Look:
    """What is kept of an image after it was seen once."""

    hashed: ImageHash
    cells: Cells | None


@dataclass(frozen=True)
class _Pair:
    """Two images of one item."""

    item: int
    first: ImageHash
    second: ImageHash
    changed: float


def quality(store: Store, *, kept: HashFile | None = None, progress: Progress | None = None) -> QualityReport:
    """Judge a prepared data set.

    Args:
        store: its images are read once; no more than a few are in memory.
        kept: where image hashes are put, for later comparisons with other data.
        progress: wraps the items as they are read, with their number.

    Raises:
        DataError: the store was replaced. A broken image is counted instead.
    """
    card = store.card
    return _report(card.name, card.fingerprint, card.kind, card.synthetic, list(store.items()), kept, progress)


def quality_of_questions(
    questions: Sequence[ChoiceQuestion],
    dataset: str,
    fingerprint: str,
    *,
    kept: HashFile | None = None,
    progress: Progress | None = None,
) -> QualityReport:
    """Judge questions of a table; images that are not at hand are left out. Otherwise as `quality`."""
    return _report(dataset, fingerprint, "questions", False, questions, kept, progress)


def _report(
    dataset: str,
    fingerprint: str,
    kind: str,
    synthetic: bool,
    items: Sequence[Item],
    kept: HashFile | None,
    progress: Progress | None,
) -> QualityReport:
    looked_at = progress(items, len(items)) if progress is not None else items
    hashes: list[list[ImageHash]] = []
    pairs: list[_Pair] = []
    owners = ((item, [image for image in item.images if not isinstance(image, NamedImage)]) for item in looked_at)
    for number, (_, looks) in enumerate(each_image(owners, partial(_look, kept=kept))):
        hashes.append([look.hashed for look in looks])
        pairs += _pairs_of(number, looks)
    judged = _Judged(items, hashes, pairs)
    return QualityReport(
        dataset=dataset,
        fingerprint=fingerprint,
        kind=kind,
        synthetic=synthetic,
        items=len(items),
        images=len({image.sha256 or image.name for of_item in hashes for image in of_item}),
        checks=(*judged.of_options(), *judged.of_texts(), *judged.of_captions(), *judged.of_images()),
        spreads=(*judged.word_edits(), *judged.changed_areas()),
        balances=place_balances(items),
    )


def _look(image: ImageSource, kept: HashFile | None) -> _Look:
    sha256 = ""
    try:
        sha256 = image.sha256
        picture = open_image(image)
    except (OSError, DataError) as error:
        return _Look(unreadable(image.name, sha256, error), None)
    hashed = hash_picture(picture, image.name, sha256)
    if kept is not None:
        kept.put(hashed)
    return _Look(hashed, cells(picture))


def _pairs_of(number: int, looks: Sequence[_Look]) -> Iterator[_Pair]:
    for first, second in combinations(looks, 2):
        if first.cells is not None and second.cells is not None:
            yield _Pair(number, first.hashed, second.hashed, changed_area(first.cells, second.cells))


@dataclass(frozen=True)
class _Judged:
    """All checks of one data set; `hashes` are in the order of the items, `pairs` are of images within an item."""

    items: Sequence[Item]
    hashes: Sequence[Sequence[ImageHash]]
    pairs: Sequence[_Pair]

    def of_options(self) -> Iterator[QualityCheck]:
        """Options and answers of choice questions."""
        questions = [(n, item) for n, item in enumerate(self.items) if isinstance(item, ChoiceQuestion)]
        for name, title, weight, judge in _OPTION_CHECKS:
            found = [(number, shown) for number, item in questions if (shown := judge(item))]
            yield self._check(name, title, weight, found, len(questions), "items")

    def of_texts(self) -> Iterator[QualityCheck]:
        """Broken texts, counted over every text that is shown."""
        texts = [(number, text) for number, item in enumerate(self.items) for text in _texts_of(item)]
        for name, (title, judge) in TEXT_FAULTS.items():
            found = [(number, repr(text)) for number, text in texts if judge(text)]
            yield self._check(name, title, "fault", found, len(texts), "texts")

    def of_captions(self) -> Iterator[QualityCheck]:
        """Captions within a set and over all of them; whole items that stand twice."""
        sets = [(n, item) for n, item in enumerate(self.items) if isinstance(item, CandidateSet)]
        doubles: list[Found] = []
        first_set: dict[str, int] = {}
        again: list[Found] = []
        for number, item in sets:
            captions = [normalised(caption) for caption in item.captions]
            doubles += [
                (number, caption) for place, caption in enumerate(item.captions) if captions[place] in captions[:place]
            ]
            again += [
                (number, f"{caption} (as in {self._id(first_set[text])})")
                for text, caption in zip(captions, item.captions, strict=True)
                if first_set.setdefault(text, number) != number
            ]
        captions_in_all = sum(item.k for _, item in sets)
        title = "caption equal to another of its set"
        yield self._check("duplicate_captions", title, "fault", doubles, captions_in_all, "captions")
        yield self._check(
            "repeated_captions", "caption that an earlier set has too", "note", again, captions_in_all, "captions"
        )
        yield self._check(
            "duplicate_items",
            "same images and texts as an earlier item",
            "fault",
            self._twice(),
            len(self.items),
            "items",
        )

    def of_images(self) -> Iterator[QualityCheck]:
        """Images within an item, and over all of them."""
        images = [(number, image) for number, hashes in enumerate(self.hashes) for image in hashes]
        broken = [(number, image.fault) for number, image in images if image.fault]
        yield self._check("unreadable_images", "image that cannot be read", "fault", broken, len(images), "images")
        for name, title, weight, judge in _PAIR_CHECKS:
            found = [(pair.item, shown) for pair in self.pairs if (shown := judge(pair))]
            yield self._check(name, title, weight, found, len(self.pairs), "pairs")
        unlike = self._exceptions([(pair.item, _named(pair)) for pair in self.pairs if _unlike(pair)], len(self.pairs))
        yield self._check(
            "unlike_images", "images of a pair unlike each other: mixed up?", "note", unlike, len(self.pairs), "pairs"
        )
        yield self._check(
            "unlike_names", "numbers in the file names of a pair differ: mixed up?", "note",
            self._unlike_names(), len(self.pairs), "pairs",
        )  # fmt: skip
        yield from self._across_items()

    def word_edits(self) -> Iterator[Spread]:
        """Words that differ between the captions of a set."""
        found: dict[str, list[float]] = {}
        for item in self.items:
            if isinstance(item, CandidateSet):
                edits = [word_edits(first, second) for first, second in combinations(item.captions, 2)]
                found.setdefault(item.subset, []).extend(float(edit) for edit in edits if edit is not None)
        return _spreads("word_edits", "words that differ between the captions of a set", "words", found)

    def changed_areas(self) -> Iterator[Spread]:
        """How much of the image differs within a pair."""
        found: dict[str, list[float]] = {}
        for pair in self.pairs:
            found.setdefault(self.items[pair.item].subset, []).append(pair.changed)
        return _spreads("changed_area", "share of the image that differs within a pair", "share", found)

    def _id(self, number: int) -> str:
        return item_id(self.items[number])

    def _twice(self) -> list[Found]:
        seen: dict[tuple[object, ...], int] = {}
        found = []
        for number, item in enumerate(self.items):
            images = tuple(image.sha256 or image.name for image in self.hashes[number])
            not_at_hand = tuple(image.name for image in item.images if isinstance(image, NamedImage))
            key = (images, not_at_hand, _texts_of(item))
            if seen.setdefault(key, number) != number:
                found.append((number, f"as {self._id(seen[key])}"))
        return found

    def _unlike_names(self) -> list[Found]:
        numbered = [
            pair
            for pair in self.pairs
            if _NUMBERS.search(_stem(pair.first.name)) and _NUMBERS.search(_stem(pair.second.name))
        ]
        differ = [(pair.item, _named(pair)) for pair in numbered if not _share_number(pair)]
        return self._exceptions(differ, len(numbered))

    def _across_items(self) -> Iterator[QualityCheck]:
        """Images that several items have, and images that are nearer to another item's than to their partner."""
        homes: dict[str, int] = {}
        shared: list[Found] = []
        distinct: dict[str, tuple[int, ImageHash]] = {}
        for number, hashes in enumerate(self.hashes):
            for image in filter(lambda image: image.sha256, hashes):
                if homes.setdefault(image.sha256, number) != number:
                    shared.append((number, f"{image.name} (as in {self._id(homes[image.sha256])})"))
                distinct.setdefault(image.sha256, (number, image))
        total = sum(len(hashes) for hashes in self.hashes)
        yield self._check("repeated_images", "image that an earlier item has too", "note", shared, total, "images")
        owners, images = zip(*distinct.values(), strict=True) if distinct else ((), ())
        i, j, apart = near_images(images, images)
        elsewhere = [
            (int(a), int(b), int(bits)) for a, b, bits in zip(i, j, apart, strict=True) if owners[a] != owners[b]
        ]
        looks_like = {a: f"{images[a].name} ~ {images[b].name} ({bits} bits)" for a, b, bits in elsewhere}
        near = [(owners[a], shown) for a, shown in looks_like.items()]
        yield self._check("near_images", "image that looks like another item's", "note", near, len(images), "images")
        yield self._check(
            "nearer_elsewhere",
            "image of a pair nearer to another item's than to its partner: mixed up?",
            "note",
            self._exceptions(self._nearer_elsewhere(elsewhere, owners, images), len(images)),
            len(images),
            "images",
        )

    def _nearer_elsewhere(
        self, elsewhere: Sequence[tuple[int, int, int]], owners: Sequence[int], images: Sequence[ImageHash]
    ) -> list[Found]:
        found: dict[int, Found] = {}
        for a, b, bits in elsewhere:
            if len(self.hashes[owners[a]]) == 2 and bits < _bits_apart(*self.hashes[owners[a]]):
                found[a] = (owners[a], f"{images[a].name} is nearer to {images[b].name} of {self._id(owners[b])}")
        return list(found.values())

    @staticmethod
    def _exceptions(found: list[Found], of: int) -> list[Found]:
        """What was found, if it is rare: what many items have is how the data was made, and no mix-up."""
        return found if len(found) <= (1 - USUALLY) * of else []

    def _check(self, name: str, title: str, weight: Weight, found: Sequence[Found], of: int, unit: str) -> QualityCheck:
        examples = [Example(item_id=self._id(number), shown=_cut(shown)) for number, shown in found[:_EXAMPLES]]
        return QualityCheck(
            name=name,
            title=title,
            weight=weight,
            found=len(found),
            of=of,
            unit=unit,
            examples=tuple(examples),
            item_ids=tuple(self._id(number) for number in sorted({number for number, _ in found})),
        )


def _texts_of(item: Item) -> tuple[str, ...]:
    if isinstance(item, CandidateSet):
        return item.captions if item.query_captions == item.captions else item.captions + item.query_captions
    return (item.question, *item.options)


def _double_option(item: ChoiceQuestion) -> str:
    texts = [option_text(option) for option in item.options]
    return next((text for place, text in enumerate(texts) if text in texts[:place]), "")


def _double_answer(item: ChoiceQuestion) -> str:
    texts = [option_text(option) for option in item.options]
    right = {texts[answer] for answer in item.answers}
    return next((text for n, text in enumerate(texts) if text in right and n not in item.answers), "")


def _only_clean_answer(item: ChoiceQuestion) -> str:
    clean = [place for place, option in enumerate(item.options) if not has_edge_blanks(option)]
    return repr(item.options[clean[0]]) if len(clean) == 1 and clean[0] in item.answers else ""


def _caption_in_answer(item: ChoiceQuestion) -> str:
    return next((item.options[answer] for answer in item.answers if speaks_of_captions(item.options[answer])), "")


def _caption_in_distractor(item: ChoiceQuestion) -> str:
    wrong = [option for place, option in enumerate(item.options) if place not in item.answers]
    return next(filter(speaks_of_captions, wrong), "")


def _glued_letter(item: ChoiceQuestion) -> str:
    return next(filter(has_glued_letter, item.options), "")


def _missing_image(item: ChoiceQuestion) -> str:
    """An option or question that names an image which the item does not have."""
    for text in (item.question, *item.options):
        if any(_ORDINALS[word.lower()] > len(item.images) for word in _NAMED_IMAGE.findall(text)):
            return text
    return ""


_OPTION_CHECKS: tuple[tuple[str, str, Weight, Callable[[ChoiceQuestion], str]], ...] = (
    ("duplicate_options", "the same option twice", "fault", _double_option),
    ("ambiguous_answers", "the answer stands among the wrong options too", "fault", _double_answer),
    ("glued_letters", "no blank after an option's letter", "fault", _glued_letter),
    ("missing_images", "a text names an image that the item does not have", "fault", _missing_image),
    ("only_clean_answer", "the answer is the only option without stray blanks", "leak", _only_clean_answer),
    ("caption_answers", "the answer speaks of captions, or of what is not mentioned", "leak", _caption_in_answer),
    ("caption_distractors", "a wrong option speaks of them", "note", _caption_in_distractor),
)


def _identical(pair: _Pair) -> str:
    same = pair.first.sha256 == pair.second.sha256
    return _named(pair) if same or (pair.changed == 0 and pair.first.colours == pair.second.colours) else ""


def _other_size(pair: _Pair) -> str:
    if pair.first.size_px == pair.second.size_px:
        return ""
    return " and ".join(f"{width} x {height}" for width, height in (pair.first.size_px, pair.second.size_px))


def _other_aspect(pair: _Pair) -> str:
    (width, height), (other_width, other_height) = pair.first.size_px, pair.second.size_px
    return _other_size(pair) if abs(width / height - other_width / other_height) > ASPECT_DIFFERENCE else ""


_PAIR_CHECKS: tuple[tuple[str, str, Weight, Callable[[_Pair], str]], ...] = (
    ("identical_images", "images of a pair that do not differ", "fault", _identical),
    ("other_sizes", "images of a pair of different sizes", "leak", _other_size),
    ("other_aspects", f"aspect ratios differ by more than {ASPECT_DIFFERENCE}", "note", _other_aspect),
)


def _unlike(pair: _Pair) -> bool:
    return _bits_apart(pair.first, pair.second) >= UNLIKE_BITS and pair.changed > 0.5


def _named(pair: _Pair) -> str:
    return f"{pair.first.name}, {pair.second.name}"


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _share_number(pair: _Pair) -> bool:
    first, second = (set(_NUMBERS.findall(_stem(image.name))) for image in (pair.first, pair.second))
    return bool(first & second)


def _bits_apart(first: ImageHash, second: ImageHash) -> int:
    """Differing bits of two perceptual hashes; 0 where one has none, so that nothing is nearer."""
    if first.perceptual is None or second.perceptual is None:
        return 0
    return (first.perceptual ^ second.perceptual).bit_count()


def _spreads(name: str, title: str, unit: str, found: dict[str, list[float]]) -> Iterator[Spread]:
    every = [value for values in found.values() for value in values]
    subsets = {"": every, **{name: values for name, values in found.items() if name}} if len(found) > 1 else found
    for subset, values in subsets.items():
        if values:
            smallest, low, median, high, largest = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
            yield Spread(
                name=name, title=title, unit=unit, subset=subset, n=len(values),
                smallest=smallest, low=low, median=median, high=high, largest=largest,
            )  # fmt: skip


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
