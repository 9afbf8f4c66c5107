"""VisMin's training set in its two published layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.cli.main import main
from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import CandidateSet
from minchange_eval.data.prepare import prepare
from minchange_eval.data.release import BrokenRow
from minchange_eval.data.releases.vismin_train import read
from minchange_eval.data.store import Store
from tests.data.official_layouts import picture_bytes

CATEGORIES = ("object", "attribute", "relation", "counting")
EDITS = 2  # of each original


def write_nested(folder: Path, originals: int = 4) -> Path:
    """`train.json` with its images; returns the file."""
    (folder / "images").mkdir(parents=True)
    records: list[dict[str, Any]] = []
    for number in range(originals):
        (folder / f"images/{number}.jpg").write_bytes(picture_bytes(("original", number)))
        negatives = []
        for edit in range(EDITS):
            path = f"images/{number}_{edit}.jpg"
            (folder / path).write_bytes(picture_bytes(("edit", number, edit)))
            negatives.append(
                {
                    "edited_image_path": path,
                    "edited_caption": f"Edit {edit} of scene {number}.",
                    "input_phrase": "scene",
                    "edited_phrase": "edit",
                    "category": CATEGORIES[(number + edit) % 4],
                    "sub_category": "animal",
                    "edit_id": f"{number:04x}{edit:04x}",
                }
            )
        record = {
            "image_id": number,
            "image_path": f"images/{number}.jpg",
            "caption": f"Scene {number}.",
            "source": "coco",
        }
        records.append({**record, "negatives": negatives})
    path = folder / "train.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def hub_rows(originals: int = 4) -> list[dict[str, Any]]:
    """Rows per image, edits first, so that an original may lie in a later shard."""

    def row(image_id: str, seed: object, caption: str, source: str = "", category: str = "") -> dict[str, Any]:
        image = {"bytes": picture_bytes(seed), "path": f"{image_id}.jpg"}
        texts = {"image_id": image_id, "caption": caption, "source_image_id": source, "category": category}
        return {**texts, "image": image, "bounding_boxes": [[0.0, 0.0, 1.0, 1.0]]}

    edits = [
        row(f"e{n}_{e}", ("edit", n, e), f"Edit {e} of scene {n}.", f"o{n}", CATEGORIES[(n + e) % 4])
        for n in range(originals)
        for e in range(EDITS)
    ]
    return [*edits, *(row(f"o{n}", ("original", n), f"Scene {n}.") for n in range(originals))]


def write_rows(folder: Path, rows: list[dict[str, Any]], suffix: str = ".arrow", shards: int = 3) -> Path:
    """The Hub's shards, as `save_to_disk` writes them or as Parquet; returns the folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "data" / "train").mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    size = -(-len(rows) // shards)
    for number in range(shards):
        path = folder / "data" / "train" / f"data-{number:05d}-of-{shards:05d}{suffix}"
        part = table.slice(number * size, size)
        if suffix == ".parquet":
            pq.write_table(part, path, row_group_size=2)
        else:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(part, max_chunksize=2)
    return folder


def content(items: list[Any]) -> set[tuple[Any, ...]]:
    assert all(isinstance(item, CandidateSet) for item in items)
    return {(item.subset, item.captions, *(image.sha256 for image in item.images)) for item in items}


def test_both_layouts_give_the_same_pairs(tmp_path: Path) -> None:
    nested = list(read(write_nested(tmp_path / "nested")))
    arrow = list(read(write_rows(tmp_path / "arrow", hub_rows())))
    parquet = list(read(write_rows(tmp_path / "parquet", hub_rows(), ".parquet")))
    assert len(nested) == 4 * EDITS
    assert content(nested) == content(arrow) == content(parquet)
    first = arrow[0]
    assert isinstance(first, CandidateSet)
    assert first.captions == ("Scene 0.", "Edit 0 of scene 0.")
    assert first.images[0].read() == picture_bytes(("original", 0))


