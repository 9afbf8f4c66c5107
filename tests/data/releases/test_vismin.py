from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import CandidateSet
from minchange_eval.data.prepare import prepare
from minchange_eval.data.releases import vismin
from tests.data.official_layouts import vismin_rows, write_vismin_release


def items_of(source: Path) -> list[CandidateSet]:
    items = list(vismin.read(source))
    assert all(isinstance(item, CandidateSet) for item in items), items
    return [item for item in items if isinstance(item, CandidateSet)]


def write_parquet(folder: Path, rows: list[dict[str, object]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "test.parquet")
    return folder


def test_arrow_shards_and_parquet_are_the_same_data(tmp_path: Path) -> None:
    shards = prepare("vismin", write_vismin_release(tmp_path / "hub", 3))
    parquet = prepare("vismin", write_vismin_release(tmp_path / "parquet", 3, layout="parquet"), force=True)
    assert shards.card.fingerprint == parquet.card.fingerprint
    assert shards.card.counts == dict.fromkeys(vismin.SUBSETS, 3)


def test_a_folder_that_datasets_itself_saved_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = vismin_rows(2)
    features = datasets.Features(
        {
            name: datasets.Image() if name.startswith("image_") and len(name) == 7 else datasets.Value("string")
            for name in rows[0]
        }
    )
    data = datasets.DatasetDict({"test": datasets.Dataset.from_list(rows, features=features)})
    data.save_to_disk(str(tmp_path / "saved"))
    assert [item.captions for item in items_of(tmp_path / "saved")] == [(row["text_0"], row["text_1"]) for row in rows]
    assert items_of(tmp_path / "saved")[0].images[0].read() == rows[0]["image_0"]["bytes"]


def test_ids_that_restart_per_category_become_unique(tmp_path: Path) -> None:
    ids = [item.set_id for item in items_of(write_vismin_release(tmp_path / "hub", 2))]
    assert ids[:3] == ["object/0", "object/1", "attribute/0"]
    assert len(set(ids)) == len(ids)


def test_an_id_that_stands_twice_in_a_category_gets_its_row_number(tmp_path: Path) -> None:
    rows = [{**row, "id": "7"} for row in vismin_rows(2)]
    assert [item.set_id for item in items_of(write_parquet(tmp_path / "p", rows))][:2] == ["object/7", "object/7@row2"]


def test_the_same_row_twice_is_broken(tmp_path: Path) -> None:
    rows = [*vismin_rows(1), vismin_rows(1)[2]]
    with pytest.raises(DataError, match=r"vismin row 5 .*the same row stands twice \(id relation/0\)"):
        prepare("vismin", write_parquet(tmp_path / "p", rows))


def test_a_folder_with_both_formats_is_not_read_twice(tmp_path: Path) -> None:
    folder = write_vismin_release(tmp_path / "both", 1, layout="parquet")
    write_vismin_release(folder, 1)
    with pytest.raises(UsageError, match=r"holds .arrow and .parquet files; name the folder of one of them"):
        prepare("vismin", folder)
    assert len(prepare("vismin", folder / "data" / "test")) == 4


def test_only_the_split_test_is_read_and_latest_is_no_test(tmp_path: Path) -> None:
    folder = write_vismin_release(tmp_path / "hub", 1)
    write_vismin_release(folder / "latest", 1, seed=1)
    (folder / "latest" / "data" / "test").rename(folder / "latest" / "data" / "train")
    assert len(items_of(folder)) == 4


def test_a_missing_shard_is_named_and_not_a_smaller_benchmark(tmp_path: Path) -> None:
    folder = write_vismin_release(tmp_path / "hub", 3)
    for name in ("data-00001-of-00002.arrow", "data-00000-of-00002.arrow"):
        shard = folder / "data" / "test" / name
        data = shard.read_bytes()
        shard.unlink()
        with pytest.raises(DataError, match=rf"{name}: is missing, data-0000.-of-00002.arrow says that there are 2"):
            prepare("vismin", folder)
        shard.write_bytes(data)
    assert len(prepare("vismin", folder)) == 12


def test_both_spellings_of_the_question_columns_give_the_same_facts(tmp_path: Path) -> None:
    new = items_of(write_vismin_release(tmp_path / "new", 1))
    old = items_of(write_vismin_release(tmp_path / "old", 1, stale=True))
    assert [item.facts for item in new] == [item.facts for item in old]
    assert set(new[0].facts) == set(vismin.QUESTIONS)


def test_an_unknown_category_is_a_broken_row(tmp_path: Path) -> None:
    rows = vismin_rows(1)
    rows[1]["category"] = "colour"
    with pytest.raises(DataError, match=r"vismin row 2 .*unknown category 'colour'"):
        prepare("vismin", write_parquet(tmp_path / "p", rows))


def test_a_missing_image_is_a_broken_row(tmp_path: Path) -> None:
    rows = vismin_rows(1)
    rows[2]["image_1"] = {"bytes": None, "path": "gone.jpg"}
    with pytest.raises(DataError, match=r"row 3 image_1: file 'gone.jpg' is missing and the row holds no bytes"):
        prepare("vismin", write_parquet(tmp_path / "p", rows))


def test_a_hostile_row_cannot_name_a_file_outside_the_release(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(vismin_rows(1)[0]["image_0"]["bytes"])
    for number, path in enumerate((str(tmp_path / "secret.jpg"), "../secret.jpg")):
        rows = vismin_rows(1)
        rows[2]["image_1"] = {"bytes": None, "path": path}
        with pytest.raises(DataError, match="leaves the folder"):
            prepare("vismin", write_parquet(tmp_path / f"p{number}", rows))


def test_an_empty_caption_is_a_broken_row(tmp_path: Path) -> None:
    rows = vismin_rows(1)
    rows[3]["text_1"] = "  "
    folder = write_parquet(tmp_path / "p", rows)
    with pytest.raises(DataError, match=r"vismin row 4 \(counting/0\): captions\[1\] is empty; re-run .*--skip-broken"):
        prepare("vismin", folder)
    store = prepare("vismin", folder, skip_broken=True)
    assert [(row.where, row.reason) for row in store.card.skipped] == [("row 4 (counting/0)", "captions[1] is empty")]
    assert len(store) == 3


def test_a_shard_that_is_cut_off_is_named(tmp_path: Path) -> None:
    folder = write_vismin_release(tmp_path / "hub", 3)
    shard = folder / "data" / "test" / "data-00001-of-00002.arrow"
    shard.write_bytes(shard.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"data-00001-of-00002.arrow: is cut off or damaged"):
        prepare("vismin", folder)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "category"} for row in vismin_rows(1)]
    with pytest.raises(DataError, match="category is missing; got id"):
        prepare("vismin", write_parquet(tmp_path / "p", rows))


def test_a_folder_without_shards_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"expected .arrow or .parquet files"):
        prepare("vismin", tmp_path / "empty")
