"""Pushes that are disturbed: nothing is lost, nothing is there twice, and the user is told in one line."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.hub.client_process import Done, Person
from tests.hub.made_checkpoint import write_checkpoint
from tests.hub.server import LocalHub, Repository

NAME = "ada/clip-spec"
FILES = {
    "README.md",
    "config.json",
    "losses.jsonl",
    "open_clip_config.json",
    "open_clip_model.safetensors",
    "pushed.json",
    "training.json",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "clip-spec", records=False)


def require_whole(repository: Repository, folder: Path) -> None:
    """Every file once, the weights as they are, one commit beside the Hub's own, and none that changes nothing."""
    assert set(repository.files) == FILES
    weights = (folder / "open_clip_model.safetensors").read_bytes()
    assert repository.files["open_clip_model.safetensors"].content == weights
    trees = [{path: blob.etag for path, blob in commit.files.items()} for commit in repository.commits]
    assert all(before != after for before, after in pairwise(trees))
    assert len(repository.commits) == 2


def push(ada: Person, folder: Path, *more: object) -> Done:
    return ada.run("push", "checkpoint", folder, "--to", NAME, *more)


def test_a_push_is_one_commit_to_a_private_repository_and_the_second_is_none(
    ada: Person, hub: LocalHub, folder: Path
) -> None:
    first, second = push(ada, folder), push(ada, folder)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    require_whole(hub.repository("model", NAME), folder)
    assert hub.repository("model", NAME).private
    assert "(new): private, 7 of 7 files sent" in first.out
    assert "nothing to send, it is up to date" in second.out
    assert len(hub.requests("^PUT")) == 1


REQUESTS = (
    "^GET /api/whoami",
    "^GET /api/models/ada/clip-spec$",
    "^POST /api/repos/create",
    "/tree/",
    "/preupload/",
    "objects/batch",
    "^PUT",
    "^POST /api/validate-yaml",
    "/commit/main",
)


def test_a_busy_hub_is_waited_for_as_long_as_it_asks(ada: Person, hub: LocalHub, folder: Path) -> None:
    faults = [
        hub.fault(line, status=429, headers={"Retry-After": "0"}, body={"error": "slow down"}) for line in REQUESTS
    ]
    done = push(ada, folder)
    assert done.code == 0, done.err
    assert [fault.times for fault in faults] == [0] * len(REQUESTS)
    assert len(re.findall(r"the Hub answered 429: waiting [01] s, then try [23] of \d", done.err)) == len(REQUESTS)
    require_whole(hub.repository("model", NAME), folder)


@pytest.mark.parametrize(
    ("request_line", "how"),
    [
        ("^PUT", {"reset_after": 1_000}),
        ("/commit/main", {"reset_after": 100}),
        ("/commit/main", {"lost_answer": True}),
        ("^POST /api/repos/create", {"lost_answer": True}),
        ("^POST /api/validate-yaml", {"status": 503, "body": "<html>maintenance</html>"}),
    ],
    ids=str,
)
def test_a_connection_that_breaks_loses_and_doubles_nothing(
    request_line: str, how: dict, ada: Person, hub: LocalHub, folder: Path
) -> None:
    fault = hub.fault(request_line, **how)
    done = push(ada, folder)
    assert done.code == 0, done.err
    assert fault.times == 0
    assert "waiting" in done.err
    require_whole(hub.repository("model", NAME), folder)


def test_a_hub_that_stays_down_is_left_after_five_tries_and_says_what_to_do(
    ada: Person, hub: LocalHub, folder: Path
) -> None:
    hub.fault("/commit/main", status=503, headers={"Retry-After": "0"}, body="<html>maintenance</html>", times=99)
    done = push(ada, folder)
    assert done.code == 70
    assert done.line == (
        f"hub:{NAME}: the Hub answers 503; later run the same command again, it goes on where it stopped"
    )
    assert len(hub.requests("/commit/main")) == 5


@pytest.mark.parametrize("request_line", ["^POST /api/repos/create", "^PUT"])
def test_a_hub_that_asks_for_an_hour_is_not_waited_for(
    request_line: str, ada: Person, hub: LocalHub, folder: Path
) -> None:
    hub.fault(request_line, status=429, headers={"Retry-After": "3600"}, body={"error": "too many"})
    done = push(ada, folder)
    assert done.code == 70
    assert re.search(r"asks for 360[01] s of patience", done.line)


@pytest.mark.parametrize("request_line", ["^POST /api/repos/create", "^PUT", "/commit/main"])
def test_killed_at_any_point_the_same_command_ends_with_every_file_once(
    request_line: str, ada: Person, hub: LocalHub, folder: Path
) -> None:
    fault = hub.fault(request_line, wait_s=0.3)
    started = ada.start("push", "checkpoint", folder, "--to", NAME)
    assert fault.held.wait(20)
    assert started.kill().code == -9
    again = push(ada, folder)
    assert again.code == 0, again.err
    require_whole(hub.repository("model", NAME), folder)
    assert len(hub.requests("^PUT")) <= 2  # the one that the kill cut off may have arrived


