"""The `lmms_eval` command as users meet it: numbers, exit codes, kills, ranks."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.core.errors import ExitCode
from minchange_eval.core.record import comparable_bytes
from minchange_eval.data.prepare import prepare
from tests.cli.runs import Run, Runner
from tests.data.official_layouts import vismin_rows, write_spec_release, write_vismin_release
from tests.model_adapters.checkpoints import open_clip_folder

SHARED_MED = Path(__file__).parents[2].parent / "shared" / "data" / "med_sample"
KILLS = int(os.environ.get("MINCHANGE_KILLS", "3"))
SETS = "spec_count,spec_existence"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a small SPEC and VisMin, prepared once."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(folder))
        prepare("spec", write_spec_release(folder / "spec_release", 6, seed=1))
        prepare("vismin", write_vismin_release(folder / "vismin_release", 5, seed=2))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = open_clip_folder(tmp_path_factory.mktemp("model") / "clip")
    return ["--model", "open_clip", "--model_args", f"model_name={folder},num_workers=0", "--batch_size", "4"]


@cache
def plain_model(model_args: str) -> tuple[Any, Any, Any]:
    import open_clip

    name = f"local-dir:{model_args.split('model_name=')[1].split(',')[0]}"
    net, _, preprocess = open_clip.create_model_and_transforms(name)
    return net.eval(), preprocess, open_clip.get_tokenizer(name)


def plain_similarity(model_args: str, images: list[Image.Image], texts: list[str]) -> NDArray[np.float32]:
    """Cosines [image, text] by open_clip alone, one at a time."""
    import torch

    net, preprocess, tokenizer = plain_model(model_args)
    with torch.no_grad():
        pictures = [net.encode_image(preprocess(image)[None], normalize=True) for image in images]
        words = [net.encode_text(tokenizer([text]), normalize=True) for text in texts]
        return (torch.cat(pictures) @ torch.cat(words).T).numpy()


def authors_spec_accuracy(folder: Path, model_args: str) -> tuple[float, float]:
    """SPEC's evaluation, written from its description: argmax over the keys of each query, hit iff it is the label."""
    hits: dict[str, list[bool]] = {}
    for direction in ("image2text", "text2image"):
        rows = json.loads((folder / f"{direction}.json").read_text())
        images = sorted({name for row in rows for name in [row["query"], *row["keys"]] if name.endswith(".jpg")})
        texts = sorted({text for row in rows for text in [row["query"], *row["keys"]] if not text.endswith(".jpg")})
        cosine = plain_similarity(model_args, [Image.open(folder / name).convert("RGB") for name in images], texts)
        for row in rows:
            if direction == "image2text":
                scores = [cosine[images.index(row["query"]), texts.index(key)] for key in row["keys"]]
            else:
                scores = [cosine[images.index(key), texts.index(row["query"])] for key in row["keys"]]
            hits.setdefault(direction, []).append(scores.index(max(scores)) == row["label"])
    return tuple(sum(flags) / len(flags) for flags in hits.values())  # type: ignore[return-value]


def test_spec_in_its_official_layout_scores_as_the_authors_loop_does(
    runner: Runner, home: Path, model: list[str]
) -> None:
    run = runner.run([*model, "--tasks", "spec"], home)
    assert run.code == 0, run.output
    for subset in ("absolute_size", "relative_size", "absolute_spatial", "relative_spatial", "existence", "count"):
        expected = authors_spec_accuracy(home / "spec_release" / subset, model[3])
        values = {v.name: v.value for v in run.record.metrics[f"spec_{subset}"] if not v.subset}
        assert (values["i2t_accuracy"], values["t2i_accuracy"]) == pytest.approx(expected)
    means = {v.name: v.value for v in run.record.metrics["spec"] if not v.subset}
    subsets = [{v.name: v.value for v in run.record.metrics[t] if not v.subset} for t in run.record.groups["spec"]]
    assert means["i2t_accuracy"] == pytest.approx(sum(s["i2t_accuracy"] for s in subsets) / 6)


