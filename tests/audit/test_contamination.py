from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minchange_eval.audit.collection import Collection, collect
from minchange_eval.audit.contamination import KINDS, STRONG, Contamination, contamination
from minchange_eval.audit.examples import Columns, Example, ExampleSource, Part, examples
from minchange_eval.core.errors import DataError, NotPreparedError, UsageError
from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.data.store import write_store
from tests.audit.pictures import encoded, picture

SHARED_VSR = Path(__file__).parents[2].parent / "shared" / "data" / "vsr_sample"
FULL_VSR = SHARED_VSR.parent / "visual-spatial-reasoning" / "data" / "splits"
LONG = "a weathered fisherman mends his torn orange net beside an upturned dinghy while two gulls squabble"


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))


def jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def compared(train: str, evaluation: str, **settings: Any) -> Contamination:
    return contamination(collect(examples(train)), collect(examples(evaluation)), **settings)


def counts(found: Contamination) -> dict[str, tuple[int, int]]:
    """Kind -> training rows, evaluation rows; what was not found is left out."""
    return {one.kind: (one.train_rows, one.evaluation_rows) for one in found.findings if one.evaluation_rows}


def of_examples(name: str, rows: Sequence[Example], *, own_ids: bool = True) -> Collection:
    return collect(ExampleSource(name, len(rows), own_ids, lambda: iter(rows)))


def save(image: Image.Image, path: Path, **options: int) -> str:
    image.save(path, **options)
    return path.name


def test_each_kind_is_found_where_it_is_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(8):
        picture(number).save(folder / f"{number}.png")
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    save(picture(2).resize((200, 150)), folder / "smaller.jpg", quality=80)
    train = jsonl(folder / "train.jsonl", [
        {"id": "t0", "image": "0.png", "caption": "an orange tram climbs past shuttered bakeries in heavy rain"},
        {"id": "t1", "image": "copy.png", "caption": "first words"},
        {"id": "t2", "image": "smaller.jpg", "caption": "second words"},
        {"id": "shared", "image": "3.png", "caption": "third words"},
        {"id": "t4", "image": "https://host/folder/away.jpg?size=2", "caption": LONG},
        {"id": "t5", "image": "5.png", "caption": f"In short: {LONG}, as ever"},
    ])  # fmt: skip
    evaluation = jsonl(folder / "eval.jsonl", [
        {"id": "e0", "image": "6.png", "caption": "nothing of it"},
        {"id": "e1", "image": "1.png", "caption": "First words!"},
        {"id": "e2", "image": "2.png", "caption": "other words"},
        {"id": "shared", "image": "7.png", "caption": "words of its own"},
        {"id": "e4", "image": "away.jpg", "caption": "seen from afar"},
        {"id": "e5", "image": "4.png", "caption": LONG},
    ])  # fmt: skip
    found = compared(train, evaluation)
    assert counts(found) == {
        "pair": (1, 1), "image": (1, 1), "near_image": (1, 1), "image_name": (1, 1), "id": (1, 1),
        "caption": (1, 1), "ngrams": (1, 1), "common_caption": (1, 1),
    }  # fmt: skip
    assert found.clean_train_ids == ("t0",)
    assert found.clean_evaluation_ids == ("e0",)
    assert found.finding("near_image").examples[0].train_id == "t2"
    assert found.finding("pair").examples[0].evaluation_id == "e1"
    assert counts(compared(train, evaluation, radius=0, kinds=("id",)))["id"] == (1, 1)


def test_a_set_against_itself_is_contaminated_throughout(tmp_path: Path) -> None:
    rows = [Example(str(n), (Part((encoded(picture(n, (64, 48))),), (f"{LONG} {n}",)),)) for n in range(6)]
    found = contamination(of_examples("a", rows), of_examples("b", rows))
    assert (found.contaminated_train, found.contaminated_evaluation) == (6, 6)
    assert found.clean_train_ids == found.clean_evaluation_ids == ()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_pairs_are_those_of_the_slow_definition_by_name_and_caption(data: st.DataObject) -> None:
    rows = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("pqr")), min_size=1, max_size=12)
    train, evaluation = data.draw(rows), data.draw(rows)

    def of(name: str, side: list[tuple[str, str]]) -> Collection:
        return of_examples(
            name, [Example(f"{name}{n}", (Part((image,), (text,)),)) for n, (image, text) in enumerate(side)]
        )

    found = contamination(of("t", train), of("e", evaluation), kinds=("pair",))
    assert found.clean_train_ids == tuple(f"t{n}" for n, row in enumerate(train) if row not in evaluation)
    assert found.clean_evaluation_ids == tuple(f"e{n}" for n, row in enumerate(evaluation) if row not in train)
    assert found.finding("pair").matches == len(set(train) & set(evaluation))


