from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import ChoiceQuestion
from minchange_eval.data.prepare import prepare
from tests.data.official_layouts import picture_bytes, write_vsr_release

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "vsr_sample"


def test_labels_become_true_and_false_and_votes_stay_texts(tmp_path: Path) -> None:
    items = list(prepare("vsr", write_vsr_release(tmp_path / "vsr")).items("zeroshot_test"))
    assert all(isinstance(item, ChoiceQuestion) for item in items)
    first, second = (item for item in items[:2] if isinstance(item, ChoiceQuestion))
    assert (first.options[first.answers[0]], second.options[second.answers[0]]) == ("false", "true")
    assert first.facts["vote_true_validator_id"] == "[3, 54]"
    assert first.question_id == "zeroshot_test/0"


@pytest.mark.skipif(not REAL.exists(), reason="the real rows are not beside the checkout")
def test_the_real_rows_are_read_with_images_from_a_folder_of_coco(tmp_path: Path) -> None:
    import json

    for file in REAL.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            path = tmp_path / "coco" / Path(row["image_link"]).parent.name / row["image"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture_bytes(row["image"]))
    store = prepare("vsr", REAL, images=tmp_path / "coco")
    assert store.card.counts == {"random_test": 40, "zeroshot_test": 40}


def test_a_missing_image_names_its_coco_folder(tmp_path: Path) -> None:
    folder = write_vsr_release(tmp_path / "vsr")
    (folder / "train2017" / f"{1:012d}.jpg").unlink()
    with pytest.raises(DataError, match=r"test.jsonl row 2: image '000000000001.jpg' is missing .* COCO's train2017"):
        prepare("vsr", folder)


def test_a_link_cannot_point_outside_the_folder_of_images(tmp_path: Path) -> None:
    folder = write_vsr_release(tmp_path / "vsr")
    (folder / "zeroshot" / "test.jsonl").unlink()
    path = folder / "random" / "test.jsonl"
    name = f"{1:012d}.jpg"
    (folder / "train2017" / name).rename(tmp_path / name)
    path.write_text(path.read_text().replace(f"train2017/{name}", f"../{name}"))
    with pytest.raises(DataError, match=rf"test.jsonl row 2: image '{name}' is missing"):
        prepare("vsr", folder)


def test_an_image_is_looked_for_in_the_folder_that_its_link_names(tmp_path: Path) -> None:
    folder = write_vsr_release(tmp_path / "vsr")
    path = folder / "random" / "test.jsonl"
    path.write_text(path.read_text().replace("/train2017/", "/val2017/"))
    (folder / "train2017").rename(folder / "val2017")
    assert prepare("vsr", folder).card.items == 8
    (folder / "val2017" / f"{1:012d}.jpg").unlink()
    with pytest.raises(DataError, match="COCO's val2017"):
        prepare("vsr", folder, force=True)


def test_a_label_out_of_range_and_a_line_that_is_no_json_are_named(tmp_path: Path) -> None:
    folder = write_vsr_release(tmp_path / "vsr")
    path = folder / "random" / "test.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"label": 1', '"label": 2', 1))
    with pytest.raises(DataError, match=r"test.jsonl row 2: field 'label': expected 0..1, got 2"):
        prepare("vsr", folder)
    path.write_text(text + "{half")
    with pytest.raises(DataError, match=r"test.jsonl line 5: is no JSON"):
        prepare("vsr", folder)


def test_an_unknown_split_is_reported(tmp_path: Path) -> None:
    folder = write_vsr_release(tmp_path / "vsr")
    (folder / "random" / "test.jsonl").rename(folder / "random" / "extra.jsonl")
    with pytest.raises(DataError, match=r"extra.jsonl: is none of the splits random_train"):
        prepare("vsr", folder)
    with pytest.raises(UsageError, match="expected jsonl splits"):
        prepare("vsr", folder / "train2017")
