"""`lmms_eval --model openai_multi_image` as users meet it: exit codes, kills, the key, and a real server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from minchange_eval.core.errors import ExitCode
from minchange_eval.core.record import comparable_bytes
from minchange_eval.data.prepare import prepare
from tests.cli.runs import Run, Runner
from tests.data.official_layouts import write_med_release, write_vismin_release
from tests.model_adapters.chat_checkpoints import write_checkpoint
from tests.model_adapters.fault_server import Asked, FaultServer, Said, error, reply

SHARED_MED = Path(__file__).parents[2].parent / "shared" / "data" / "med_sample"
KEY = "sk-marker-0123456789/abcdef"
ITEMS = 40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 44 questions in MED's official layout."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(folder))
        prepare("med", write_med_release(folder / "release", per_type=4))
    return folder


@pytest.fixture(autouse=True)
def no_answers_yet(home: Path) -> None:
    shutil.rmtree(home / "answers", ignore_errors=True)


def letter(asked: Asked) -> Said:
    """The same letter for the same prompt."""
    return reply("Answer: " + "ABCD"[zlib.crc32(asked.words.encode()) % 4])


@pytest.fixture(scope="module")
def one_server() -> Iterator[FaultServer]:
    with FaultServer(letter) as started:
        yield started


@pytest.fixture(scope="module")
def undisturbed(runner: Runner, one_server: FaultServer, home: Path) -> bytes:
    """The record of a run in which nothing went wrong."""
    run = ask(runner, one_server, home, model_args=",log=false")
    assert run.code == ExitCode.OK, run.output
    assert sum(one_server.answered.values()) == ITEMS
    return comparable_bytes(run.record)


@pytest.fixture
def server(one_server: FaultServer) -> FaultServer:
    """At one address for all tests, which is part of the record."""
    one_server.start_over(letter)
    return one_server


def ask(runner: Runner, server: FaultServer, home: Path, *options: str, model_args: str = "", **how: object) -> Run:
    arguments = f"base_url={server.base_url},first_wait_s=0.01{model_args}"
    argv = ["--model", "openai_multi_image", "--model_args", arguments, "--tasks", "med", "--limit", str(ITEMS)]
    return runner.run([*argv, *options], home, env={"OPENAI_API_KEY": KEY}, **how)  # type: ignore[arg-type]


def test_a_run_that_is_killed_interrupted_and_failed_goes_on_each_time_and_ends_with_the_same_record(
    runner: Runner, undisturbed: bytes, server: FaultServer, home: Path
) -> None:
    server.behave = lambda asked: Said(letter(asked).body, wait_s=0.1)
    killed = ask(runner, server, home, model_args=",concurrency=2", end=(signal.SIGKILL, 0.7))
    assert killed.code == -signal.SIGKILL, killed.output
    interrupted = ask(runner, server, home, model_args=",concurrency=2", end=(signal.SIGINT, 0.7))
    assert interrupted.code == ExitCode.INTERRUPTED, interrupted.output
    assert interrupted.output.splitlines()[-1].startswith("lmms_eval: interrupted; what was finished is logged")
    assert "Traceback" not in interrupted.output
    assert sum(server.answered.values()) < ITEMS

    last = max(asked.number for asked in server.asked)
    server.behave = lambda asked: error(500, "boom") if asked.number in (last + 1, last + 4) else letter(asked)
    failed = ask(runner, server, home, model_args=",max_retries=1")
    assert failed.code == ExitCode.INCOMPLETE, failed.output
    line = "2 of 40 questions got no reply (HTTP 500 (boom), after 2 attempts); the 38 answers are kept"
    assert line in failed.output.splitlines()[-1]

    server.behave = letter
    resumed = ask(runner, server, home)
    assert resumed.code == ExitCode.OK, resumed.output
    assert comparable_bytes(resumed.record) == undisturbed
    assert resumed.record.run.work["answers_from_log"] == ITEMS - 2
    assert resumed.record.run.work["prompt_tokens"] == 100 * 2
    # what was under way at an end is asked again, two at a time; what was finished is not
    assert sum(server.answered.values()) <= ITEMS + 2 * 2


def test_a_refusal_is_one_line_and_exit_code_2(runner: Runner, server: FaultServer, home: Path) -> None:
    server.behave = lambda asked: error(401, "no such key")
    refused = ask(runner, server, home)
    assert refused.code == ExitCode.USAGE
    last = f"server {server.base_url}: HTTP 401 (no such key); it refuses the key in OPENAI_API_KEY"
    assert refused.output.splitlines()[-1] == last
    assert "Traceback" not in refused.output


def test_the_key_and_what_moves_a_cursor_are_in_nothing_that_a_run_prints_or_writes(
    runner: Runner, server: FaultServer, home: Path
) -> None:
    unreadable = {4: "", 8: "x" * 2**20, 13: "\x1b[2J\x00\x07"}

    def echoing(asked: Asked) -> Said:
        if asked.number in unreadable:
            return reply(unreadable[asked.number])
        if asked.number % 3:
            said = reply(f"Answer: A {asked.headers['Authorization']}", model=KEY)
            return Said(said.body, headers={"X-Echo": KEY})
        return error(400, f"the prompt is too long; headers {json.dumps(dict(asked.headers))}", X_Echo=KEY)

    server.behave = echoing
    before = "import logging; logging.basicConfig(level=logging.DEBUG)"
    output = home / "output"
    options = ["--verbosity", "DEBUG", "--log_samples", "--output_path", str(output)]
    run = ask(runner, server, home, *options, before=before)
    assert run.code == ExitCode.INCOMPLETE, run.output
    assert run.record.run.work["prompts_declined"] == ITEMS // 3
    reasons = {outcome.reason for outcome in run.record.outcomes["med"]}
    assert "the reply is empty (finish_reason stop)" in reasons
    assert "the reply has 1,048,576 characters, more than 100,000" in reasons
    assert "\x1b[2J" not in run.output
    assert run.record_path.stat().st_size < 2**18
    written = [path for path in home.rglob("*") if path.is_file()]
    assert any(output in path.parents for path in written)
    assert any(home / "answers" in path.parents for path in written)
    for content in [run.output.encode(), *(path.read_bytes() for path in written)]:
        assert KEY.encode() not in content
        assert json.dumps(KEY)[1:-1].replace("/", "\\/").encode() not in content


# --- a server from a package ---


def letters_only(folder: Path) -> Path:
    """A random checkpoint that can say nothing but the letters of four options."""
    from transformers import AutoTokenizer, GenerationConfig

    write_checkpoint("qwen2_vl", folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    letters = {tokenizer.convert_tokens_to_ids(name) for name in "ABCD"}
    settings = GenerationConfig.from_pretrained(folder)
    settings.suppress_tokens = [token for token in range(len(tokenizer)) if token not in letters]
    settings.save_pretrained(folder)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`transformers serve` with a tiny checkpoint: its address and the checkpoint."""
    pytest.importorskip("uvicorn", reason="transformers[serving] is not installed")
    pytest.importorskip("fastapi", reason="transformers[serving] is not installed")
    folder = tmp_path_factory.mktemp("served")
    checkpoint, port = letters_only(folder / "qwen2_vl"), free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(checkpoint), "--device", "cpu"]
    environment = {**os.environ, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log, env=environment)
    try:
        _wait_for(f"http://localhost:{port}/health", started)
        yield f"http://localhost:{port}/v1", checkpoint
    finally:
        started.terminate()
        started.wait(30)