def test_a_set_s_caption_belongs_to_its_own_image_only(tmp_path: Path) -> None:
    images = [encoded(picture(n, (64, 48))) for n in range(4)]
    write_store("eval_set", [CandidateSet("s/0", "x", (images[0], images[1]), ("a red cup", "a blue cup"))])
    right = Example("right", (Part((images[0],), ("a red cup",)),))
    crossed = Example("crossed", (Part((images[0],), ("a blue cup",)),))
    evaluation = collect(examples("eval_set"))
    assert contamination(of_examples("t", [right]), evaluation).finding("pair").train_rows == 1
    assert contamination(of_examples("t", [crossed]), evaluation).finding("pair").train_rows == 0


def test_file_names_count_only_where_a_picture_is_not_at_hand_and_the_name_stands_for_one_image() -> None:
    def row(number: int, image: Any) -> Example:
        return Example(f"r{number}", (Part((image,), ()),))

    at_hand = BytesImage("folder/7.png", encoded(picture(1)).data)
    other = BytesImage("7.png", encoded(picture(2)).data)

    def named(first: list[Any], second: list[Any]) -> int:
        sides = [of_examples(name, [row(n, image) for n, image in enumerate(side)])
                 for name, side in (("a", first), ("b", second))]  # fmt: skip
        return contamination(*sides).finding("image_name").matches

    assert named([at_hand], [other]) == 0
    assert named([at_hand], ["http://host/7.png"]) == 1
    assert named(["C:\\data\\7.png"], ["x/7.png"]) == 1
    assert named(["a/7.png", "b/7.png"], ["7.png"]) == 0


def test_row_numbers_are_no_ids(tmp_path: Path) -> None:
    train = jsonl(tmp_path / "a.jsonl", [{"caption": "one red cup on a shelf"}, {"caption": "two"}])
    evaluation = jsonl(tmp_path / "b.jsonl", [{"caption": "three"}])
    found = compared(train, evaluation)
    assert counts(found) == {}
    assert found.clean_train_ids == ("0", "1")


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_counts_the_rows_holds_no_ids(tmp_path: Path, first: int) -> None:
    train = jsonl(tmp_path / "train.jsonl", [{"id": first + n, "caption": f"said {n}"} for n in range(5)])
    evaluation = jsonl(tmp_path / "eval.jsonl", [{"id": n, "caption": f"other {n}"} for n in (3, 1, 2)])
    assert counts(compared(train, evaluation)) == {}
    assert "id" in counts(compared(evaluation, evaluation))


@pytest.mark.parametrize("nothing", ["", {"bytes": None, "path": None}, {"bytes": None, "path": ""}, [""], None])
def test_rows_without_an_image_share_none(tmp_path: Path, nothing: object) -> None:
    sides = [
        jsonl(tmp_path / f"{side}.jsonl", [{"image": nothing, "caption": f"{side} {n}"} for n in range(3)])
        for side in ("train", "eval")
    ]
    found = compared(*sides)
    assert (found.train.images, found.evaluation.images, counts(found)) == (0, 0, {})


def test_images_are_compared_though_the_first_row_has_none(tmp_path: Path) -> None:
    rows = [{"caption": "text alone"}, {"caption": "said of it", "image": "coco/000000151497.jpg"}]
    train = jsonl(tmp_path / "train.jsonl", rows)
    evaluation = jsonl(tmp_path / "eval.jsonl", [{"caption": "else", "image": "000000151497.jpg"}])
    assert counts(compared(train, evaluation)) == {"image_name": (1, 1)}


@pytest.mark.parametrize("page", [b"", b"<html>404 Not Found</html>"])
def test_failed_downloads_are_not_one_picture(tmp_path: Path, page: bytes) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.jpg").write_bytes(page)
    train = jsonl(tmp_path / "train.jsonl", [{"image": "a.jpg"}, {"image": "b.jpg"}])
    evaluation = jsonl(tmp_path / "eval.jsonl", [{"image": "c.jpg"}, {"image": "d.jpg"}])
    found = compared(train, evaluation)
    assert counts(found) == {}
    assert found.evaluation.unreadable


