from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from minchange_eval.cli.main import main
from minchange_eval.core.errors import DataError, MinchangeError, NotPreparedError, UsageError
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.data import known_fingerprints
from minchange_eval.data.parquet_layout import MANIFEST_FILE, Manifest, read_manifest
from minchange_eval.data.prepare import open_or_prepare, prepare
from minchange_eval.data.releases import find_release, generated
from minchange_eval.data.store import Store, write_store
from minchange_eval.data.store_card import SkippedRow, StoreCard, store_folder
from minchange_eval.hub.address import parse_address
from minchange_eval.hub.dataset import dataset_push, write_dataset_files
from tests.data.official_layouts import picture_bytes, write_spec_release

TO = parse_address("hub:ada/tiny")
SUBSETS = ("count", "left/right", "left:right", "Größe <b>")


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `$MINCHANGE_HOME` for every test."""
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sets(count: int = 12) -> Iterator[CandidateSet]:
    """Sets of 2 and 3 images, their subsets in turn."""
    for number in range(count):
        k = 2 + number % 2
        yield CandidateSet(
            set_id=f"s/{number}",
            subset=SUBSETS[number % 4],
            images=tuple(BytesImage(f"im/{number}_{i}.jpg", picture_bytes((number, i))) for i in range(k)),
            captions=tuple(f"caption {i} | `of` <b>{number}</b> \u202e\n@ada" for i in range(k)),
            query_captions=tuple(f"A query, {i}." for i in range(k)),
            image_to_text=tuple(tuple((i + j) % k for j in range(k)) for i in range(k)),
            facts={"objects": ["cat"], "number": number, "nested": {"z": None, "a": 1.5}, "Ä": "\u2028"},
        )


def questions(images: int = 2, count: int = 7) -> Iterator[ChoiceQuestion]:
    for number in range(count):
        pictures = tuple(BytesImage(f"{number}_{i}.png", picture_bytes((number, i), kind="PNG")) for i in range(images))
        options = ("A. a  ", "B.b", " C. c", "D")[: 2 + number % 3]
        answers = (0,) if number % 2 == 0 else (number % 2, 0)
        yield ChoiceQuestion(f"q{number}", "ab"[number % 2], pictures, "What? ", options, answers, {"votes": "[3]"})


def stored(name: str = "tiny", items: Iterator[Any] | None = None, **card: Any) -> Store:
    facts = {"licence": "MIT", "title": "Tiny", "source": "/home/ada/secret/data.zip", "revision": "sha256:1", **card}
    return write_store(name, items or sets(), card=StoreCard(name=name, **facts), force=True)


def written(folder: Path, name: str = "tiny", items: Iterator[Any] | None = None, **card: Any) -> tuple[Store, Path]:
    store = stored(name, items, **card)
    write_dataset_files(store, folder, TO)
    return store, folder


def same(one: Store, other: Store) -> bool:
    """Whether two stores hold the same items, names of images included."""
    from minchange_eval.data.fingerprint import item_texts

    def all_of(store: Store) -> list[Any]:
        return [
            (item_texts(item), [(image.name, image.sha256, image.read()) for image in item.images])
            for item in store.items()
        ]

    return all_of(one) == all_of(other)


@pytest.mark.parametrize("synthetic", [False, True], ids=["bytes", "pixels"])
@pytest.mark.parametrize("items", [sets, questions, lambda: questions(1)], ids=["sets", "questions", "one image"])
def test_what_is_published_comes_back_item_by_item_with_the_same_fingerprint(
    tmp_path: Path, items: Callable[[], Iterator[Any]], synthetic: bool
) -> None:
    store, folder = written(tmp_path / "out", items=items(), synthetic=synthetic)
    back = prepare("mine", folder)
    assert back.card.fingerprint == store.card.fingerprint
    assert same(back, store)
    for fact in ("kind", "title", "licence", "synthetic", "subsets", "counts", "images", "image_bytes"):
        assert getattr(back.card, fact) == getattr(store.card, fact)
    assert (back.card.name, back.card.verified) == ("mine", False)
    again = prepare("tiny", folder, force=True)  # its own name
    assert same(again, back)


def test_many_small_files_are_the_same_data_as_one_of_each_subset(tmp_path: Path) -> None:
    store, _ = written(tmp_path / "one")
    many = write_dataset_files(store, tmp_path / "many", TO, file_bytes=1)
    assert len(many.files) == 4  # a row group is never cut
    from minchange_eval.hub import parquet_files

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_files, "GROUP_ROWS", 1)
        cut = write_dataset_files(store, tmp_path / "cut", TO, file_bytes=1)
    assert [file.rows for file in cut.files] == [1] * 12
    assert same(prepare("cut", tmp_path / "cut"), store)


def test_the_same_store_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    store, first = written(tmp_path / "first")
    write_dataset_files(store, tmp_path / "second", TO)
    assert content(first) == content(tmp_path / "second")
    assert content(first).keys() == {
        "README.md",
        MANIFEST_FILE,
        "data/count/00000.parquet",
        "data/left_right/00000.parquet",
        "data/left_right_2/00000.parquet",
        "data/Gr__e__b_/00000.parquet",
    }


def test_datasets_opens_a_published_folder_and_decodes_both_kinds_of_column(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    store, folder = written(tmp_path / "several")
    _, single = written(tmp_path / "single", "single", questions(1))
    cache = str(tmp_path / "cache")
    assert datasets.get_dataset_config_names(str(folder)) == ["count", "left_right", "left_right_2", "Gr__e__b_"]
    rows = datasets.load_dataset(str(folder), "left_right", split="train", cache_dir=cache)
    want = [item for item in store.items("left/right") if isinstance(item, CandidateSet)]
    assert rows["id"][:] == [item.set_id for item in want]
    assert [row["captions"] for row in rows] == [list(item.captions) for item in want]
    with Image.open(io.BytesIO(want[0].images[1].read())) as expected:
        assert rows[0]["images"][1].tobytes() == expected.tobytes()
    row = datasets.load_dataset(str(single), split="train", cache_dir=cache)[0]
    assert isinstance(row["image"], Image.Image)
    assert (row["question"], row["answers"]) == ("What? ", [0])


def test_datasets_opens_a_folder_whose_subsets_have_odd_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = ("count", "default", "Default", "", "../..", "__x", "on", "1", "train")
    pictures = (BytesImage("a.png", picture_bytes(1, kind="PNG")), BytesImage("b.png", picture_bytes(2, kind="PNG")))
    items = [CandidateSet(f"s{number}", name, pictures, ("a", "b")) for number, name in enumerate(names)]
    store, folder = written(tmp_path / "out", items=iter(items))
    configurations = datasets.get_dataset_config_names(str(folder))
    for item, name in zip(items, configurations, strict=True):
        rows = datasets.load_dataset(str(folder), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert (rows["id"][:], rows["subset"][:]) == ([item.set_id], [item.subset])
    assert datasets.get_dataset_default_config_name(str(folder)) == "default"
    assert same(prepare("mine", folder), store)


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGB", "JPEG"), ("RGB", "WEBP"), ("RGBA", "WEBP"), ("P", "PNG"), ("L", "PNG"), ("RGBA", "PNG")]
)
def test_every_kind_of_picture_comes_back_byte_for_byte(tmp_path: Path, mode: str, kind: str) -> None:
    pictures = []
    for seed in (1, 2):
        file = io.BytesIO()
        Image.open(io.BytesIO(picture_bytes(seed, kind="PNG"))).convert(mode).save(file, kind)
        pictures.append(BytesImage(f"{seed}.{kind.lower()}", file.getvalue()))
    nested = {"a": [1, {"b": None, "c": [True, 1.5, "\u00e4"]}]}
    items = [CandidateSet("s", "count", tuple(pictures), ("a", "b" * 1_000_000), facts=nested)]
    store, folder = written(tmp_path / "out", items=iter(items))
    back = prepare("mine", folder)
    assert same(back, store)
    assert [image.read() for image in back.item(0).images] == [image.data for image in pictures]


def test_a_missing_shard_is_said_and_nothing_is_half_prepared(tmp_path: Path) -> None:
    _, folder = written(tmp_path / "out")
    (folder / "data/count/00000.parquet").unlink()
    with pytest.raises(DataError, match=r"data/count/00000\.parquet: is missing"):
        prepare("mine", folder)
    assert_not_there("mine")


def assert_not_there(name: str) -> None:
    with pytest.raises(NotPreparedError):
        Store.open(name)
    assert not store_folder(name).exists()


@pytest.mark.parametrize("where", [40, -40, "cut"])
def test_a_shard_that_is_not_what_was_published_is_refused(tmp_path: Path, where: int | str) -> None:
    _, folder = written(tmp_path / "out")
    path = folder / "data/count/00000.parquet"
    data = bytearray(path.read_bytes())
    if isinstance(where, int):
        data[where] ^= 1
    path.write_bytes(data[:-1] if where == "cut" else data)
    with pytest.raises(DataError, match=r"count/00000\.parquet: is not what was published \(expected .* get it again"):
        prepare("mine", folder)
    assert_not_there("mine")


def test_a_file_of_another_push_is_not_mixed_in(tmp_path: Path) -> None:
    _, folder = written(tmp_path / "out")
    left = folder / "data/count/00001.parquet"
    left.write_bytes((folder / "data/count/00000.parquet").read_bytes())
    with pytest.raises(DataError, match=r"00001\.parquet: is no part of tiny \(1 such files\)"):
        prepare("mine", folder)


def rewritten(folder: Path, change: Callable[[list[dict[str, Any]]], None], subset: str = "count") -> None:
    """Change the rows of a subset's file, and let the manifest agree with the file again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / f"data/{subset}/00000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path, use_dictionary=False)
    edit(folder, lambda manifest: _agree(manifest, path, len(rows)))


