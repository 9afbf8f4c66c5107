from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minchange_eval.core.record import read_record
from tests.cli.runs import Run, Runner
from tests.cli.tiny_training import Trainings, make_model, make_pictures, make_store

WEIGHTS = "open_clip_model.safetensors"
STEPS = 7
LOOP = "minchange_eval.trainers.clip"


@pytest.fixture(scope="module")
def trainings(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    home = tmp_path_factory.mktemp("home")
    model = make_model(tmp_path_factory.mktemp("models") / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(home))
        make_store()
    settings = {
        "model": model,
        "sets": "colours",
        "plain": "store:colours",
        "sets-per-batch": 6,
        "pairs-per-batch": 4,
        "steps": STEPS,
        "learning-rate": 3e-3,
        "warmup-steps": 2,
        "epsilon": 1e-4,  # the keys' biases have no gradient but rounding, which a smaller one would blow up
        "save-every": 3,
        "workers": 1,
    }
    return Trainings(runner, home, settings)


@pytest.fixture(scope="module")
def with_suite(trainings: Trainings, chat_suite: Path) -> Trainings:
    """With something to evaluate."""
    shutil.copytree(chat_suite / "store" / "vismin_mini", trainings.home / "store" / "vismin_mini")
    return trainings


@pytest.fixture(scope="module")
def undisturbed(trainings: Trainings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training that nothing came between leaves."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    run = trainings.run(folder)
    assert run.code == 0, run.output
    assert run.output.splitlines()[-1] == str(folder)
    return folder


def assert_same(folder: Path, other: Path) -> None:
    assert (folder / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
    assert (folder / "losses.jsonl").read_bytes() == (other / "losses.jsonl").read_bytes()
    assert not (folder / ".state").exists()


def at_call(place: str, times: int, what: str) -> str:
    """Source that does something when a function of the package is called for the n-th time."""
    module, _, name = place.rpartition(".")
    of = ".".join([f"importlib.import_module('{LOOP}.{module.split('.')[0]}')", *module.split(".")[1:]])
    return f"""
import errno, importlib, os, resource, signal, torch
real, calls = {of}.{name}, []
def changed(*args, **kwargs):
    calls.append(1)
    if len(calls) == {times}:
        {what}
    return real(*args, **kwargs)
{of}.{name} = changed
"""


def kill_at(place: str, times: int) -> str:
    return at_call(place, times, "os.kill(os.getpid(), signal.SIGKILL)")


def test_a_training_writes_weights_losses_and_a_record_and_changes_the_model(
    undisturbed: Path, trainings: Trainings
) -> None:
    record = json.loads((undisturbed / "training.json").read_text())
    assert (record["steps"], record["planned_steps"], record["stopped"]) == (STEPS, STEPS, "")
    assert [source["name"] for source in record["data"]] == ["colours", "store:colours"]
    assert record["data"][0]["licence"] == "CC0-1.0"
    lines = [json.loads(line) for line in (undisturbed / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert set(lines[0]) == {"step", "loss", "clip", "hard_negative", "learning_rate", "scale"}
    assert list((undisturbed / "tensorboard").iterdir())
    before = load_file(Path(str(trainings.settings["model"])) / WEIGHTS)
    after = load_file(undisturbed / WEIGHTS)
    assert not torch.equal(before["visual.proj"], after["visual.proj"])


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(kill_at("run_log.RunLog.step", 1), id="in the first step"),
        pytest.param(kill_at("run_log.RunLog.step", 5), id="between two states"),
        pytest.param(kill_at("state.sync", 2), id="in the first state"),
        pytest.param(kill_at("state.sync", 8), id="in the second state"),
        pytest.param(kill_at("state.sync", 10), id="before the old state is removed"),
        pytest.param(kill_at("layouts.sync", 3), id="while the checkpoint is written"),
        pytest.param(kill_at("loop.write_training_record", 1), id="before the record is written"),
    ],
)
def test_a_training_that_is_killed_goes_on_to_the_same_bytes(
    trainings: Trainings, undisturbed: Path, tmp_path: Path, moment: str
) -> None:
    assert trainings.run(tmp_path / "out", before=moment).code == -9
    run = trainings.run(tmp_path / "out")
    assert run.code == 0, run.output
    assert_same(tmp_path / "out", undisturbed)


TERM, INT = (f"os.kill(os.getpid(), signal.{name})" for name in ("SIGTERM", "SIGINT"))


@pytest.mark.parametrize(
    ("moment", "step"),
    [
        pytest.param(at_call("run_log.RunLog.step", 4, TERM), 4, id="SIGTERM"),
        pytest.param(at_call("run_log.RunLog.step", 4, INT), 4, id="SIGINT"),
        pytest.param(at_call("state.sync", 2, f"{TERM}; {TERM}; {INT}"), 3, id="three while a state is saved"),
        pytest.param(at_call("layouts.sync", 2, f"{TERM}; {INT}"), 7, id="while the checkpoint is written"),
    ],
)
def test_a_signal_saves_between_two_steps_and_ends_with_130(
    trainings: Trainings, undisturbed: Path, tmp_path: Path, moment: str, step: int
) -> None:
    run = trainings.run(tmp_path / "out", before=moment)
    assert run.code == 130
    assert "Traceback" not in run.output
    assert [path.name for path in (tmp_path / "out" / ".state").glob("step-*")] == [f"step-{step:09d}"]
    run = trainings.run(tmp_path / "out")
    assert f"going on after step {step} of 7" in run.output
    assert_same(tmp_path / "out", undisturbed)


def test_a_changed_setting_is_refused_by_name_and_force_starts_anew(
    trainings: Trainings, undisturbed: Path, tmp_path: Path
) -> None:
    assert trainings.run(tmp_path / "out", before=kill_at("run_log.RunLog.step", 5)).code == -9
    run = trainings.run(tmp_path / "out", "--seed", "3", "--beta1", "0.8", "--workers", "2")
    assert run.code == 2
    assert (
        "unfinished training, 3 steps of it, with another beta1 (then 0.9, now 0.8), seed (then 0, now 3)" in run.output
    )
    run = trainings.run(tmp_path / "out", "--seed", "3", "--force")
    assert run.code == 0, run.output
    assert (tmp_path / "out" / WEIGHTS).read_bytes() != (undisturbed / WEIGHTS).read_bytes()


def test_a_finished_training_is_not_overwritten(trainings: Trainings, undisturbed: Path) -> None:
    before = (undisturbed / WEIGHTS).read_bytes()
    run = trainings.run(undisturbed)
    assert run.code == 2
    assert run.output == (
        f"minchange-eval: output {undisturbed}: holds a finished training; name another folder, or replace it with "
        "--force\n"
    )
    assert (undisturbed / WEIGHTS).read_bytes() == before


def test_a_folder_of_somebody_else_is_not_written_into(trainings: Trainings, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    run = trainings.run(tmp_path / "letters")
    assert run.code == 2
    assert "is not empty and holds no training" in run.output
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["a.txt"]


def test_a_disk_that_fills_up_while_a_state_is_saved_leaves_the_one_before(
    trainings: Trainings, undisturbed: Path, tmp_path: Path
) -> None:
    full = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))"
    run = trainings.run(tmp_path / "out", before=at_call("state.StateFolder.save", 2, full))
    assert run.code == 70
    (line,) = [line for line in run.output.splitlines() if "minchange-eval" in line]
    assert "the state of step 6 cannot be saved" in line
    assert "that of step 3 is kept" in line
    assert [path.name for path in (tmp_path / "out" / ".state").glob("step-*")] == ["step-000000003"]
    assert trainings.run(tmp_path / "out").code == 0
    assert_same(tmp_path / "out", undisturbed)


def test_a_disk_that_is_full_at_the_end_keeps_the_state_and_the_same_command_finishes(
    trainings: Trainings, undisturbed: Path, tmp_path: Path
) -> None:
    full = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))"
    run = trainings.run(tmp_path / "out", before=at_call("loop.write_checkpoint_folder", 1, full))
    assert run.code == 70
    assert "the disk is full" in run.output.splitlines()[-1]
    assert not (tmp_path / "out" / "training.json").exists()
    run = trainings.run(tmp_path / "out")
    assert "going on after step 7 of 7" in run.output
    assert_same(tmp_path / "out", undisturbed)


