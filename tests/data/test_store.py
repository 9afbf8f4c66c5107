from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minchange_eval.core.errors import DataError, NotPreparedError, UsageError
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion, ImageSource, Item
from minchange_eval.data import arrow_files
from minchange_eval.data.store import Store, StoreCard, write_store
from tests.data.official_layouts import picture_bytes


def candidate_sets(count: int, seed: int = 0) -> Iterator[CandidateSet]:
    for number in range(count):
        yield CandidateSet(
            set_id=f"s/{number}",
            subset="ab"[number % 2],
            images=tuple(BytesImage(f"{number}_{i}.jpg", picture_bytes((seed, number, i))) for i in range(2)),
            captions=("one", "two"),
            query_captions=("One.", "Two."),
            image_to_text=((1, 0), (0, 1)),
            facts={"objects": ["cat"], "number": number},
        )


def plain(item: Item) -> Item:
    """The item with its images in memory, to compare by value."""
    import dataclasses

    return dataclasses.replace(item, images=tuple(BytesImage(image.name, image.read()) for image in item.images))


def test_items_come_back_as_they_were() -> None:
    store = write_store("tiny", candidate_sets(5))
    assert [plain(item) for item in store.items()] == list(candidate_sets(5))
    assert [plain(item) for item in Store.open("tiny").items("b")] == list(candidate_sets(5))[1::2]
    assert (len(store), store.subsets, store.card.counts) == (5, ["a", "b"], {"a": 3, "b": 2})


def test_a_question_comes_back_with_its_stray_blanks() -> None:
    question = ChoiceQuestion(
        "q", "Object", (BytesImage("x", picture_bytes(1)),), "What? ", ("A. a  ", "B.b"), (0, 1), {"votes": "[3]"}
    )
    assert [plain(item) for item in write_store("q", [question]).items()] == [question]


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(texts, texts, texts, st.dictionaries(texts, st.integers() | texts)), min_size=1, max_size=5))
def test_any_text_and_fact_survives(rows: list[tuple[str, str, str, dict[str, int | str]]]) -> None:
    items = [
        CandidateSet(str(number), subset, (BytesImage("x", b"1"), BytesImage("", b"")), (one, two), facts=facts)
        for number, (subset, one, two, facts) in enumerate(rows)
    ]
    assert [plain(item) for item in write_store("any", items, force=True).items()] == items


def test_items_are_found_across_batches_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_files, "BATCH_ROWS", 3)
    monkeypatch.setattr(arrow_files, "FILE_BYTES", 10_000)
    store = write_store("split", candidate_sets(40))
    assert len(store.card.files) > 2
    assert [plain(item) for item in store.items()] == list(candidate_sets(40))
    assert [item.set_id for item in store.items("a")[-2:] if isinstance(item, CandidateSet)] == ["s/36", "s/38"]


def test_datasets_opens_the_files_where_they_are_and_decodes_the_images() -> None:
    datasets = pytest.importorskip("datasets")
    store = write_store("tiny", candidate_sets(3))
    path = str(store.folder / store.card.files[0].name)
    data = datasets.Dataset.from_file(path)
    assert data.cache_files == [{"filename": path}]
    assert data.num_rows == 3
    assert [picture.size for picture in data[1]["images"]] == [(16, 16)] * 2
    assert data[1]["captions"] == ["one", "two"]
    assert json.loads(data[1]["facts"])["number"] == 1


def test_listing_items_touches_no_image_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    store = write_store("tiny", candidate_sets(4))

    def forbidden(*_: object) -> bytes:
        raise AssertionError("an image was read")

    monkeypatch.setattr(arrow_files.MappedFile, "image_bytes", forbidden)
    assert len([item.images[0].sha256 for item in store.items()]) == 4


def read_in_new_process(image: ImageSource) -> subprocess.CompletedProcess[bytes]:
    script = "import pickle, sys; sys.stdout.buffer.write(pickle.load(sys.stdin.buffer).read())"
    return subprocess.run([sys.executable, "-c", script], input=pickle.dumps(image), capture_output=True, timeout=60)