def _agree(manifest: dict[str, Any], path: Path, rows: int) -> None:
    (file,) = [file for file in manifest["files"] if path.as_posix().endswith(file["path"])]
    data = path.read_bytes()
    file.update(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), rows=rows)


def repacked(folder: Path, change: Callable[[Any], Any], **writing: Any) -> None:
    """Change the table of a subset's file, or how it is written, and let the manifest agree with the file again."""
    import pyarrow.parquet as pq

    path = folder / "data/count/00000.parquet"
    table = change(pq.read_table(path))
    pq.write_table(table, path, **{"use_dictionary": False, **writing})
    edit(folder, lambda manifest: _agree(manifest, path, len(table)))


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
    change(manifest)
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def _caption(rows: list[dict[str, Any]]) -> None:
    rows[0]["captions"][0] = "changed"


def _image(rows: list[dict[str, Any]]) -> None:
    rows[0]["images"][0]["bytes"] = picture_bytes("another")


def _image_and_digest(rows: list[dict[str, Any]]) -> None:
    _image(rows)
    rows[0]["image_sha256"][0] = hashlib.sha256(picture_bytes("another")).hexdigest()


def _twice(rows: list[dict[str, Any]]) -> None:
    rows.append(rows[-1])


def _lost(rows: list[dict[str, Any]]) -> None:
    rows.pop()