def test_a_loss_that_is_no_number_keeps_the_last_good_weights(trainings: Trainings, tmp_path: Path) -> None:
    run = trainings.run(
        tmp_path / "out", before=at_call("step.TrainStep.take", 5, "args[0].logit_scale.data.fill_(float('nan'))")
    )
    assert run.code == 70
    line = run.output.splitlines()[-1]
    assert line.startswith(
        "minchange-eval: clip training, step 5: the loss is nan (clip nan, hard_negative nan); lower"
    )
    assert line.endswith(f"the weights of step 3, the last that were saved, are in {tmp_path / 'out'}")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in load_file(tmp_path / "out" / WEIGHTS).values())
    assert trainings.run(tmp_path / "out").code == 0  # what made it so has gone: the same command goes on


def test_weights_that_are_not_finite_are_never_saved(trainings: Trainings, tmp_path: Path) -> None:
    poison = "next(args[0]._model.parameters()).data.fill_(float('inf'))"
    run = trainings.run(tmp_path / "out", before=at_call("loop._Training._write_state", 2, poison))
    assert run.code == 70
    assert "has values that are not finite" in run.output.splitlines()[-1]
    assert [path.name for path in (tmp_path / "out" / ".state").glob("step-*")] == ["step-000000003"]


def test_memory_that_runs_out_is_said_with_what_to_turn(trainings: Trainings, tmp_path: Path) -> None:
    run = trainings.run(tmp_path / "out", before=at_call("step.TrainStep.take", 2, "torch.empty(10**15)"))
    assert run.code == 70
    line = run.output.splitlines()[-1]
    assert "step 2: out of memory with" in line
    assert "set precision bf16, or raise accumulate=1" in line
    assert "lower pairs_per_batch=4 and sets_per_batch=6" in line


