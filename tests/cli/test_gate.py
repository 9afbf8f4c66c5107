from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from minchange_eval.cli.main import main
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.record import RunRecord, read_record, write_record
from tests.reports.made_records import OTHER, questions, record, sets

HALF = [number % 2 > 0 for number in range(200)]
FEWER = [number % 2 > 0 and number > 60 for number in range(200)]
FORMATS = ("--junit", "--json", "--summary")


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / "baseline.jsonl"
    write_record(record(pairs=sets(HALF)), path)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.jsonl"
    write_record(record(quiz=questions(HALF[:20])), path)
    return path


def candidate_of(tmp_path: Path, made: RunRecord | Sequence[QueryOutcome]) -> Path:
    path = tmp_path / "candidate.jsonl"
    write_record(made if isinstance(made, RunRecord) else record(pairs=made, model=OTHER), path)
    return path


def gate(baseline: Path, candidate: Path, *flags: str | Path) -> int:
    return main(["gate", "--baseline", str(baseline), "--candidate", str(candidate), *map(str, flags)])


def rewritten(path: Path, change: Callable[[list[bytes]], Sequence[bytes]]) -> Path:
    """The file with other lines."""
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    return path


def test_exit_codes_are_those_of_the_verdicts(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for hits, flags, code, last in (
        (HALF, (), 0, "gate: pass (exit 0)"),
        (FEWER, (), 1, "gate: regression (exit 1)"),
        (FEWER, ("--margin", "0.3"), 0, "gate: pass (exit 0)"),
        ([number % 2 > 0 for number in range(199)] + [False], ("--margin", "0"), 6, "gate: undecided (exit 6)"),
        (HALF, ("--margin", "0"), 6, "gate: undecided (exit 6)"),
        (HALF, ("--margin", "0", "--undecided", "pass"), 0, "gate: undecided, let through (exit 0)"),
    ):
        assert gate(baseline, candidate_of(tmp_path, sets(hits)), *flags) == code
        printed = capsys.readouterr()
        assert printed.out.splitlines()[-1] == last
        assert printed.err == ""


def cut(lines: list[bytes]) -> list[bytes]:
    return [*lines[:100], lines[100][:30]]


def nan(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b'"scores":[0.0', b'"scores":[NaN').replace(b"[1.0", b"[NaN")]


def broken(lines: list[bytes]) -> list[bytes]:
    return [*lines[:50], b"{]\n", *lines[51:]]


def newer(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"schema_version":3', b'"schema_version":99'), *lines[1:]]


def twice_and_otherwise(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[-1].replace(b'"hit":true', b'"hit":false')]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (cut, 3, "line 101: expected JSON"),
        (lambda lines: lines[:-4], 3, "expected 800 queries, got 796"),
        (nan, 3, "NaN is no number"),
        (broken, 5, "line 51: expected JSON"),
        (newer, 5, "written with schema 99, this version reads up to 3"),
        (twice_and_otherwise, 5, "two different outcomes"),
        (lambda lines: [], 5, "not a run record"),
        (lambda lines: [b"\x00" * 5000], 5, "expected JSON"),
    ],
    ids=["cut", "lines missing", "NaN", "broken", "newer", "a set twice, otherwise", "empty", "no record"],
)
def test_a_bad_record_is_one_line_with_its_exit_code_on_either_side(
    tmp_path: Path,
    baseline: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[list[bytes]], Sequence[bytes]],
    code: int,
    said: str,
) -> None:
    bad = rewritten(candidate_of(tmp_path, sets(HALF)), change)
    outputs = [tmp_path / flag.strip("-") for flag in FORMATS]
    for path in outputs:
        path.write_text("gate: pass, of an earlier run")
    flags = [part for pair in zip(FORMATS, outputs, strict=True) for part in pair]
    assert gate(baseline, bad, *flags) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")
    (error,) = ElementTree.parse(outputs[0]).iter("error")  # noqa: S314
    assert said in str(error.text)
    assert json.loads(outputs[1].read_text())["exit_code"] == code
    assert f"no decision (exit {code}" in outputs[2].read_text()
    assert gate(bad, baseline) == code


