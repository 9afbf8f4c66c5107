"""The `lmms_eval` command with `hf_multi_image`: families and scorings to the end, and what a kill costs."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from minchange_eval.cli.main import main
from minchange_eval.core.errors import ExitCode
from minchange_eval.core.record import comparable_bytes
from minchange_eval.data.prepare import prepare
from tests.cli.runs import Run, Runner
from tests.data.official_layouts import write_spec_release, write_vismin_release
from tests.model_adapters.chat_checkpoints import write_checkpoint

SHARED_MED = Path(__file__).parents[2].parent / "shared" / "data" / "med_sample"
ALL_SCORINGS = ("letters", "options", "generate")
# of Mllama, whose vision part is large at any size, the scoring that costs least
RUNS = {
    "qwen2_vl": ALL_SCORINGS,
    "llava": ALL_SCORINGS,
    "idefics3": ALL_SCORINGS,
    "gemma3": ALL_SCORINGS,
    "mllama": ("letters",),
}
KILLS = 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a small SPEC and VisMin, MED's part of the mini suite, and the real pairs where they are at hand."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(folder))
        prepare("spec", write_spec_release(folder / "spec_release", 3, seed=1))
        prepare("vismin", write_vismin_release(folder / "vismin_release", 8, seed=2))
        prepare("med_mini")
        if SHARED_MED.exists():
            prepare("med", SHARED_MED)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folders: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in folders:
            folders[family] = write_checkpoint(family, tmp_path_factory.mktemp(family))
        return folders[family]

    return folder


def argv(folder: Path, scoring: str, tasks: str, limit: int) -> list[str]:
    model_args = f"pretrained={folder},scoring={scoring}"
    return [
        *("--model", "hf_multi_image", "--model_args", model_args, "--tasks", tasks, "--limit", str(limit)),
        *("--gen_kwargs", "max_new_tokens=4"),
    ]


@pytest.mark.parametrize("family", RUNS)
def test_the_mini_suite_and_real_pairs_run_in_every_scoring(
    runner: Runner, home: Path, checkpoint: Callable[[str], Path], family: str
) -> None:
    real = ",spec_count" + (",med" if SHARED_MED.exists() else "")
    scorings = {"letters": ("labels", real), "options": ("options", ""), "generate": (None, "")}
    for scoring in RUNS[family]:
        scored, more = scorings[scoring]
        run = runner.run(argv(checkpoint(family), scoring, f"vismin_object,med_mini{more}", 1), home)
        # random weights answer in no readable form
        assert run.code == (ExitCode.INCOMPLETE if scoring == "generate" else ExitCode.OK), run.output
        record = run.record
        outcomes = record.outcomes["med_mini"]
        assert {outcome.scored for outcome in outcomes} == {scored}
        assert all((outcome.scores is None) == (scoring == "generate") for outcome in outcomes)
        if scoring == "options":
            assert {outcome.scored for outcome in record.outcomes["vismin_object"]} == {"pairs"}
        settings = record.model.settings
        assert (settings["family"], settings["scoring"]) == (family, scoring)
        assert settings["images_per_prompt"] == ("one" if family == "llava" else "many")
        assert ("fallback" in settings) == (family in ("gemma3", "mllama"))
        assert record.run.work["images_encoded"] > 0
        assert (record.run.work["images_reused"] > 0) == (family != "mllama")


def bytes_of(run: Run) -> bytes:
    return comparable_bytes(run.record)


def logged(home: Path) -> int:
    """Bytes of answers in the log."""
    return sum(segment.stat().st_size for segment in (home / "answers").rglob("*.jsonl"))


def test_a_run_killed_at_random_points_ends_with_the_bytes_of_one_that_was_not(
    runner: Runner, home: Path, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    asked = argv(checkpoint("qwen2_vl"), "letters", "vismin,med_mini", 40)
    whole_home, killed_home = tmp_path / "whole", tmp_path / "killed"
    for copy in (whole_home, killed_home):
        shutil.copytree(home / "store", copy / "store")
    whole = runner.run(asked, whole_home)
    assert whole.code == 0, whole.output
    dice = random.Random(3)
    for _ in range(KILLS):
        before = logged(killed_home)
        killed = runner.run(
            asked,
            killed_home,
            end=(signal.SIGKILL, dice.uniform(0, 0.3)),
            once=lambda before=before: logged(killed_home) > before,
        )
        assert killed.code == -signal.SIGKILL, killed.output
    last = runner.run(asked, killed_home)
    assert last.code == 0, last.output
    assert last.record.run.work["answers_from_log"] > 0
    assert bytes_of(last) == bytes_of(whole)


def test_a_model_without_images_is_one_line_and_exit_2(
    runner: Runner, home: Path, tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    folder = write_checkpoint("qwen2_vl", tmp_path / "text", text_only=True)
    run = runner.run(argv(folder, "letters", "med_mini", 1), home)
    assert run.code == ExitCode.USAGE
    assert "expected a chat model that sees images" in run.output
    assert "Traceback" not in run.output
    unscored = runner.run(argv(write_checkpoint("llava", tmp_path / "nan", nan=True), "letters", "med_mini", 2), home)
    assert unscored.code == ExitCode.INCOMPLETE


def test_the_doctor_probes_a_checkpoint(
    checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from minchange_eval.model_adapters.multi_image import features

    asked = ["doctor", "--probe", "--model_args", f"pretrained={checkpoint('idefics3')}"]
    assert main(asked) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "between the two images" in printed
    assert "images 2 and 1: from a shared beginning" in printed
    monkeypatch.setattr(features, "feature_key", lambda picture: "the same for all")
    assert main(asked) == ExitCode.INTERNAL
    assert "contamination probe" in capsys.readouterr().err
    assert main(["doctor", "--model_args", "pretrained=x"]) == ExitCode.USAGE