def test_an_id_that_a_contaminated_row_has_is_not_clean() -> None:
    def row(example_id: str, caption: str) -> Example:
        return Example(example_id, (Part(("a.jpg",), (caption,)),))

    train = [row("twice", "one"), row("twice", "two"), row("once", "three")]
    found = contamination(of_examples("t", train), of_examples("e", [row("e", "two")]), kinds=("pair",))
    assert (found.contaminated_train, found.clean_train_ids) == (1, ("once",))


def test_blank_images_are_no_near_images_of_one_another(tmp_path: Path) -> None:
    def blank(level: int, size: int) -> Example:
        return Example(f"{level}", (Part((encoded(Image.new("RGB", (size, size), (level,) * 3)),), ()),))

    found = contamination(of_examples("a", [blank(255, 30)]), of_examples("b", [blank(254, 40)]))
    assert counts(found) == {}
    assert found.train.images_hashed == 0


def test_a_corrupt_image_in_the_middle_is_counted_and_the_rest_compared(tmp_path: Path) -> None:
    names = [save(picture(number), tmp_path / f"{number}.png") for number in range(3)]
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    rows = [{"id": name, "image": name} for name in names]
    found = compared(jsonl(tmp_path / "a.jsonl", rows), jsonl(tmp_path / "b.jsonl", rows[2:]))
    assert counts(found) == {"image": (1, 1), "id": (1, 1)}
    assert len(found.train.unreadable) == 1
    assert "1.png" in found.train.unreadable[0]


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "parquet", "jsonl"])
def test_every_form_of_file_says_the_same(tmp_path: Path, form: str) -> None:
    rows = [
        {"id": f"r{n}", "image": save(picture(n, (64, 48)), tmp_path / f"{n}.png"), "caption": caption}
        for n, caption in enumerate(['Une "tasse", rouge', "一只猫在床下。", "قطة تحت السرير", "🐈 of\ttwo\nlines"])
    ]
    path = tmp_path / f"rows.{form}"
    if form in {"csv", "tsv"}:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="," if form == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    elif form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        with_bytes = [
            {**row, "image": {"bytes": (tmp_path / str(row["image"])).read_bytes(), "path": row["image"]}}
            for row in rows
        ]
        pq.write_table(pa.Table.from_pylist(with_bytes), path)
    elif form == "json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        jsonl(path, rows)
    found = compared(str(path), jsonl(tmp_path / "again.jsonl", rows))
    assert counts(found)["pair"] == counts(found)["image"] == counts(found)["id"] == (4, 4)


def test_columns_may_have_other_names_and_hold_lists(tmp_path: Path) -> None:
    rows = [{"key": 7, "pictures": ["a.jpg", "b.jpg"], "text": ["the left cup", "the right cup"], "more": None}]
    columns = Columns.asked_for("pictures", "text,more", "key")
    [row] = examples(jsonl(tmp_path / "rows.jsonl", rows), columns).read()
    assert row == Example("7", (Part(("a.jpg",), ("the left cup",)), Part(("b.jpg",), ("the right cup",))))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.jsonl", "", "at least one row"),
        ("none.csv", "id,caption\n", "at least one row"),
        ("other.jsonl", '{"question": "?"}\n', "'image' or 'caption'"),
        ("torn.jsonl", '{"caption": "a"}\n{"capt', "line 2"),
        ("list.jsonl", '{"caption": "a"}\n[1]\n', "row 2"),
        ("number.jsonl", '{"caption": "a"}\n{"caption": 3}\n', "row 2"),
        ("ids.jsonl", '{"id": 1, "caption": "a"}\n{"caption": "b"}\n', "row 2"),
        ("short.csv", "id,caption\n1,a\n2\n", "line 3"),
        ("latin.csv", "id,caption\n1,caf\udce9\n", "UTF-8"),
        ("no.parquet", "no parquet", "Parquet"),
        ("empty.parquet", "", "Parquet"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=said) as error:
        collect(examples(str(path)))
    assert "\n" not in str(error.value)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotPreparedError, match="minchange-eval prepare vismin"):
        examples("vismin")
    with pytest.raises(UsageError, match="no such file"):
        examples(str(tmp_path / "gone.jsonl"))
    (tmp_path / "rows.txt").write_text("a")
    with pytest.raises(UsageError, match="expected a file of"):
        examples(str(tmp_path / "rows.txt"))
    with pytest.raises(DataError, match="has no column 'jpg'; it has 'id', 'caption'"):
        examples(jsonl(tmp_path / "r.jsonl", [{"id": 1, "caption": "a"}]), Columns.asked_for("jpg", None, None))


