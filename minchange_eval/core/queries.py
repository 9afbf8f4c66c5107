"""The typed query in which tasks and model adapters meet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.items import CandidateSet, ChoiceQuestion, ImageSource

_OPTION_LETTER = re.compile(r"^\s*\(?[A-Z][.):]\s*")
_FIRST_IMAGE = re.compile(
    r"^\W*(?:in|within)?\s*(?:the\s+)?(?:first|1st|left|original)\s+(?:image|picture|photo)", re.IGNORECASE
)


class Direction(StrEnum):
    """What is given and what is to be found."""

    IMAGE_TO_TEXT = "i2t"
    TEXT_TO_IMAGE = "t2i"
    CHOICE = "choice"
    STATEMENT = "statement"


@dataclass(frozen=True)
class Query:
    """One question to a model: which candidate belongs to what is given.

    A question may be asked in several forms (another order of its candidates, another wording); each form is a query of
    its own, and `base_id` says which belong together.

    Attributes:
        query_id: unique in the data set: `<set_id>/i2t/<i>`, `<set_id>/t2i/<i>`, `<question_id>/choice` or
            `<question_id>/statement`, and `@<form>` behind it where there is a form.
        item_id: the candidate set or choice question that it is part of.
        direction: image-to-text has one image and K texts, text-to-image K images and one text,
            choice its images and its options, statement one image and the texts `false` and `true`.
        images: in the order shown.
        texts: in the order shown; without letters and stray blanks.
        answers: right positions among the candidates, usually one.
        question: what a chat model is asked beside the options, or the statement; for candidate sets the question as
            released, empty where there is none.
        form: which order or wording this is; empty for the released one.
        order: the released position of each candidate shown; empty for the released order.
        clusters: keys of the images that the question is about, where the images shown are others (a blank).
        fields: what else a template may name: (name, text) pairs (`subject`, `subject_box`).
    """

    query_id: str
    item_id: str
    direction: Direction
    images: tuple[ImageSource, ...]
    texts: tuple[str, ...]
    answers: tuple[int, ...]
    question: str = ""
    form: str = ""
    order: tuple[int, ...] = ()
    clusters: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def base_id(self) -> str:
        """What the forms of one question share: the identity of the question as released."""
        return self.query_id.removesuffix(f"@{self.form}") if self.form else self.query_id

    @property
    def is_wording(self) -> bool:
        """Whether it is asked in one of several wordings, its candidates and images as released."""
        return bool(self.form) and not self.order

    @property
    def cluster_keys(self) -> tuple[str, ...]:
        """What makes items one cluster: SHA-256 of the images that the question is about."""
        return self.clusters or tuple(image.sha256 for image in self.images)

    @property
    def candidates(self) -> int:
        """How many candidates there are to choose from."""
        return len(self.images) if self.direction is Direction.TEXT_TO_IMAGE else len(self.texts)


def queries_of_set(item: CandidateSet, questions: Sequence[str] = ()) -> tuple[Query, ...]:
    """K image-to-text queries, then K text-to-image queries, candidates in the released order.

    Args:
        questions: as released, one a query in this order; an empty one stands for none.
    """
    asked = (*questions, *[""] * (2 * item.k - len(questions)))
    image_to_text = tuple(
        Query(
            query_id=f"{item.set_id}/i2t/{i}",
            item_id=item.set_id,
            direction=Direction.IMAGE_TO_TEXT,
            images=(item.images[i],),
            texts=tuple(item.captions[j] for j in order),
            answers=(order.index(i),),
            question=asked[i],
        )
        for i, order in enumerate(item.image_to_text)
    )
    text_to_image = tuple(
        Query(
            query_id=f"{item.set_id}/t2i/{i}",
            item_id=item.set_id,
            direction=Direction.TEXT_TO_IMAGE,
            images=tuple(item.images[j] for j in order),
            texts=(item.query_captions[i],),
            answers=(order.index(i),),
            question=asked[item.k + i],
        )
        for i, order in enumerate(item.text_to_image)
    )
    return image_to_text + text_to_image


def query_of_question(item: ChoiceQuestion, *, as_released: bool = False) -> Query:
    """The query of a choice question.

    Options lose their letter (`A. `) and the blanks around them; of equal options the first stays, and is right if any
    of them is.

    Args:
        as_released: options keep letters, blanks and doubles.
    """
    texts = item.options if as_released else tuple(dict.fromkeys(option_text(option) for option in item.options))
    right = {item.options[answer] if as_released else option_text(item.options[answer]) for answer in item.answers}
    answers = item.answers if as_released else tuple(place for place, text in enumerate(texts) if text in right)
    return Query(
        query_id=f"{item.question_id}/choice",
        item_id=item.question_id,
        direction=Direction.CHOICE,
        images=item.images,
        texts=texts,
        answers=answers,
        question=item.question,
    )


def query_of_statement(item: ChoiceQuestion, fields: Mapping[str, str] | None = None) -> Query:
    """The query of a statement about one image with the options `false` and `true`.

    Args:
        fields: what templates may name beside the statement (`subject`, `relation`).
    """
    return Query(
        query_id=f"{item.question_id}/statement",
        item_id=item.question_id,
        direction=Direction.STATEMENT,
        images=item.images,
        texts=item.options,
        answers=item.answers,
        question=item.question,
        fields=tuple((fields or {}).items()),
    )


def option_text(option: str) -> str:
    """An option without its letter and the blanks around it.

    >>> option_text("C. In the second image, the cat is gone.  ")
    'In the second image, the cat is gone.'
    """
    return _OPTION_LETTER.sub("", option).strip()


def speaks_of_first_image(option: str) -> bool:
    """Whether an option about two images begins with the first of them.

    >>> speaks_of_first_image("In the first image, the pigeons are flying."), speaks_of_first_image("The cat is gone.")
    (True, False)
    """
    return _FIRST_IMAGE.match(option) is not None


def candidate_scores(query: Query, similarity: NDArray[np.float32]) -> NDArray[np.float32]:
    """The score of each candidate of a query for a model that only compares one image with one text.

    Image-to-text, text-to-image and one-image questions: the similarity itself. Questions about two images have
    no published reading for dual encoders; ours: similarity to image 2 minus similarity to image 1, with the sign
    flipped for an option that begins with the first image.

    Args:
        similarity: [images, texts] of this query, in its order.

    Returns:
        [candidates], in the order of the query.

    Raises:
        ValueError: another shape, or a question about more than two images.
    """
    expected = (len(query.images), len(query.texts))
    if similarity.shape != expected:
        raise ValueError(f"{query.query_id}: expected similarities of shape {expected}, got {similarity.shape}")
    scores: NDArray[np.float32]
    if query.direction is Direction.TEXT_TO_IMAGE:
        scores = similarity[:, 0]
        return scores
    if len(query.images) == 1:
        scores = similarity[0]
        return scores
    if len(query.images) > 2:
        raise ValueError(f"{query.query_id}: a dual encoder can compare two images, got {len(query.images)}")
    sign = np.array([-1 if speaks_of_first_image(text) else 1 for text in query.texts], dtype=np.float32)
    scores = (similarity[1] - similarity[0]) * sign
    return scores
