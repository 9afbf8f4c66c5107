from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minchange_eval.cli.main import main
from minchange_eval.data.prepare import prepare
from tests.data.official_layouts import write_med_release


def test_list_shows_what_is_prepared_and_how_to_get_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list"]) == 0
    assert "nothing is prepared" in capsys.readouterr().out
    prepare("med", write_med_release(tmp_path / "clone"))
    assert main(["list"]) == 0
    prepared, missing = capsys.readouterr().out.split("not prepared:")
    assert "11 questions" in prepared
    assert "not verified; of 165" in prepared
    assert "minchange-eval prepare spec " in missing
    assert "synthetic" in missing


def test_a_damaged_store_is_one_line_of_the_list(store_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store_home / "store" / "med").mkdir(parents=True)
    (store_home / "store" / "med" / "card.json").write_text("{")
    assert main(["list"]) == 0
    assert "damaged" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_help_and_list_import_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from minchange_eval.cli.main import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'datasets', 'pyarrow', 'transformers', 'scipy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
