"""What is trained on: groups of the store, and plain pairs in every form."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest

from minchange_eval.core.errors import DataError, NotPreparedError, UsageError
from minchange_eval.core.images import open_image
from minchange_eval.data.store import write_store
from minchange_eval.trainers.clip.shards import ShardPairs, shards_of
from minchange_eval.trainers.clip.sources import PairData, SetData, open_pairs
from tests.data.official_layouts import picture_bytes
from tests.trainers.clip.pair_files import (
    candidate_set,
    pairs,
    write_csv,
    write_parquet,
    write_sets,
    write_tar,
)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at import
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def test_groups_of_several_stores_are_counted_one_after_the_other() -> None:
    write_sets("one", 3)
    write_sets("two", 2, k=2, first=10)
    data = SetData.open(["one", "two"])
    assert data.sizes.tolist() == [3, 3, 3, 2, 2]
    assert data.subsets == ["existence", "count", "existence", "existence", "count"]
    assert data.captions[data.place(4, 1)] == "thing 11 in state 1"
    assert data.where(4, 1) == data.where_of(data.place(4, 1)) == "two set two/11 member 1"
    assert data.images[data.place(1, 2)].read() == picture_bytes(("set", 1, 2))


def test_sets_that_share_their_original_are_one_group_with_the_original_once() -> None:
    sets = [
        candidate_set("a", ["original", "edit a"], ["a dog", "a cat"], "object"),
        candidate_set("b", ["other", "edit b"], ["a cup", "a bowl"], "object"),
        candidate_set("c", ["original", "edit c"], ["a dog", "a red dog"], "attribute"),
        candidate_set("d", ["original", "edit d"], ["said otherwise", "a dog left"], "relation"),
    ]
    write_store("edits", sets)
    data = SetData.open(["edits"])
    assert data.sizes.tolist() == [3, 2, 2]
    assert data.captions[:3] == ["a dog", "a cat", "a red dog"]
    assert data.set_ids[:3] == ["a", "a", "c"]
    assert data.subsets[0] == "object"


def test_a_set_without_negatives_is_named() -> None:
    copies = candidate_set("copies/7", ["same", "same"], ["a dog", "a dog"])
    write_store("bad", [candidate_set("good/1", [1, 2], ["a", "b"]), copies])
    with pytest.raises(DataError, match="bad set copies/7: has no negatives"):
        SetData.open(["bad"])


def test_an_empty_store_is_named(tmp_path: Path) -> None:
    card = write_sets("emptied").folder / "card.json"
    card.write_text(card.read_text().replace('"count": 2', '"count": 0').replace('"existence": 2', '"existence": 0'))
    with pytest.raises(DataError, match="holds no candidate set"):
        SetData.open(["emptied"])


def test_names_that_are_no_candidate_sets_are_refused() -> None:
    from minchange_eval.core.items import BytesImage, ChoiceQuestion

    image = BytesImage("x.jpg", picture_bytes(1))
    write_store("asked", [ChoiceQuestion("q", "s", (image,), "What?", ("A", "B"), (0,))])
    write_sets("one")
    for names, said in ((["asked"], "choice questions"), (["one", "one"], "named twice"), (["none"], "no data set")):
        with pytest.raises(UsageError, match=said):
            SetData.open(names)
    with pytest.raises(UsageError, match="choice questions"):
        open_pairs("store:asked")


def test_one_subset_only_is_fine_and_one_caption_everywhere_is_not(tmp_path: Path) -> None:
    write_store("flat", [candidate_set(f"s{n}", [n, -n - 1], ["a dog", "a dog"], "count") for n in range(3)])
    with pytest.raises(DataError, match="all 6 captions are 'a dog'"):
        SetData.open(["flat"])
    write_store("single", [candidate_set(f"s{n}", [n, -n - 1], ["a dog", f"dog {n}"], "count") for n in range(3)])
    assert set(SetData.open(["single"]).subsets) == {"count"}
    with pytest.raises(DataError, match="there is nothing to tell apart"):
        open_pairs(str(write_csv(tmp_path / "p.csv", [(name, data, "a dog") for name, data, _ in pairs()])))


def check(found: PairData, first: int = 0) -> None:
    expected = pairs(first + 6)[first:]
    assert len(found) == 6
    assert list(found.captions()) == [caption for _, _, caption in expected]
    for number, (name, picture, caption) in enumerate(expected):
        assert found.caption(number) == caption
        assert found.image(number).read() == picture
        assert name in found.image(number).name
    assert len(found.fingerprint) == 64


def test_every_form_of_plain_pairs_gives_the_same_pairs(tmp_path: Path) -> None:
    six = pairs(6)
    check(open_pairs(str(write_csv(tmp_path / "a.csv", six))))
    check(open_pairs(str(write_csv(tmp_path / "b.tsv", six, ("image", "caption")))))
    write_tar(tmp_path / "s-00.tar", six[:4])
    write_tar(tmp_path / "s-01.tar", six[4:])
    check(open_pairs(str(tmp_path / "s-{00..01}.tar")))
    (tmp_path / "shards").mkdir()
    write_tar(tmp_path / "shards/x.tar", six, [("000009.pkl", b"never opened"), ("readme.md", b"")][:0])
    check(open_pairs(str(tmp_path / "shards")))
    write_parquet(tmp_path / "hub/data/train-00000-of-00001.parquet", six)
    check(open_pairs(str(tmp_path / "hub/data")))
    check(open_pairs(f"hub:{tmp_path / 'hub'}#train"))
    open_image(open_pairs(str(tmp_path / "shards/x.tar")).image(3))


def test_a_store_gives_one_member_of_each_set_and_each_kind_of_member(tmp_path: Path) -> None:
    write_sets("one", 6, k=3)
    found = open_pairs("store:one")
    assert [caption[-1] for caption in found.captions()] == ["0", "1", "2", "0", "1", "2"]
    assert found.where(4) == "store:one set one/4 member 1"
    assert found.image(4).read() == picture_bytes(("set", 4, 1))


def test_open_clips_csv_with_tabs_and_absolute_paths_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    lines = ["filepath\ttitle"]
    for name, picture, caption in pairs():
        (tmp_path / "x" / name).write_bytes(picture)
        lines.append(f"{tmp_path / 'x' / name}\t{caption}")
    (tmp_path / "p.csv").write_text("\n".join(lines))
    check(open_pairs(str(tmp_path / "p.csv")))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["filepath,title", "a.jpg,one", "b.jpg"], "line 3: expected 2 fields, got 1"),
        (["filepath,title", "a.jpg,one", "b.jpg,"], "line 3: expected a caption in column 'title'"),
        (["filepath,title", ",one"], "line 2: expected an image file"),
        (["filepath,title", 'a.jpg,"one'], "is no CSV"),
        (["path,words", "a.jpg,one"], "expected a column filepath or image"),
        (["filepath,title"], "expected image-caption pairs, got none"),
        ([], "expected a column"),
    ],
)
def test_a_broken_row_of_a_table_is_named_by_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    (tmp_path / "p.csv").write_text("\n".join(lines))
    with pytest.raises((DataError, UsageError), match=said):
        open_pairs(str(tmp_path / "p.csv"))


def test_a_shard_that_is_cut_off_or_damaged_is_named_and_never_read_as_a_shorter_one(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "w.tar", pairs(4)).read_bytes()
    with tarfile.open(tmp_path / "w.tar") as tar:
        third = tar.getmembers()[4].offset
    for number, data in enumerate((whole[: third + 100], whole[:third], whole[: third + 700])):
        path = tmp_path / f"cut{number}.tar"
        path.write_bytes(data)
        with pytest.raises(DataError, match=rf"cut{number}\.tar: .*(cut off|unexpected end)"):
            open_pairs(str(path))
    damaged = bytearray(whole)
    damaged[third : third + 100] = b"\xff" * 100
    (tmp_path / "bad.tar").write_bytes(damaged)
    with pytest.raises(DataError, match=r"bad\.tar: is damaged at byte"):
        open_pairs(str(tmp_path / "bad.tar"))
    (tmp_path / "no.tar").write_bytes(b"not an archive" * 100)
    with pytest.raises(DataError, match="is no tar archive"):
        open_pairs(str(tmp_path / "no.tar"))
    (tmp_path / "z.tar").write_bytes(gzip.compress(whole))
    with pytest.raises(UsageError, match="run gunzip"):
        open_pairs(str(tmp_path / "z.tar"))


def test_members_of_other_kinds_are_never_opened_and_a_sample_without_its_parts_is_named(tmp_path: Path) -> None:
    pickle_like = [("000001.pkl", b"\x80\x04cos\nsystem\n."), ("000001.jpg", picture_bytes(1)), ("000001.txt", b"a b")]
    found = open_pairs(str(write_tar(tmp_path / "p.tar", pairs(1), pickle_like)))
    assert list(found.captions()) == ["a photo of thing 0", "a b"]
    for number, (more, said) in enumerate(
        [
            ([("000009.jpg", b"x"), ("000009.json", b"{}")], "sample /000009: lacks a caption"),
            ([("000009.txt", b"x"), ("000009.pyd", b"")], r"lacks a picture .*its members are pyd"),
            ([("000009.txt", b" \n"), ("000009.jpg", b"x")], "its caption is empty"),
            ([("000009.txt", b"\xff"), ("000009.jpg", b"x")], "is no UTF-8"),
        ]
    ):
        with pytest.raises(DataError, match=said):
            open_pairs(str(write_tar(tmp_path / f"p{number}.tar", pairs(2), more)))


def test_a_link_in_a_shard_leads_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(picture_bytes(5))
    with tarfile.open(tmp_path / "l.tar", "w") as tar:
        link = tarfile.TarInfo("000000.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
        (tmp_path / "t.txt").write_text("a caption")
        tar.add(tmp_path / "t.txt", "000000.txt")
    with pytest.raises(DataError, match="lacks a picture"):
        open_pairs(str(tmp_path / "l.tar"))


def test_a_shard_that_changed_since_it_was_indexed_is_an_error(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "p.tar", pairs())
    found = ShardPairs("p", shards_of(str(path)))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match="has changed since it was indexed"):
        found.image(4).read()


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("nowhere.csv", UsageError, "there is no such file"),
        ("nowhere.tar", UsageError, "there is no such file"),
        ("n-{00..03}.tar", UsageError, "4 of 4 shards missing"),
        ("nowhere.parquet", UsageError, "there is no such file"),
        ("nowhere", UsageError, "expected .csv"),
        ("s-{0..999999999}.tar", UsageError, "more than 100,000 shards"),
        ("store:none", UsageError, "no data set 'none'"),
        ("hub:nobody/nothing", NotPreparedError, "the Hub cannot be reached"),
        ("hub:", UsageError, "expected hub:owner/name"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(address: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        open_pairs(address)
    assert "\n" not in str(caught.value)


def test_a_parquet_file_that_is_damaged_or_lacks_a_column_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "bad.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(DataError, match=r"bad\.parquet: is damaged"):
        open_pairs(str(tmp_path / "bad.parquet"))
    pq.write_table(pa.Table.from_pylist([{"picture": 1}]), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="expected a column image or jpg"):
        open_pairs(str(tmp_path / "c.parquet"))
    six = pairs()
    empty = write_parquet(tmp_path / "e.parquet", [*six[:5], (six[5][0], six[5][1], " ")])
    with pytest.raises(DataError, match="row 5: expected a caption in column 'caption'"):
        open_pairs(str(empty))