def test_an_image_is_small_and_is_read_in_a_spawned_process() -> None:
    image = write_store("tiny", candidate_sets(3)).items()[2].images[1]
    assert len(pickle.dumps(image)) < 1000
    assert read_in_new_process(image).stdout == image.read()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12 and later warn of fork in a threaded process
def test_an_image_is_read_in_a_forked_process_that_inherits_the_map() -> None:
    image = write_store("tiny", candidate_sets(3)).items()[2].images[1]
    whole = image.read()
    child = os.fork()
    if child == 0:
        os._exit(0 if image.read() == whole else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_equal_content_has_an_equal_fingerprint_and_any_change_another() -> None:
    def fingerprint(items: list[CandidateSet]) -> str:
        return write_store("print", items, force=True).card.fingerprint

    import dataclasses

    base = list(candidate_sets(2))
    renamed = [dataclasses.replace(i, images=tuple(BytesImage("n", m.read()) for m in i.images)) for i in base]
    assert fingerprint(base) == fingerprint(base) == fingerprint(renamed)
    other_text = [dataclasses.replace(base[0], captions=("one", "2")), base[1]]
    other_order = [dataclasses.replace(base[0], image_to_text=((0, 1), (0, 1))), base[1]]
    other_pixel = [dataclasses.replace(base[0], images=(base[0].images[1], base[0].images[0])), base[1]]
    prints = {fingerprint(items) for items in (base, other_text, other_order, other_pixel, base[:1], base[::-1])}
    assert len(prints) == 6


def test_generated_data_are_fingerprinted_by_pixels_not_by_compression() -> None:
    import io

    from PIL import Image

    def fingerprint(level: int, *, synthetic: bool) -> str:
        picture = Image.frombytes("RGB", (8, 8), bytes(range(192)))
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=level)
        item = CandidateSet("s", "a", (BytesImage("x", file.getvalue()),) * 2, ("one", "two"))
        card = StoreCard(name="drawn", synthetic=synthetic)
        return write_store("drawn", [item], card=card, force=True).card.fingerprint

    assert fingerprint(0, synthetic=True) == fingerprint(9, synthetic=True)
    assert fingerprint(0, synthetic=False) != fingerprint(9, synthetic=False)


def test_what_is_prepared_is_kept_unless_forced() -> None:
    first = write_store("tiny", candidate_sets(2))
    assert write_store("tiny", candidate_sets(3)).card == first.card
    assert len(write_store("tiny", candidate_sets(3), force=True)) == 3
    assert len(list(first.folder.iterdir())) == 2  # the old files are gone


def test_a_store_replaced_during_a_run_is_noticed_not_mixed() -> None:
    store = write_store("tiny", candidate_sets(4))
    read_before, unread = store.items()[0].images[0], store.items()[1]
    kept = read_before.read()
    write_store("tiny", candidate_sets(4, seed=1), force=True)
    assert read_before.read() == kept  # this process still maps the old file
    with pytest.raises(DataError, match=r"was replaced during the run .* start the run again"):
        store.check_unchanged()
    assert b"was replaced during the run" in read_in_new_process(unread.images[0]).stderr


def test_a_store_that_is_not_there_names_the_command() -> None:
    with pytest.raises(NotPreparedError, match="run: minchange-eval prepare nothing"):
        Store.open("nothing")
    for name in ("../x", "", ".x", "a/b"):
        with pytest.raises(UsageError, match="data set name"):
            Store.open(name)


def test_an_unknown_subset_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="tiny: no subset 'c'; it has a, b"):
        write_store("tiny", candidate_sets(2)).items("c")


def test_a_newer_store_is_refused_in_one_line_and_can_be_replaced() -> None:
    folder = write_store("tiny", candidate_sets(2)).folder
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "schema_version": 99, "files": "of another shape"}))
    with pytest.raises(DataError, match=r"written by a newer minchange-eval .store version 99") as caught:
        Store.open("tiny")
    assert "\n" not in str(caught.value)
    assert len(write_store("tiny", candidate_sets(3), force=True)) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"name": 3}'])
def test_a_damaged_card_is_one_line_and_can_be_replaced(content: bytes) -> None:
    folder = write_store("tiny", candidate_sets(2)).folder
    (folder / "card.json").write_bytes(content)
    with pytest.raises(DataError, match="prepare tiny --force") as caught:
        Store.open("tiny")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError):
        write_store("tiny", candidate_sets(3))
    assert len(write_store("tiny", candidate_sets(3), force=True)) == 3