def _wait_for(url: str, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert started.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own address
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("the server never answered")


@pytest.fixture
def real_home(tmp_path: Path) -> Path:
    """A store with the real MED pairs where they are at hand, and a few VisMin pairs in the official layout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(tmp_path))
        prepare("med", SHARED_MED if SHARED_MED.is_dir() else write_med_release(tmp_path / "med", per_type=1))
        prepare("vismin", write_vismin_release(tmp_path / "vismin", 1))
    return tmp_path


@pytest.mark.slow
def test_transformers_serve_answers_real_pairs_and_both_directions_of_vismin(
    runner: Runner, real_home: Path, served: tuple[str, Path]
) -> None:
    url, checkpoint = served
    arguments = f"base_url={url},model={checkpoint},scoring=letters"
    argv = ["--model", "openai_multi_image", "--model_args", arguments, "--tasks", "med,vismin", "--limit", "11"]
    run = runner.run([*argv, "--gen_kwargs", "max_new_tokens=1"], real_home)
    assert run.code == ExitCode.INCOMPLETE, run.output  # it can say letters, and the second image is no letter
    assert run.record.model.name == str(checkpoint)
    work = run.record.run.work
    # it ignores `logprobs`: every reply is read as words, which is said once
    assert work["replies_read_as_words"] == work["answers_computed"]
    assert run.output.count("reads the replies' words instead") == 1
    assert int(str(work["prompt_tokens"])) > 1000
    assert len(run.record.outcomes["med"]) == 11
    assert {outcome.text for outcome in run.record.outcomes["med"]} <= set("ABCD")
    assert not any(outcome.unscored for outcome in run.record.outcomes["med"])
    assert {outcome.direction for outcome in run.record.outcomes["vismin_object"]} == {"i2t", "t2i"}
