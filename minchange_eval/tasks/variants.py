"""Forms of a query that a task asks in place of the released one: other orders, other images.

Each is a plain function of queries, so that every model, ours or not, gets the same forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Literal, TypeVar

from minchange_eval.core.errors import DataError
from minchange_eval.core.items import BytesImage, ImageSource, Item, item_id
from minchange_eval.core.queries import Direction, Query
from minchange_eval.tasks.exchange import exchanged

# "" asks as released. `cyclic` and `swapped` are other orders, `blank` and `otherpair` other images, `raw` has the
# options as released, `templates` several wordings, `balanced` the items that an audit keeps.
Variant = Literal["", "cyclic", "swapped", "blank", "otherpair", "raw", "templates", "balanced"]

Candidate = TypeVar("Candidate")


def cyclic(query: Query) -> tuple[Query, ...]:
    """The query in every cyclic order of its K candidates: forms `cyclic0` (the released order) to `cyclic<K-1>`.

    In form s the candidate shown at place i is the released one (i + s) mod K, so each stands once at each place. A
    released question names its options at their released places and is dropped.
    """
    return tuple(_reordered(query, _rotation(query.candidates, by), f"cyclic{by}") for by in range(query.candidates))


def swapped(query: Query) -> tuple[Query, ...]:
    """The query with its two candidates, or its two images, exchanged: the form `swapped`.

    In a question about two images the words first and second are exchanged too, and its options keep their places.

    Returns:
        One query; none where the wording cannot be exchanged, or there are not two.
    """
    if query.direction in (Direction.IMAGE_TO_TEXT, Direction.TEXT_TO_IMAGE):
        return (_reordered(query, (1, 0), "swapped"),) if query.candidates == 2 else ()
    words = exchanged(query.question, query.texts) if len(query.images) == 2 else None
    if words is None:
        return ()
    question, texts = words
    return (
        replace(
            _named(query, "swapped"),
            images=query.images[::-1],
            question=question,
            texts=texts,
            order=tuple(range(query.candidates)),
        ),
    )


ORDERS: Mapping[Variant, Callable[[Query], tuple[Query, ...]]] = {"cyclic": cyclic, "swapped": swapped}


def worded(query: Query, wording: str) -> Query:
    """The query as a form that is named after its wording."""
    return _named(query, wording)


def with_images(
    queries_of: Callable[[Item], tuple[Query, ...]], item: Item, images: tuple[ImageSource, ...]
) -> tuple[Query, ...]:
    """The item's queries with other images in the places of its own, in the clusters of its own."""
    instead = replace(item, images=images)
    return tuple(
        replace(query, clusters=own.cluster_keys)
        for own, query in zip(queries_of(item), queries_of(instead), strict=True)
    )


@cache
def blank_image() -> ImageSource:
    """The image that the `blank` tasks show: plain grey (128, 128, 128), 336 x 336 px, the same bytes everywhere."""
    return BytesImage("blank.png", (files(__package__) / "blank.png").read_bytes())


def blank_images(item: Item) -> tuple[ImageSource, ...]:
    """As many blank images as the item has."""
    return (blank_image(),) * len(item.images)


class OtherImages:
    """The images of another item: of the next one in the subset that has as many and shares none, in a circle.

    Where the subset has no such item, of the next one in the whole data set.

    Args:
        items: gives the items of a subset in the order of the data set; of all subsets for None.
    """

    def __init__(self, items: Callable[[str | None], Sequence[Item]]) -> None:
        self._items = cache(items)
        self._places = cache(self._places_of)

    def __call__(self, item: Item) -> tuple[ImageSource, ...]:
        """Those images.

        Raises:
            DataError: no other item has as many images.
        """
        own = {image.sha256 for image in item.images}
        for subset in (item.subset, None):
            items, place = self._items(subset), self._places(subset)[item_id(item)]
            for step in range(1, len(items)):
                images = items[(place + step) % len(items)].images
                if len(images) == len(item.images) and own.isdisjoint(image.sha256 for image in images):
                    return images
        raise DataError(
            f"{item_id(item)}: expected another item with {len(own)} other images, there is none; prepare the whole set"
        )

    def _places_of(self, subset: str | None) -> dict[str, int]:
        return {item_id(item): place for place, item in enumerate(self._items(subset))}


def _rotation(candidates: int, by: int) -> tuple[int, ...]:
    return tuple((place + by) % candidates for place in range(candidates))


def _reordered(query: Query, order: tuple[int, ...], form: str) -> Query:
    of_images = query.direction is Direction.TEXT_TO_IMAGE
    return replace(
        _named(query, form),
        images=_taken(query.images, order) if of_images else query.images,
        texts=query.texts if of_images else _taken(query.texts, order),
        answers=tuple(place for place, released in enumerate(order) if released in query.answers),
        question=query.question if query.direction is Direction.CHOICE else "",
        order=order,
    )


def _taken(candidates: tuple[Candidate, ...], order: tuple[int, ...]) -> tuple[Candidate, ...]:
    return tuple(candidates[place] for place in order)


def _named(query: Query, form: str) -> Query:
    return replace(query, query_id=f"{query.query_id}@{form}", form=form)
