"""The items of a data set on which an audit found no rule that solves them without looking."""

from __future__ import annotations

from collections.abc import Sequence

from minchange_eval.core.errors import UsageError
from minchange_eval.core.items import Item, item_id
from minchange_eval.data.audit_results import balanced_path, read_balanced
from minchange_eval.data.store_card import StoreCard


def balanced_items(items: Sequence[Item], card: StoreCard) -> list[Item]:
    """Those of the items that the balanced subset of exactly this data keeps.

    Raises:
        UsageError: there is no such subset yet; the message names the command.
        DataError: the file that holds it is damaged.
    """
    subset = read_balanced(card.name, card.fingerprint)
    if subset is None:
        path = balanced_path(card.name, card.fingerprint)
        others = sorted(path.parent.glob(f"{card.name}-*.balanced.json")) if path.parent.is_dir() else []
        there = f"only of other data than is prepared now ({others[0].name})" if others else "not found yet"
        raise UsageError(
            f"{card.name}_balanced: the balanced subset of {card.name} is {there}; "
            f"run: minchange-eval audit {card.name} --balance"
        )
    kept = set(subset.ids)
    return [item for item in items if item_id(item) in kept]