def test_vismin_in_its_official_layout_scores_as_the_authors_loop_does(
    runner: Runner, home: Path, model: list[str]
) -> None:
    run = runner.run([*model, "--tasks", "vismin"], home)
    assert run.code == 0, run.output
    rows = vismin_rows(5, seed=2)
    columns: list[float] = []
    for category in ("object", "attribute", "relation", "counting"):
        flags = []
        for row in rows:
            if row["category"] == category:
                pictures = [Image.open(io.BytesIO(row[f"image_{i}"]["bytes"])).convert("RGB") for i in (0, 1)]
                s = plain_similarity(model[3], pictures, [row["text_0"], row["text_1"]])
                text = s[0, 0] > s[0, 1] and s[1, 1] > s[1, 0]
                image = s[0, 0] > s[1, 0] and s[1, 1] > s[0, 1]
                flags.append((text, image, text and image))
        columns += [sum(column) / len(flags) for column in zip(*flags, strict=True)]
        values = {v.name: v.value for v in run.record.metrics[f"vismin_{category}"] if not v.subset}
        scores = [values["text_score"], values["image_score"], values["group_score"]]
        assert scores == pytest.approx(columns[-3:])
    headline = next(v.value for v in run.record.metrics["vismin"] if v.name == "pair_mean" and not v.subset)
    assert headline == pytest.approx(sum(columns) / 12)


@pytest.mark.skipif(not SHARED_MED.exists(), reason="the real MED sample is not beside this checkout")
def test_the_real_med_pairs_give_macro_micro_and_eleven_slices(runner: Runner, home: Path, model: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(home))
        prepare("med", SHARED_MED)
    run = runner.run([*model, "--tasks", "med"], home)
    assert run.code == 0, run.output
    values = run.record.metrics["med"]
    assert {value.name for value in values if not value.subset} == {"macro", "micro"}
    slices = [value for value in values if value.subset]
    assert len(slices) == 11
    assert sum(value.n for value in slices) == 44
    assert all(value.low <= value.value <= value.high for value in values)
    # two of the 44 have an option twice, of which one stays: three to choose from
    assert sorted(value.chance for value in slices) == pytest.approx([0.25] * 9 + [(3 / 4 + 1 / 3) / 4] * 2)


def test_classification_asks_every_image_but_existence_for_its_class(
    runner: Runner, home: Path, model: list[str]
) -> None:
    run = runner.run([*model, "--tasks", "spec_cls"], home)
    assert run.code == 0, run.output
    (task,) = run.record.tasks
    assert task.queries == 6 * (3 + 3 + 9 + 4 + 9)
    assert "existence" not in task.subsets
    macro = next(value for value in run.record.metrics["spec_cls"] if value.name == "macro" and not value.subset)
    assert macro.chance == pytest.approx(1 / 80)


def test_a_limit_never_cuts_a_set_and_an_alias_is_the_same_task(runner: Runner, home: Path, model: list[str]) -> None:
    run = runner.run([*model, "--tasks", "minchange_spec_count", "--limit", "2"], home)
    assert run.code == 0, run.output
    (task,) = run.record.tasks
    assert (task.name, task.items, task.items_in_full, task.queries) == ("spec_count", 2, 6, 2 * 2 * 9)
    assert "2 of 6 items (--limit 2)" in run.output
    assert "6 of the 500 released items are prepared" in run.output


def test_an_offset_is_recorded_and_said(runner: Runner, home: Path, model: list[str]) -> None:
    run = runner.run([*model, "--tasks", "spec_count", "--offset", "4"], home)
    assert run.code == 0, run.output
    (task,) = run.record.tasks
    assert (task.items, task.offset, task.limit) == (2, 4, None)
    assert "2 of 6 items (--offset 4)" in run.output


def test_the_listing_names_our_tasks_and_their_aliases(runner: Runner, home: Path) -> None:
    run = runner.run(["--tasks", "list"], home)
    assert run.code == 0, run.output
    listed = {line.removeprefix(" - ") for line in run.output.splitlines()}
    named = {
        "spec",
        "spec_count",
        "minchange_spec_count",
        "med_mini",
        "spec_cls",
        "vsr_zeroshot",
        "minchange_companions",
    }
    assert named <= listed


def test_a_task_asked_for_twice_counts_once(runner: Runner, home: Path, model: list[str]) -> None:
    run = runner.run([*model, "--tasks", "spec,spec_count"], home)
    assert run.code == 0, run.output
    assert sum(task.name == "spec_count" for task in run.record.tasks) == 1


def test_the_record_lies_beside_lmms_evals_own_output(
    runner: Runner, home: Path, model: list[str], tmp_path: Path
) -> None:
    run = runner.run(
        [*model, "--tasks", "spec_existence", "--output_path", str(tmp_path / "out"), "--log_samples"], home
    )
    assert run.code == 0, run.output
    beside = [path.name for path in run.record_path.parent.iterdir()]
    (results,) = run.record_path.parent.glob("*_results.json")
    shown = json.loads(results.read_text())["results"]["spec_existence"]
    for value in run.record.metrics["spec_existence"]:
        assert shown[f"{value.name},none"] == pytest.approx(value.value)
    assert any(name.endswith(".jsonl") and "samples" in name for name in beside)
    assert run.record_path.is_relative_to(tmp_path / "out")


