"""A data set goes to the Hub and comes back, whatever happens on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.data.store import Store, write_store
from minchange_eval.data.store_card import StoreCard
from minchange_eval.hub.address import parse_address
from minchange_eval.hub.dataset import write_dataset_files
from tests.hub.client_process import Done, Person
from tests.hub.server import LocalHub, Repository
from tests.hub.test_dataset import same, sets

NAME = "ada/tiny"
SHARDS = {f"data/{folder}/00000.parquet" for folder in ("count", "left_right", "left_right_2", "Gr__e__b_")}
FILES = {*SHARDS, "README.md", "minchange.json", "pushed.json", "samples.png"}


def stored(person: Person, monkeypatch: pytest.MonkeyPatch, count: int = 12, name: str = "tiny", **card: Any) -> Store:
    """A store in the person's own home; the test's own process looks there from now on."""
    monkeypatch.setenv("MINCHANGE_HOME", str(person.folder / "home"))
    said = StoreCard(name=name, **{"licence": "MIT", "title": "Tiny", **card})
    return write_store(name, sets(count), card=said, force=True)


def push(person: Person, *more: object) -> Done:
    return person.run("push", "dataset", "tiny", "--to", NAME, *more)


def prepare(person: Person, name: str = "back", source: str = f"hub:{NAME}", *more: object) -> Done:
    return person.run("prepare", name, "--source", source, *more)


def require_whole(repository: Repository, store: Store, folder: Path) -> None:
    """Every file once and as it is written of the store, in one commit beside the Hub's own."""
    assert set(repository.files) == FILES
    write_dataset_files(store, folder, parse_address(f"hub:{NAME}"))
    for path in SHARDS | {"minchange.json"}:
        assert repository.files[path].content == (folder / path).read_bytes()
    assert len(repository.commits) == 2


