"""One card per benchmark: what it is, how large, what chance is, and where the paper's reading and ours differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from minchange_eval.core.errors import UsageError
from minchange_eval.core.items import Item
from minchange_eval.data.release import BrokenRow, Kind, Release

_FOLDER = Path(__file__).parent / "cards"


class Subset(BaseModel):
    """One division of a benchmark.

    Attributes:
        k: images and captions of a set, or options of a question.
        items: candidate sets or questions in a complete release.
        chance: metric -> expected value of exchangeable random scores, a fraction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(ge=2)
    items: int = Field(ge=1)
    chance: Mapping[str, float]


class Reading(BaseModel):
    """One point in which the published numbers are read off differently from ours; the record holds both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    published: str
    ours: str


class BenchmarkCard(BaseModel):
    """What one benchmark is (`data/cards/<name>.json`).

    Attributes:
        revision: commit or `sha256:` digest that the numbers here are of; empty for generated data, whose
            release says seed and version itself.
        headline: how the one number that people quote is made from the subsets.
        readings: where published and ours differ.
        quirks: what stays in the store as released although a reader would not expect it.
        how_to_get: where the data is, for a user who has nothing yet.
        made_like: for a generated data set, the benchmark whose form it has; it never stands in for that one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    kind: Kind
    paper: str
    licence: str
    revision: str = ""
    synthetic: bool = False
    made_like: str = ""
    subsets: Mapping[str, Subset]
    headline: str
    readings: tuple[Reading, ...] = ()
    quirks: tuple[str, ...] = ()
    how_to_get: str

    @property
    def items(self) -> int:
        """How many items a complete release has."""
        return sum(subset.items for subset in self.subsets.values())


def card_names() -> list[str]:
    """Every benchmark that has a card, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


@cache
def benchmark_card(name: str) -> BenchmarkCard:
    """The card of one benchmark.

    Raises:
        UsageError: it has none.
    """
    path = _FOLDER / f"{name}.json"
    if name not in card_names():
        raise UsageError(f"no benchmark card {name!r}; there are {', '.join(card_names())}")
    return BenchmarkCard.model_validate_json(path.read_text(encoding="utf-8"))


def release_of(name: str, read: Callable[..., Iterable[Item | BrokenRow]], **more: Any) -> Release:
    """The release of a benchmark with a card: what the card says, and how it is read."""
    card = benchmark_card(name)
    return Release(
        name=card.name,
        kind=card.kind,
        title=card.title,
        licence=card.licence,
        paper=card.paper,
        subsets={subset: values.k for subset, values in card.subsets.items()},
        read=read,
        revision=card.revision,
        quirks=card.quirks,
        items=card.items,
        how_to_get=card.how_to_get,
        **more,
    )
