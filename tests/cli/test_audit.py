"""`minchange-eval audit` from the command line: what it prints, keeps and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from minchange_eval import tasks
from minchange_eval.audit import learned_rules
from minchange_eval.audit.shortcut_tables import BALANCED_TASKS
from minchange_eval.cli.main import main
from minchange_eval.core.items import ChoiceQuestion
from minchange_eval.data.audit_results import audit_path, read_audit, read_balanced
from minchange_eval.data.prepare import prepare
from minchange_eval.data.store import Store
from tests.audit.quizzes import quiz, with_longest_right
from tests.data.official_layouts import write_med_release

SHARED_MED = Path(__file__).parents[2].parent / "shared" / "data" / "med_sample"
HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e \"onload='x' {{7*7}}"


def saved(path: Path, questions: list[ChoiceQuestion]) -> Path:
    rows = [
        {"id": q.question_id, "subset": q.subset, "question": q.question, "options": q.options, "answer": q.answers[0]}
        for q in questions
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_rules, "_TREES", 10)


@pytest.mark.skipif(not SHARED_MED.exists(), reason="the 44 MED pairs are not beside this checkout")
def test_the_released_meds_leaks_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    prepare("med", SHARED_MED)
    assert main(["audit", "med", "--examples", "1"]) == 0
    said = capsys.readouterr().out
    assert "the answer is the only option without stray blanks" in said  # the data quality beneath
    card = Store.open("med").card
    result = read_audit("med", card.fingerprint)
    assert result is not None
    found = {(rule.asks, rule.name) for rule in result.rules if rule.significant}
    assert {
        ("answer", "most_alike"), ("answer", "clean_ends"), ("answer", "words"), ("answer", "shape"),
        ("image", "always_1"), ("image", "looks"),
    } <= found  # fmt: skip
    best = result.blind("macro")
    assert best is not None
    assert best[1].value > 0.6


def test_a_prepared_data_set_is_audited_whole_or_by_its_subset_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare("med", write_med_release(tmp_path / "clone"))
    assert main(["audit", "med", "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["quality"]["dataset"] == "med"
    assert said["shortcuts"]["items"] == 11
    card = Store.open("med").card
    assert audit_path("med", card.fingerprint).is_file()
    assert read_audit("med", "0" * 64) is None


def test_a_table_is_audited_and_balanced_the_same_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "my quiz.jsonl", with_longest_right(quiz(60), 0.7))
    outputs = []
    for _ in range(2):
        assert main(["audit", "--examples", "1", str(path), "--balance"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert "above chance" in outputs[0]
    assert "Balanced subset: " in outputs[0]
    assert "arXiv:2511.04655" in outputs[0]


def test_hostile_texts_are_escaped_on_the_terminal_and_in_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [
        ChoiceQuestion(**{**vars(one), "question": HOSTILE, "subset": HOSTILE, "question_id": f"{HOSTILE}{number}"})
        for number, one in enumerate(with_longest_right(quiz(40), 1.0))
    ]
    path = saved(tmp_path / "quiz.jsonl", questions)
    assert main(["audit", str(path)]) == 0
    text = capsys.readouterr().out
    assert all(character == "\n" or character.isprintable() for character in text)
    assert main(["audit", str(path), "--format", "html", "--out", str(tmp_path / "audit.html")]) == 0
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    tags: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            assert not {name for name, _ in attrs} & {"style", "onload", "src"}

    Reader().feed(page)
    assert "script" not in tags
    assert "{{7*7}}" in page
    assert "49" not in page.replace("/49", "")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["audit", "nothing"], 2, "is not prepared"),
        (["audit", "none.csv"], 2, "there is no such file"),
        (["audit", "bad.jsonl"], 5, "row 1: "),
        (["audit", "good.jsonl", "--out", "no/such/folder/x"], 2, "--out"),
        (["audit", "good.jsonl", "--seed", "-1"], 2, "--seed"),
        (["audit", "med", "--images", "."], 2, "--images .: is of a table"),
        (["audit", "cut.jsonl", "--out", "found.txt"], 5, "image 7b.png: "),
        (["audit", "good.jsonl", "--balance"], 5, "no subset of at least 10 items"),
    ],
)
def test_what_cannot_be_audited_is_one_line_and_its_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"question": "?"}\n')
    saved(tmp_path / "good.jsonl", with_longest_right(quiz(24, options=8), 1.0))
    save_pairs(tmp_path)
    (tmp_path / "7b.png").write_bytes((tmp_path / "7b.png").read_bytes()[:40])
    assert main(arguments) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("kept: ")]
    assert said in line
    assert not (tmp_path / "found.txt").exists()


def save_pairs(folder: Path) -> None:
    """`cut.jsonl`: questions about two images each, of which the first is the original."""
    rows = []
    for number in range(12):
        names = [f"{number}{side}.png" for side in "ab"]
        for place, name in enumerate(names):
            Image.new("RGB", (24, 24), (number, place, 0)).save(folder / name)
        rows.append(
            {
                "question": "?",
                "options": ["x", "y"],
                "answer": 0,
                "image_1": names[0],
                "image_2": names[1],
                "original": 0,
            }
        )
    (folder / "cut.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_home_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "file"))
    assert main(["audit", str(saved(tmp_path / "quiz.jsonl", quiz(12)))]) == 2
    said = capsys.readouterr()
    assert "cannot be written" in said.err
    assert "Which option is the answer?" in said.out  # what took minutes is not lost


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = saved(tmp_path / "quiz.jsonl", quiz(60))
    script = (
        "import resource, sys; from minchange_eval.audit import learned_rules; learned_rules._TREES = 3\n"
        "from minchange_eval.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "audit", str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "MINCHANGE_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 70
    assert "Which option is the answer?" in done.stdout
    assert "make room" in done.stderr.splitlines()[-1]
    assert list((tmp_path / "home" / "audits").iterdir()) == []


def test_where_no_subset_is_found_the_table_is_shown_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "quiz.jsonl", with_longest_right(quiz(24, options=8), 1.0))
    assert main(["audit", str(path), "--balance"]) == 5
    assert "longest" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["med", "med_mini", "vismin_mini"])
def test_a_table_that_is_called_like_a_data_set_is_not_taken_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    rows = [
        {"question": "?", "options": ["a", "b"], "answer": n % 2, "image_1": f"{n}.png", "image_2": f"{n}b.png"}
        for n in range(12)
    ]
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["audit", str(path)]) == 0
    assert "the data does not say which of them is the original" in capsys.readouterr().out


def test_the_tasks_over_balanced_subsets_are_those_that_the_audit_names() -> None:
    found = {path.stem for path in (Path(tasks.__file__).parent).glob("*/*_balanced.yaml")}
    assert found == {f"{dataset}_balanced" for dataset in BALANCED_TASKS}


def test_contamination_has_flags_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", "contamination", "--help"])
    assert ended.value.code == 0
    assert "--train X" in capsys.readouterr().out


def test_a_subset_that_is_of_other_data_is_not_taken(tmp_path: Path) -> None:
    path = saved(tmp_path / "quiz.jsonl", quiz(30))
    assert main(["audit", str(path), "--balance"]) == 0
    import hashlib

    fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_balanced("quiz.jsonl", fingerprint) is not None
    assert read_balanced("quiz.jsonl", fingerprint[:16] + "0" * 48) is None


def test_help_is_light_and_quick() -> None:
    script = (
        "import sys; from minchange_eval.cli.main import main\n"
        "try: main(['audit', '--help'])\nexcept SystemExit: pass\n"
        "print({'torch', 'sklearn', 'scipy', 'pyarrow', 'jinja2', 'PIL'} & set(sys.modules), file=sys.stderr)"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
    assert "--balance" in done.stdout
    assert time.monotonic() - began < 5  # seconds, on a busy machine; startup itself is measured in benchmarks/
