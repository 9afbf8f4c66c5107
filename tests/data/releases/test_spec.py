from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import CandidateSet
from minchange_eval.core.queries import Direction, queries_of_set
from minchange_eval.data.prepare import prepare
from minchange_eval.data.release import BrokenRow
from minchange_eval.data.releases import spec
from tests.data.official_layouts import SPEC_K, write_spec_release, write_zip_of


def rows_of(folder: Path, subset: str, file: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / subset / file).read_text())
    return rows


def edit(folder: Path, subset: str, file: str, change: Any) -> None:
    rows = rows_of(folder, subset, file)
    change(rows)
    (folder / subset / file).write_text(json.dumps(rows))


def items_of(folder: Path) -> list[CandidateSet]:
    items = list(spec.read(folder))
    assert not [item for item in items if isinstance(item, BrokenRow)], items
    return [item for item in items if isinstance(item, CandidateSet)]


def broken(folder: Path) -> list[BrokenRow]:
    return [item for item in spec.read(folder) if isinstance(item, BrokenRow)]


def test_every_released_query_comes_back_with_its_candidates_in_order_and_its_label(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 3)
    for direction, file in ((Direction.TEXT_TO_IMAGE, spec.T2I_FILE), (Direction.IMAGE_TO_TEXT, spec.I2T_FILE)):
        ours, released = [], []
        for item in items_of(folder):
            for query in queries_of_set(item):
                if query.direction is direction:
                    names = tuple(image.name for image in query.images)
                    asked = (query.texts[0], names) if direction is Direction.TEXT_TO_IMAGE else (names[0], query.texts)
                    ours.append((item.subset, *asked, query.answers[0]))
        for subset in SPEC_K:
            released += [(subset, r["query"], tuple(r["keys"]), r["label"]) for r in rows_of(folder, subset, file)]
        assert sorted(ours) == sorted(released)


def test_sets_have_the_papers_k_and_both_wordings(tmp_path: Path) -> None:
    items = items_of(write_spec_release(tmp_path / "spec", 2))
    assert {item.subset: item.k for item in items} == SPEC_K
    assert all(item.captions != item.query_captions for item in items)
    assert [item.set_id for item in items][:3] == ["absolute_size/0", "absolute_size/1", "relative_size/0"]


def test_a_text_that_two_sets_share_does_not_join_them(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 8, subsets=("existence",))
    texts = [row["query"] for row in rows_of(folder, "existence", spec.T2I_FILE)]
    assert len(set(texts)) < len(texts)
    assert len(items_of(folder)) == 8


def test_a_caption_that_stands_twice_in_a_set_keeps_its_place(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 1, subsets=("absolute_size",))
    captions = sorted({key for row in rows_of(folder, "absolute_size", spec.I2T_FILE) for key in row["keys"]})

    def same(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["keys"] = [captions[0] if key == captions[1] else key for key in row["keys"]]

    edit(folder, "absolute_size", spec.I2T_FILE, same)
    item = items_of(folder)[0]
    released = {r["query"]: (tuple(r["keys"]), r["label"]) for r in rows_of(folder, "absolute_size", spec.I2T_FILE)}
    for query in queries_of_set(item)[:3]:
        assert (query.texts, query.answers[0]) == released[query.images[0].name]


def test_the_zip_and_its_unpacked_folder_are_the_same_data(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 2)
    archive = write_zip_of(folder, tmp_path / "data.zip")
    of_folder = prepare("spec", folder)
    of_zip = prepare("spec", archive, force=True)
    assert of_folder.card.fingerprint == of_zip.card.fingerprint
    assert of_zip.card.revision == "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
    assert not of_zip.card.verified
    assert of_folder.card.revision == ""


def test_stored_bytes_are_the_released_bytes(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 1, subsets=("count",))
    for item in prepare("spec", folder).items():
        for image in item.images:
            assert image.read() == (folder / "count" / image.name).read_bytes()
            assert image.sha256 == hashlib.sha256(image.read()).hexdigest()


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        (spec.T2I_FILE, lambda rows: rows[0].update(label=3), "expected 0..2, got 3"),
        (spec.T2I_FILE, lambda rows: rows[0].update(label=-1), "expected 0..2, got -1"),
        (spec.T2I_FILE, lambda rows: rows[0].update(label="1"), "expected a whole number, got a text"),
        (spec.T2I_FILE, lambda rows: rows[0].update(label=True), "expected a whole number, got true or false"),
        (spec.T2I_FILE, lambda rows: rows.pop(0), "expected one text-to-image query for each of 3 images"),
        (spec.T2I_FILE, lambda rows: rows[0]["keys"].pop(), "expected 3 keys, got 2"),
        (spec.T2I_FILE, lambda rows: rows.__setitem__(0, [1, 2]), "expected an object, got a list"),
        (spec.T2I_FILE, lambda rows: rows[0].pop("query"), "field 'query': expected a text, got nothing"),
        (spec.I2T_FILE, lambda rows: rows.pop(0), "has no image-to-text query"),
        (spec.I2T_FILE, lambda rows: rows.append(dict(rows[0])), "asked for a second time"),
        (spec.I2T_FILE, lambda rows: rows[0].update(query="images/other.jpg"), "is in no candidate set"),
        (spec.I2T_FILE, lambda rows: rows[0]["keys"].__setitem__(0, "a stranger"), "no image's caption"),
    ],
)
def test_what_cannot_be_made_k_by_k_is_reported_with_its_reason(
    tmp_path: Path, file: str, change: Any, reason: str
) -> None:
    folder = write_spec_release(tmp_path / "spec", 2, subsets=("absolute_size",))
    edit(folder, "absolute_size", file, change)
    found = broken(folder)
    assert any(reason in row.reason for row in found), found
    with pytest.raises(DataError, match="--skip-broken"):
        prepare("spec", folder)
    store = prepare("spec", folder, skip_broken=True)
    assert 1 <= len(store) < 3
    assert len(store.card.skipped) == len(found)
    assert any(reason in row.reason for row in store.card.skipped)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 1, subsets=("existence",))
    (folder / "existence" / "images" / "000_1.jpg").unlink()
    with pytest.raises(DataError, match=r"existence set 0 .*'images/000_1.jpg' is missing"):
        prepare("spec", folder)


