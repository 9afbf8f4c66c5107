from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.reports.shown_text import shown_text

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)


@given(ANY_TEXT)
def test_whatever_comes_in_goes_into_a_utf8_file_and_acts_on_nothing(text: str) -> None:
    shown = shown_text(text)
    shown.encode()
    assert not {unicodedata.bidirectional(sign) for sign in shown} & {
        "RLO",
        "LRO",
        "RLE",
        "LRE",
        "RLI",
        "LRI",
        "FSI",
        "PDF",
    }
    assert not any(unicodedata.category(sign) == "Cc" and sign not in "\t\n" for sign in shown)


@pytest.mark.parametrize("text", ["a cat", "قطة على السجادة", "左边的猫", "می‌روم", "👩‍👩‍👧", "ไทย", "Ζωή — «é»\n\tb"])
def test_honest_text_of_any_script_stays_as_it_is(text: str) -> None:
    assert shown_text(text) == text


def test_ten_megabytes_are_cut_and_counted() -> None:
    assert shown_text("x" * 10_000_000, 10) == "x" * 10 + "… (9,999,990 more characters)"


def test_a_tower_of_marks_is_cut_to_four() -> None:
    assert shown_text("a" + "\u0301" * 500) == "a" + "\u0301" * 4


def test_a_turned_direction_and_a_lone_surrogate_are_named() -> None:
    assert shown_text("a\u202eb\ud800c\0") == "a⟨U+202E⟩b⟨U+D800⟩c⟨U+0000⟩"