def test_a_pushed_data_set_is_private_and_comes_back_with_the_commit_in_its_card(
    ada: Person, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(ada, monkeypatch, synthetic=True)
    done = push(ada)
    assert done.code == 0, done.err
    repository = hub.repository("dataset", NAME)
    assert repository.private
    require_whole(repository, store, tmp_path / "written")
    back = prepare(ada)
    assert back.code == 0, back.err
    assert f"back: as it was published, by fingerprint: hub:{NAME} at {repository.head.oid}" in back.out
    found = Store.open("back")
    assert same(found, store)
    assert (found.card.fingerprint, found.card.revision) == (store.card.fingerprint, repository.head.oid)
    assert (found.card.source, found.card.verified) == (f"hub:{NAME}", False)
    assert "nothing to send, it is up to date" in push(ada).out
    assert len(hub.requests("^PUT")) == len(SHARDS) + 1  # the sample picture is a large file too
    assert ada.token is not None
    assert ada.token not in done.out + done.err + back.out + back.err


def test_a_dry_run_shows_files_and_card_and_asks_nobody(
    ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(ada, monkeypatch)
    shown = push(ada, "--dry-run")
    assert shown.code == 0, shown.err
    assert all(path in shown.out for path in FILES)
    assert "# Tiny" in shown.out
    assert not hub.seen
    assert not list((ada.folder / "home" / "pushes").glob("*/"))


def test_after_faults_the_push_is_whole_and_nothing_is_there_twice(
    ada: Person, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(ada, monkeypatch)
    at_once = {"headers": {"Retry-After": "0"}}
    faults = [
        hub.fault("/preupload/", status=429, **at_once),
        hub.fault("^PUT", skip=1, reset_after=900),
        hub.fault("^PUT", skip=2, status=503, **at_once),
        hub.fault("/commit/", status=500, **at_once),
        hub.fault("/commit/", lost_answer=True),
    ]
    done = push(ada)
    if done.code:
        assert done.code == 70, done.err
        done = push(ada)
    assert done.code == 0, done.err
    assert [fault.times for fault in faults] == [0] * len(faults)
    require_whole(hub.repository("dataset", NAME), store, tmp_path / "written")
    assert prepare(ada).code == 0
    assert same(Store.open("back"), store)


def test_killed_between_two_files_the_same_command_sends_the_rest(
    ada: Person, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(ada, monkeypatch)
    held = hub.fault("/commit/", wait_s=1.0, status=500)
    started = ada.start("push", "dataset", "tiny", "--to", NAME)
    assert held.held.wait(60)
    started.kill()
    sent = len(hub.requests("^PUT"))
    assert sent == len(SHARDS) + 1
    assert set(hub.repository("dataset", NAME).files) == set()
    done = push(ada)
    assert done.code == 0, done.err
    require_whole(hub.repository("dataset", NAME), store, tmp_path / "written")
    assert len(hub.requests("^PUT")) == sent  # what had arrived was not sent again
    assert prepare(ada).code == 0


def test_a_file_that_arrives_wrong_once_is_fetched_again(
    ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(ada, monkeypatch)
    push(ada)
    fault = hub.fault("^GET .*/resolve/.*count/00000.parquet", flip=True)
    done = prepare(ada)
    assert fault.times == 0
    assert done.code == 0, done.err
    assert same(Store.open("back"), store)


def test_files_that_are_not_what_was_pushed_are_bad_data_and_leave_nothing(
    ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(ada, monkeypatch)
    push(ada)
    hub.fault("^GET .*/resolve/.*count/00000.parquet", flip=True, times=20)
    done = prepare(ada)
    assert done.code == 5
    assert "count/00000.parquet: is not what was published (expected " in done.line
    assert not (ada.folder / "home" / "store" / "back").exists()
    hub.forget()
    assert prepare(ada).code == 0  # the wrong bytes are not kept


def test_a_broken_download_goes_on(ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stored(ada, monkeypatch)
    push(ada)
    for pattern, what in (
        ("parquet", {"reset_after": 500}),
        ("minchange.json", {"status": 503}),
        ("tree", {"status": 429}),
    ):
        hub.fault(f"^GET .*{pattern}", headers={"Retry-After": "0"}, **what)
    done = prepare(ada)
    for _ in range(3):
        if done.code:
            assert done.code in (2, 70), done.err
            done = prepare(ada)
    assert done.code == 0, done.err
    assert same(Store.open("back"), store)


def test_a_revision_is_what_it_was(ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    old = stored(ada, monkeypatch)
    push(ada)
    first = hub.repository("dataset", NAME).head.oid
    new = stored(ada, monkeypatch, count=20)
    assert push(ada).code == 0
    assert prepare(ada, "old", f"hub:{NAME}@{first}").code == 0
    assert prepare(ada, "new").code == 0
    assert Store.open("old").card.fingerprint == old.card.fingerprint
    assert Store.open("new").card.fingerprint == new.card.fingerprint
    assert Store.open("old").card.revision == first != Store.open("new").card.revision
    gone = prepare(ada, "none", f"hub:{NAME}@v7")
    assert (gone.code, "hub:ada/tiny@v7: has no such revision" in gone.line) == (2, True)


def test_a_subset_that_is_gone_leaves_no_file_behind(
    ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(ada, monkeypatch)
    push(ada)
    stored(ada, monkeypatch, count=2)  # two subsets of four
    refused = push(ada)
    assert (refused.code, "--replace" in refused.line) == (2, True)
    assert push(ada, "--replace").code == 0
    assert {path for path in hub.repository("dataset", NAME).files if path.endswith(".parquet")} == {
        "data/count/00000.parquet",
        "data/left_right/00000.parquet",
    }
    assert prepare(ada).code == 0
    assert len(Store.open("back")) == 2


def test_somebody_elses_data_set_is_refused_before_its_files_are_fetched(ada: Person, hub: LocalHub) -> None:
    hub.make("dataset", "lab/other", {"data/x/00000.parquet": b"x" * 1000, "README.md": b"hello"})
    done = prepare(ada, "back", "hub:lab/other")
    assert done.code == 5
    assert "expected a data set that `minchange-eval push dataset` wrote" in done.line
    assert not hub.requests("parquet")


def test_what_is_not_there_or_may_not_be_read_is_one_line(
    ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in ("hub:ada/nothing", "hub:bob/secret"):
        done = prepare(ada, "back", source)
        assert done.code == 2
        assert f"{source}: there is no such repository, or it is private" in done.line
    for source in ("hub:", "hub:ada", "hub:ada/x/y@", "hub:../../etc"):
        assert prepare(ada, "back", source).code == 2
    assert prepare(ada, "../back", "hub:ada/nothing").code == 2


def test_a_branch_is_never_what_it_was_before_because_the_hub_is_busy(
    ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(ada, monkeypatch)
    push(ada)
    assert prepare(ada).code == 0
    new = stored(ada, monkeypatch, count=20)
    push(ada)
    hub.fault("^GET /api/datasets/ada/tiny/revision/main", status=503, headers={"Retry-After": "0"})
    done = prepare(ada, "new")
    assert (done.code, "the Hub answered 503: waiting 0 s" in done.err) == (0, True)
    assert Store.open("new").card.fingerprint == new.card.fingerprint


def test_offline_a_commit_that_was_fetched_before_is_used(
    ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(ada, monkeypatch)
    push(ada)
    refused = ada.run("prepare", "back", "--source", f"hub:{NAME}", HF_HUB_OFFLINE="1")
    assert refused.code == 2
    assert "HF_HUB_OFFLINE is set and its cache does not hold hub:ada/tiny@main; run with network, or" in refused.line
    assert prepare(ada).code == 0
    shutil.rmtree(ada.folder / "home" / "store" / "back")
    commit = hub.repository("dataset", NAME).head.oid
    again = ada.run("prepare", "back", "--source", f"hub:{NAME}@{commit}", HF_HUB_OFFLINE="1")
    assert again.code == 0, again.err
    assert Store.open("back").card.fingerprint == store.card.fingerprint


def test_what_states_no_licence_is_pushed_only_when_somebody_has_looked(
    ada: Person, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(ada, monkeypatch, licence="")
    refused = push(ada)
    assert (refused.code, "tiny states no licence" in refused.line) == (2, True)
    assert not hub.repositories
    assert push(ada, "--licence-reviewed").code == 0
    assert b"says to have reviewed" in hub.repository("dataset", NAME).files["README.md"].content
    card = json.loads((ada.folder / "home" / "store" / "tiny" / "card.json").read_text())
    assert card["licence"] == ""  # what is stated stays what is stated
