from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.errors import DataError
from minchange_eval.data.json_rows import BadRowError, as_row, json_lines, json_list
from minchange_eval.data.prepare import prepare
from tests.data.official_layouts import write_vsr_release

HALF = "what \ud83d?"


@pytest.mark.parametrize("row", [{"a": HALF}, {"a": ["b", HALF]}, {"a": {"b": HALF}}, {"a": {HALF: 1}}])
def test_half_a_character_anywhere_in_a_row_is_a_broken_row(row: dict[str, Any]) -> None:
    with pytest.raises(BadRowError, match=r"field 'a': expected text, got half a character '.ud83d'") as caught:
        as_row(row)
    str(caught.value).encode()


def test_a_field_whose_name_is_half_a_character_is_a_broken_row() -> None:
    with pytest.raises(BadRowError, match=r"half a character") as caught:
        as_row({HALF: 1})
    str(caught.value).encode()


def test_a_whole_character_beyond_the_first_plane_is_text() -> None:
    row = json.loads('{"a": "\\ud83d\\ude00"}')
    assert as_row(row) == {"a": "\N{GRINNING FACE}"}


@pytest.mark.parametrize("field", ["caption", "relation"])
def test_a_row_with_half_a_character_is_skipped_with_its_reason(tmp_path: Path, field: str) -> None:
    folder = write_vsr_release(tmp_path / "vsr")
    path = folder / "random" / "test.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), field: HALF})
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"test.jsonl row 2: field '{field}': expected text"):
        prepare("vsr", folder)
    store = prepare("vsr", folder, skip_broken=True)
    assert (store.card.items, [row.where for row in store.card.skipped]) == (7, ["test.jsonl row 2"])


def test_a_number_of_too_many_digits_is_one_line() -> None:
    digits = b"1" * 5000
    for read, data in ((json_list, b"[%b]" % digits), (json_lines, digits)):
        with pytest.raises(DataError, match=r"x.*: is no JSON") as caught:
            read(data, "x")
        assert "\n" not in str(caught.value)
