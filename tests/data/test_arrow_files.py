"""Reading the store's Arrow files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from minchange_eval.core.errors import DataError
from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.data import arrow_files
from minchange_eval.data.arrow_files import ArrowWriter, MappedFile

MB = 2**20


def written(folder: Path, sets: int, image_bytes: int) -> Path:
    dice = random.Random(0)
    with ArrowWriter(folder, "data", "sets") as writer:
        for number in range(sets):
            images = tuple(BytesImage(f"{number}_{i}.jpg", dice.randbytes(image_bytes)) for i in range(2))
            writer.add(CandidateSet(str(number), "count", images, ("one", "two")))
    return folder / writer.files[0].name


def pages_of_files_mb() -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs /proc, which tells what of a mapped file is in memory")
    line = next(line for line in status.read_text().splitlines() if line.startswith("RssFile:"))
    return int(line.split()[1]) / 1024


def test_reading_every_image_does_not_keep_the_file_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_files, "LET_GO_AFTER_BYTES", 8 * MB)
    file = MappedFile(written(tmp_path, sets=30, image_bytes=MB))
    before = pages_of_files_mb()
    images = [len(file.image_bytes(row, index)) for row in range(file.rows) for index in range(2)]
    assert images == [MB] * 60
    assert pages_of_files_mb() - before < 20


def test_pages_that_were_let_go_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, sets=3, image_bytes=100)
    kept = [MappedFile(path).image_bytes(row, 1) for row in range(3)]
    monkeypatch.setattr(arrow_files, "LET_GO_AFTER_BYTES", 1)
    file = MappedFile(path)
    assert [file.image_bytes(row, 1) for row in (0, 1, 2, 0, 1, 2)] == kept * 2
    assert file.texts(1)["captions"] == ["one", "two"]


def test_an_empty_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "empty.arrow").touch()
    with pytest.raises(DataError, match="is cut off or damaged"):
        MappedFile(tmp_path / "empty.arrow")
