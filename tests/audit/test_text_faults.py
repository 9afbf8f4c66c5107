from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.audit.text_faults import (
    TEXT_FAULTS,
    has_glued_letter,
    is_mojibake,
    is_unbalanced,
    speaks_of_captions,
)


def as_windows_1252(text: str) -> str:
    """UTF-8 as a browser shows it that was told Windows-1252."""
    return "".join(
        bytes([byte]).decode("latin-1" if byte in {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "cp1252")
        for byte in text.encode()
    )


SOUND = [
    "Two dogs lie on a red sofa (left), the cat's bowl is \u201cfull\u201d.",
    "B. In the second image, the sign says \"stop\".",
    'a 6" ruler', "déjà vu, naïve façade", "一只猫在床下。", "قطة تحت السرير", "मेज़ पर दो कप", "แมวอยู่ใต้เตียง",
    "👩\u200d🌾 beside a tractor", "5 < 7 and a > b", "fish & chips", "½ cup of Ærø's café au lait",
    "„Spaß“ steht da", "»Spaß« steht da", "das Maß…", "un «\u00a0café\u00a0»", "le CAFÉ\u00a0!", "skylten ”stopp”",
    'a sign "Route 66"', "b) the cat",
]  # fmt: skip
BROKEN = {
    "empty_texts": ["", "   ", "C. ", "\u3000"],
    "edge_blanks": ["a cat ", "\ta cat", "A. a cat  ", "a cat\u00a0"],
    "inner_blanks": ["a  cat", "a \u00a0cat"],
    "control_characters": ["a\x00cat", "a cat\nand a dog", "a\x1b[2Jcat", "a\u202ecat", "a\u200bcat"],
    "mojibake": ["a \ufffd cat", *map(as_windows_1252, ("the child\u2019s toy", "café", "一只猫", "мяч", "قطة"))],
    "html": ["a &amp; b", "a&nbsp;cat", "a&#39;s", "a&#x27;s", "a <b>cat</b>", "a cat<br/>"],
    "unbalanced": [
        'the sign "stop',
        "a cat (left",
        "a cat) left",
        "“stop",
        "[a cat)",
        "A. a cat (left",
        "„stop",
        "«stop",
    ],
}


@pytest.mark.parametrize("text", SOUND)
def test_sound_texts_have_no_fault(text: str) -> None:
    assert [name for name, (_, judge) in TEXT_FAULTS.items() if judge(text)] == []


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BROKEN.items() for text in texts])
def test_broken_texts_have_theirs(name: str, text: str) -> None:
    assert TEXT_FAULTS[name][1](text)


@given(st.text(st.characters(min_codepoint=0xC0, max_codepoint=0x24F), min_size=1, max_size=30))
def test_any_text_read_in_the_wrong_encoding_is_mojibake(text: str) -> None:
    assert is_mojibake(text.encode("utf-8").decode("latin-1"))


@given(st.text(max_size=200))
def test_any_text_can_be_judged(text: str) -> None:
    assert all(judge(text) in {True, False} for _, judge in TEXT_FAULTS.values())


@pytest.mark.parametrize(
    ("option", "glued"),
    [("A.The cat", True), ("(B)The cat", True), ("C)the cat", True), ("D. The cat", False), ("A cat", False)],
)
def test_a_letter_without_a_blank_behind_it_is_seen(option: str, glued: bool) -> None:
    assert has_glued_letter(option) == glued


def test_what_is_not_mentioned_speaks_of_captions() -> None:
    assert speaks_of_captions("In the second image, the leash is not mentioned.")
    assert speaks_of_captions("This detail is not explicitly described.")
    assert speaks_of_captions("The captions are the same.")
    assert not speaks_of_captions("The captain is not in the second image.")


def test_ten_megabytes_of_text_are_judged_at_once() -> None:
    assert not any(judge("(a cat) and " * 900_000 + "b") for _, judge in TEXT_FAULTS.values())
    assert is_unbalanced("(" * 10_000_000)
