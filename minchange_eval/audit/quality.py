"""Data quality: what can be told of a data set without any model."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minchange_eval.audit.hash_file import HashFile
from minchange_eval.audit.quality_report import Example, QualityCheck, QualityReport
from minchange_eval.core.items import CandidateSet, ImageSource, Item, item_id
from minchange_eval.core.queries import option_text
from minchange_eval.data.store import Store

Progress = Callable[[Iterable[ImageSource], int | None], Iterable[ImageSource]]
_EXAMPLES = 5


def quality(store: Store, *, kept: HashFile | None = None, progress: Progress | None = None) -> QualityReport:
    """Judge a prepared data set.

    Args:
        store: read once for its texts and once for its images; no more than a few images are in memory.
        kept: image hashes of earlier runs; None computes them anew.
        progress: wraps the images as they are read, with their number.

    Raises:
        DataError: the store is damaged or was replaced.
    """
    items = list(store.items())
    images = {image.sha256 for item in items for image in item.images}
    return QualityReport(
        dataset=store.card.name,
        fingerprint=store.card.fingerprint,
        kind=store.card.kind,
        synthetic=store.card.synthetic,
        items=len(items),
        images=len(images),
        checks=(_duplicate_options(items),),
    )


def _duplicate_options(items: Iterable[Item]) -> QualityCheck:
    questions = [item for item in items if not isinstance(item, CandidateSet)]
    found = []
    for item in questions:
        texts = [option_text(option) for option in item.options]
        if len(set(texts)) < len(texts):
            found.append(Example(item_id=item_id(item), shown=next(text for text in texts if texts.count(text) > 1)))
    return QualityCheck(
        name="duplicate_options",
        title="the same option twice",
        weight="fault",
        found=len(found),
        of=len(questions),
        unit="items",
        examples=tuple(found[:_EXAMPLES]),
        item_ids=tuple(example.item_id for example in found),
    )
