from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from minchange_eval.core.errors import DataError, MinchangeError, NotPreparedError, UsageError
from minchange_eval.data import prepare as preparing
from minchange_eval.data import source_tree
from minchange_eval.data.prepare import prepare
from minchange_eval.data.release import Release
from minchange_eval.data.releases import spec, vismin
from minchange_eval.data.store import Store
from tests.data.official_layouts import write_med_release, write_spec_release, write_vismin_release, write_zip_of


def command(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "minchange_eval.cli.main", *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def broken_image(folder: Path, data: bytes) -> None:
    (folder / "benchmark" / "images" / "3_edit.jpg").write_bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"<html>404</html>", "begin b'<html>404</h'"),
        (b"\xff\xd8\xff\xe0", "image images/3_edit.jpg"),
    ],
)
def test_a_broken_image_stops_with_row_name_reason_and_what_to_do(tmp_path: Path, data: bytes, reason: str) -> None:
    folder = write_med_release(tmp_path / "clone")
    broken_image(folder, data)
    with pytest.raises(DataError, match=r"med row 4 \(med/3\): image images/3_edit.jpg: .* --skip-broken") as caught:
        prepare("med", folder)
    assert reason in str(caught.value)
    with pytest.raises(NotPreparedError):
        Store.open("med")
    store = prepare("med", folder, skip_broken=True)
    assert (len(store), [row.where for row in store.card.skipped]) == (10, ["row 4 (med/3)"])


def test_a_file_that_is_there_twice_is_prepared_twice_but_an_id_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from minchange_eval.core.items import BytesImage, ChoiceQuestion
    from tests.data.official_layouts import picture_bytes

    item = ChoiceQuestion("q", "a", (BytesImage("x", picture_bytes(0)),), "?", ("yes", "no"), (0,))
    release = Release("twice", "questions", "", "", {"a": 2}, lambda _: [item, item], synthetic=True)
    monkeypatch.setattr(preparing, "find_release", lambda name: release)
    with pytest.raises(DataError, match=r"twice row 2 \(q\): its id stands twice"):
        prepare("twice")


def unsafe_zip(path: Path, name: str, *, link: bool = False, data: bytes = b"x") -> Path:
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED
    if link:
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(member, data)
    return path


@pytest.mark.parametrize(
    ("name", "link", "data", "reason"),
    [
        ("../../evil.jpg", False, b"x", "its path leaves the folder"),
        ("a/../../evil.jpg", False, b"x", "its path leaves the folder"),
        ("/etc/evil.jpg", False, b"x", "its path is absolute"),
        ("C:/evil.jpg", False, b"x", "its path is absolute"),
        ("a\\..\\evil.jpg", False, b"x", "its path is absolute or not portable"),
        ("link.jpg", True, b"/etc/passwd", "it is a link"),
        ("bomb.jpg", False, bytes(2**24), r"to 16,777,216 bytes \(a bomb\)"),
    ],
)
def test_an_unsafe_zip_is_refused_and_nothing_is_unpacked(
    tmp_path: Path, name: str, link: bool, data: bytes, reason: str
) -> None:
    path = unsafe_zip(tmp_path / "data.zip", name, link=link, data=data)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=reason) as caught:
        source_tree.open_source(path)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_too_large_to_be_read_whole_is_refused_in_a_zip_and_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_spec_release(tmp_path / "spec", 1, subsets=("existence",))
    (folder / "existence" / spec.T2I_FILE).write_bytes(b"[" + b" " * 100_000 + b"]")
    archive = write_zip_of(folder, tmp_path / "data.zip")
    monkeypatch.setattr(source_tree, "MAX_FILE_BYTES", 99_999)
    for source in (folder, archive):
        with pytest.raises(DataError, match=r"text2image.json.? is refused") as caught:
            prepare("spec", source)
        assert "100,002 bytes, more than 99,999" in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_two_members_of_one_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as file:
        for data in ("[]", "[1]"):
            file.writestr("existence/text2image.json", data)
    with pytest.raises(DataError, match="2 members have that name"):
        source_tree.open_source(tmp_path / "data.zip")


def test_a_zip_of_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip_of(write_spec_release(tmp_path / "spec", 1), tmp_path / "data.zip")
    monkeypatch.setattr(source_tree, "MAX_MEMBERS", 5)
    with pytest.raises(DataError, match="refused, it unpacks to more than 5 files"):
        prepare("spec", archive)


