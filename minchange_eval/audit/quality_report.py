"""What was found in the data itself: types that tables, pages and JSON are made from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Weight = Literal["fault", "leak", "note"]


class Example(BaseModel):
    """One place where something was found: an item's id, and what stands there."""

    model_config = ConfigDict(frozen=True)

    item_id: str
    shown: str = ""


class QualityCheck(BaseModel):
    """One thing looked for.

    Attributes:
        name: stable key (`duplicate_options`).
        title: what it counts, in words.
        weight: `fault`: broken; `leak`: tells the answer to who does not look; `note`: worth knowing.
        found: how many.
        of: out of how many; 0 where the data set has nothing to look at (options in candidate sets).
        unit: what is counted (`items`, `pairs`, `texts`, `images`).
        examples: the first of them.
        item_ids: every item concerned, in released order.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    weight: Weight
    found: int
    of: int
    unit: str
    examples: tuple[Example, ...] = ()
    item_ids: tuple[str, ...] = Field(default=(), repr=False)


class Spread(BaseModel):
    """How a measured value is spread over a subset ("" for all of them): quartiles, smallest and largest."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    unit: str
    subset: str
    n: int
    smallest: float
    low: float
    median: float
    high: float
    largest: float


class PlaceBalance(BaseModel):
    """Where the right answers stand.

    Attributes:
        direction: `choice` (letters), `i2t` or `t2i` (places in the released order of candidates).
        subset: "" for all of them.
        counts: right answers at each place; an item with several right ones counts at each.
        p: of counts at least as unlikely where every place is as likely; None without items.
        test: `exact` multinomial, or `chi-square` where there are too many outcomes to go through.
        holm: p corrected for all balances of this report.
    """

    model_config = ConfigDict(frozen=True)

    direction: str
    subset: str
    counts: tuple[int, ...]
    p: float
    test: Literal["exact", "chi-square"]
    holm: float


class QualityReport(BaseModel):
    """The data set, as far as it can be judged without a model.

    Attributes:
        dataset: name in the store.
        fingerprint: of the data that was judged.
        images: distinct ones, by content.
        checks: every check, also those that found nothing.
        spreads: caption edit distance, changed area, … per subset.
        balances: places of the right answers.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    fingerprint: str
    kind: str
    synthetic: bool
    items: int
    images: int
    checks: tuple[QualityCheck, ...]
    spreads: tuple[Spread, ...] = ()
    balances: tuple[PlaceBalance, ...] = ()

    def check(self, name: str) -> QualityCheck:
        """The check of that name.

        Raises:
            KeyError: there is none.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)