def test_one_row_on_either_side_is_enough() -> None:
    row = Example("a", (Part((), (LONG,)),))
    assert counts(contamination(of_examples("a", [row]), of_examples("b", [row]))) == {"id": (1, 1), "caption": (1, 1)}
    nothing = Example("b", (Part((), ()),))
    assert counts(contamination(of_examples("a", [nothing]), of_examples("b", [row]))) == {}


def test_a_file_name_that_leaves_the_folder_is_a_name_only(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    save(picture(1), tmp_path / "secret.png")
    rows = [{"image": name} for name in ("../secret.png", str(tmp_path / "secret.png"), "a\0b.png", "", "x" * 5000)]
    found = collect(examples(jsonl(tmp_path / "inside" / "rows.jsonl", rows)))
    assert all(image.hashed is None for image in found.images)


def test_a_kind_that_does_not_exist_is_refused() -> None:
    side = of_examples("a", [Example("a", (Part((), (LONG,)),))])
    with pytest.raises(ValueError, match="no kind 'names'"):
        contamination(side, side, kinds=("names",))
    assert set(STRONG) < set(KINDS)


def shared_by_hand(train: Path, evaluation: Path) -> tuple[set[int], set[int]]:
    """Rows whose file name and caption, as written, stand on the other side too."""
    sides = [
        [(row["image"], row["caption"]) for row in map(json.loads, path.read_text("utf-8").splitlines())]
        for path in (train, evaluation)
    ]
    return tuple({n for n, row in enumerate(side) if row in set(sides[1 - k])} for k, side in enumerate(sides))  # type: ignore[return-value]


@pytest.mark.skipif(not SHARED_VSR.exists(), reason="the sample of VSR lies beside some checkouts only")
def test_pairs_that_real_splits_of_vsr_share_are_found_and_no_others(tmp_path: Path) -> None:
    random_split, zeroshot = SHARED_VSR / "random_test.jsonl", SHARED_VSR / "zeroshot_test.jsonl"
    mixed = tmp_path / "mixed.jsonl"  # a training split that has a part of the test's rows, as VSR's have
    lines = random_split.read_text("utf-8").splitlines() + zeroshot.read_text("utf-8").splitlines()[5:33]
    mixed.write_text("\n".join(lines), encoding="utf-8")
    for train in (random_split, mixed):
        found = compared(str(train), str(zeroshot), kinds=("pair",))
        of_train, of_test = shared_by_hand(train, zeroshot)
        assert found.clean_train_ids == tuple(str(n) for n in range(found.train.rows) if n not in of_train)
        assert found.clean_evaluation_ids == tuple(str(n) for n in range(40) if n not in of_test)
    assert found.finding("pair").evaluation_rows == len(of_test) >= 28


@pytest.mark.skipif(not FULL_VSR.exists(), reason="VSR's full splits lie beside some checkouts only")
def test_random_train_has_830_of_the_1222_pairs_of_zeroshot_test() -> None:
    found = compared(str(FULL_VSR / "random" / "train.jsonl"), str(FULL_VSR / "zeroshot" / "test.jsonl"))
    assert (found.evaluation.rows, found.finding("pair").evaluation_rows) == (1222, 830)


def test_830_shared_pairs_are_found_at_the_size_of_vsr_s_splits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    things, places = [f"thing{n}" for n in range(60)], ["under", "on", "behind", "beside", "in front of"]

    def rows(first: int, n: int) -> list[dict[str, Any]]:
        return [
            {
                "image": f"{first + n * 7 % 5000:012d}.jpg",
                "caption": f"The {rng.choice(things)} is {rng.choice(places)} the {rng.choice(things)}.",
                "label": int(rng.integers(2)),
            }
            for n in range(n)
        ]

    train = rows(100_000, 7680)
    seen = {(row["image"], row["caption"]) for row in train}
    test = list({(row["image"], row["caption"]): row for row in train}.values())[:830]
    # the others have an image of training in another sentence, or a sentence of training about another image
    test += [row for row in rows(100_000, 700) if (row["image"], row["caption"]) not in seen][:196]
    test += [{**row, "image": f"{n}.jpg"} for n, row in enumerate(train[:196])]
    began = time.monotonic()
    found = compared(jsonl(tmp_path / "train.jsonl", train), jsonl(tmp_path / "test.jsonl", test))
    assert time.monotonic() - began < 30
    assert found.finding("pair").evaluation_rows == 830
    assert found.finding("caption").evaluation_rows == 0  # sentences of five words agree by chance
    assert found.finding("image_name").evaluation_rows == 1026