def test_interrupted_it_says_that_it_goes_on_and_does(ada: Person, hub: LocalHub, folder: Path) -> None:
    fault = hub.fault("^PUT", wait_s=0.3)
    started = ada.start("push", "checkpoint", folder, "--to", NAME)
    assert fault.held.wait(20)
    stopped = started.interrupt()
    assert stopped.code == 130
    assert stopped.line == "interrupted; what was complete is kept, run it again to go on"
    assert push(ada, folder).code == 0
    require_whole(hub.repository("model", NAME), folder)


def test_what_was_sent_before_a_kill_is_not_sent_again(ada: Person, hub: LocalHub, folder: Path) -> None:
    fault = hub.fault("/commit/main", wait_s=0.3, status=500)
    started = ada.start("push", "checkpoint", folder, "--to", NAME)
    assert fault.held.wait(20)
    started.kill()
    assert [seen.size for seen in hub.requests("^PUT")] == [50_000]
    assert push(ada, folder).code == 0
    assert len(hub.requests("^PUT")) == 1
    require_whole(hub.repository("model", NAME), folder)


def test_many_files_are_few_commits_and_the_list_of_them_is_in_the_last(
    ada: Person, hub: LocalHub, folder: Path
) -> None:
    for number in range(230):
        (folder / f"part{number:03}.txt").write_text(f"{number}\n")
    assert push(ada, folder).code == 0
    commits = hub.repository("model", NAME).commits
    assert [commit.title for commit in commits[1:]] == [
        f"Checkpoint {'b' * 12} (part {number} of 3)" for number in (1, 2, 3)
    ]
    assert ["pushed.json" in commit.files for commit in commits] == [False, False, False, True]
    assert len(hub.repository("model", NAME).files) == 237


def test_killed_between_two_commits_it_goes_on_with_the_rest(ada: Person, hub: LocalHub, folder: Path) -> None:
    for number in range(130):
        (folder / f"part{number:03}.txt").write_text(f"{number}\n")
    fault = hub.fault("/commit/main", skip=1, wait_s=0.3, status=500)
    started = ada.start("push", "checkpoint", folder, "--to", NAME)
    assert fault.held.wait(20)
    started.kill()
    assert len(hub.repository("model", NAME).commits) == 2
    assert push(ada, folder).code == 0
    repository = hub.repository("model", NAME)
    assert len(repository.files) == 137
    assert len(repository.commits) == 3


def test_an_update_sends_what_has_changed(ada: Person, hub: LocalHub, folder: Path) -> None:
    push(ada, folder)
    (folder / "losses.jsonl").write_text('{"step": 2, "total": 1.0}\n')
    done = push(ada, folder)
    assert "2 of 7 files sent" in done.out  # it, and the list
    assert len(hub.requests("^PUT")) == 1


def test_files_are_deleted_only_when_that_is_said(ada: Person, hub: LocalHub, folder: Path) -> None:
    (folder / "vocabulary.txt").write_text("a\n")
    push(ada, folder)
    (folder / "vocabulary.txt").unlink()
    refused = push(ada, folder)
    assert refused.code == 2
    assert "vocabulary.txt (would be deleted)" in refused.line
    assert "--replace" in refused.line
    assert "vocabulary.txt" in hub.repository("model", NAME).files
    done = push(ada, folder, "--replace")
    assert done.code == 0, done.err
    assert "1 deleted" in done.out
    assert set(hub.repository("model", NAME).files) == FILES


def test_what_somebody_wrote_on_the_hub_is_not_overwritten(ada: Person, hub: LocalHub, folder: Path) -> None:
    push(ada, folder)
    repository = hub.repository("model", NAME)
    edited = {**repository.head.files, "README.md": type(repository.files["README.md"])(b"---\n---\nby hand")}
    repository.commit("Update README.md", edited)
    (folder / "losses.jsonl").write_text("{}\n")
    refused = push(ada, folder)
    assert refused.code == 2
    assert "README.md (changed there)" in refused.line
    assert repository.files["README.md"].content == b"---\n---\nby hand"
    assert push(ada, folder, "--replace").code == 0


@pytest.mark.parametrize("status", [409, 412])
def test_somebody_elses_commit_in_the_same_moment_is_told(
    status: int, ada: Person, hub: LocalHub, folder: Path
) -> None:
    push(ada, folder)
    (folder / "losses.jsonl").write_text("{}\n")
    hub.fault("/commit/main", status=status, body={"error": "A commit has happened since. Please refresh."})
    done = push(ada, folder)
    assert done.code == 70
    assert "somebody else changed it at the same time" in done.line


def test_a_repository_that_has_another_name_now_is_pushed_to_by_that_name(
    ada: Person, hub: LocalHub, folder: Path
) -> None:
    push(ada, folder)
    hub.repositories["model", "ada/clip"] = hub.repositories.pop(("model", NAME))
    hub.renamed["model", NAME] = "ada/clip"
    refused = push(ada, folder)
    assert refused.code == 2
    assert refused.line == f"hub:{NAME}: is called ada/clip now; push to that name"


def test_a_file_that_the_hub_ignores_is_missed(ada: Person, hub: LocalHub, folder: Path) -> None:
    hub.fault("/commit/main", status=200, body={"commitOid": "0" * 40, "commitUrl": f"{hub.endpoint}/{NAME}"})
    done = push(ada, folder)
    assert done.code == 70
    assert "did not arrive" in done.line
