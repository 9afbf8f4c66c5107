from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minchange_eval.cli.main import main
from minchange_eval.core.record import ModelDescription, RunRecord, write_record
from minchange_eval.core.slim_records import slim
from tests.reports.made_records import questions, record, sets

RECORDS = Path(__file__).parents[1] / "core" / "records"


def saved(folder: Path, made: RunRecord, name: str = "run.jsonl") -> Path:
    write_record(made, folder / name)
    return folder / name


def made(name: str = "clip", hits: tuple[bool | None, ...] = (True, False) * 10) -> RunRecord:
    return record(model=ModelDescription(adapter="open_clip", name=name), quiz=questions(hits, ("x", "y")))


def refused(capsys: pytest.CaptureFixture[str], out: Path, *given: object) -> tuple[int, str]:
    """Exit code and the one line that was said; nothing was written."""
    before = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    code = main(["report", *map(str, given), "--out", str(out)])
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert (sorted(out.parent.iterdir()) if out.parent.is_dir() else []) == before
    return code, said.err


def test_a_page_is_one_file_that_asks_nothing_of_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    assert main(["report", str(saved(tmp_path, made())), "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert {link[0] for link in re.findall(r"(?:src|href|action)=[\"'](.)", markup)} == {"#"}
    assert "//" not in markup
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("form", ["md", "latex", "csv", "json", "model-card"])
def test_tables_are_printed_or_written_the_same(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, made())
    assert main(["report", str(path), "--format", form]) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "table"
    assert main(["report", str(path), "--format", form, "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == printed
    assert "clip" in printed


def test_the_name_of_the_file_says_the_format(tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    assert main(["report", str(saved(tmp_path, made())), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["runs"] == 1


def test_a_name_that_says_no_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = refused(capsys, tmp_path / "report.txt", saved(tmp_path, made()))
    assert code == 2
    assert "expected a name that ends in .html" in line


def test_a_report_never_replaces_a_record_that_it_is_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, made())
    before = path.read_bytes()
    (tmp_path / "link.html").symlink_to(path)
    for out in (path, tmp_path / "link.html"):
        code, line = refused(capsys, out, path, "--format", "html")
        assert code == 2
        assert "is a run record of this report" in line
    assert path.read_bytes() == before


def test_a_report_can_go_to_standard_output_as_a_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minchange_eval.cli.main", "report", saved(tmp_path, made())]
    done = subprocess.run([*command, "--format", "csv", "--out", "/dev/stdout"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("benchmark,")


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_records_of_every_version_are_reported(version: str, tmp_path: Path) -> None:
    assert main(["report", str(RECORDS / f"{version}.jsonl"), "--out", str(tmp_path / "r.html")]) == 0


def _cut(text: str) -> str:
    return text[: len(text) * 2 // 3]


def _nan(text: str) -> str:
    return re.sub(r'"scores":\[[^]]*\]', '"scores":[NaN,0,0,0]', text, count=1)


def _twice_differently(text: str) -> str:
    lines = text.splitlines(keepends=True)
    header = json.loads(lines[0])
    header["tasks"][0]["queries"] += 1
    other = json.loads(lines[1])
    other["hit"] = not other["hit"]
    return "".join([json.dumps(header) + "\n", *lines[1:], json.dumps(other) + "\n"])


def _nothing_asked(text: str) -> str:
    header = json.loads(text.splitlines()[0])
    header["tasks"][0]["queries"] = 0
    return json.dumps(header) + "\n"


def _newer(text: str) -> str:
    return re.sub(r'"schema_version":\d+', '"schema_version":99', text, count=1)


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (_cut, 3, "run.jsonl"),
        (_nan, 3, "NaN"),
        (_twice_differently, 5, "two different outcomes"),
        (_nothing_asked, 3, "expected answered queries, got none"),
        (_newer, 5, "update minchange-eval"),
        (lambda text: "", 5, "not a run record"),
        (lambda text: "hello\n", 5, "expected JSON"),
    ],
)
def test_a_record_that_cannot_be_used_is_one_line_and_nothing_is_written(
    damage: Callable[[str], str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = saved(tmp_path, made("good"), "good.jsonl"), saved(tmp_path, made())
    bad.write_text(damage(bad.read_text()))
    got, line = refused(capsys, tmp_path / "report.html", good, bad)
    assert got == code
    assert said in line


def test_a_missing_record_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, tmp_path / "r.html", tmp_path / "none.jsonl")[0] == 5


def test_a_set_that_is_given_twice_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, made())
    before = path.read_text()
    lines = before.splitlines(keepends=True)
    main(["report", str(path), "--format", "csv"])
    once = capsys.readouterr().out
    path.write_text("".join([*lines, lines[1]]))
    assert main(["report", str(path), "--format", "csv"]) == 0
    assert capsys.readouterr().out == once


def test_a_slim_record_gives_the_tables_of_the_whole_one_but_no_published_reading(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = made()
    path, small = saved(tmp_path, whole), saved(tmp_path, slim(whole), "slim.jsonl")
    printed = []
    for one in (path, small):
        assert main(["report", str(one), "--format", "md"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert main(["report", str(small), "--out", str(tmp_path / "r.html")]) == 0
    capsys.readouterr()
    code, line = refused(capsys, tmp_path / "published.html", small, "--protocol", "published")
    assert code == 2
    assert "slim" in line


def test_records_of_different_benchmarks_have_tables_of_their_own(tmp_path: Path) -> None:
    paths = [saved(tmp_path, made(), "a.jsonl"), saved(tmp_path, record(pairs=sets([True, False] * 5)), "b.jsonl")]
    assert main(["report", *map(str, paths), "--out", str(tmp_path / "r.json")]) == 0
    boards = json.loads((tmp_path / "r.json").read_text())["benchmarks"]
    assert [board["dataset"] for board in boards] == ["pairs", "quiz"]


@pytest.mark.parametrize("name", ["مدل کوچک", "模型", "דגם\u202eabc", "ไทย", "e\u0301" * 40, "</script><b>x"])
def test_names_in_any_script_or_direction_are_shown(name: str, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    assert main(["report", str(saved(tmp_path, made(name))), "--out", str(out), "--gallery", "0"]) == 0
    page = out.read_text(encoding="utf-8")
    assert "\u202e" not in page
    assert "<b>x" not in page


def test_a_caption_of_ten_megabytes_neither_breaks_nor_fills_the_page(tmp_path: Path) -> None:
    lines = questions([True, False] * 3)
    huge = "é<" * 5_000_000
    lines[0] = lines[0].model_copy(update={"text": huge, "scores": None, "scored": None, "choice": 1})
    path = saved(tmp_path, record(model=ModelDescription(adapter="chat", name="m"), quiz=lines))
    assert path.stat().st_size > 10_000_000
    assert main(["report", str(path), "--out", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").stat().st_size < 1_000_000


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = saved(tmp_path, made()), tmp_path / "report.html"
    out.write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        code, line = refused(capsys, out, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 70
    assert "make room" in line
    assert out.read_text() == "before"


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder here that even root may not write to")
def test_a_read_only_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = refused(capsys, Path("/sys/kernel/report.html"), saved(tmp_path, made()))
    assert code == 2
    assert "written" in line


@pytest.mark.parametrize("out", ["", "nowhere/report.html"])
def test_a_place_that_is_no_file_is_refused_before_the_work(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, tmp_path / out, tmp_path / "none.jsonl")[0] == 2


def test_a_page_without_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(saved(tmp_path, made())), "--format", "html"]) == 2
    assert "--out" in capsys.readouterr().err


def test_many_records_are_read_by_two_processes_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from minchange_eval.reports import run_results

    paths = [saved(tmp_path, made(f"m{number}"), f"{number}.jsonl") for number in range(3)]
    assert main(["report", *map(str, paths), "--format", "json"]) == 0
    alone = capsys.readouterr().out
    monkeypatch.setattr(run_results, "_SMALL_BYTES", 0)
    assert main(["report", *map(str, paths), "--format", "json"]) == 0
    assert capsys.readouterr().out == alone
    paths[1].write_text("hello\n")
    assert main(["report", *map(str, paths), "--format", "json"]) == 5


def test_help_starts_fast_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "scipy", "sklearn", "jinja2", "pyarrow", "PIL")
    code = (
        "import sys\nfrom minchange_eval.cli.main import main\n"
        "try:\n    main(['report', '--help'])\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(','.join(sorted(set({heavy!r}) & set(sys.modules))))"
    )
    start = time.process_time()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert ran.stderr == ""
    assert "--gallery" in ran.stdout
    assert time.process_time() - start < 1
