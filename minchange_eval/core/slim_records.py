"""Slim records: what two models are compared by and no more, small enough to be kept in a repository.

A slim line has the verdict on its query and the candidate that was chosen, but no scores, words or reasons, and of the
images only those that several items share, for they decide which items are of one cluster. Whatever is paired or
counted under this project's reading comes out the same, to the last bit. What reads an answer again (a paper's protocol
on other subsets, other scores, a gallery) needs the whole record, and `require_whole` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minchange_eval.core.errors import UsageError
from minchange_eval.core.forms import in_orders
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.record import SCHEMA_VERSION, RunPart, RunRecord, digest
from minchange_eval.core.resting_collector import resting_collector

__all__ = ["require_whole", "slim"]

_DROPPED: Mapping[str, Any] = {"scores": None, "text": None, "reason": None, "alternatives": {}, "truncated": 0}


@resting_collector()
def slim(record: RunRecord) -> RunRecord:
    """The record without what pairing does not need; a slim one comes back as it is.

    Scores stay where a question was asked in several orders, since those are merged by their scores, and where one is
    not finite. The metrics in the header stay as they are, the paper's readings among them; `slim_of` is the digest of
    the whole record.
    """
    if record.slim_of:
        return record
    items: dict[str, set[tuple[str, str]]] = {}  # image -> the items that it belongs to
    for outcomes in record.outcomes.values():
        for outcome in outcomes:
            for image in outcome.images:
                items.setdefault(image, set()).add((outcome.subset, outcome.item_id))
    shared = frozenset(image for image, of in items.items() if len(of) > 1)
    return record.model_copy(
        update={
            "schema_version": SCHEMA_VERSION,
            "slim_of": digest(record),
            "run": RunPart(),
            "outcomes": {task: _slim_lines(outcomes, shared) for task, outcomes in record.outcomes.items()},
        }
    )


def require_whole(record: RunRecord, what: str, name: str = "the") -> None:
    """Refuse a slim record for what needs every answer.

    Raises:
        UsageError: the record is slim.
    """
    if record.slim_of:
        raise UsageError(
            f"{name} record is slim, without scores and replies, and {what} needs them; give the whole record, "
            f"whose digest begins with {record.slim_of[:12]}"
        )


def _slim_lines(outcomes: Sequence[QueryOutcome], shared: frozenset[str]) -> tuple[QueryOutcome, ...]:
    merges = in_orders(outcomes)
    seen: set[tuple[str, str, str]] = set()
    lines = []
    for outcome in outcomes:
        images = []
        for image in outcome.images:  # once an item says as much as on each of its queries
            if image in shared and (key := (outcome.subset, outcome.item_id, image)) not in seen:
                seen.add(key)
                images.append(image)
        lines.append(_slim_line(outcome, tuple(images), merges=merges))
    return tuple(lines)


def _slim_line(outcome: QueryOutcome, images: tuple[str, ...], *, merges: bool) -> QueryOutcome:
    kept: dict[str, Any] = {**_DROPPED, "images": images}
    if outcome.scores is not None and (merges or None in outcome.scores):  # NaN must not be slimmed away
        kept["scores"] = outcome.scores
    else:
        kept["choice"] = outcome.chosen
        kept["scored"] = "pairs" if outcome.of_pairs else outcome.scored  # older records leave it out for pairs
    return outcome.model_copy(update=kept)