def test_an_image_path_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 1, subsets=("existence",))
    (tmp_path / "secret.jpg").write_bytes(b"x")
    for file in (spec.T2I_FILE, spec.I2T_FILE):
        text = (folder / "existence" / file).read_text().replace("images/000_1.jpg", "../../secret.jpg")
        (folder / "existence" / file).write_text(text)
    with pytest.raises(DataError, match="leaves the folder"):
        prepare("spec", folder)


def test_an_unknown_subset_is_reported(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 1, subsets=("existence",))
    (folder / "existence").rename(folder / "colour")
    with pytest.raises(DataError, match="unknown subset 'colour'; SPEC has absolute_size"):
        prepare("spec", folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1}', "expected a JSON list of rows, got an object"),
        (b"[{]", "is no JSON"),
        (b'[{"query": "caf\xe9"}]', "expected UTF-8, got byte 0xe9 at 15"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_json_of_another_shape_is_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    folder = write_spec_release(tmp_path / "spec", 1, subsets=("existence",))
    (folder / "existence" / spec.T2I_FILE).write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        prepare("spec", folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", [spec.T2I_FILE, spec.I2T_FILE])
def test_a_subset_folder_that_lacks_either_list_is_named(tmp_path: Path, file: str) -> None:
    folder = write_spec_release(tmp_path / "spec", 1, subsets=("existence", "count"))
    (folder / "existence" / file).unlink()
    with pytest.raises(DataError, match=rf"existence/{file}: is missing"):
        prepare("spec", folder)


def test_the_folder_of_one_subset_as_source_asks_for_the_one_above(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 1, subsets=("existence",))
    with pytest.raises(UsageError, match="holds the lists of one subset; name the folder above it"):
        prepare("spec", folder / "existence")


def test_two_spellings_of_an_image_path_are_one_image(tmp_path: Path) -> None:
    folder = write_spec_release(tmp_path / "spec", 2, subsets=("existence",))
    as_released = prepare("spec", folder).card.fingerprint
    edit(folder, "existence", spec.I2T_FILE, lambda rows: rows[0].update(query="./" + rows[0]["query"]))
    edit(folder, "existence", spec.T2I_FILE, lambda rows: rows[0].update(keys=[f"./{key}" for key in rows[0]["keys"]]))
    assert prepare("spec", folder, force=True).card.fingerprint == as_released


def test_a_source_without_subsets_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"expected folders absolute_size, .* got none"):
        prepare("spec", tmp_path / "empty")
    with pytest.raises(UsageError, match="there is no such file or folder"):
        prepare("spec", tmp_path / "nowhere")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(UsageError, match="expected a folder or a zip file, got neither"):
        prepare("spec", tmp_path / "text.zip")