def test_a_damaged_zip_is_one_line(tmp_path: Path) -> None:
    archive = write_zip_of(write_spec_release(tmp_path / "spec", 1), tmp_path / "data.zip")
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        place = file.getinfo("data/count/images/000_3.jpg").header_offset + 100
    data[place : place + 100] = bytes(100)
    archive.write_bytes(data)
    with pytest.raises(DataError, match="is damaged") as caught:
        prepare("spec", archive)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_nothing_and_says_where(tmp_path: Path, store_home: Path) -> None:
    folder = write_med_release(tmp_path / "clone", edge_px=256)
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "from minchange_eval.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "prepare", "med", "--source", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == MinchangeError.exit_code, done.stderr
    assert done.stderr.count("\n") == 1
    assert str(store_home / "store" / "med") in done.stderr
    assert "the disk is full" in done.stderr
    assert not (store_home / "store" / "med").exists()


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_med_release(tmp_path / "clone")
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", Path("/sys/none")):
        monkeypatch.setenv("MINCHANGE_HOME", str(home))
        with pytest.raises((UsageError, MinchangeError), match="set MINCHANGE_HOME to a folder") as caught:
            prepare("med", folder)
        assert caught.value.exit_code == 2


def test_two_processes_prepare_the_same_data_once(tmp_path: Path, store_home: Path) -> None:
    folder = write_med_release(tmp_path / "clone", per_type=10, edge_px=256)
    both = [command("prepare", "med", "--source", folder) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert len(Store.open("med")) == 110
    assert len(list((store_home / "store" / "med").iterdir())) == 2


def test_a_killed_prepare_leaves_no_half_store_and_the_next_one_cleans_up(tmp_path: Path, store_home: Path) -> None:
    folder = write_med_release(tmp_path / "clone", per_type=20, edge_px=512)
    for wait_s in (0.25, 0.4, 0.55, 0.7, 0.9):
        process = command("prepare", "med", "--source", folder, "--force")
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        if (store_home / "store" / "med" / "card.json").exists():
            assert len([item.images[0].read() for item in Store.open("med").items()]) == 220
    prepare("med", folder, force=True)
    assert len(list((store_home / "store" / "med").iterdir())) == 2


def test_an_interrupt_ends_with_130_and_leaves_nothing(tmp_path: Path, store_home: Path) -> None:
    folder = write_med_release(tmp_path / "clone", per_type=40, edge_px=512)
    process = command("prepare", "med", "--source", folder)
    while process.poll() is None and not (store_home / "store" / "med" / ".building").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in {130, 0}
    if process.returncode == 130:
        assert "interrupted" in errors
        assert "Traceback" not in errors
        assert not (store_home / "store" / "med").exists()


def test_offline_no_connection_is_tried_and_one_line_names_the_command(tmp_path: Path) -> None:
    done = command("prepare", "vismin", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path), HF_ENDPOINT="http://127.0.0.1:9")
    _, errors = done.communicate(timeout=60)
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE is set" in errors
    assert "minchange-eval prepare vismin --source PATH" in errors
    assert errors.count("\n") == 1


def test_the_card_says_what_it_was_prepared_from(tmp_path: Path) -> None:
    store = prepare("med", write_med_release(tmp_path / "clone"))
    card = json.loads((store.folder / "card.json").read_text())
    assert (card["source"], card["licence"], card["schema_version"]) == (str(tmp_path / "clone"), store.card.licence, 1)
    assert card["expected_items"] == 165
    assert not card["verified"]


def known(monkeypatch: pytest.MonkeyPatch, release: Release) -> None:
    monkeypatch.setattr(preparing, "find_release", lambda name: release)


def test_only_a_whole_zip_of_the_known_digest_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_spec_release(tmp_path / "broken", 2, subsets=("existence",))
    (folder / "existence" / "images" / "000_1.jpg").write_bytes(b"")
    whole = write_spec_release(tmp_path / "whole", 2, subsets=("existence",))
    archives = {name: write_zip_of(tmp_path / name, tmp_path / f"{name}.zip") for name in ("broken", whole.name)}
    verified = {}
    for name, archive in archives.items():
        digest = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
        for items in (2, 3):
            known(monkeypatch, replace(spec.release(), revision=digest, items=items))
            verified[name, items] = prepare("spec", archive, force=True, skip_broken=True).card.verified
    assert verified == {("broken", 2): False, ("broken", 3): False, ("whole", 2): True, ("whole", 3): False}
    known(monkeypatch, replace(spec.release(), revision=digest[:-1], items=2))
    assert not prepare("spec", archives["whole"], force=True).card.verified


def test_only_a_whole_download_at_the_known_revision_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_vismin_release(tmp_path / "hub", 2)
    known(monkeypatch, replace(vismin.release(), items=8))
    for revision, verified in ((vismin.release().revision, True), ("1" * 40, False), ("", False)):
        monkeypatch.setattr(preparing, "download", lambda name, hub, revision=revision: (folder, revision))
        assert prepare("vismin", force=True).card.verified is verified
    assert not prepare("vismin", folder, force=True).card.verified
