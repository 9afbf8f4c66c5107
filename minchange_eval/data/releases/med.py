"""MED and MED-Real (arXiv:2506.07227): a clone of beccabai/hallu_med, or its `benchmark/` folder.

A row has two images (the original first, the edit second), a question, four options with their letters, and the
letter of the right one. MED-Real's images are MMVP's: its rows name `/path/to/MMVP Images/K.jpg`, and K.jpg is looked
for in the folder of MMVP images.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import ChoiceQuestion, FileImage, ImageSource, Item
from minchange_eval.data.benchmark_card import benchmark_card, release_of
from minchange_eval.data.clone import commit_of
from minchange_eval.data.json_rows import BadRowError, as_row, json_list, text, texts
from minchange_eval.data.release import BrokenRow, HubSource, Release
from minchange_eval.data.row_paths import file_inside

TYPES = tuple(benchmark_card("med").subsets)
MED_FILE, MED_REAL_FILE = "MED_bench.json", "MED_real_set.json"
_REPOSITORY = "https://github.com/beccabai/hallu_med"


def med() -> Release:
    """MED as `prepare` knows it."""
    return release_of("med", read_med, identify=partial(commit_of, known=f"benchmark/{MED_FILE}"))


def med_real() -> Release:
    """MED-Real as `prepare` knows it."""
    return release_of(
        "med_real",
        read_med_real,
        identify=partial(commit_of, known=f"benchmark/{MED_REAL_FILE}"),
        # its commit is not known to us, so the card records what was downloaded, as not verified
        images_hub=HubSource("MMVP/MMVP", "main", ("MMVP Images/*",)),
        needs_images=lambda source: not has_mmvp_images(source),
    )


def read_med(source: Path | None) -> Iterator[Item | BrokenRow]:
    """MED's rows in their order; ids are `med/<row from 0>`.

    Raises:
        UsageError: no `MED_bench.json` in the source.
        DataError: it has another shape.
    """
    assert source is not None
    questions = _find(source, MED_FILE)

    def image(name: str) -> ImageSource:
        return FileImage(name, _released_file(questions.parent, name))

    yield from _read(questions, "med", image)


def read_med_real(source: Path | None, images: Path | None = None) -> Iterator[Item | BrokenRow]:
    """MED-Real's rows in their order; `images` is the folder of MMVP images, else one below the source is taken.

    Raises:
        UsageError: no `MED_real_set.json` in the source, or no folder of images.
        DataError: it has another shape.
    """
    assert source is not None
    questions = _find(source, MED_REAL_FILE)
    folder = _mmvp_folder(images or questions.parent)

    def image(name: str) -> ImageSource:
        # the released folder is a placeholder; only K.jpg means something
        return FileImage(name, _released_file(folder, PurePosixPath(name).name))

    yield from _read(questions, "med_real", image)


def has_mmvp_images(source: Path) -> bool:
    """Whether a source of MED-Real comes with its images."""
    return _mmvp_candidates(_find(source, MED_REAL_FILE).parent) is not None


def _find(source: Path, name: str) -> Path:
    for path in (source, source / name, source / "benchmark" / name):
        if path.name == name and path.is_file():
            return path
    raise UsageError(f"--source {source}: expected {name} in it or in its benchmark/ folder; {_REPOSITORY} has it")


def _mmvp_candidates(folder: Path) -> Path | None:
    for path in (folder / "MMVP Images", folder / "images" / "MMVP Images", folder):
        if (path / "1.jpg").is_file():
            return path
    return None


def _mmvp_folder(folder: Path) -> Path:
    found = _mmvp_candidates(folder)
    if found is None:
        raise UsageError(f"{folder}: expected a folder of MMVP images (1.jpg, 2.jpg, …); name it with --images")
    return found


def _released_file(folder: Path, name: str) -> Path:
    path = file_inside((folder, folder / "images"), name)
    if path is None:
        raise BadRowError(f"image {name!r} is missing in {folder}")
    return path


def _read(questions: Path, name: str, image: Callable[[str], ImageSource]) -> Iterator[Item | BrokenRow]:
    try:
        data = questions.read_bytes()
    except OSError as error:
        raise DataError(f"{questions}: cannot be read ({error})") from error
    for number, row in enumerate(json_list(data, str(questions))):
        try:
            yield _question(as_row(row), f"{name}/{number}", image)
        except (BadRowError, ValueError) as error:
            yield BrokenRow(f"{questions.name} row {number + 1}", str(error))


def _question(row: Mapping[str, Any], question_id: str, image: Callable[[str], ImageSource]) -> ChoiceQuestion:
    options = texts(row, "options")
    letter = text(row, "answer").strip()
    letters = string.ascii_uppercase[: len(options)]
    if len(letter) != 1 or letter not in letters:
        raise BadRowError(f"field 'answer': expected one of {', '.join(letters)}, got {letter!r}")
    subset = text(row, "type") if question_id.startswith("med/") else "real"
    if subset not in {*TYPES, "real"}:
        raise BadRowError(f"unknown type {subset!r}; MED has {', '.join(TYPES)}")
    return ChoiceQuestion(
        question_id=question_id,
        subset=subset,
        images=(image(text(row, "image_name")), image(text(row, "edited_image_name"))),
        question=text(row, "question"),
        options=options,
        answers=(letters.index(letter),),
    )
