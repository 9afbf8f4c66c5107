"""What lmms-eval sees of a data set: light documents without pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from minchange_eval.core.items import Item, item_id


class ItemDocuments(Sequence[dict[str, Any]]):
    """The items of a store as documents: a number, an id and the subset.

    The number leads back to the item, so that neither texts nor images travel through the evaluator.
    """

    features = {"number": "int", "item_id": "string", "subset": "string"}  # noqa: RUF012 - lmms-eval reads its keys

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        item = self._items[number]
        return {"number": range(len(self))[number], "item_id": item_id(item), "subset": item.subset}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[number] for number in range(len(self)))


def in_turn(items: Iterable[Item]) -> list[Item]:
    """The first item of each subset, then the second of each, and so on; subsets in the order of their first items.

    lmms-eval's `--limit` takes documents from the start, and so as many of each subset as there are.
    """
    subsets: dict[str, list[Item]] = {}
    for item in items:
        subsets.setdefault(item.subset, []).append(item)
    return [item for turn in zip_longest(*subsets.values()) for item in turn if item is not None]
