from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minchange_eval.cli.main import main
from minchange_eval.core.record import RunRecord, write_record
from minchange_eval.reports.comparison import Comparison
from tests.reports.made_records import OTHER, questions, record, sets


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    """Sixty sets in two halves of one benchmark, of which the second run has ten more wrong and one more right."""
    before = [place % 6 != 0 for place in range(60)]
    after = [(hit and not 30 <= place < 42) or place == 0 for place, hit in enumerate(before)]
    return _written(tmp_path, record(pairs=sets(before)), record(model=OTHER, pairs=sets(after)))


def _written(folder: Path, *records: RunRecord) -> tuple[str, str]:
    paths = [folder / f"{name}.jsonl" for name in ("before", "after")]
    for path, one in zip(paths, records, strict=True):
        write_record(one, path)
    return str(paths[0]), str(paths[1])


def test_compare_prints_what_is_shown_and_which_sets_turned(
    runs: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *runs, "--flips", "2"]) == 0
    text = capsys.readouterr().out
    assert "A  m  (before.jsonl)" in text
    assert "B  n  (after.jsonl)" in text
    assert "pairs: B is worse in 6 of 6 values" in text
    (group,) = [line.split() for line in text.splitlines() if line.startswith("group_score ")]
    assert group[:4] == ["group_score", "83.3", "68.3", "-15.0"]
    assert group[-3:] == ["60", "+1", "-10"]
    assert "turned wrong: s00031, s00032 and 8 more" in text
    assert "turned right: s00000\n" in text


def test_json_is_the_whole_comparison(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *runs, "--format", "json"]) == 0
    text = capsys.readouterr().out
    compared = Comparison.model_validate_json(text)
    assert len(compared.rows) == 6
    assert json.loads(text)["rows"][0]["flips"]["to_right"] == ["s00000"]


def test_a_model_beside_itself_shows_no_difference(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", runs[0], runs[0]]) == 0
    text = capsys.readouterr().out
    assert "no difference is shown in any of 6 values" in text
    assert "-6.0 to +6.0" in text  # what 60 sets could have missed
    assert "turned wrong" not in text


def test_slices_are_shown_unless_they_are_not_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = [place % 3 != 0 for place in range(40)]
    paths = _written(tmp_path, *2 * (record(med=questions(hits, ("x", "y"))),))
    assert main(["compare", *paths]) == 0
    assert "accuracy  x " in capsys.readouterr().out
    assert main(["compare", *paths, "--no-slices"]) == 0
    text = capsys.readouterr().out
    assert "accuracy" not in text
    assert "macro" in text


@pytest.mark.parametrize(
    ("other", "code", "said"),
    [
        (lambda: record(pairs=sets([True] * 59)), 4, "not of the same questions"),
        (lambda: record(med=questions([True] * 60)), 4, "not asked"),
        (lambda: record(pairs=sets([True] * 60), changes={"fingerprint": "0" * 64}), 4, "fingerprint"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: object, code: int, said: str
) -> None:
    assert callable(other)
    paths = _written(tmp_path, record(pairs=sets([True] * 60)), other())
    assert main(["compare", *paths]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_few_unscored_queries_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = _written(tmp_path, record(med=questions([True] * 40)), record(med=questions([None] + [True] * 39)))
    assert main(["compare", *paths]) == 0
    assert "which are misses: A 0, B 1" in capsys.readouterr().out


def test_too_many_unscored_queries_are_incomplete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = _written(tmp_path, record(med=questions([True] * 40)), record(med=questions([None] * 4 + [True] * 36)))
    assert main(["compare", *paths]) == 3
    assert "B record" in capsys.readouterr().err


def test_missing_broken_and_wrongly_named_input_is_one_line(
    tmp_path: Path, runs: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", runs[0], str(tmp_path / "none.jsonl")]) == 5
    (tmp_path / "broken.jsonl").write_text("{")
    assert main(["compare", str(tmp_path / "broken.jsonl"), runs[1]]) in (3, 5)
    assert capsys.readouterr().err.count("\n") == 2
    for wrong in (["--flips", "-1"], ["--format", "html"], ["--protocol", "theirs"]):
        with pytest.raises(SystemExit) as stopped:
            main(["compare", *runs, *wrong])
        assert stopped.value.code == 2


def test_names_with_control_characters_stay_on_their_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = OTHER.model_copy(update={"name": "n\x1b[2J\nB is better"})
    lines = [line.model_copy(update={"item_id": f"{line.item_id}\x1b]0;\n"}) for line in sets([True] * 20)]
    wrong = [line.model_copy(update={"item_id": f"{line.item_id}\x1b]0;\n"}) for line in sets([False] * 20)]
    paths = _written(tmp_path, record(pairs=lines), record(model=hostile, pairs=wrong))
    assert main(["compare", *paths]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\nB is better" not in text


def test_names_of_any_length_and_half_characters_are_cut_and_kept_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = "\ud800\x1b[2J" + "z" * 5_000
    made = []
    for hit in (True, False):
        lines = [line.model_copy(update={"item_id": line.item_id + strange}) for line in questions([hit] * 20)]
        lines[:9] = [line.model_copy(update={"subset": strange}) for line in lines[:9]]
        model = OTHER.model_copy(update={"name": strange})
        made.append(record(model=model, changes={"synthetic": True, "dataset": strange}, quiz=lines))
    paths = _written(tmp_path, *made)
    assert main(["compare", *paths]) == 0
    text = capsys.readouterr().out
    assert len(text) < 6_000
    assert all(line.isprintable() for line in text.split("\n"))
    assert main(["compare", *paths, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["first"] == strange


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from minchange_eval.cli.main import main\n"
        "try: main(['compare', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'datasets', 'pyarrow', 'transformers', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "compare before.jsonl after.jsonl" in done.stdout
