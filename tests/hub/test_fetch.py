"""Pulls: what was pushed comes back to the last byte, or nothing does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.hub.client_process import Person
from tests.hub.made_checkpoint import write_checkpoint
from tests.hub.server import LocalHub, Repository

NAME = "ada/clip-spec"


@pytest.fixture
def pushed(ada: Person, hub: LocalHub, tmp_path: Path) -> Repository:
    write_checkpoint(tmp_path / "clip-spec", records=False)
    assert ada.run("push", "checkpoint", tmp_path / "clip-spec", "--to", NAME).code == 0
    hub.forget()
    return hub.repository("model", NAME)


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(repository: Repository, files: dict[str, bytes]) -> None:
    """Files that somebody adds, and that the list there names."""
    blob = type(repository.files["README.md"])
    manifest = json.loads(repository.files["pushed.json"].content)
    added = {path: blob(content, lfs=path.endswith((".bin", ".safetensors"))) for path, content in files.items()}
    for path, one in added.items():
        manifest["files"][path] = {"size": one.size, "sha256": one.sha256}
    listed = blob(json.dumps(manifest).encode())
    repository.commit("by hand", {**repository.head.files, **added, "pushed.json": listed})


def test_what_comes_back_is_what_was_pushed(ada: Person, pushed: Repository, tmp_path: Path) -> None:
    done = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled")
    assert done.code == 0, done.err
    assert read(tmp_path / "pulled") == {path: blob.content for path, blob in pushed.files.items()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip-spec", "huggingface", "pulled"]
    assert pushed.head.oid in done.out


def test_pulled_again_it_is_there_already(ada: Person, hub: LocalHub, pushed: Repository, tmp_path: Path) -> None:
    ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled")
    hub.forget()
    done = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled")
    assert (done.code, "already" in done.out) == (0, True)
    assert not hub.requests("safetensors")


def test_a_revision_is_pulled_as_it_was(ada: Person, pushed: Repository, tmp_path: Path) -> None:
    first = pushed.head.oid
    put(pushed, {"losses.jsonl": b"later\n"})
    pushed.tags["v1"] = first
    assert ada.run("pull", "checkpoint", f"hub:{NAME}@v1", "--out", tmp_path / "one").code == 0
    assert ada.run("pull", "checkpoint", f"{NAME}@{pushed.head.oid}", "--out", tmp_path / "two").code == 0
    assert (tmp_path / "one" / "losses.jsonl").read_bytes() != b"later\n"
    assert (tmp_path / "two" / "losses.jsonl").read_bytes() == b"later\n"
    missing = ada.run("pull", "checkpoint", f"{NAME}@v2", "--out", tmp_path / "three")
    assert missing.code == 2
    assert missing.line.startswith(f"hub:{NAME}@v2: has no such revision")


def test_a_connection_that_breaks_is_tried_again(
    ada: Person, hub: LocalHub, pushed: Repository, tmp_path: Path
) -> None:
    hub.fault("^GET .*safetensors", reset_after=10_000)
    done = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled")
    assert done.code == 0, done.err
    assert read(tmp_path / "pulled") == {path: blob.content for path, blob in pushed.files.items()}


def test_killed_it_goes_on_with_what_is_missing(ada: Person, hub: LocalHub, pushed: Repository, tmp_path: Path) -> None:
    fault = hub.fault("^GET .*/resolve/.*training.json", wait_s=0.3)
    started = ada.start("pull", "checkpoint", NAME, "--out", tmp_path / "pulled")
    assert fault.held.wait(20)
    started.kill()
    assert not (tmp_path / "pulled").exists()
    hub.forget()
    assert ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled").code == 0
    assert not hub.requests("^GET .*safetensors")
    assert read(tmp_path / "pulled") == {path: blob.content for path, blob in pushed.files.items()}


def test_wrong_bytes_are_fetched_again_and_then_refused(
    ada: Person, hub: LocalHub, pushed: Repository, tmp_path: Path
) -> None:
    hub.fault("^GET .*safetensors", flip=True)
    once = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "once")
    assert once.code == 0
    assert "not the bytes that were pushed, fetching it again" in once.err
    hub.fault("^GET .*safetensors", flip=True, times=9)
    twice = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "twice")
    assert twice.code == 5
    assert "open_clip_model.safetensors is not what was pushed" in twice.line
    assert not (tmp_path / "twice").exists()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("pytorch_model.bin", "may run code when it is read"),
        ("weights.npz", "may run code when it is read"),
        ("run", "may run code when it is read"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}.json", "could lie outside of a folder"),
        ("a\\..\\..\\outside.json", "could lie outside of a folder"),
        (f"{'long' * 60}.json", "could lie outside of a folder"),
        ("modeling_clip.py", "may run code when it is read"),
        ("state.pt", "may run code when it is read"),
        ("../outside.json", "could lie outside of a folder"),
        ("a/../../outside.json", "could lie outside of a folder"),
        (".git/hooks", "hidden in it"),
        ("con\x1b[2J.json", "could lie outside of a folder"),
        ("CONFIG.json", "are one file on many disks"),
    ],
)
def test_files_that_could_do_harm_are_refused_and_nothing_is_written(
    path: str, reason: str, ada: Person, pushed: Repository, tmp_path: Path
) -> None:
    put(pushed, {path: b"x"})
    done = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled" / "in")
    assert done.code == 5
    assert reason in done.line
    assert not (tmp_path / "pulled").exists()


def test_a_file_that_was_changed_or_is_gone_since_the_push_is_told(
    ada: Person, pushed: Repository, tmp_path: Path
) -> None:
    files = dict(pushed.head.files)
    files["open_clip_model.safetensors"] = type(files["README.md"])(b"other", lfs=True)
    pushed.commit("by hand", files)
    changed = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled")
    del files["open_clip_model.safetensors"]
    pushed.commit("by hand", files)
    gone = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled")
    assert (changed.code, gone.code) == (5, 5)
    assert "was pushed and has been changed since" in changed.line
    assert "was pushed and is missing" in gone.line


def test_another_kind_or_nothing_of_ours_is_refused(
    ada: Person, hub: LocalHub, pushed: Repository, tmp_path: Path
) -> None:
    hub.make("dataset", "ada/other", {"data.csv": b"1"})
    wrong = ada.run("pull", "records", "ada/other", "--out", tmp_path / "pulled")
    assert wrong.code == 2
    assert "was not pushed by minchange-eval" in wrong.line
    missing = ada.run("pull", "records", NAME, "--out", tmp_path / "pulled")
    assert missing.code == 2
    assert f"hub:{NAME}: is a model repository; say checkpoint, or name another repository" in missing.line


def test_what_asks_for_consent_is_told_as_such(ada: Person, hub: LocalHub, pushed: Repository, tmp_path: Path) -> None:
    said = "Access to model ada/clip-spec is restricted. Visit https://huggingface.co/ada/clip-spec to ask for access."
    hub.fault("/resolve/", status=403, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": said}, times=9)
    done = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled")
    assert done.code == 2
    assert done.line == (
        f"hub:{NAME}: asks for consent before it is read ({said[:-1]}); give it on its page, as the token's user"
    )


def test_a_repository_that_has_another_name_now_is_pulled(
    ada: Person, hub: LocalHub, pushed: Repository, tmp_path: Path
) -> None:
    hub.repositories["model", "ada/clip"] = hub.repositories.pop(("model", NAME))
    hub.renamed["model", NAME] = "ada/clip"
    assert ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled").code == 0
    assert read(tmp_path / "pulled") == {path: blob.content for path, blob in pushed.files.items()}


@pytest.mark.parametrize("kind", ["dataset", "records"])
def test_a_program_among_data_or_records_is_refused(kind: str, ada: Person, hub: LocalHub, tmp_path: Path) -> None:
    script = b"print('run by load_dataset')"
    listed = {"clip.py": {"size": len(script), "sha256": hashlib.sha256(script).hexdigest()}}
    manifest = json.dumps({"kind": kind, "files": listed}).encode()
    hub.make("dataset", NAME, {"clip.py": script, "pushed.json": manifest}, private=True)
    done = ada.run("pull", kind, NAME, "--out", tmp_path / "clip")
    assert done.code == 5
    assert "clip.py is no part of" in done.line
    assert not (tmp_path / "clip").exists()


def test_a_disk_that_is_full_leaves_no_folder_and_the_same_command_goes_on(
    ada: Person, pushed: Repository, tmp_path: Path
) -> None:
    done = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled", LARGEST_FILE="20000")
    assert done.code == 70
    assert done.line == f"hub:{NAME}: File too large; make room, or let it be read and written, then run again"
    assert not (tmp_path / "pulled").exists()
    assert ada.run("pull", "checkpoint", NAME, "--out", tmp_path / "pulled").code == 0
    assert not list(tmp_path.glob(".*.part"))


def test_a_folder_that_holds_something_else_is_left_alone(ada: Person, pushed: Repository, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("taken", "link"):
        done = ada.run("pull", "checkpoint", NAME, "--out", tmp_path / name)
        assert done.code == 2
        assert "exists and holds something else" in done.line
    assert not (tmp_path / "elsewhere").exists()
