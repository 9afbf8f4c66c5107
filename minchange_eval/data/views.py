"""Other questions that a prepared data set can answer, made from its items without a second copy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import overload

from minchange_eval.core.errors import DataError
from minchange_eval.core.items import CandidateSet, ChoiceQuestion, Item

Names = tuple[str, ...]

# SPEC's vocabulary: the 80 classes of COCO (arXiv:2312.00081, section 3).
COCO_CLASSES: Names = tuple(Path(__file__).with_name("coco_classes.txt").read_text(encoding="utf-8").splitlines())
_IRREGULAR = {"person": "people", "mouse": "mice", "knife": "knives", "sheep": "sheep", "skis": "skis"}
_NO_SINGLE_OBJECT = "existence"  # its captions name one of several objects; the others are not released


class ClassificationQuestions(Sequence[ChoiceQuestion]):
    """Zero-shot classification of a data set's images, one question per image (SPEC's CLS column).

    The options are `a photo of a <class>` for every class. Every class that the set's captions name is a right answer:
    an image with two objects is right if the top class is either of them (the paper's chance row says so: 2/80).
    Sets of `existence` are left out, since the classes of their other objects are not released.

    Chance: right answers / classes. The template is ours; the authors' is not released.
    """

    def __init__(self, items: Sequence[Item], classes: Sequence[str], named: Callable[[CandidateSet], Names]) -> None:
        self._items = items
        self._options = tuple(f"a photo of {_article(name)} {name}" for name in classes)
        self._places = []
        for number, item in enumerate(items):
            if isinstance(item, CandidateSet) and item.subset != _NO_SINGLE_OBJECT:
                answers = tuple(classes.index(name) for name in named(item))
                self._places += [(number, image, answers) for image in range(item.k)]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> ChoiceQuestion: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ChoiceQuestion]: ...
    def __getitem__(self, index: int | slice) -> ChoiceQuestion | Sequence[ChoiceQuestion]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number, image, answers = self._places[index]
        item = self._items[number]
        assert isinstance(item, CandidateSet)
        return ChoiceQuestion(
            question_id=f"{item.set_id}/cls/{image}",
            subset=item.subset,
            images=(item.images[image],),
            question="What is in the image?",
            options=self._options,
            answers=answers,
        )

    def __iter__(self) -> Iterator[ChoiceQuestion]:
        return (self[index] for index in range(len(self)))


def named_classes(text: str, classes: Names) -> Names:
    """The classes that a text names, in the singular or plural; a longer name hides a shorter one inside it.

    >>> named_classes("Two hot dogs left of the teddy bear", ("dog", "hot dog", "bear", "teddy bear"))
    ('hot dog', 'teddy bear')
    """
    words = _pattern(classes)
    found = {words.forms[match.group().lower()] for match in words.regex.finditer(text)}
    return tuple(name for name in classes if name in found)


class _Words:
    def __init__(self, classes: tuple[str, ...]) -> None:
        self.forms = {form: name for name in classes for form in (name, _plural(name))}
        longest_first = sorted(self.forms, key=len, reverse=True)
        self.regex = re.compile(r"\b(?:" + "|".join(map(re.escape, longest_first)) + r")\b", re.IGNORECASE)


_pattern = cache(_Words)


def _plural(name: str) -> str:
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    return name + ("es" if name.endswith(("s", "sh", "ch", "x")) else "s")


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"


def coco_classification(items: Sequence[Item]) -> ClassificationQuestions:
    """80-way: the classes of a set are those that its captions name.

    Raises:
        DataError: the captions of a set name none.
    """
    return ClassificationQuestions(items, COCO_CLASSES, _named_in_captions)


def _named_in_captions(item: CandidateSet) -> Names:
    named = named_classes(" ".join(item.captions), COCO_CLASSES)
    if not named:
        raise DataError(
            f"set {item.set_id}: expected its captions to name one of {len(COCO_CLASSES)} classes, "
            f"got {item.captions[0]!r}; its images cannot be asked for their class"
        )
    return named


def drawn_classification(items: Sequence[Item]) -> ClassificationQuestions:
    """Over the categories that a generated data set says it drew, in alphabetical order."""
    classes = sorted({name for item in items for name in item.facts["names"]})
    return ClassificationQuestions(items, classes, lambda item: tuple(item.facts["names"]))


VIEWS: dict[str, Callable[[Sequence[Item]], ClassificationQuestions]] = {
    "coco_classification": coco_classification,
    "drawn_classification": drawn_classification,
}
