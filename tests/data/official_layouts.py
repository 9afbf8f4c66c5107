"""Tiny releases in the official layouts, with the same pixels and texts for the same seed.

Texts of SPEC's two directions are worded differently and candidates are shuffled, as in the release.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

SPEC_K = {
    "absolute_size": 3,
    "relative_size": 3,
    "absolute_spatial": 9,
    "relative_spatial": 4,
    "existence": 2,
    "count": 9,
}
VISMIN_CATEGORIES = ("object", "attribute", "relation", "counting")
MED_TYPES = (
    "Object",
    "Attribute",
    "Scene",
    "Spatial Relation",
    "Action Relation",
    "Part Relation",
    "Counting",
    "Differentiation",
    "Comparison",
    "Negation",
    "Universality",
)
_NAMES = ("dog", "cat", "bus", "apple", "chair", "clock", "pizza", "horse")


def picture_bytes(seed: object, edge_px: int = 16, kind: str = "JPEG") -> bytes:
    """A picture of coloured blocks that no other seed gives."""
    dice = random.Random(str(seed))
    picture = Image.frombytes("RGB", (8, 8), dice.randbytes(192)).resize((edge_px, edge_px), Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def write_spec_release(
    folder: Path, sets_per_subset: int = 2, seed: int = 0, subsets: tuple[str, ...] = tuple(SPEC_K), edge_px: int = 16
) -> Path:
    """SPEC's unpacked folder: `<subset>/text2image.json`, `image2text.json` and pictures; returns `folder`."""
    for subset in subsets:
        _write_spec_subset(folder / subset, subset, sets_per_subset, seed, edge_px)
    return folder


def _write_spec_subset(folder: Path, subset: str, sets: int, seed: int, edge_px: int) -> None:
    (folder / "images").mkdir(parents=True)
    dice = random.Random(f"{seed} {subset}")
    text_to_image: list[dict[str, Any]] = []
    image_to_text: list[dict[str, Any]] = []
    for number in range(sets):
        name = dice.choice(_NAMES)
        images = [f"images/{number:03d}_{i}.jpg" for i in range(SPEC_K[subset])]
        captions = [f"the {name} is way {i} of {subset}" for i in range(len(images))]
        for i, image in enumerate(images):
            (folder / image).write_bytes(picture_bytes((seed, subset, number, i), edge_px))
            keys = dice.sample(images, len(images))
            text_to_image.append({"query": f"A {name} that is {subset} {i}.", "keys": keys, "label": keys.index(image)})
            texts = dice.sample(captions, len(captions))
            image_to_text.append({"query": image, "keys": texts, "label": texts.index(captions[i])})
    dice.shuffle(image_to_text)  # nothing says that the two files have one order
    (folder / "text2image.json").write_text(json.dumps(text_to_image), encoding="utf-8")
    (folder / "image2text.json").write_text(json.dumps(image_to_text), encoding="utf-8")


def write_zip_of(folder: Path, zip_path: Path, inside: str = "data/") -> Path:
    """A zip of a folder's files under `inside`, as SPEC's `data.zip`; returns `zip_path`."""
    with zipfile.ZipFile(zip_path, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, inside + path.relative_to(folder).as_posix())
    return zip_path


def vismin_rows(
    rows_per_category: int = 2, seed: int = 0, edge_px: int = 16, *, stale: bool = False
) -> list[dict[str, Any]]:
    """Rows of VisMin's benchmark; ids restart per category. `stale`: with the column names of the Hub's page."""
    names = (
        ("question_1", "question_2", "question_3", "question_4")
        if stale
        else ("text_question_0", "text_question_1", "image_question_0", "image_question_1")
    )
    rows = []
    for category in VISMIN_CATEGORIES:
        for number in range(rows_per_category):
            name = _NAMES[(number + seed) % len(_NAMES)]
            row: dict[str, Any] = {
                "id": str(number),
                **{f"text_{i}": f"A {name} in way {i} of {category} {number}." for i in (0, 1)},
                "category": category,
                **dict(zip(names, _vismin_questions(f"{name} in way", f"{category} {number}"), strict=True)),
            }
            for i in (0, 1):
                data = picture_bytes((seed, category, number, i), edge_px)
                row[f"image_{i}"] = {"bytes": data, "path": f"{category}_{number}_{i}.jpg"}
            rows.append(row)
    return rows


