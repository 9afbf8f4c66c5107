from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minchange_eval.cli.main import main
from minchange_eval.core.errors import ExitCode
from tests.audit.pictures import picture

LONG = "a weathered fisherman mends his torn orange net beside an upturned dinghy while two gulls squabble"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Training rows t0 to t3 and evaluation rows e0 to e2; e1 is t1 in another format, e2 has t2's caption."""
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))
    for number in range(6):
        picture(number).save(tmp_path / f"{number}.png")
    picture(1).save(tmp_path / "again.jpg", quality=85)
    train = [("t0", "0.png", "one"), ("t1", "1.png", "two"), ("t2", "2.png", LONG), ("t3", "3.png", "\x1b[2J\u202e")]
    evaluation = [("e0", "4.png", "four"), ("e1", "again.jpg", "five"), ("e2", "5.png", LONG)]
    for name, rows in (("train", train), ("eval", evaluation)):
        lines = [json.dumps(dict(zip(("id", "image", "caption"), row, strict=True))) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return str(tmp_path / "train.jsonl"), str(tmp_path / "eval.jsonl")


def run(files: tuple[str, str], *flags: str) -> int:
    return main(["audit", "contamination", "--train", files[0], "--eval", files[1], *flags])


def test_the_table_names_what_was_found_and_the_lists_hold_the_rest(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, clean_eval = tmp_path / "clean.txt", tmp_path / "clean_eval.txt"
    assert run(files, "--clean", str(clean), "--clean-eval", str(clean_eval)) == ExitCode.OK
    said = capsys.readouterr().out
    assert "same image but for encoding, size or a small edit" in said
    assert "t1 ~ e1" in said
    assert "2 of 4 training rows, 2 of 3 evaluation rows" in said
    assert clean.read_text() == "t0\nt3\n"
    assert clean_eval.read_text() == "e0\n"


def test_json_holds_everything_but_the_lists(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--format", "json", "--kinds", "near_image") == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert (said["contaminated_train"], said["contaminated_evaluation"]) == (1, 1)
    assert [one["kind"] for one in said["findings"] if one["evaluation_rows"]] == ["near_image", "caption"]
    assert "clean_train_ids" not in said


@pytest.mark.parametrize(("most", "code"), [("1", ExitCode.REGRESSION), ("2", ExitCode.OK)])
def test_more_contaminated_rows_than_allowed_are_exit_code_1(files: tuple[str, str], most: str, code: int) -> None:
    assert run(files, "--most", most) == code


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--radius", "17"), ExitCode.USAGE, "expected 0 to 16 bits"),
        (("--containment", "0"), ExitCode.USAGE, "containment in (0, 1]"),
        (("--kinds", "image,names"), ExitCode.USAGE, "no kind 'names'"),
        (("--clean", "{tmp}/no/where.txt"), ExitCode.USAGE, "there is no folder"),
        (("--clean", "{tmp}/train.jsonl"), ExitCode.USAGE, "would be overwritten"),
        (("--clean", "{tmp}/a.txt", "--clean-eval", "{tmp}/../{name}/a.txt"), ExitCode.USAGE, "would be overwritten"),
        (("--caption-column", "text"), ExitCode.BAD_DATA, "has no column 'text'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    files: tuple[str, str],
    tmp_path: Path,
    flags: tuple[str, ...],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(files, *(flag.format(tmp=tmp_path, name=tmp_path.name) for flag in flags)) == code
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("flags", [("--radius", "17"), ("--kinds", "names"), ("--clean", "no/where.txt")])
def test_a_wrong_flag_is_said_before_any_image_is_hashed(
    files: tuple[str, str], tmp_path: Path, flags: tuple[str, ...]
) -> None:
    before = {path: path.read_bytes() for path in map(Path, files)}
    assert run(files, *flags) == ExitCode.USAGE
    assert not (tmp_path / "home").exists()
    assert {path: path.read_bytes() for path in before} == before


def test_an_id_that_is_no_line_is_refused_before_anything_is_written(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files[0]).write_text('{"id": "a\\nb", "caption": "x"}\n')
    assert run(files, "--clean", str(tmp_path / "clean.txt")) == ExitCode.BAD_DATA
    assert "is not one line" in capsys.readouterr().err
    assert not (tmp_path / "clean.txt").exists()


def test_examples_are_printable_whatever_the_captions_hold(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run((files[0], files[0])) == ExitCode.OK
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


def test_help_loads_neither_torch_nor_scipy(tmp_path: Path) -> None:
    code = """
import sys
from minchange_eval.cli.main import main
try:
    main(["audit", "contamination", "--help"])
except SystemExit:
    pass
sys.exit(str({"torch", "scipy", "sklearn", "pyarrow", "PIL"} & set(sys.modules) or ""))
"""
    env = {**os.environ, "MINCHANGE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert "--clean-eval FILE" in done.stdout
