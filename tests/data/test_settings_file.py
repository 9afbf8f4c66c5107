from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.data.settings_file import meant, read_settings


def test_settings_are_read_and_none_of_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("seed: 1\nmix: {count: 2}\n")
    assert read_settings(file, "--config", "seed") == {"seed": 1, "mix": {"count": 2}}
    file.write_text("# nothing yet\n")
    assert read_settings(file, "--config", "seed") == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"seed: 1\nseed: 2", "expected YAML, got 'seed' is given twice"),
        (b"mix: {count: 1, count: 2}", "'count' is given twice"),
        (b"a: [", "expected YAML, got"),
        (b"when: 2024-13-99", "expected YAML, got"),
        (b"just words", "expected keys such as seed, got 'just words'"),
        (b"\xff", "cannot be read (it is not UTF-8)"),
        (b"a: !!python/object/apply:os.system [ls]", "expected YAML"),
    ],
)
def test_a_file_that_is_wrong_is_one_line_that_names_it(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_settings(file, "--config", "seed")
    assert str(caught.value).startswith(f"--config {file}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_near_nothing_has_no_hint() -> None:
    assert meant("margn", {"margin": 1, "slices": 2}) == "did you mean margin?"
    assert meant("every", ["margin"]) == ""
