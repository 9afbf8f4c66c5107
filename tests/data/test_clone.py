from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.data.clone import commit_of

COMMIT = "2b4fa61" + "0" * 33
KNOWN = "benchmark/MED_bench.json"


def clone(folder: Path, head: str = COMMIT) -> Path:
    (folder / ".git" / "refs" / "heads").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text(head + "\n")
    (folder / "benchmark").mkdir()
    (folder / KNOWN).write_text("[]")
    return folder


@pytest.mark.parametrize("inside", ["", "benchmark", KNOWN])
def test_a_clone_and_what_lies_in_it_say_the_commit(tmp_path: Path, inside: str) -> None:
    folder = clone(tmp_path / "clone", "ref: refs/heads/feature/x.1")
    (folder / ".git" / "packed-refs").write_text(f"# pack\n{COMMIT} refs/heads/feature/x.1\n")
    assert commit_of(folder / inside, KNOWN) == COMMIT


def test_a_loose_ref_counts_before_a_packed_one(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone", "ref: refs/heads/main")
    (folder / ".git" / "packed-refs").write_text(f"{'1' * 40} refs/heads/main\n")
    (folder / ".git" / "refs" / "heads" / "main").write_text(COMMIT + "\n")
    assert commit_of(folder, KNOWN) == COMMIT


def test_a_copy_inside_another_repository_does_not_get_its_commit(tmp_path: Path) -> None:
    (tmp_path / "own" / ".git").mkdir(parents=True)
    (tmp_path / "own" / ".git" / "HEAD").write_text(COMMIT)
    for place in ("copy", "benchmark/copy"):
        copy = tmp_path / "own" / place / "benchmark"
        copy.mkdir(parents=True)
        (copy / "MED_bench.json").write_text("[]")
        assert commit_of(copy, KNOWN) == commit_of(copy.parent, KNOWN) == ""


@pytest.mark.parametrize(
    "head", ["ref: ../../secret", "ref: refs/../../secret", "ref: /etc/hostname", "2b4fa61", "a secret", "\xff", ""]
)
def test_a_head_that_is_no_branch_and_no_commit_says_nothing(tmp_path: Path, head: str) -> None:
    (tmp_path / "secret").write_text(COMMIT)
    assert commit_of(clone(tmp_path / "clone", head), KNOWN) == ""


def test_a_branch_that_holds_something_else_than_a_commit_says_nothing(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone", "ref: refs/heads/main")
    (folder / ".git" / "refs" / "heads" / "main").write_text("password")
    assert commit_of(folder, KNOWN) == ""
