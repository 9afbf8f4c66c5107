from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.errors import DataError, NotPreparedError, UsageError
from minchange_eval.core.items import ChoiceQuestion
from minchange_eval.data.prepare import open_or_prepare, prepare
from minchange_eval.data.releases import med
from tests.data.official_layouts import write_med_real_release, write_med_release

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "med_sample"


def edit(path: Path, change: Any) -> None:
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


def questions(name: str, source: Path) -> list[ChoiceQuestion]:
    return [item for item in prepare(name, source).items() if isinstance(item, ChoiceQuestion)]


@pytest.mark.skipif(not REAL.exists(), reason="the 44 real pairs are not beside the checkout")
def test_the_real_pairs_are_prepared_byte_for_byte() -> None:
    store = prepare("med", REAL)
    assert len(store) == 44
    assert store.card.counts == dict.fromkeys(store.card.counts, 4)
    assert len(store.card.counts) == 11
    rows = json.loads((REAL / "MED_bench.json").read_text())
    for item, row in zip(store.items(), rows, strict=True):
        assert isinstance(item, ChoiceQuestion)
        assert list(item.options) == row["options"]
        assert "ABCD"[item.answers[0]] == row["answer"]
        assert [image.name for image in item.images] == [row["image_name"], row["edited_image_name"]]
        assert item.images[1].read() == (REAL / row["edited_image_name"]).read_bytes()


@pytest.mark.skipif(not REAL.exists(), reason="the real rows are not beside the checkout")
def test_the_real_rows_of_med_real_find_images_by_their_number(tmp_path: Path) -> None:
    images = write_med_real_release(tmp_path / "mmvp", 150) / "MMVP Images"
    store = prepare("med_real", REAL, images=images)
    rows = json.loads((REAL / "MED_real_set.json").read_text())
    assert len(store) == len(rows) == 8
    for item, row in zip(store.items(), rows, strict=True):
        assert item.images[0].read() == (images / Path(row["image_name"]).name).read_bytes()


@pytest.mark.parametrize("inside", ["", "benchmark", "benchmark/MED_bench.json"])
def test_the_clone_its_folder_and_its_file_are_the_same_data(tmp_path: Path, inside: str) -> None:
    folder = write_med_release(tmp_path / "clone")
    assert len(questions("med", folder / inside)) == 11


def test_options_stay_as_released_with_their_stray_blanks(tmp_path: Path) -> None:
    folder = write_med_release(tmp_path / "clone")
    rows = json.loads((folder / "benchmark" / "MED_bench.json").read_text())
    assert [list(item.options) for item in questions("med", folder)] == [row["options"] for row in rows]


def test_the_list_may_stand_under_results_and_names_may_lack_their_folder(tmp_path: Path) -> None:
    folder = write_med_release(tmp_path / "clone")
    path = folder / "benchmark" / "MED_bench.json"
    rows = [{**row, "image_name": Path(row["image_name"]).name} for row in json.loads(path.read_text())]
    path.write_text(json.dumps({"processed_count": 11, "results": rows}))
    assert len(questions("med", folder)) == 11


def test_a_clone_says_which_commit_it_is_which_does_not_verify_its_files(tmp_path: Path) -> None:
    folder = write_med_release(tmp_path / "clone")
    (folder / ".git" / "refs" / "heads").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / ".git" / "packed-refs").write_text("# pack\n" + "2b4fa61" + "0" * 33 + " refs/heads/main\n")
    card = prepare("med", folder).card
    assert not card.verified
    assert card.revision == "2b4fa61" + "0" * 33


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[4].update(answer="E"), "expected one of A, B, C, D, got 'E'"),
        (lambda rows: rows[4].update(answer=2), "field 'answer': expected a text, got the number 2"),
        (lambda rows: rows[4].update(options="A"), "field 'options': expected a list of texts, got a text"),
        (lambda rows: rows[4].update(image_name="images/gone.jpg"), "image 'images/gone.jpg' is missing"),
        (lambda rows: rows[4].update(image_name="../../etc/passwd"), "leaves the folder"),
        (lambda rows: rows[4].update(image_name="/etc/passwd"), "leaves the folder"),
        (lambda rows: rows[4].update(image_name="x" * 300), "cannot be looked up (File name too long)"),
        (lambda rows: rows[4].update(type="Colour"), "unknown type 'Colour'"),
    ],
)
def test_a_broken_row_stops_with_its_number_and_reason(tmp_path: Path, change: Any, reason: str) -> None:
    folder = write_med_release(tmp_path / "clone")
    edit(folder / "benchmark" / "MED_bench.json", change)
    with pytest.raises(DataError, match=r"med MED_bench.json row 5: .*--skip-broken") as caught:
        prepare("med", folder)
    assert reason in str(caught.value)
    assert len(prepare("med", folder, skip_broken=True)) == 10


@pytest.mark.parametrize("option", ["C.  ", " (C) ", "E.", ""])
def test_an_option_that_is_only_its_letter_is_empty(tmp_path: Path, option: str) -> None:
    folder = write_med_release(tmp_path / "clone")
    edit(folder / "benchmark" / "MED_bench.json", lambda rows: rows[0]["options"].__setitem__(2, option))
    with pytest.raises(DataError, match=r"row 1 \(med/0\): options\[2\] is empty"):
        prepare("med", folder)


def test_med_without_a_source_says_where_it_is() -> None:
    with pytest.raises(UsageError, match="med needs --source PATH; not on the Hub: git clone"):
        prepare("med")
    with pytest.raises(NotPreparedError, match="minchange-eval prepare med --source PATH"):
        open_or_prepare("med")


def test_a_source_without_the_json_names_the_repository(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected MED_bench.json"):
        prepare("med", tmp_path)


def test_med_real_takes_images_from_beside_its_rows(tmp_path: Path) -> None:
    folder = write_med_real_release(tmp_path / "real")
    items = questions("med_real", folder)
    assert [item.answers for item in items] == [(3,)] * 3
    assert items[1].images[1].read() == (folder / "MMVP Images" / "4.jpg").read_bytes()
    assert med.has_mmvp_images(folder)