def test_a_cut_off_or_missing_file_is_noticed_on_opening() -> None:
    store = write_store("tiny", candidate_sets(2))
    path = store.folder / store.card.files[0].name
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"is cut off: expected .* prepare tiny --force"):
        Store.open("tiny")
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        Store.open("tiny")


def test_damaged_bytes_never_become_another_picture() -> None:
    store = write_store("tiny", candidate_sets(1))
    path = store.folder / store.card.files[0].name
    whole = bytearray(path.read_bytes())
    place = bytes(whole).index(picture_bytes((0, 0, 1)))
    whole[place + 100] ^= 1
    path.write_bytes(whole)
    images = Store.open("tiny").items()[0].images
    assert images[0].read() == picture_bytes((0, 0, 0))
    with pytest.raises(DataError, match=r"image 0_1.jpg is damaged"):
        images[1].read()


def test_garbage_of_the_right_size_is_one_line() -> None:
    store = write_store("tiny", candidate_sets(1))
    path = store.folder / store.card.files[0].name
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DataError, match="is cut off or damaged") as caught:
        Store.open("tiny").items()[0]
    assert "\n" not in str(caught.value)


def test_a_copied_store_is_read_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write_store("tiny", candidate_sets(2))
    shutil.copytree(store.folder, tmp_path / "other" / "store" / "tiny")
    shutil.rmtree(store.folder)
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "other"))
    assert [plain(item) for item in Store.open("tiny").items()] == list(candidate_sets(2))


def test_an_error_in_the_source_leaves_nothing_or_the_old_store() -> None:
    def failing() -> Iterator[CandidateSet]:
        yield from candidate_sets(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store("tiny", failing())
    with pytest.raises(NotPreparedError):
        Store.open("tiny")
    old = write_store("tiny", candidate_sets(3))
    assert not list(old.folder.parent.glob("*/.building"))
    with pytest.raises(KeyboardInterrupt):
        write_store("tiny", failing(), force=True)
    assert Store.open("tiny").card == old.card
    assert len(list(old.folder.iterdir())) == 2


def unreadable(card: Path, how: str) -> None:
    if how == "newer":
        card.write_text(json.dumps({**json.loads(card.read_text()), "schema_version": 99}))
    elif how == "damaged":
        card.write_text("{")
    else:  # as of a disk that answers with an error
        card.unlink()
        card.mkdir()


@pytest.mark.parametrize("how", ["newer", "damaged", "an error"])
def test_a_store_whose_card_cannot_be_read_stays_until_its_replacement_is_whole(how: str) -> None:
    store = write_store("tiny", candidate_sets(2))
    unreadable(store.folder / "card.json", how)
    files = sorted(store.folder.rglob("*"))

    def failing() -> Iterator[CandidateSet]:
        assert set(files) < set(store.folder.rglob("*"))
        yield from candidate_sets(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store("tiny", failing(), force=True)
    assert sorted(store.folder.rglob("*")) == files


def test_a_link_to_a_folder_on_another_disk_is_written_through_and_nothing_else_in_it_is_touched(
    tmp_path: Path, store_home: Path
) -> None:
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("ours")
    (store_home / "store").mkdir(parents=True)
    (store_home / "store" / "tiny").symlink_to(elsewhere)
    for count in (2, 3):
        assert len(write_store("tiny", candidate_sets(count), force=True)) == count
    assert (store_home / "store" / "tiny").is_symlink()
    assert len(list(elsewhere.iterdir())) == 3
    assert (elsewhere / "thesis.txt").read_text() == "ours"


def test_no_items_and_items_of_both_kinds_are_refused() -> None:
    with pytest.raises(DataError, match="expected at least one item"):
        write_store("none", [])
    question = ChoiceQuestion("q", "a", (BytesImage("x", b"1"),), "?", ("a", "b"), (0,))
    with pytest.raises(DataError, match="expected only sets, got a ChoiceQuestion"):
        write_store("both", [*candidate_sets(1), question])
