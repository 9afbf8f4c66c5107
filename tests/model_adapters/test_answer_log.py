from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.core.items import BytesImage
from minchange_eval.model_adapters.answer_log import AnswerLog, answer_key, log_folder

CAT, DOG = BytesImage("cat.png", b"cat"), BytesImage("dog.png", b"dog")


def test_what_was_appended_is_read_back_and_nothing_else(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path)
    log.append({"a": "A\u2028\ud800 \x00", "b": ""})
    log.append({"c": "C" * 1_000_000})
    log.close()
    assert AnswerLog(tmp_path).read({"a", "b", "z"}) == {"a": "A\u2028\ud800 \x00", "b": ""}
    assert AnswerLog(tmp_path).read({"c"}) == {"c": "C" * 1_000_000}
    assert AnswerLog(tmp_path / "elsewhere").read({"a"}) == {}


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path)
    log.append({"a": "A"})
    log.append({"b": "B"})
    log.close()
    (segment,) = tmp_path.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-3])
    assert AnswerLog(tmp_path).read({"a", "b"}) == {"a": "A"}


def test_two_runs_write_no_file_together(tmp_path: Path) -> None:
    one, other = AnswerLog(tmp_path), AnswerLog(tmp_path)
    one.append({"a": "A"})
    other.append({"b": "B"})
    one.close()
    other.close()
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert AnswerLog(tmp_path).read({"a", "b"}) == {"a": "A", "b": "B"}


def test_the_key_is_of_words_and_pictures_in_their_order() -> None:
    key = answer_key(("which?", CAT, DOG), {})
    others = [
        answer_key(("which?", DOG, CAT), {}),
        answer_key((CAT, DOG, "which?"), {}),
        answer_key(("which? ", CAT, DOG), {}),
        answer_key(("which?", CAT, DOG), {"max_new_tokens": 1}),
        answer_key(("which?", CAT, BytesImage("dog.png", b"another dog")), {}),
        answer_key(("which?", CAT), {}),
    ]
    assert len({key, *others}) == 1 + len(others)
    assert answer_key(("which?", BytesImage("renamed.png", b"cat"), DOG), {}) == key


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_prompts_share_a_key_only_if_they_are_equal(one: list[str], other: list[str]) -> None:
    assert (answer_key(one, {}) == answer_key(other, {})) == (one == other)


def test_other_settings_are_another_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path))
    assert log_folder({"dtype": "fp32"}) != log_folder({"dtype": "bf16"})
    assert log_folder({"dtype": "fp32"}).is_relative_to(tmp_path)