@pytest.mark.parametrize("layout", ["nested", "rows"])
def test_prepare_stores_pairs_and_training_takes_an_original_once(tmp_path: Path, layout: str) -> None:
    from minchange_eval.trainers.clip.sources import SetData

    source = write_nested(tmp_path / "n") if layout == "nested" else write_rows(tmp_path / "r", hub_rows())
    store = prepare("vismin_train", source)
    assert len(store) == 4 * EDITS
    assert store.card.licence == "CC-BY-SA-4.0"
    assert not store.card.verified
    groups = SetData.open(["vismin_train"])
    assert groups.sizes.tolist() == [1 + EDITS] * 4
    assert groups.captions[:3] == ["Scene 0.", "Edit 0 of scene 0.", "Edit 1 of scene 0."]


def test_images_of_the_nested_layout_may_lie_elsewhere(tmp_path: Path) -> None:
    path = write_nested(tmp_path / "n")
    (tmp_path / "n/images").rename(tmp_path / "images")
    broken = list(read(path))
    assert all(isinstance(row, BrokenRow) for row in broken)
    assert "--images" in broken[0].reason  # type: ignore[union-attr]
    assert len(content(list(read(path, tmp_path)))) == 4 * EDITS


def test_an_edit_without_its_original_is_a_broken_row_with_its_place(tmp_path: Path) -> None:
    source = write_rows(tmp_path, [row for row in hub_rows() if row["image_id"] != "o2"])
    with pytest.raises(DataError, match=r"data-00001-of-00003\.arrow row \d: its original 'o2' is in no row"):
        prepare("vismin_train", source)
    store = prepare("vismin_train", source, skip_broken=True)
    assert len(store) == 3 * EDITS
    assert len(store.card.skipped) == EDITS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"negatives": None}, "record 2: field 'negatives': expected a list of edits"),
        ({"caption": None}, "record 2 edit 1: field 'caption'"),
        ({"image_path": "../secret.jpg"}, "leaves the folder"),
        ({"image_path": "images/none.jpg"}, "'images/none.jpg' is not below"),
    ],
)
def test_a_broken_record_says_its_number(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = write_nested(tmp_path)
    records = json.loads(path.read_text())
    records[1] = {**records[1], **change}
    path.write_text(json.dumps(records))
    with pytest.raises(DataError, match=said):
        prepare("vismin_train", path)


def test_an_original_without_edits_makes_no_pair(tmp_path: Path) -> None:
    path = write_nested(tmp_path)
    records = json.loads(path.read_text())
    path.write_text(json.dumps([{**records[0], "negatives": []}, *records[1:]]))
    assert len(list(read(path))) == 3 * EDITS


def test_a_shard_that_is_cut_off_or_lacks_a_column_is_named(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a", hub_rows())
    shard = sorted(source.rglob("*.arrow"))[1]
    shard.write_bytes(shard.read_bytes()[:900])
    with pytest.raises(DataError, match=r"data-00001-of-00003\.arrow: is cut off or damaged"):
        list(read(source))
    lacking = [{name: value for name, value in row.items() if name != "source_image_id"} for row in hub_rows()]
    with pytest.raises(DataError, match="source_image_id is missing"):
        list(read(write_rows(tmp_path / "b", lacking)))
    with pytest.raises(UsageError, match=r"expected train\.json"):
        list(read(tmp_path / "nothing"))


def test_data_of_ones_own_take_a_layout_and_a_name_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.data.official_layouts import write_spec_release

    folder = write_spec_release(tmp_path / "mine", 2, subsets=("count", "existence"))
    assert main(["prepare", "my_sets", "--like", "spec", "--source", str(folder)]) == 0
    assert "my_sets: 4 sets" in capsys.readouterr().out
    assert main(["prepare", "my_pairs", "--like", "vismin_train", "--source", str(write_nested(tmp_path / "n"))]) == 0
    store = Store.open("my_pairs")
    assert (store.card.name, store.card.licence, store.card.verified, store.card.quirks) == ("my_pairs", "", False, [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vismin", "--like", "spec", "--source", "."], "choose another name"),
        (["mine", "--like", "spec"], "expected --source PATH"),
        (["mine", "--like", "spec_mini", "--source", "."], "read from files"),
        (["mine", "--like", "speck", "--source", "."], "did you mean spec"),
        (["mine", "--source", "."], "no data set 'mine'"),
    ],
)
def test_a_layout_that_does_not_fit_is_one_line_with_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