@pytest.mark.parametrize(
    ("made", "code", "said"),
    [
        (record(pairs=sets(HALF), changes={"limit": 200, "items_in_full": 900}), 4, "--limit none | 200"),
        (record(pairs=sets(HALF), changes={"fingerprint": "0" * 64}), 4, "fingerprint ffffffffffff… | 000000000000…"),
        (record(pairs=sets(HALF[:-1])), 4, "items 200 of 200 | 199 of 199"),
        (record(quiz=questions(HALF)), 4, "pairs: asked | not asked; quiz: not asked | asked"),
        (record(pairs=questions([None] * 30 + HALF[30:])), 3, "30 of 200 queries are unscored, more than 5%"),
        (record(), 3, "candidate record: expected at least one task, got none"),
    ],
    ids=["a limit", "other data", "other sets", "another benchmark", "unscored", "zero sets"],
)  # fmt: skip
def test_records_that_cannot_be_compared_are_one_line(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str], made: RunRecord, code: int, said: str
) -> None:
    assert gate(baseline, candidate_of(tmp_path, made)) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")


def test_a_set_that_stands_twice_in_a_record_counts_once(tmp_path: Path, baseline: Path) -> None:
    doubled = rewritten(candidate_of(tmp_path, sets(HALF)), lambda lines: [*lines, *lines[-4:]])
    assert gate(baseline, doubled, "--json", tmp_path / "g.json") == 0
    assert json.loads((tmp_path / "g.json").read_text())["checks"][0]["items"] == 200


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("a defect"), 70), (KeyboardInterrupt(), 130)])
def test_no_earlier_decision_is_left_by_a_gate_that_failed_or_was_interrupted(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def failing(path: Path) -> RunRecord:
        raise error

    out = tmp_path / "gate.json"
    out.write_text("gate: pass, of an earlier run")
    monkeypatch.setattr("minchange_eval.core.record.read_record", failing)
    assert gate(small, small, "--json", out) == code
    assert json.loads(out.read_text())["exit_code"] == code


def test_one_set_is_undecided(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    write_record(record(pairs=sets([True])), one)
    write_record(record(pairs=sets([False])), other)
    assert gate(one, other) == gate(one, one) == 6


def test_a_record_of_an_older_schema_is_gated_against_a_new_one(tmp_path: Path, baseline: Path) -> None:
    def as_version_1(lines: list[bytes]) -> list[bytes]:
        header, *rest = map(json.loads, lines)
        header["schema_version"] = 1
        for field in ("slim_of", "alternatives"):
            del header[field]
        for task in header["tasks"]:
            for field in ("variant", "prompt_source", "left_out"):
                del task[field]
        for line in rest:
            del line["scored"]
        return [json.dumps(line).encode() + b"\n" for line in (header, *rest)]

    older = rewritten(candidate_of(tmp_path, sets(FEWER)), as_version_1)
    assert read_record(older).schema_version == 1
    assert (gate(baseline, older), gate(older, baseline), gate(older, older)) == (1, 0, 0)


def test_names_in_any_script_and_of_any_length_leave_the_output_short_and_on_its_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = "\u202eעברית\n::error::<script>|\x1b[2J" + "z" * 10_000_000
    paths = []
    for number, hits in enumerate(([True] * 60, [False] * 60)):
        lines = [line.model_copy(update={"item_id": f"{line.item_id}{strange}"[:4000]}) for line in questions(hits)]
        lines[:30] = [line.model_copy(update={"subset": strange[:4000]}) for line in lines[:30]]
        model = OTHER.model_copy(update={"name": strange})
        made = record(quiz=lines, model=model, changes={"synthetic": True, "dataset": strange})
        paths.append(tmp_path / f"{number}.jsonl")
        write_record(made, paths[-1])
    outputs = [tmp_path / flag.strip("-") for flag in FORMATS]
    assert gate(*paths, *[part for pair in zip(FORMATS, outputs, strict=True) for part in pair]) == 1
    printed = capsys.readouterr().out
    assert len(printed) < 5_000
    assert all(line.isprintable() for line in printed.split("\n"))
    assert not any(line.startswith("::") for line in printed.split("\n"))
    assert ElementTree.parse(outputs[0]).getroot().get("failures") == "1"  # noqa: S314
    assert "<script" not in outputs[2].read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--margin", "2"), "--margin 2: expected a fraction from 0 to below 1, 0.02 is two points"),
        (("--margin", "nan"), "--margin nan: expected a fraction"),
        (("--margin", "two"), "--margin two: "),
        (("--policy", "none.yaml"), "policy none.yaml: cannot be read (No such file or directory)"),
        (("--json", "none/g.json"), "--json none/g.json: cannot be written (No such file or directory)"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_2(
    small: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    assert gate(small, small, *flags) == 2
    assert said in capsys.readouterr().err


def test_a_policy_decides_and_its_mistakes_are_named(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate, policy = candidate_of(tmp_path, sets(FEWER)), tmp_path / "gate.yaml"
    for text, code, said in (
        ("benchmarks: {pairs: {margin: 0.3}}", 0, ""),
        ("benchmarks: {pairs: {margin: 0.3, metrics: {group_score: 0.01}}}", 1, ""),
        ("benchmarks: {pairs: {margn: 0.3}}", 2, "unknown key benchmarks.pairs.margn; did you mean margin?"),
        ("benchmarks: {pair: {margin: 0.3}}", 2, "benchmarks.pair is in neither record; did you mean pairs?"),
    ):
        policy.write_text(text)
        assert gate(baseline, candidate, "--policy", policy) == code
        assert said in capsys.readouterr().err


def test_no_file_is_read_and_written_at_once(tmp_path: Path, baseline: Path) -> None:
    before, candidate = baseline.read_bytes(), candidate_of(tmp_path, sets(HALF))
    assert gate(baseline, candidate, "--json", baseline) == 2
    assert gate(baseline, candidate, "--json", tmp_path / "x", "--junit", tmp_path / "x") == 2
    assert (baseline.read_bytes(), (tmp_path / "x").exists()) == (before, False)


@pytest.mark.parametrize("flag", FORMATS)
def test_a_folder_that_cannot_be_written_to_is_one_line_and_exit_2(
    tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    if not Path("/sys/kernel").is_dir():
        pytest.skip("needs a folder that not even root may write to")
    for path in (Path("/sys/kernel/gate.out"), small / "gate.out", tmp_path):
        assert gate(small, small, flag, path) == 2
        error = capsys.readouterr().err
        assert f"{flag} {path}: cannot be written" in error
        assert error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"small.jsonl"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_is_written_to_and_not_replaced(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(small, small, "--json", "/dev/null") == 6
    assert gate(small, small, "--json", "/dev/full") == 70
    assert "--json /dev/full: cannot be written (No space left on device)" in capsys.readouterr().err
    assert not Path("/dev/null").is_file()
    assert not Path("/dev/full").is_file()


@pytest.mark.parametrize("verb", ["gate", "slim"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path, small: Path, verb: str) -> None:
    out = tmp_path / "out"
    out.write_text("what was there")
    given = {
        "gate": ["--baseline", str(small), "--candidate", str(small), "--json", str(out)],
        "slim": [str(small), "--out", str(out)],
    }
    code = f"""
import resource, signal, sys
from minchange_eval.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
sys.exit(main({[verb, *given[verb]]!r}))
"""
    assert signal.SIGXFSZ
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 70
    assert done.stderr.count("\n") == 1
    assert "cannot be written (" in done.stderr
    assert out.read_text() == "what was there"
    assert {path.name for path in tmp_path.iterdir()} == {"small.jsonl", "out"}


def test_slim_records_are_small_and_decide_the_same_byte_for_byte(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate, slim = candidate_of(tmp_path, sets(FEWER)), tmp_path / "slim.jsonl.gz"
    assert main(["slim", str(baseline), "--out", str(slim)]) == 0
    assert "800 queries" in capsys.readouterr().out
    assert slim.stat().st_size < baseline.stat().st_size / 20
    said = []
    for number, path in enumerate((baseline, slim)):
        outputs = [tmp_path / f"{number}{flag}" for flag in FORMATS]
        assert gate(path, candidate, *[part for pair in zip(FORMATS, outputs, strict=True) for part in pair]) == 1
        said.append([capsys.readouterr().out, *(output.read_bytes() for output in outputs)])
    assert said[0] == said[1]


def test_a_record_is_not_slimmed_onto_itself_nor_where_it_is_incomplete(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = baseline.read_bytes()
    assert main(["slim", str(baseline), "--out", str(baseline)]) == 2
    assert baseline.read_bytes() == before
    bad = candidate_of(tmp_path, record(quiz=questions([None] * 30 + HALF[30:])))
    assert main(["slim", str(bad), "--out", str(tmp_path / "s.gz")]) == 3
    assert not (tmp_path / "s.gz").exists()
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize("verb", ["gate", "slim"])
def test_help_has_examples_and_loads_nothing_heavy(verb: str) -> None:
    code = f"""
import sys
from minchange_eval.cli.main import main
try:
    main([{verb!r}, "--help"])
except SystemExit:
    heavy = {{"scipy", "sklearn", "torch", "pyarrow", "yaml", "jinja2"}} & set(sys.modules)
    sys.exit(f"loaded {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"examples:\n  minchange-eval {verb}" in done.stdout
