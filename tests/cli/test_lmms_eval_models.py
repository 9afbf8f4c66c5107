"""Our tasks asked of lmms-eval's own models: `idefics2` (simple), `qwen2_5_vl` (chat), `openai` against a server."""

from __future__ import annotations

import base64
import io
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from minchange_eval.core.errors import ExitCode
from minchange_eval.core.images import open_image
from minchange_eval.core.queries import Query, query_of_question
from minchange_eval.data.prepare import prepare
from minchange_eval.data.store import Store
from minchange_eval.tasks.documents import in_turn
from tests.cli.runs import Runner
from tests.model_adapters.chat_checkpoints import write_checkpoint
from tests.model_adapters.fault_server import Asked, FaultServer, reply

SHARED_MED = Path(__file__).parents[2].parent / "shared" / "data" / "med_sample"
ON_CPU = {
    "idefics2": "device=cpu,device_map=cpu,dtype=float32",
    "qwen2_5_vl": "device=cpu,device_map=cpu,min_pixels=784,max_pixels=3136",
}
MINI = ("med_mini", "med_mini_cyclic", "med_mini_blank", "vismin_mini_object", "vismin_mini_cyclic")


@pytest.fixture(scope="module")
def home(chat_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mini suite, and the real MED pairs where they are at hand."""
    folder = shutil.copytree(chat_suite, tmp_path_factory.mktemp("home"), dirs_exist_ok=True)
    if SHARED_MED.is_dir():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MINCHANGE_HOME", str(folder))
            prepare("med", SHARED_MED)
    return folder


NEEDS_DECORD = pytest.mark.skipif(find_spec("decord") is None, reason="lmms-eval's Qwen-VL classes need decord")


@pytest.fixture(scope="module", params=["idefics2", pytest.param("qwen2_5_vl", marks=NEEDS_DECORD)])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A checkpoint that says A or B, loaded by lmms-eval's own class."""
    folder = write_checkpoint(request.param, tmp_path_factory.mktemp(request.param) / "model", says=("A", "B"))
    model_args = f"pretrained={folder},{ON_CPU[request.param]}"
    return ["--model", request.param, "--model_args", model_args, "--gen_kwargs", "max_new_tokens=1"]


def test_a_local_model_of_lmms_evals_answers_the_mini_suite_and_real_pairs(
    runner: Runner, home: Path, model: list[str]
) -> None:
    tasks = (*MINI, *(["med"] if SHARED_MED.is_dir() else []))
    run = runner.run([*model, "--tasks", ",".join(tasks), "--limit", "2"], home)
    assert run.code == ExitCode.INCOMPLETE, run.output  # a letter does not say which image of two is meant
    record = run.record
    assert [task.name for task in record.tasks] == sorted(tasks)
    for task in record.tasks:
        outcomes = record.outcomes[task.name]
        assert task.prompt_sha256
        assert task.prompt_source == ("rebuilt" if task.dataset.startswith("med") else "published")
        assert len(outcomes) == task.queries > 0
        assert {outcome.text for outcome in outcomes} <= {"A", "B"}
        assert all(outcome.unscored == (outcome.direction == "t2i") for outcome in outcomes)
    plain, cyclic = (record.outcomes[name] for name in ("med_mini", "med_mini_cyclic"))
    assert len(plain) == 2
    assert len(cyclic) == sum(outcome.candidates for outcome in plain)
    if not SHARED_MED.is_dir():
        pytest.skip("the real MED sample is not beside this checkout; the mini suite passed")


def sent_images(asked: Asked) -> list[Image.Image]:
    urls = [part["image_url"]["url"] for part in content(asked) if part["type"] == "image_url"]
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def content(asked: Asked) -> list[dict[str, Any]]:
    (turn,) = asked.body["messages"]
    return list(turn["content"])


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox() is None


def is_about(asked: Asked, question: Query) -> bool:
    """Whether all the words of the question and exactly its images, in order, were sent."""
    words = (question.question, *question.texts)
    images = [open_image(image) for image in question.images]
    sent = sent_images(asked)
    return all(text in asked.words for text in words) and len(sent) == len(images) and all(map(same, sent, images))


def test_the_openai_model_of_lmms_evals_sends_both_images_in_order_and_the_whole_prompt(
    runner: Runner, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = 4
    with FaultServer(lambda asked: reply("Answer: A")) as server:
        model = ["--model", "openai", "--model_args", f"model=m,base_url={server.base_url},num_concurrent=2"]
        tasks = ("med_mini", "med_mini_cyclic")
        run = runner.run(
            [*model, "--tasks", ",".join(tasks), "--limit", str(items)], home, env={"OPENAI_API_KEY": "none"}
        )
    assert run.code == ExitCode.OK, run.output
    monkeypatch.setenv("MINCHANGE_HOME", str(home))
    questions = [query_of_question(item) for item in in_turn(Store.open("med_mini").items())[:items]]
    for asked in server.asked:
        assert [part["type"] for part in content(asked)][-2:] == ["image_url", "image_url"]
        assert "Reply with the letter of the right option" in asked.words
        assert any(is_about(asked, question) for question in questions)
    plain, cyclic = (run.record.outcomes[name] for name in tasks)
    assert len(server.asked) == len(plain) + len(cyclic) == items + sum(outcome.candidates for outcome in plain)
    assert {outcome.choice for outcome in (*plain, *cyclic)} == {0}
    consistency = next(value for value in run.record.metrics["med_mini_cyclic"] if value.name == "consistency")
    assert consistency.value == 0