def test_memory_that_runs_out_while_images_are_loaded_is_said_and_nothing_is_lost(
    trainings: Trainings, undisturbed: Path, tmp_path: Path
) -> None:
    run = trainings.run(tmp_path / "out", before=at_call("loader.BatchStream._started", 6, "torch.empty(10**15)"))
    assert run.code == 70
    line = run.output.splitlines()[-1]
    assert "out of memory while images were loaded; lower cache_mb=512 or workers=1, or pairs_per_batch=4" in line
    assert "Traceback" not in run.output
    assert trainings.run(tmp_path / "out").code == 0
    assert_same(tmp_path / "out", undisturbed)


def test_an_image_that_goes_missing_in_the_middle_keeps_what_was_trained(
    trainings: Trainings, undisturbed: Path, tmp_path: Path
) -> None:
    gone = "raise importlib.import_module('minchange_eval.core.errors').DataError('image x.png: there is no such file')"
    run = trainings.run(tmp_path / "out", before=at_call("loader._read", 60, gone))
    assert run.code == 5
    assert "x.png: there is no such file" in run.output.splitlines()[-1]
    assert trainings.run(tmp_path / "out").code == 0
    assert_same(tmp_path / "out", undisturbed)


def test_two_processes_give_the_weights_of_one(trainings: Trainings, undisturbed: Path, tmp_path: Path) -> None:
    stop = at_call("loop._Training._take", 4, "os.environ['RANK'] == '1' and os.kill(os.getpid(), signal.SIGTERM)")
    run = trainings.run(tmp_path / "out", before=stop, processes=2)
    assert run.code == 130, run.output
    run = trainings.run(tmp_path / "out", processes=2)
    assert run.code == 0, run.output
    assert "going on after step 4 of 7" in run.output
    two, one = load_file(tmp_path / "out" / WEIGHTS), load_file(undisturbed / WEIGHTS)
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-4, atol=1e-5)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["processes"] == 2
    assert run.output.splitlines()[-1] == str(tmp_path / "out")


def test_accumulated_steps_give_the_weights_of_whole_ones(
    trainings: Trainings, undisturbed: Path, tmp_path: Path
) -> None:
    assert trainings.run(tmp_path / "out", "--accumulate", "3").code == 0
    parts, whole = load_file(tmp_path / "out" / WEIGHTS), load_file(undisturbed / WEIGHTS)
    for name, weights in whole.items():
        torch.testing.assert_close(parts[name], weights, rtol=1e-4, atol=1e-5)


def test_zero_shot_accuracy_under_the_floor_ends_the_training_with_the_weights_before(
    trainings: Trainings, tmp_path: Path
) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    asked = ("--zero-shot", str(pictures), "--zero-shot-floor", "0.01", "--evaluate-every", "2")
    forget = "[weights.data.zero_() for weights in args[1].model.parameters()]"
    run = trainings.run(tmp_path / "out", *asked, before=at_call("zero_shot.ZeroShot.__call__", 3, forget))
    assert run.code == 0, run.output
    assert "zero-shot accuracy fell to 0.000 at step 4, under zero_shot_floor=0.01; the weights of step 2 are kept" in (
        run.output
    )
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["steps"], record["planned_steps"]) == (2, STEPS)
    assert set(record["evaluations"]) == {"0", "2", "4"}
    assert any(bool(tensor.any()) for tensor in load_file(tmp_path / "out" / WEIGHTS).values())


