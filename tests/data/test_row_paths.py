from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.data.json_rows import BadRowError
from minchange_eval.data.row_paths import file_inside, path_inside


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.jpg", "images/../../x.jpg", ".."])
def test_a_path_that_leaves_its_folder_is_refused_though_the_file_is_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.jpg").write_bytes(b"x")
    (tmp_path / "folder" / "images").mkdir(parents=True)
    with pytest.raises(BadRowError, match="leaves the folder"):
        file_inside([tmp_path / "folder"], name)


@pytest.mark.parametrize("name", ["images/x.jpg", "./images/x.jpg", "images//x.jpg", "images/./x.jpg"])
def test_spellings_of_one_path_are_one_path(name: str) -> None:
    assert path_inside(name) == "images/x.jpg"


def test_the_first_folder_that_has_the_file_is_taken(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    for folder in ("b", "c"):
        (tmp_path / folder / "x.jpg").write_bytes(b"x")
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    assert file_inside(folders, "x.jpg") == tmp_path / "b" / "x.jpg"
    assert file_inside(folders, "y.jpg") is None


def test_a_name_that_no_file_can_have_is_a_broken_row(tmp_path: Path) -> None:
    with pytest.raises(BadRowError, match="cannot be looked up"):
        file_inside([tmp_path], "x" * 300)
    assert file_inside([tmp_path], "nul\0.jpg") is None
