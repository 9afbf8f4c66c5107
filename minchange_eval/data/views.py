"""Other questions that a prepared data set can answer, made from its items without a second copy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, overload

from minchange_eval.core.errors import DataError
from minchange_eval.core.items import CandidateSet, ChoiceQuestion, Item

# SPEC's vocabulary: the 80 classes of COCO (arXiv:2312.00081, section 3).
COCO_CLASSES = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign parking_meter "
    "bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee "
    "skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle wine_glass "
    "cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch "
    "potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave oven toaster sink "
    "refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
).split()
_IRREGULAR = {"person": "people", "mouse": "mice", "knife": "knives", "sheep": "sheep", "skis": "skis"}
_NO_SINGLE_OBJECT = "existence"  # its captions name one of several objects; the others are not released


class ClassificationQuestions(Sequence[ChoiceQuestion]):
    """Zero-shot classification of a data set's images, one question per image (SPEC's CLS column).

    The options are `a photo of a <class>` for every class. Every class that the set's captions name is a right answer:
    an image with two objects is right if the top class is either of them (the paper's chance row says so: 2/80).
    Sets of `existence` are left out, since the classes of their other objects are not released.

    Chance: right answers / classes. The template is ours; the authors' is not released.

    Raises:
        DataError: the captions of a set name no class, so that nobody could answer.
    """

    def __init__(self, items: Sequence[Item], classes: Sequence[str]) -> None:
        self._items = items
        self._classes = tuple(name.replace("_", " ") for name in classes)
        self._options = tuple(f"a photo of {_article(name)} {name}" for name in self._classes)
        self._places = [
            (number, index, answers)
            for number, item in enumerate(items)
            if isinstance(item, CandidateSet) and item.subset != _NO_SINGLE_OBJECT
            for answers in [self._answers(item)]
            for index in range(item.k)
        ]

    def _answers(self, item: CandidateSet) -> tuple[int, ...]:
        named = named_classes(" ".join(item.captions), self._classes)
        if not named:
            raise DataError(
                f"set {item.set_id}: expected its captions to name one of {len(self._classes)} classes, "
                f"got {item.captions[0]!r}; its images cannot be asked for their class"
            )
        return tuple(self._classes.index(name) for name in named)

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


def named_classes(text: str, classes: tuple[str, ...]) -> tuple[str, ...]:
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


def _spec_classification(items: Sequence[Item]) -> Sequence[ChoiceQuestion]:
    return ClassificationQuestions(items, COCO_CLASSES)


VIEWS: dict[str, Callable[[Any], Sequence[ChoiceQuestion]]] = {"classification": _spec_classification}
