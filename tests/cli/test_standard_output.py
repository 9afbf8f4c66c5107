from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from minchange_eval.core.record import write_record
from tests.reports.made_records import OTHER, record, sets

COMMAND = [sys.executable, "-m", "minchange_eval.cli.main"]
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A gate whose candidate is worse."""
    folder = tmp_path_factory.mktemp("records")
    write_record(record(pairs=sets([True] * 60)), folder / "before.jsonl")
    write_record(record(pairs=sets([False] * 60), model=OTHER), folder / "after.jsonl")
    return ["gate", "--baseline", str(folder / "before.jsonl"), "--candidate", str(folder / "after.jsonl")]


def to_full_disk(*arguments: str) -> subprocess.CompletedProcess[str]:
    with Path("/dev/full").open("w") as full:
        return subprocess.run([*COMMAND, *arguments], check=False, stdout=full, stderr=subprocess.PIPE, text=True)


@needs_full
@pytest.mark.parametrize("arguments", [["tasks-path"], ["list"], ["compare", "--help"], []], ids=" ".join)
def test_a_full_standard_output_is_one_line_and_exit_70(arguments: list[str]) -> None:
    done = to_full_disk(*arguments)
    assert done.stderr == (
        "minchange-eval: standard output cannot be written (No space left on device); make room or send it elsewhere\n"
    )
    assert done.returncode == 70


@needs_full
def test_a_decision_is_in_its_files_where_standard_output_is_full(worse: list[str], tmp_path: Path) -> None:
    done = to_full_disk(*worse, "--json", str(tmp_path / "gate.json"))
    assert (done.returncode, done.stderr.count("\n")) == (70, 1)
    assert '"verdict": "regression"' in (tmp_path / "gate.json").read_text()


@pytest.mark.parametrize("slices", [100, 1], ids=["more than a buffer", "less than a buffer"])
def test_a_regression_stays_one_where_nobody_reads_it(tmp_path: Path, slices: int) -> None:
    for name, hit in (("before", True), ("after", False)):
        made = sets([hit] * 200)
        parts = [line.model_copy(update={"subset": f"{int(line.item_id[1:]) % slices}"}) for line in made]
        write_record(record(pairs=parts), tmp_path / name)
    (tmp_path / "gate.yaml").write_text("slices: {}")
    flags = (("baseline", "before"), ("candidate", "after"), ("policy", "gate.yaml"))
    gate = [*COMMAND, "gate", *(f"--{flag}={tmp_path / name}" for flag, name in flags)]
    with subprocess.Popen(gate, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as gone:
        assert gone.stdout is not None
        assert gone.stderr is not None
        gone.stdout.close()
        assert (gone.stderr.read(), gone.wait()) == ("", 1)


def test_an_output_without_unicode_shows_escapes(worse: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = subprocess.run([*COMMAND, "compare", worse[2], worse[4]], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_output_changes_no_exit_code(worse: list[str]) -> None:
    command = shlex.join([*COMMAND, *worse]) + " >&-"
    done = subprocess.run(["sh", "-c", command], check=False, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")