def _null(rows: list[dict[str, Any]]) -> None:
    rows[1]["captions"][1] = None


def _no_permutation(rows: list[dict[str, Any]]) -> None:
    rows[0]["image_to_text"][0] = [0, 0]


def _moved(rows: list[dict[str, Any]]) -> None:
    rows[0]["position"], rows[1]["position"] = rows[1]["position"], rows[0]["position"]


def _facts(text: str) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[0].update(facts=text)


def _bomb(rows: list[dict[str, Any]]) -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    rows[0]["images"][0]["bytes"] = file.getvalue()
    rows[0]["image_sha256"][0] = hashlib.sha256(file.getvalue()).hexdigest()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_caption, "expected fingerprint .*, got"),
        (_image, r"image im/0_0\.jpg is not what was published \(its SHA-256 differs\)"),
        (_image_and_digest, "expected fingerprint .*, got"),
        (_twice, "missing or stand twice"),
        (_lost, "missing or stand twice"),
        (_null, r"00000\.parquet row 1: is damaged \(a text is null\)"),
        (_no_permutation, r"00000\.parquet row 0: is damaged"),
        (_moved, "row 0: expected position 0, got 4"),
        (_facts("5"), r"row 0: is damaged \(expected an object, got the number 5\)"),
        (_facts("[" * 100_000), "row 0: is damaged"),
        (_facts('{"half": "\\ud800"}'), "row 0: is damaged .*half a character"),
        (_bomb, "would unpack to more than .* refused as a bomb; get the data set again"),
    ],
)
def test_a_change_that_the_manifest_covers_up_is_found_all_the_same(
    tmp_path: Path, change: Callable[[list[dict[str, Any]]], None], reason: str
) -> None:
    store, folder = written(tmp_path / "out")
    rewritten(folder, change)
    with pytest.raises(DataError, match=reason):
        prepare("mine", folder)
    assert_not_there("mine")
    with pytest.raises(DataError, match=reason):
        prepare("tiny", folder, force=True)
    assert same(Store.open("tiny"), store)  # what was there stays


