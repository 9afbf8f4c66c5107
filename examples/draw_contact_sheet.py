"""Draw docs/images/contact_sheet.png: one set or question of each kind of the mini suite.

python examples/draw_contact_sheet.py docs/images/contact_sheet.png
"""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

from minchange_eval.core.items import Item
from minchange_eval.generators.contact_sheet import contact_sheet
from minchange_eval.generators.procedural.suite import SEED, draw_med, draw_spec, draw_vismin

SHOWN = {  # subset -> number of the set or question; one of each kind
    "count": 3,
    "absolute_spatial": 3,
    "absolute_size": 1,
    "relative_size": 4,
    "relative_spatial": 2,
    "existence": 5,
    "object": 3,
    "attribute": 1,
    "relation": 2,
    "counting": 2,
    "Part Relation": 3,
    "Action Relation": 1,
    "Universality": 1,
    "Differentiation": 3,
}


def main() -> None:
    drawn: dict[str, list[Item]] = {}
    for item in chain(draw_spec(SEED, 6), draw_vismin(SEED, 6), draw_med(SEED, 6)):
        drawn.setdefault(item.subset, []).append(item)
    sheet = contact_sheet([drawn[subset][number] for subset, number in SHOWN.items()], cell_px=104, text_px=560)
    sheet.save(Path(sys.argv[1]), optimize=True)


if __name__ == "__main__":
    main()
