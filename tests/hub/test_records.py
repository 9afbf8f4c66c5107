"""Run records on the Hub: a repository that grows, and that the other verbs read from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minchange_eval.core.record import ModelDescription, comparable_bytes, read_record, write_record
from minchange_eval.hub.records import public_record
from tests.hub.client_process import Person
from tests.hub.made_checkpoint import run_of, write_checkpoint
from tests.hub.server import LocalHub

NAME = "ada/records"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "one_record.jsonl", tmp_path / "two_record.jsonl"
    write_record(run_of(20), paths[0])
    write_record(run_of(50, name="open_clip/b", weights="b"), paths[1])
    return paths


def test_records_are_added_to_those_that_lie_there(ada: Person, hub: LocalHub, two: tuple[Path, Path]) -> None:
    codes = [ada.run("push", "records", path, "--to", NAME).code for path in two]
    again = ada.run("push", "records", *two, "--to", NAME)
    assert (codes, again.code) == ([0, 0], 0)
    assert "nothing to send" in again.out
    repository = hub.repository("dataset", NAME)
    assert set(repository.files) == {
        "README.md",
        "pushed.json",
        "records/one_record.jsonl.gz",
        "records/two_record.jsonl.gz",
    }
    assert [commit.title for commit in repository.commits[1:]] == ["1 run record", "1 run record"]
    card = repository.files["README.md"].content.decode()
    assert "| one\\_record.jsonl.gz | clip-spec | spec\\_mini\\_count | pair\\_mean | 33.3 |" in card
    assert "viewer: false" in card


def test_a_record_of_the_same_name_takes_the_place_of_the_other(
    ada: Person, hub: LocalHub, two: tuple[Path, Path]
) -> None:
    ada.run("push", "records", *two, "--to", NAME)
    write_record(run_of(21), two[0])
    done = ada.run("push", "records", two[0], "--to", NAME)
    assert done.code == 0, done.err
    assert "3 of 3 files sent" in done.out
    assert "| 35.0 |" in hub.repository("dataset", NAME).files["README.md"].content.decode()
    assert ada.run("report", f"hub:{NAME}", "--format", "md").code == 0


def test_what_tells_of_a_machine_stays_at_home_and_results_stay_as_they_are(
    ada: Person, hub: LocalHub, two: tuple[Path, Path], tmp_path: Path
) -> None:
    ada.run("push", "records", *two, "--to", NAME)
    assert ada.run("pull", "records", NAME, "--out", tmp_path / "pulled").code == 0
    pulled = read_record(tmp_path / "pulled" / "records" / "one_record.jsonl.gz")
    own = read_record(two[0])
    assert (pulled.run.host, pulled.model.name) == ("", "clip-spec")
    assert pulled.metrics == own.metrics
    assert pulled.outcomes == own.outcomes
    named = read_record(tmp_path / "pulled" / "records" / "two_record.jsonl.gz")
    assert comparable_bytes(named) == comparable_bytes(read_record(two[1]))


def test_only_paths_lose_their_folders() -> None:
    settings = {
        "pretrained": "~/weights/b32.pt",
        "model": "owner/name",
        "scale": 2,
        "none": None,
        "args": {"peft": "/a/b"},
    }
    model = ModelDescription(adapter="open_clip", name="hf-hub:owner/name", settings=settings)
    kept = public_record(run_of(1).model_copy(update={"model": model})).model
    assert kept.name == "hf-hub:owner/name"
    assert kept.settings == {**settings, "pretrained": "b32.pt", "args": {"peft": "b"}}


def test_report_gate_compare_and_slim_read_from_the_hub(
    ada: Person, hub: LocalHub, two: tuple[Path, Path], tmp_path: Path
) -> None:
    ada.run("push", "records", *two, "--to", NAME)
    repository = hub.repository("dataset", NAME)
    repository.tags["v1"] = repository.head.oid
    address = f"hub:{NAME}@v1"
    report = ada.run("report", address, "--format", "md")
    assert report.code == 0, report.err
    assert "open\\_clip/b" in report.out
    assert "clip-spec" in report.out
    one, other = (f"{address}/records/{name}_record.jsonl.gz" for name in ("one", "two"))
    gate = ada.run("gate", "--baseline", other, "--candidate", one)
    assert gate.code == 1, gate.err
    compared = ada.run("compare", one, two[1])
    assert compared.code == 0, compared.err
    assert f"({one})" in compared.out
    slim = ada.run("slim", one, "--out", tmp_path / "slim.jsonl.gz")
    assert slim.code == 0, slim.err
    assert read_record(tmp_path / "slim.jsonl.gz").slim_of
    reproduced = ada.run("reproduce", "vismin", one)
    assert reproduced.code == 2
    assert f"{one}: nothing is known to be published on vismin of its model" in reproduced.line


def test_where_one_record_is_wanted_a_repository_of_several_names_them(ada: Person, two: tuple[Path, Path]) -> None:
    ada.run("push", "records", *two, "--to", NAME)
    done = ada.run("gate", "--baseline", f"hub:{NAME}", "--candidate", two[0])
    assert done.code == 2
    assert f"name it: hub:{NAME}/records/one_record.jsonl.gz, hub:{NAME}/records/two_record.jsonl.gz" in done.line


def test_offline_records_come_from_the_cache_and_no_connection_is_tried(
    ada: Person, hub: LocalHub, two: tuple[Path, Path]
) -> None:
    ada.run("push", "records", *two, "--to", NAME)
    before = ada.run("report", f"hub:{NAME}", "--format", "csv", HF_HUB_OFFLINE="1")
    assert before.code == 2
    assert "is not in the Hub's cache, and HF_HUB_OFFLINE is set" in before.line
    assert ada.run("report", f"hub:{NAME}/records/one_record.jsonl.gz", "--format", "csv").code == 0
    half = ada.run("report", f"hub:{NAME}", "--format", "csv", HF_HUB_OFFLINE="1")
    assert half.code == 2
    assert "is not in the Hub's cache" in half.line
    online = ada.run("report", f"hub:{NAME}", "--format", "csv")
    hub.repository("dataset", NAME).commit("moved on", {})
    hub.forget()
    offline = ada.run("report", f"hub:{NAME}", "--format", "csv", HF_HUB_OFFLINE="1")
    assert offline.code == 0, offline.err
    assert offline.out == online.out
    assert not hub.seen


def test_a_record_that_was_changed_on_the_hub_is_not_read(ada: Person, hub: LocalHub, two: tuple[Path, Path]) -> None:
    ada.run("push", "records", *two, "--to", NAME)
    repository = hub.repository("dataset", NAME)
    path = "records/one_record.jsonl.gz"
    other = repository.files["records/two_record.jsonl.gz"]
    repository.lfs[other.sha256] = other.content
    repository.commit("by hand", {**repository.head.files, path: other})
    done = ada.run("report", f"hub:{NAME}", "--format", "md")
    assert done.code == 5
    assert f"{path} is not what was pushed" in done.line


def test_names_that_are_not_there(ada: Person, hub: LocalHub, two: tuple[Path, Path]) -> None:
    ada.run("push", "records", two[0], "--to", NAME)
    hub.make("dataset", "ada/plain", {"record.txt": b"none"})
    for address, said in (
        ("hub:ada/recrods", "there is no such repository"),
        (f"hub:{NAME}@v9", "has no such revision"),
        (f"hub:{NAME}/records/none.jsonl", "holds no such run record; there are: records/one_record.jsonl.gz"),
        ("hub:ada/plain", "has no such file"),
        ("hub:nothing", "no address on the Hub"),
    ):
        done = ada.run("report", address, "--format", "md")
        assert done.code == 2, address
        assert said in done.line


def test_a_name_means_one_repository_with_records(ada: Person, hub: LocalHub, two: tuple[Path, Path]) -> None:
    hub.make("model", NAME, {}, private=True)
    refused = ada.run("push", "records", two[0], "--to", NAME)
    assert refused.code == 2
    assert "is the name of a model already" in refused.line
    assert ("dataset", NAME) not in hub.repositories


def test_a_data_set_of_the_same_name_does_not_hide_a_checkpoints_records(
    ada: Person, hub: LocalHub, tmp_path: Path
) -> None:
    assert ada.run("push", "checkpoint", write_checkpoint(tmp_path / "clip"), "--to", "ada/clip").code == 0
    hub.make("dataset", "ada/clip", {"data.csv": b"1"}, private=True)
    done = ada.run("report", "hub:ada/clip", "--format", "csv")
    assert done.code == 0, done.err
    assert "clip-spec" in done.out


def test_records_that_are_pushed_meanwhile_are_kept_even_with_replace(
    ada: Person, hub: LocalHub, two: tuple[Path, Path]
) -> None:
    ada.run("push", "records", two[0], "--to", NAME)
    fault = hub.fault(f"^GET /api/datasets/{NAME}$", skip=1, wait_s=1.0)  # has read what is there
    other = ada.start("push", "records", two[1], "--to", NAME, "--replace")
    assert fault.held.wait(20)
    repository = hub.repository("dataset", NAME)
    kept = {**repository.head.files, "records/third_record.jsonl.gz": repository.files["records/one_record.jsonl.gz"]}
    manifest = json.loads(repository.files["pushed.json"].content)
    manifest["files"]["records/third_record.jsonl.gz"] = manifest["files"]["records/one_record.jsonl.gz"]
    kept["pushed.json"] = type(repository.files["pushed.json"])(json.dumps(manifest).encode())
    repository.commit("somebody else's", kept)
    done = other.done()
    assert done.code == 70
    assert done.line == f"hub:{NAME}: somebody else pushed records at the same time; run it again"
    assert repository.head.title == "somebody else's"
    assert ada.run("push", "records", two[1], "--to", NAME).code == 0
    assert len([path for path in repository.files if path.startswith("records/")]) == 3


def test_a_branch_that_moves_while_records_are_read_is_read_as_it_was(
    ada: Person, hub: LocalHub, two: tuple[Path, Path]
) -> None:
    ada.run("push", "records", two[0], "--to", NAME)
    fault = hub.fault("/resolve/.*/records/", wait_s=0.5)
    reader = ada.start("report", f"hub:{NAME}", "--format", "csv")
    assert fault.held.wait(20)
    repository = hub.repository("dataset", NAME)
    repository.commit("all gone", {"README.md": repository.files["README.md"]})
    done = reader.done()
    assert done.code == 0, done.err
    assert "clip-spec" in done.out


def test_a_broken_record_is_not_pushed(ada: Person, hub: LocalHub, two: tuple[Path, Path]) -> None:
    two[0].write_bytes(two[0].read_bytes()[:-40])
    done = ada.run("push", "records", *two, "--to", NAME)
    assert done.code == 3
    assert "one_record.jsonl" in done.line
    assert not hub.repositories


def test_two_records_of_one_name_are_told_apart_by_hand(ada: Person, two: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write_record(run_of(3), tmp_path / "other" / "one_record.jsonl")
    done = ada.run("push", "records", two[0], tmp_path / "other", "--to", NAME)
    assert done.code == 2
    assert "another record would be named records/one_record.jsonl.gz too" in done.line
