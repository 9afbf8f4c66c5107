"""The prepared data that runs were made on, where it is here and still the same."""

from __future__ import annotations

from minchange_eval.core.errors import DataError, NotPreparedError, UsageError
from minchange_eval.core.items import Item, item_id
from minchange_eval.data.store import Store

OTHER_PICTURES = ("blank", "otherpair")  # variants in which models see other pictures than the item's own


class NoPicturesError(Exception):
    """Pictures cannot be shown; the message is the line that says why, and what to run."""


def matching_items(dataset: str, fingerprint: str) -> dict[str, Item]:
    """The items of a prepared data set by id; their pixels stay on disk until they are read.

    Raises:
        NoPicturesError: it is not prepared, is damaged, or is other data than that of the runs.
    """
    try:
        store = Store.open(dataset)
    except NotPreparedError as error:
        raise NoPicturesError(f"{dataset} is not prepared here; run: minchange-eval prepare {dataset}") from error
    except (DataError, UsageError) as error:
        raise NoPicturesError(str(error)) from error
    held = store.card.fingerprint
    if held != fingerprint:
        raise NoPicturesError(
            f"{dataset} is prepared here with fingerprint {held[:12]}, and the runs are of {fingerprint[:12]}; prepare "
            f"the data of the runs: minchange-eval prepare {dataset} --force"
        )
    try:
        return {item_id(item): item for item in store.items()}
    except DataError as error:
        raise NoPicturesError(str(error)) from error