NAN_SCORES = """
from minchange_eval.model_adapters.dual_encoder import DualEncoder
def broken(self, requests):
    nulls = [["null"] * r.metadata["query"].candidates for r in requests]
    rest = '], "truncated": 0, "scored": "pairs"}'
    return ['{"scores": [' + ", ".join(row) + rest for row in nulls]
DualEncoder.generate_until = broken
"""
RAISING = """
from minchange_eval.model_adapters.dual_encoder import DualEncoder
def broken(self, requests):
    raise RuntimeError("the model fell over")
DualEncoder.generate_until = broken
"""
NO_PACKAGE = """
import sys
sys.modules["lmms_eval.models.simple.qwen_vl"] = None  # what an import of it does where a package is missing
"""
REPLACED = """
from minchange_eval.model_adapters.dual_encoder import DualEncoder
from minchange_eval.data.prepare import prepare
from pathlib import Path
import os
original = DualEncoder.generate_until
def replaced(self, requests):
    answers = original(self, requests)
    prepare("spec", Path(os.environ["OTHER_RELEASE"]), force=True)
    return answers
DualEncoder.generate_until = replaced
"""


@pytest.mark.parametrize(
    ("argv", "before", "code", "says"),
    [
        (["--model", "open_clop", "--tasks", SETS], "", ExitCode.USAGE, "did you mean open_clip?"),
        (["--model", "open_clip", "--tasks", "spec_cuont"], "", ExitCode.USAGE, "Tasks not found: spec_cuont"),
        (["--model", "open_clip"], "", ExitCode.USAGE, "no task given"),
        (["--model", "open_clip", "--tasks", SETS, "--no_such_flag"], "", ExitCode.USAGE, "unrecognized arguments"),
        (["--model", "open_clip", "--tasks", SETS, "--log_samples"], "", ExitCode.USAGE, "Specify --output_path"),
        (["--tasks", "med_real", "MODEL"], "", ExitCode.USAGE, "minchange-eval prepare med_real"),
        (["--tasks", "spec_nosuch*", "MODEL"], "", ExitCode.USAGE, "No tasks specified"),
        (["--tasks", SETS, "--limit", "0", "MODEL"], "", ExitCode.USAGE, "leave none of its 6 items"),
        (["--tasks", SETS, "--offset", "50", "MODEL"], "", ExitCode.USAGE, "leave none of its 6 items"),
        (["--tasks", SETS, "--limit", "0.5", "MODEL"], "", ExitCode.USAGE, "give a number of items"),
        (["--tasks", SETS, "--repeats", "4", "MODEL"], "", ExitCode.USAGE, "one answer to each query"),
        (["--tasks", SETS, "--use_cache", "/tmp/never", "MODEL"], "", ExitCode.USAGE, "does not notice other weights"),
        (["--tasks", SETS, "--model", "qwen_vl", "--limit", "1"], NO_PACKAGE, ExitCode.USAGE, "does not import"),
        (["--tasks", SETS, "MODEL"], RAISING, ExitCode.INTERNAL, "the model fell over"),
        (["--tasks", SETS, "MODEL"], NAN_SCORES, ExitCode.INCOMPLETE, "_record.jsonl"),
    ],
    ids=lambda value: value if isinstance(value, str) and value and len(value) < 40 else "",
)
def test_what_went_wrong_is_told_by_line_and_exit_code(
    argv: list[str], before: str, code: ExitCode, says: str, runner: Runner, home: Path, model: list[str]
) -> None:
    if argv[-1] == "MODEL":
        argv = [*argv[:-1], *model]
    run = runner.run(argv, home, before=before, env={"HF_HUB_OFFLINE": "1"})
    assert run.code == code, run.output
    assert says in run.output
    assert ("Traceback" in run.output) == (code is ExitCode.INTERNAL)


