"""VSR (arXiv:2205.00363): jsonl splits of cambridgeltl/visual-spatial-reasoning and COCO 2017 images.

A row has one image and a statement that is true (label 1) or false (label 0) of it. A split is a subset:
`random_test`, `zeroshot_train`, …, from the name of its file (`random_test.jsonl`, `random/test.jsonl`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import UsageError
from minchange_eval.core.items import ChoiceQuestion, FileImage, Item
from minchange_eval.data.benchmark_card import benchmark_card, release_of
from minchange_eval.data.clone import commit_of
from minchange_eval.data.json_rows import BadRowError, as_row, json_lines, label, text
from minchange_eval.data.release import BrokenRow, Release
from minchange_eval.data.row_paths import file_inside

SUBSETS = tuple(benchmark_card("vsr").subsets)
OPTIONS = ("false", "true")  # the label is the index
_COCO_FOLDERS = ("train2017", "val2017")
_USED = {"image", "caption", "label"}


def release() -> Release:
    """VSR as `prepare` knows it."""
    return release_of("vsr", read, identify=partial(commit_of, known="data/splits"))


def read(source: Path | None, images: Path | None = None) -> Iterator[Item | BrokenRow]:
    """The rows of every split found, in the order of the splits; ids are `<subset>/<row from 0>`.

    Raises:
        UsageError: no jsonl file in the source.
        DataError: a line that is no JSON.
    """
    assert source is not None
    if not source.exists():
        raise UsageError(f"--source {source}: there is no such file or folder")
    files = [source] if source.is_file() else sorted(source.rglob("*.jsonl"))
    if not files:
        raise UsageError(f"--source {source}: expected jsonl splits (random_test.jsonl, random/test.jsonl), got none")
    folder = images or (source.parent if source.is_file() else source)
    for file in sorted(files, key=lambda path: SUBSETS.index(_subset(path)) if _subset(path) in SUBSETS else 99):
        subset = _subset(file)
        if subset not in SUBSETS:
            yield BrokenRow(str(file.name), f"is none of the splits {', '.join(SUBSETS)}")
            continue
        for number, row in enumerate(json_lines(file.read_bytes(), str(file))):
            try:
                yield _question(as_row(row), f"{subset}/{number}", subset, folder)
            except (BadRowError, ValueError) as error:
                yield BrokenRow(f"{file.name} row {number + 1}", str(error))


def _subset(file: Path) -> str:
    if "_" in file.stem:
        return file.stem
    parent = file.parent.name.removeprefix("vsr_")
    return f"{parent}_{'dev' if file.stem == 'validation' else file.stem}"


def _question(row: Mapping[str, Any], question_id: str, subset: str, folder: Path) -> ChoiceQuestion:
    name = text(row, "image")
    return ChoiceQuestion(
        question_id=question_id,
        subset=subset,
        images=(FileImage(name, _coco_file(folder, name, row.get("image_link"))),),
        question=text(row, "caption"),
        options=OPTIONS,
        answers=(label(row, "label", len(OPTIONS)),),
        facts={field: value for field, value in row.items() if field not in _USED},
    )


def _coco_file(folder: Path, name: str, link: Any) -> Path:
    # both are looked into, the one that the link names first
    splits = sorted(_COCO_FOLDERS, key=lambda split: f"/{split}/" not in str(link))
    path = file_inside((top / split for split in ("", *splits) for top in (folder, folder / "images")), name)
    if path is None:
        where = f"it is COCO's {splits[0]}; name the folder with --images"
        raise BadRowError(f"image {name!r} is missing in {folder}; {where}")
    return path
