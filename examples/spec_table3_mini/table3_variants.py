"""The rows of the table: which recipe trains each, and what each has in its batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"
BASE = "base"


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        name: of its recipe and folder.
        title: in the table; as SPEC's Table 3 calls it where it is there.
        says: what it is, in a few words.
    """

    name: str
    title: str
    says: str

    @property
    def recipe(self) -> Path:
        return RECIPES / f"{self.name}.yaml"


VARIANTS = (
    Variant("hard_negatives", "+ L_hn", "hard-negative loss on whole sets, no plain pairs"),
    Variant("one_per_set", "+ L_clip", "plain loss on plain pairs and single members of sets"),
    Variant("full_sets", "whole sets (control)", "plain loss on plain pairs and whole sets, no L_hn"),
    Variant("both", "both", "plain loss on plain pairs + 0.2 L_hn on whole sets, as SPEC"),
)
BASE_ROW = Variant(BASE, "base", "the bundled minchange-tiny, not trained further")
ROWS = (BASE_ROW, *VARIANTS)
TITLE = {row.name: row.title for row in ROWS}