def _column(name: str, values: list[Any]) -> Callable[[Any], Any]:
    import pyarrow as pa

    return lambda table: table.set_column(table.schema.get_field_index(name), name, pa.array(values))


@pytest.mark.parametrize(
    "change",
    [
        _column("position", ["0", "4", "8"]),
        _column("id", [1, 2, 3]),
        _column("captions", [[1, 2]] * 3),
        _column("captions", ["ab"] * 3),
        _column("images", [[{"bytes": b"x", "path": 3}]] * 3),
        lambda table: table.drop_columns(["position"]),
        lambda table: table.append_column("more", table.column("id")),
    ],
)
def test_columns_that_are_not_those_of_the_layout_are_refused(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    _, folder = written(tmp_path / "out")
    repacked(folder, change)
    with pytest.raises(DataError, match=r"00000\.parquet: expected the columns position, id, subset, .* get it again"):
        prepare("mine", folder)
    assert_not_there("mine")


def _long_facts(table: Any) -> Any:
    rows = [{**row, "facts": "x" * 1_000_000} for row in table.to_pylist()] * 10
    return table.from_pylist(rows, schema=table.schema)


def _long_list(table: Any) -> Any:
    rows = [{**row, "captions": [None] * 1_000_000} for row in table.to_pylist()]
    return table.from_pylist(rows, schema=table.schema)


@pytest.mark.parametrize(
    ("change", "writing"),
    [
        (_long_facts, {"use_dictionary": True}),
        (_long_facts, {"use_dictionary": False, "column_encoding": {"facts": "DELTA_BYTE_ARRAY"}}),
        (_long_facts, {"compression": "zstd"}),
        (_long_list, {}),
    ],
)
def test_files_that_unpack_to_far_more_than_they_are_are_refused_unread(
    tmp_path: Path, change: Callable[[Any], Any], writing: dict[str, Any]
) -> None:
    _, folder = written(tmp_path / "out")
    repacked(folder, change, **writing)
    with pytest.raises(DataError, match=r"00000\.parquet: .*, refused as a bomb"):
        prepare("mine", folder)


def test_a_damaged_page_that_the_manifest_covers_up_is_one_line(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    _, folder = written(tmp_path / "out")
    path = folder / "data/count/00000.parquet"
    whole, columns = path.read_bytes(), pq.read_metadata(path).row_group(0)
    for number in range(columns.num_columns):
        start = columns.column(number).data_page_offset
        path.write_bytes(whole[:start] + b"\xff" * 12 + whole[start + 12 :])
        edit(folder, lambda manifest: _agree(manifest, path, 3))
        with pytest.raises(DataError, match=r"00000\.parquet: cannot be read"):
            prepare("mine", folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda manifest: manifest.update(fingerprint="0" * 64), "expected fingerprint 000000000000, got"),
        (lambda manifest: manifest.update(schema_version=2), r"layout version 2, this one reads up to 1"),
        (lambda manifest: manifest["files"][0].update(path="data/../../x/00000.parquet"), r"files\.0\.path"),
        (lambda manifest: manifest["files"][0].update(path="/etc/00000.parquet"), r"files\.0\.path"),
        (lambda manifest: manifest["files"].clear(), "files"),
        (lambda manifest: manifest["files"].append(manifest["files"][0]), "missing or stand twice"),
        (lambda manifest: manifest.update(schema_version="2"), "schema_version"),
        (lambda manifest: manifest.update(title="\ud800"), "cannot be read"),
        (lambda manifest: manifest.update(title="x" * 30_000_000), "cannot be read"),
        (lambda manifest: manifest.update(expected_items=-3), "expected_items"),
        (lambda manifest: manifest.pop("kind"), "kind"),
        (lambda manifest: manifest.update(kind="questions"), "expected the columns"),
        (lambda manifest: manifest.update(one_image=True), "expected the columns"),
    ],
)
def test_a_manifest_that_is_not_true_is_one_line_of_bad_data(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    _, folder = written(tmp_path / "out")
    edit(folder, change)
    with pytest.raises(DataError, match=reason) as caught:
        prepare("mine", folder)
    assert "\n" not in str(caught.value)
    assert_not_there("mine")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_a_manifest_that_is_none_is_one_line_of_bad_data(tmp_path: Path, content: bytes) -> None:
    _, folder = written(tmp_path / "out")
    (folder / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(DataError, match=r"minchange\.json: "):
        prepare("mine", folder)


def test_flags_that_would_leave_something_out_do_not_go_with_published_data(tmp_path: Path) -> None:
    _, folder = written(tmp_path / "out")
    for more in ({"skip_broken": True}, {"images": tmp_path}):
        with pytest.raises(UsageError, match="whole or refused"):
            prepare("mine", folder, **more)


def test_nobody_becomes_spec_silently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    official = find_release("spec").revision
    _, folder = written(tmp_path / "out", "spec", revision=official, verified=True, title="SPEC")
    assert main(["prepare", "spec", "--source", str(folder), "--force"]) == 0
    assert "spec: NOT verified: its fingerprint is not known as that of spec" in capsys.readouterr().out
    card = Store.open("spec").card
    assert not card.verified
    assert card.revision == read_manifest(folder).digest != official  # what the report on published numbers trusts
    assert main(["list"]) == 0
    assert "not verified" in capsys.readouterr().out


def test_data_of_one_name_cannot_pose_as_another_release(tmp_path: Path) -> None:
    _, folder = written(tmp_path / "out")
    for name in ("spec", "spec_mini"):
        with pytest.raises(UsageError, match=f"holds tiny, which cannot pose as {name}"):
            prepare(name, folder)


def test_only_the_known_fingerprint_verifies_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, folder = written(tmp_path / "out", "vismin")
    for known, verified in ((store.card.fingerprint, True), ("0" * 64, False)):
        monkeypatch.setattr(known_fingerprints, "KNOWN_FINGERPRINTS", {("vismin", "1"): known})
        assert prepare("vismin", folder, force=True).card.verified is verified
    monkeypatch.setattr(known_fingerprints, "KNOWN_FINGERPRINTS", {("spec", "1"): store.card.fingerprint})
    assert not prepare("vismin", folder, force=True).card.verified


def test_of_a_verified_copy_nobody_else_says_what_its_licence_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = written(tmp_path / "out", "vismin", licence="CC0-1.0", title="Mine", paper="arXiv:1")
    monkeypatch.setattr(known_fingerprints, "KNOWN_FINGERPRINTS", {("vismin", "1"): store.card.fingerprint})
    card, release = prepare("vismin", folder, force=True).card, find_release("vismin")
    assert (card.licence, card.title, card.paper) == (release.licence, release.title, release.paper)


def test_what_is_said_of_subsets_is_read_off_the_items(tmp_path: Path) -> None:
    store, folder = written(tmp_path / "out")
    edit(folder, lambda manifest: manifest.update(subsets={"x": -5, "count": 10**9}))
    assert prepare("mine", folder).card.subsets == store.card.subsets


def test_what_others_wrote_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder = written(tmp_path / "out", revision="\x1b[2J")
    edit(
        folder,
        lambda manifest: manifest.update(licence="\x1b[2J\nMIT", skipped=[{"where": "\x1b[2J", "reason": "\x1b[2J"}]),
    )
    assert main(["prepare", "mine", "--source", str(folder)]) == 0
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[2J\\nMIT" in out


def test_known_fingerprints_are_of_what_this_version_draws() -> None:
    drawn_here = {name for name, point in generated().items() if point.value.startswith("minchange_eval.")}
    assert {name for name, _ in known_fingerprints.KNOWN_FINGERPRINTS} >= drawn_here
    for name, revision in known_fingerprints.KNOWN_FINGERPRINTS:
        assert find_release(name).revision == revision, "prepare it anew, and write down its fingerprint"


def test_published_drawn_data_is_used_and_never_drawn_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, folder = written(tmp_path / "out", "spec_mini", synthetic=True, source="", revision="seed 7, version 1")
    prepare("spec_mini", folder, force=True)
    with caplog.at_level(logging.WARNING):
        used = open_or_prepare("spec_mini")
    assert used.card.fingerprint == store.card.fingerprint
    assert f"spec_mini is what {folder} calls so; it is not verified to be spec_mini" in caplog.text


def test_rows_that_were_left_out_stay_counted(tmp_path: Path) -> None:
    store = write_store(
        "tiny", sets(), card=StoreCard(name="tiny", licence="MIT"), skipped=[SkippedRow(where="7", reason="x")]
    )
    write_dataset_files(store, tmp_path / "out", TO)
    assert prepare("mine", tmp_path / "out").card.skipped == store.card.skipped


def test_no_folder_of_the_users_machine_is_published(tmp_path: Path) -> None:
    for source in ("/home/ada/secret/data.zip", "/home/ada/secret with images of lab/mmvp@1"):
        store = stored(source=source)
        push = dataset_push(store, tmp_path / source.replace("/", "_"), TO)
        everything = b"".join(
            content.read_bytes() if isinstance(content, Path) else content for content in push.content.values()
        )
        assert b"/home" not in everything + push.card.encode()
    assert b"secret with images of lab/mmvp@1" in everything


def test_no_folder_of_the_users_machine_stands_in_what_is_said_of_broken_rows(tmp_path: Path) -> None:
    reasons = ["image 'a/b.jpg' is missing in /home/ada/My pictures/coco; name it", "/home/ada/x.arrow: is cut off"]
    skipped = [SkippedRow(where="row 7", reason=reason) for reason in reasons]
    store = write_store("tiny", sets(), card=StoreCard(name="tiny", licence="MIT"), skipped=skipped)
    push = dataset_push(store, tmp_path / "out", TO)
    for text in (push.card, (tmp_path / "out" / MANIFEST_FILE).read_text()):
        assert "/home" not in text
        assert "ada/My" not in text
        assert "image 'a/b.jpg' is missing in" in text
        assert "x.arrow: is cut off" in text


def test_where_it_comes_from_is_kept_over_two_pushes(tmp_path: Path) -> None:
    _, folder = written(tmp_path / "first", source="https://example.org/spec", revision="sha256:1")
    back = prepare("mine", folder)
    assert back.card.origin == "https://example.org/spec at sha256:1"


def test_a_damaged_store_is_not_published(tmp_path: Path) -> None:
    store = stored()
    path = store.folder / store.card.files[0].name
    data = path.read_bytes()
    place = data.index(picture_bytes((5, 1))) + 200
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(DataError, match=r"im/5_1\.jpg is damaged"):
        write_dataset_files(Store.open("tiny"), tmp_path / "out", TO)
    assert not (tmp_path / "out" / MANIFEST_FILE).exists()


def test_a_store_whose_card_says_another_fingerprint_is_not_published(tmp_path: Path) -> None:
    store = stored()
    store.card.fingerprint = "1" * 64
    with pytest.raises(MinchangeError):
        write_dataset_files(store, tmp_path / "out", TO)


def test_a_folder_with_other_things_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="expected an empty folder"):
        written(tmp_path / "out")


def test_data_without_a_licence_is_published_only_when_somebody_has_looked(tmp_path: Path) -> None:
    store = stored("med", questions(), licence="not stated by the authors")
    with pytest.raises(UsageError, match=r"med states no licence; .* --licence-reviewed"):
        write_dataset_files(store, tmp_path / "out", TO)
    assert not (tmp_path / "out").exists()
    write_dataset_files(store, tmp_path / "out", TO, licence_reviewed=True)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: unknown" in card
    assert "says to have reviewed that it may be published, although med states no licence" in card


@pytest.mark.parametrize(
    ("licence", "hub", "reason"),
    [
        ("cc-by-sa-4.0", "cc-by-sa-4.0", ""),
        ("MIT AND CC-BY-4.0", "cc-by-4.0", ""),
        ("for my friends", "other", "mine states 'for my friends', which is no licence that is known here"),
        (None, "unknown", "mine states no licence"),
    ],
)
def test_data_of_ones_own_are_published_under_the_licence_that_was_stated_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], licence: str | None, hub: str, reason: str
) -> None:
    folder = write_spec_release(tmp_path / "mine", 1, subsets=("count",))
    stated = ["--licence", licence] if licence is not None else []
    assert main(["prepare", "mine", "--like", "spec", "--source", str(folder), *stated]) == 0
    assert (f"{reason}: `push` will ask for --licence-reviewed" in capsys.readouterr().out) is bool(reason)
    store = Store.open("mine")
    assert store.card.licence == (licence or "")
    write_dataset_files(store, tmp_path / "out", TO, licence_reviewed=bool(reason))
    assert f"\nlicense: {hub}\n" in (tmp_path / "out" / "README.md").read_text()
    assert prepare("copy", tmp_path / "out").card.licence == (licence or "")  # and so has what is made of the copy


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--like", "spec", "--licence", "CC-BY-SA-4.0; images: CC-BY-NC-4.0"], "cannot be published together"),
        (["--licence", "MIT"], "its release says; leave out --licence"),
    ],
)
def test_a_licence_that_cannot_be_is_one_line_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    name = "mine" if "--like" in more else "spec"
    assert main(["prepare", name, "--source", str(write_spec_release(tmp_path / "mine", 1)), *more]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert_not_there(name)


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store = stored()
    made = write_dataset_files(store, tmp_path / "out", TO)
    assert read_manifest(tmp_path / "out") == made
    assert isinstance(made, Manifest)
    assert (made.items, made.fingerprint) == (12, store.card.fingerprint)
    assert made.digest == read_manifest(tmp_path / "out").digest