def test_a_floor_above_the_model_as_given_is_refused(trainings: Trainings, tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    asked = ("--zero-shot", str(pictures), "--zero-shot-floor", "0.99", "--evaluate-every", "2")
    run = trainings.run(tmp_path / "out", *asked)
    assert run.code == 2
    assert "zero_shot_floor=0.99: the model as given has" in run.output.splitlines()[-1]


@pytest.fixture(scope="module")
def evaluated(with_suite: Trainings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A training with an evaluation in its middle, in which a signal came; and the run that ended it."""
    folder = tmp_path_factory.mktemp("evaluated") / "out"
    asked = ("--evaluate", "vismin_mini_object", "--evaluate-every", "4")
    signal = at_call("evaluations.measured", 2, TERM)
    run = with_suite.run(folder, *asked, before=signal)
    assert run.code == 130, run.output
    return folder, with_suite.run(folder, *asked)


def test_tasks_are_evaluated_before_during_and_after_and_a_signal_in_between_loses_nothing(
    evaluated: tuple[Path, Run],
) -> None:
    folder, run = evaluated
    assert run.code == 0, run.output
    assert "going on after step 4 of 7" in run.output
    names = {path.name for path in (folder / "records").iterdir()}
    assert names == {"before.jsonl", "step_000004.jsonl", "after.jsonl"}
    rows = run.output.splitlines()[-8:]
    assert any(row.startswith("vismin_mini_object") for row in rows)
    record = json.loads((folder / "training.json").read_text())
    assert set(record["evaluations"]) == {"0", "4", "7"}
    (benchmark,) = record["overlap"]["benchmarks"]
    assert benchmark["name"] == "vismin_mini"
    assert record["weights_sha256"] == read_record(folder / "records" / "after.jsonl").model.weights_sha256


def test_the_records_of_before_and_after_can_be_gated(
    evaluated: tuple[Path, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    from minchange_eval.cli.main import main

    folder, _ = evaluated
    records = [str(folder / "records" / f"{label}.jsonl") for label in ("before", "after")]
    assert main(["gate", "--baseline", records[0], "--candidate", records[1], "--margin", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "gate: pass" in said
    record = json.loads((folder / "training.json").read_text())
    assert f"weights {record['base_model']['weights_sha256'][:12]}" in said
    assert f"weights {record['weights_sha256'][:12]}" in said


def test_tensorboard_has_the_evaluations_of_before_and_after(evaluated: tuple[Path, Run]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(evaluated[0] / "tensorboard"))
    board.Reload()
    name = "evaluation/vismin_mini_object/i2t_accuracy"
    assert [event.step for event in board.Scalars(name)] == [0, 4, 7]
    assert [event.step for event in board.Scalars("train/loss")] == list(range(1, STEPS + 1))


def test_two_processes_evaluate_on_the_first_and_end_alike_when_one_fails(
    with_suite: Trainings, tmp_path: Path
) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    gone = (
        "os.environ['RANK'] == '1' and (_ for _ in ()).throw("
        "importlib.import_module('minchange_eval.core.errors').DataError('image x.png: there is no such file'))"
    )
    asked = ("--zero-shot", str(pictures), "--evaluate", "vismin_mini_object", "--evaluate-every", "2")
    run = with_suite.run(tmp_path / "out", *asked, before=at_call("loader._read", 30, gone), processes=2)
    assert run.code == 5, run.output
    assert "Traceback" not in run.output
    assert "x.png: there is no such file" in run.output
    run = with_suite.run(tmp_path / "out", *asked)  # in one process now
    assert run.code == 0, run.output


def test_help_is_there_without_torch() -> None:
    program = (
        "import sys; from minchange_eval.cli.main import main\n"
        "try: main(['train', 'clip', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "False"
    assert "--learning-rate X" in run.stdout
    assert "accelerate launch" in run.stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["clip", "--learning-rat", "1"], "train clip: unknown flag --learning-rat; did you mean --learning-rate?"),
        (["clip", "--learning-rate"], "train clip: argument --learning-rate"),
        (["clop"], "train clop: there is no such trainer"),
        (["clip", "--config", "none.yaml"], "--config none.yaml: cannot be read"),
        (["clip", "--objective", "spek"], "did you mean spec?"),
    ],
)
def test_a_wrong_flag_is_one_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    from minchange_eval.cli.main import main

    assert main(["train", *argv]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_terminals_line_is_written_over_and_what_is_said_stands_below_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from minchange_eval.cli.train import _Progress
    from minchange_eval.trainers.clip.run_log import StepReport

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    progress = _Progress()
    for step in (1, 2):
        progress(StepReport(step, 9, 1.5, {"clip": 1.25}, 1e-3, 14.0, 100.0, 3.0, 0.0))
    progress.say("step 2: zero-shot accuracy 25.0 %")
    progress.leave()
    first, second, said, end = capsys.readouterr().err.replace("\r\x1b[K", "\n").split("\n")[1:]
    assert first == "step 1/9  00:03 left  loss 1.500 (clip 1.250)"[:39]
    assert (len(first), len(second), end) == (39, 39, "")
    assert said == "step 2: zero-shot accuracy 25.0 %"