def test_the_worst_of_several_evaluations_decides_the_exit_code(
    runner: Runner, home: Path, model: list[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model[3].split("model_name=")[1].split(",")[0], broken)
    weights = safetensors.numpy.load_file(broken / "model.safetensors")
    nothing = {name: np.full_like(value, np.nan) if value.ndim else value for name, value in weights.items()}
    safetensors.numpy.save_file(nothing, broken / "model.safetensors")
    runs = [
        {"model": "open_clip", "model_args": f"model_name={folder},num_workers=0", "tasks": "spec_existence"}
        for folder in (broken, model[3].split("model_name=")[1].split(",")[0])
    ]
    (tmp_path / "runs.yaml").write_text(json.dumps(runs))
    run = runner.run(["--config", str(tmp_path / "runs.yaml")], home)
    assert run.code == ExitCode.INCOMPLETE, run.output
    assert run.output.count("_record.jsonl\n") >= 2


def test_a_reader_that_leaves_early_changes_no_exit_code(runner: Runner, home: Path, model: list[str]) -> None:
    nobody_reads = "import os\nr, w = os.pipe()\nos.close(r)\nos.dup2(w, 1)\n"
    argv = [*model, "--tasks", "spec_existence"]
    codes = [runner.run(argv, home, before=nobody_reads + wrong).code for wrong in ("", NAN_SCORES, RAISING)]
    assert codes == [ExitCode.OK, ExitCode.INCOMPLETE, ExitCode.INTERNAL]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_one_line_and_the_record_is_written(
    runner: Runner, home: Path, model: list[str], tmp_path: Path
) -> None:
    full = "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\n"
    run = runner.run([*model, "--tasks", "spec_existence", "--output_path", str(tmp_path)], home, before=full)
    assert run.code == ExitCode.INTERNAL
    assert "standard output cannot be written (No space left on device)" in run.output
    assert "Traceback" not in run.output
    assert len(list(tmp_path.rglob("*_record.jsonl"))) == 1


def test_no_token_is_ever_printed(runner: Runner, home: Path) -> None:
    argv = [
        "--model",
        "parrot",
        "--model_args",
        "pretrained=polly,api_key=sk-SECRETARGUMENT",
        "--tasks",
        "spec_existence",
    ]
    run = runner.run(argv, home, before=PARROTS, env={"HF_TOKEN": "hf_SECRETENVIRONMENT"})
    assert run.code == 0, run.output
    assert "SECRET" not in run.output
    assert "[hidden]" in run.output
    assert b"SECRET" not in run.record_path.read_bytes()
    assert run.record.model.settings["model_args"] == {"pretrained": "polly"}


def test_how_words_were_decoded_makes_another_record(runner: Runner, home: Path) -> None:
    argv = ["--model", "parrot", "--tasks", "spec_existence"]
    plain = runner.run(argv, home, before=PARROTS)
    warm = runner.run([*argv, "--gen_kwargs", "temperature=0.9"], home, before=PARROTS)
    sized = runner.run([*argv, "--model_args", "max_pixels=2"], home, before=PARROTS)
    assert len({bytes_of(run) for run in (plain, warm, sized)}) == 3


def test_a_store_replaced_during_a_run_is_noticed(runner: Runner, home: Path, model: list[str], tmp_path: Path) -> None:
    own_home = tmp_path / "home"
    shutil.copytree(home, own_home)
    other = write_spec_release(tmp_path / "other", 6, seed=9)
    run = runner.run(
        [*model, "--tasks", "spec_existence"], own_home, before=REPLACED, env={"OTHER_RELEASE": str(other)}
    )
    assert run.code == ExitCode.BAD_DATA, run.output
    assert "replaced during the run" in run.output


def bytes_of(run: Run) -> bytes:
    return comparable_bytes(run.record)


def test_a_run_killed_at_random_points_ends_with_the_bytes_of_one_that_was_not(
    runner: Runner, home: Path, model: list[str], tmp_path: Path
) -> None:
    argv = [*model, "--tasks", "spec,vismin"]
    whole_home, killed_home = tmp_path / "whole", tmp_path / "killed"
    for copy in (whole_home, killed_home):
        shutil.copytree(home / "store", copy / "store")
    whole = runner.run(argv, whole_home)
    assert whole.code == 0, whole.output
    dice = random.Random(5)
    ended = [runner.run(argv, killed_home, end=(signal.SIGKILL, dice.uniform(0, 1.0))).code for _ in range(KILLS)]
    print("ended with", ended)
    assert ended.count(-signal.SIGKILL) > KILLS // 2
    last = runner.run(argv, killed_home)
    assert last.code == 0, last.output
    assert bytes_of(last) == bytes_of(whole)


def test_ctrl_c_ends_with_130_and_a_line(runner: Runner, home: Path, model: list[str], tmp_path: Path) -> None:
    shutil.copytree(home / "store", tmp_path / "store")
    run = runner.run([*model, "--tasks", "spec"], tmp_path, end=(signal.SIGINT, 0.0))
    assert run.code == ExitCode.INTERRUPTED, run.output
    assert "the same command goes on from there" in run.output


def ranked(launcher: list[str], argv: list[str], home: Path, extra_env: dict[str, str] | None = None) -> Run:
    """A run under a launcher with two ranks."""
    done = subprocess.run(
        [*launcher, *argv],
        env={
            **os.environ,
            "MINCHANGE_HOME": str(home),
            "HF_HUB_OFFLINE": "1",
            "TQDM_DISABLE": "1",
            **(extra_env or {}),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Run(done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr)


TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29571"),
    *("-m", "minchange_eval.cli.evaluate"),
]
ACCELERATE = [
    *(sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "29572"),
    *("-m", "minchange_eval.cli.evaluate"),
]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_ranks_make_the_record_of_one(
    launcher: list[str], runner: Runner, home: Path, model: list[str], tmp_path: Path
) -> None:
    argv = [*model, "--tasks", SETS]
    homes = [tmp_path / "one", tmp_path / "two"]
    for copy in homes:
        shutil.copytree(home / "store", copy / "store")
    one = runner.run(argv, homes[0])
    two = ranked(launcher, argv, homes[1])
    assert (one.code, two.code) == (0, 0), two.output
    assert bytes_of(two) == bytes_of(one)


@pytest.mark.slow
def test_a_failed_rank_is_never_exit_code_0(home: Path, model: list[str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "if os.environ.get('RANK') == '1':\n"
        "    import minchange_eval.model_adapters.dual_encoder as d\n"
        "    def broken(self, requests):\n"
        "        raise RuntimeError('rank 1 fell over')\n"
        "    d.DualEncoder.generate_until = broken\n"
    )
    run = ranked(TORCHRUN, [*model, "--tasks", SETS], home, {"PYTHONPATH": str(tmp_path)})
    assert run.code != 0
    assert "rank 1 fell over" in run.output


PARROTS = """
from lmms_eval.models import MODEL_REGISTRY_V2
from lmms_eval.models.registry_v2 import ModelManifest
MODEL_REGISTRY_V2.register_manifest(ModelManifest("parrot", simple_class_path="tests.tasks.parrot.Parrot"))
MODEL_REGISTRY_V2.register_manifest(ModelManifest("parrot_chat", chat_class_path="tests.tasks.parrot.ParrotChat"))
"""


@pytest.mark.parametrize("name", ["parrot", "parrot_chat"])
def test_a_model_of_somebody_elses_answers_in_words_and_one_place_for_all_scores_nothing(
    name: str, runner: Runner, home: Path
) -> None:
    run = runner.run(["--model", name, "--tasks", "vismin_object"], home, before=PARROTS)
    assert run.code == 0, run.output
    values = {value.name: value for value in run.record.metrics["vismin_object"] if not value.subset}
    assert (values["i2t_accuracy"].value, values["t2i_accuracy"].value) == (0.5, 0.5)
    assert (values["text_score"].value, values["group_score"].value) == (0, 0)
    assert values["group_score"].chance == pytest.approx(1 / 16)  # four coins, not four exchangeable scores
    assert values["i2t_accuracy"].unscored == 0
    assert run.record.model.adapter == name
    (task,) = run.record.tasks
    assert task.prompt_sha256 is not None


def test_a_chat_model_is_told_that_classification_is_for_encoders(runner: Runner, home: Path) -> None:
    run = runner.run(["--model", "parrot_chat", "--tasks", "spec_cls", "--limit", "1"], home, before=PARROTS)
    assert run.code == ExitCode.USAGE, run.output
    assert "only dual encoders can answer it" in run.output


STOCK = {"lmms-eval": [str(Path(sys.executable).with_name("lmms-eval"))], "-m": [sys.executable, "-m", "lmms_eval"]}


@pytest.mark.slow
@pytest.mark.parametrize("script", STOCK.values(), ids=STOCK)
def test_stock_lmms_eval_finds_the_tasks_and_writes_the_record(
    script: list[str], home: Path, model: list[str], tmp_path: Path
) -> None:
    run = ranked(script, [*model, "--tasks", "spec_existence", "--output_path", str(tmp_path)], home)
    assert run.code == 0, run.output
    assert len(list(tmp_path.rglob("*_record.jsonl"))) == 1
