"""Contact sheets show every image of every item, and say which option is right."""

from __future__ import annotations

import pytest

from minchange_eval.generators.contact_sheet import contact_sheet, texts_of
from minchange_eval.generators.procedural.suite import draw_med, draw_spec


def test_a_sheet_has_a_row_for_each_item_and_a_cell_for_each_image() -> None:
    items = list(draw_spec(0, 1, 64))
    sheet = contact_sheet(items, cell_px=64, text_px=300)
    assert sheet.width >= 9 * 64
    assert sheet.height >= len(items) * 64
    assert len(set(sheet.crop((0, 0, 64, 64)).getdata())) > 10


def test_the_right_option_has_a_star() -> None:
    item = next(iter(draw_med(0, 1, 64)))
    starred = [line for line in texts_of(item) if line.startswith("*")]
    assert starred == [f"* {item.options[item.answers[0]]}"]


def test_no_items_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        contact_sheet([])
