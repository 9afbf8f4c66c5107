from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.core.errors import DataError, printable


@given(st.text())
def test_a_message_is_one_printable_line_whatever_it_quotes(text: str) -> None:
    assert all(character.isprintable() for character in str(DataError(f"image {text}: is empty")))


def test_what_would_clear_the_terminal_is_shown_as_its_escape() -> None:
    assert str(DataError("image \x1b[2J\n.jpg")) == "image \\x1b[2J\\n.jpg"
    assert printable("ünïcode 猫 stays") == "ünïcode 猫 stays"


def test_an_error_survives_the_way_from_a_loader_process() -> None:
    assert str(pickle.loads(pickle.dumps(DataError("image a\\b: is empty")))) == "image a\\b: is empty"  # noqa: S301