def _vismin_questions(before: str, after: str) -> tuple[str, ...]:
    """Two questions about one image each, two about both, with places for the images."""
    captions = [f"A {before} {i} of {after}." for i in (0, 1)]
    options = f"(A) {captions[0]} (B) {captions[1]}"
    return (
        *(f"<image_{i}> Which caption belongs to the image? {options} Choices: A, B." for i in (0, 1)),
        *(
            f'First: <image_0> Second: <image_1> Which image is "{caption}"? Choices: First, Second.'
            for caption in captions
        ),
    )


def write_vismin_release(
    folder: Path,
    rows_per_category: int = 2,
    seed: int = 0,
    *,
    layout: str = "hub",
    stale: bool = False,
    edge_px: int = 16,
) -> Path:
    """VisMin's benchmark as the Hub's Arrow shards (`hub`), or as Parquet (`parquet`); returns `folder`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(vismin_rows(rows_per_category, seed, edge_px, stale=stale))
    if layout == "parquet":
        (folder / "data").mkdir(parents=True)
        pq.write_table(table, folder / "data" / "test-00000-of-00001.parquet")
        return folder
    shards = folder / "data" / "test"
    shards.mkdir(parents=True)
    (folder / "data" / "dataset_dict.json").write_text('{"splits": ["test"]}', encoding="utf-8")
    half = table.num_rows // 2
    for number, part in enumerate((table.slice(0, half), table.slice(half))):
        with pa.ipc.new_stream(str(shards / f"data-{number:05d}-of-00002.arrow"), table.schema) as stream:
            stream.write_table(part, max_chunksize=3)
    return folder


def write_med_release(folder: Path, per_type: int = 1, seed: int = 0, edge_px: int = 16) -> Path:
    """The authors' repository of MED: `benchmark/MED_bench.json` and `benchmark/images/`; returns `folder`."""
    images = folder / "benchmark" / "images"
    images.mkdir(parents=True)
    dice = random.Random(f"{seed} med")
    rows = []
    for number in range(per_type * len(MED_TYPES)):
        for end in ("", "_edit"):
            (images / f"{number}{end}.jpg").write_bytes(picture_bytes((seed, "med", number, end), edge_px))
        right = dice.randrange(4)
        options = [
            f"{letter}. In the {'second' if i % 2 else 'first'} image, the {dice.choice(_NAMES)} is {i}."
            + ("" if i == right else " ")  # as in the release, where it gives the right one away
            for i, letter in enumerate("ABCD")
        ]
        rows.append(
            {
                "image_name": f"images/{number}.jpg",
                "edited_image_name": f"images/{number}_edit.jpg",
                "type": MED_TYPES[number % len(MED_TYPES)],
                "question": "What is the main difference between these two images?",
                "options": options,
                "answer": "ABCD"[right],
            }
        )
    (folder / "benchmark" / "MED_bench.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return folder


def write_med_real_release(folder: Path, questions: int = 3, seed: int = 0) -> Path:
    """MED-Real's JSON beside a folder `MMVP Images`; its rows name that folder by a placeholder; returns `folder`."""
    (folder / "MMVP Images").mkdir(parents=True)
    rows = []
    for number in range(questions):
        pair = (2 * number + 1, 2 * number + 2)
        for k in pair:
            (folder / "MMVP Images" / f"{k}.jpg").write_bytes(picture_bytes((seed, "mmvp", k)))
        rows.append(
            {
                "image_name": f"/path/to/MMVP Images/{pair[0]}.jpg",
                "edited_image_name": f"/path/to/MMVP Images/{pair[1]}.jpg",
                "question": "What changed?",
                "options": [f"{letter}. In the second image, the dog is {letter}." for letter in "ABCD"],
                "answer": "D",
            }
        )
    (folder / "MED_real_set.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def write_vsr_release(folder: Path, rows: int = 4, seed: int = 0) -> Path:
    """VSR's splits `random/test.jsonl` and `zeroshot/test.jsonl` beside COCO's `train2017`; returns `folder`."""
    (folder / "train2017").mkdir(parents=True)
    for split in ("random", "zeroshot"):
        (folder / split).mkdir()
        lines = []
        for number in range(rows):
            name = f"{number:012d}.jpg"
            (folder / "train2017" / name).write_bytes(picture_bytes((seed, "coco", number)))
            row = {
                "image": name,
                "image_link": f"http://images.cocodataset.org/train2017/{name}",
                "caption": f"The dog is left of cat {number}.",
                "label": number % 2,
                "relation": "left of",
                "annotator_id": 1,
                "vote_true_validator_id": "[3, 54]",
                "vote_false_validator_id": "[]",
            }
            lines.append(json.dumps(row))
        (folder / split / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
