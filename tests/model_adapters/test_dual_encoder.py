"""What every adapter shares, shown on a small real model."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.images import DECODING
from minchange_eval.core.items import BytesImage, CandidateSet, FileImage
from minchange_eval.core.queries import Direction, Query, queries_of_set
from minchange_eval.model_adapters.open_clip_models import OpenClip
from tests.model_adapters.checkpoints import Request, picture, queries, requests_of, sets


def model(folder: Path, **more: Any) -> OpenClip:
    return OpenClip(**{"model_name": str(folder), "device": "cpu", "batch_size": 4, **more})


def scores(answers: list[str]) -> np.ndarray:
    return np.array([score for answer in answers for score in json.loads(answer)["scores"]], dtype=np.float32)


def test_each_distinct_image_and_caption_is_encoded_once(tiny: Path) -> None:
    lm, asked = model(tiny), requests_of(queries(3, k=3))
    lm.generate_until(asked + asked[:7])
    assert (lm.work["images_encoded"], lm.work["texts_encoded"]) == (9, 9)
    lm.generate_until(asked)
    assert (lm.work["images_encoded"], lm.work["texts_encoded"]) == (9, 9)


def test_equal_bytes_under_two_names_are_one_image(tiny: Path) -> None:
    data = picture(1).data
    item = CandidateSet("s", "x", (BytesImage("a", data), BytesImage("b", data)), ("one cat", "two cat"))
    lm = model(tiny)
    lm.generate_until(requests_of(list(queries_of_set(item))))
    assert lm.work["images_encoded"] == 1


def test_a_second_run_encodes_nothing_and_says_the_same(tiny: Path) -> None:
    asked = requests_of(queries(4))
    first = model(tiny).generate_until(asked)
    again = model(tiny)
    assert again.generate_until(asked) == first
    assert (again.work["images_encoded"], again.work["images_from_log"], again.work["texts_from_log"]) == (0, 8, 8)


def test_the_log_is_left_alone_when_the_same_bytes_would_decode_or_compute_otherwise(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests_of(queries(1))
    model(tiny).generate_until(asked)
    said = model(tiny).description
    assert said.packages["torch"] == torch.__version__
    assert {"pillow", "ftfy", "regex", "numpy", "open_clip_torch"} <= set(said.packages)
    assert said.settings["hardware"] != torch.backends.cpu.get_cpu_capability()  # the processor, too
    monkeypatch.setattr("minchange_eval.model_adapters.dual_encoder.DECODING", DECODING + 1)
    again = model(tiny)
    again.generate_until(asked)
    assert (again.work["images_encoded"], again.work["images_from_log"]) == (2, 0)


def test_without_log_nothing_is_written(tiny: Path, home: Path) -> None:
    model(tiny, log=False).generate_until(requests_of(queries(1)))
    assert not home.exists()


def test_a_batch_of_eight_equals_eight_of_one(tiny: Path) -> None:
    asked = requests_of(queries(4))
    together, alone = (model(tiny, batch_size=size).generate_until(asked) for size in (8, 1))
    assert np.abs(scores(together) - scores(alone)).max() < 1e-5


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_scores_do_not_depend_on_loader_threads(tiny: Path, workers: int) -> None:
    asked = requests_of(queries(5))
    assert model(tiny, log=False, num_workers=workers).generate_until(asked) == model(tiny).generate_until(asked)


def test_a_row_has_the_same_bits_in_any_order_company_and_number_of_threads(tiny: Path) -> None:
    asked = queries(7, k=3)
    expected = dict(zip(asked, model(tiny, log=False).generate_until(requests_of(asked)), strict=True))
    before = torch.get_num_threads()
    for seed, threads in enumerate((1, 2, 2)):
        torch.set_num_threads(threads)
        shuffled = random.Random(seed).sample(asked, len(asked) - 4 * seed)  # other batches, other padding
        answers = model(tiny, log=False).generate_until(requests_of(shuffled))
        assert all(expected[query] == answer for query, answer in zip(shuffled, answers, strict=True))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)


def test_two_ranks_say_what_one_process_says(tiny: Path) -> None:
    asked = queries(5, k=3)
    whole = model(tiny, log=False).generate_until(requests_of(asked))
    halves = [model(tiny, log=False).generate_until(requests_of(asked[rank::2])) for rank in (0, 1)]
    assert [whole[0::2], whole[1::2]] == halves


def test_scores_are_the_cosines_of_open_clip_used_directly(tiny: Path) -> None:
    import open_clip

    from minchange_eval.core.images import open_image

    bare, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tiny}")
    bare.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny}")
    for query in queries(2, k=3):
        with torch.no_grad():
            images = bare.encode_image(torch.stack([preprocess(open_image(x)) for x in query.images]), normalize=True)
            texts = bare.encode_text(tokenizer(list(query.texts)), normalize=True)
        (answer,) = model(tiny, log=False).generate_until([Request({"query": query})])
        assert json.loads(answer)["scores"] == pytest.approx((images @ texts.T).flatten().tolist(), abs=1e-5)


def test_a_question_about_two_images_gets_one_score_an_option(tiny: Path) -> None:
    query = Query("q/choice", "q", Direction.CHOICE, (picture(1), picture(2)), ("a cat", "a dog", "red", "blue"), (0,))
    (answer,) = model(tiny).generate_until([Request({"query": query})])
    assert len(json.loads(answer)["scores"]) == 4


def test_long_captions_are_counted_in_the_answer_and_in_the_run(tiny: Path) -> None:
    item = CandidateSet("s", "x", (picture(1), picture(2)), ("cat " * 10, "cat " * 11))
    asked = requests_of(list(queries_of_set(item)))
    for _ in ("encoded", "from the log"):
        lm = model(tiny)
        answers = [json.loads(answer)["truncated"] for answer in lm.generate_until(asked)]
        assert answers == [1, 1, 0, 1]
        assert lm.work["truncated_captions"] == 1


def test_the_warning_counts_the_long_captions_of_this_call_only(tiny: Path) -> None:
    from loguru import logger

    lm, warnings = model(tiny), []
    sink = logger.add(lambda message: warnings.append(message.record["message"]), level="WARNING")
    for words in (11, 12):
        item = CandidateSet("s", "x", (picture(1), picture(2)), ("a cat", "cat " * words))
        lm.generate_until(requests_of(list(queries_of_set(item))))
    logger.remove(sink)
    assert [warning.partition(" captions")[0] for warning in warnings] == ["1 of 2", "1 of 2"]
    assert lm.work["truncated_captions"] == 2


def test_padding_copies_of_the_last_request_cost_nothing(tiny: Path) -> None:
    asked = requests_of(queries(1))
    padding = Request({**asked[-1].metadata, "__padding_only__": True})
    lm = model(tiny)
    assert len(lm.generate_until([*asked, padding, padding])) == len(asked) + 2
    assert lm.work["images_encoded"] == 2


def test_a_model_that_gives_nothing_finite_is_unscored_not_wrong(tmp_path: Path, tiny: Path) -> None:
    lm = model(tiny, log=False)
    with torch.no_grad():
        lm.encoder.model.visual.conv1.weight.fill_(float("nan"))
    (answer, *_) = lm.generate_until(requests_of(queries(1)))
    assert json.loads(answer)["scores"] == [None, None]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: not enough memory: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["CUDA", "CPU", "cuBLAS"],
)
def test_running_out_of_memory_halves_the_batch_and_the_description_says_so(tiny: Path, error: RuntimeError) -> None:
    asked = requests_of(queries(9))
    expected = model(tiny, log=False).generate_until(asked)
    lm = model(tiny, batch_size=16, log=False)
    untroubled = lm.description
    _limit_memory(lm, rows=5, error=error)
    answers = lm.generate_until(asked)
    assert (lm.work["batch_size"], lm.batch_size, lm.work["images_encoded"]) == (4, 4, 18)
    said = {**untroubled.settings, "batch_size": 4, "batch_size_asked": 16}
    assert lm.description == untroubled.model_copy(update={"settings": said})
    assert np.abs(scores(answers) - scores(expected)).max() < 1e-5


def test_rows_after_running_out_of_memory_are_in_the_log_of_the_smaller_batch_size(tiny: Path, home: Path) -> None:
    asked = requests_of(queries(9))
    lm = model(tiny, batch_size=8)
    _limit_memory(lm, rows=4, error=torch.OutOfMemoryError("CUDA out of memory."))
    answers = lm.generate_until(asked)
    smaller = model(tiny, batch_size=4)
    assert smaller.generate_until(asked) == answers
    assert (smaller.work["images_encoded"], smaller.work["texts_encoded"]) == (0, 0)


def test_what_did_not_fit_is_given_back_before_the_smaller_batch_is_tried(tiny: Path) -> None:
    lm = model(tiny, batch_size=8, log=False)
    refused: list[weakref.ref[torch.Tensor]] = []
    still_held: list[bool] = []

    def refuse(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        activation = inputs[0] * 2  # of this frame, as what a layer allocates is
        if len(activation) > 4:
            refused.append(weakref.ref(activation))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        still_held.append(any(each() is not None for each in refused))

    lm.encoder.model.visual.conv1.register_forward_pre_hook(refuse)
    lm.generate_until(requests_of(queries(4)))
    assert refused
    assert still_held == [False, False]


def test_no_memory_for_a_single_row_is_an_error(tiny: Path) -> None:
    lm = model(tiny, log=False)
    _limit_memory(lm, rows=0, error=torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(Exception, match="out of memory in a forward of batch size 1"):
        lm.generate_until(requests_of(queries(1)))


def _limit_memory(lm: OpenClip, rows: int, error: RuntimeError) -> None:
    """The model's own first layer refuses more rows, as a device does when they do not fit."""

    def refuse(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > rows:
            raise error

    lm.encoder.model.visual.conv1.register_forward_pre_hook(refuse)


def test_a_broken_image_is_named_and_the_threads_end(tiny: Path, tmp_path: Path) -> None:
    broken = (BytesImage("web/page.jpg", b"<html>"), FileImage("gone.jpg", tmp_path / "gone.jpg"))
    before = threading.active_count()
    item = CandidateSet("s", "x", (picture(1), broken[0]), ("a", "b"))
    with pytest.raises(DataError, match="web/page"):
        model(tiny).generate_until(requests_of([*queries(20), *queries_of_set(item)]))
    item = CandidateSet("s", "x", (picture(1), broken[1]), ("a", "b"))
    with pytest.raises((DataError, OSError), match="gone"):
        model(tiny).generate_until(requests_of(list(queries_of_set(item))))
    assert threading.active_count() == before


def test_requests_of_other_tasks_are_refused(tiny: Path) -> None:
    with pytest.raises(UsageError, match=r"only answers the tasks of minchange-eval.* got task a_task"):
        model(tiny).generate_until([Request({})])
    for ask in (model(tiny).loglikelihood, model(tiny).generate_until_multi_round):
        with pytest.raises(UsageError, match="only answers the tasks of minchange-eval"):
            ask([])


Start = Callable[[Path, Path], BaseProcess]


@pytest.fixture
def start(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a run in a process of its own: (home, output). The imports, which take long, are made once for all."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import resumable_run

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["minchange_eval.model_adapters.open_clip_models", "open_clip", "accelerate"])

    def start(home: Path, output: Path) -> BaseProcess:
        process = context.Process(target=resumable_run.run, args=(str(tiny), str(home), str(output)))
        process.start()
        return process

    return start


def wait_until(condition: Callable[[], object], process: BaseProcess) -> None:
    while not condition():
        assert process.is_alive()
        time.sleep(0.005)


def ends_with(process: BaseProcess) -> int | None:
    process.join(timeout=60)
    return process.exitcode


def test_a_run_killed_at_random_points_ends_with_the_same_bytes(start: Start, tmp_path: Path) -> None:
    home, output, draw = tmp_path / "killed", tmp_path / "killed.txt", random.Random(0)
    assert ends_with(start(tmp_path / "whole", tmp_path / "whole.txt")) == 0
    for _ in range(6):
        output.with_suffix(".started").unlink(missing_ok=True)
        process = start(home, output)
        wait_until(output.with_suffix(".started").exists, process)
        time.sleep(draw.uniform(0, 0.4))
        process.kill()
        process.join()
    first, second = start(home, output), start(home, tmp_path / "beside.txt")
    assert (ends_with(first), ends_with(second)) == (0, 0)  # two runs on one log
    expected = (tmp_path / "whole.txt").read_bytes()
    assert output.read_bytes() == expected
    assert (tmp_path / "beside.txt").read_bytes() == expected


def test_ctrl_c_ends_the_run_with_what_is_done_in_the_log(start: Start, tmp_path: Path) -> None:
    home, output = tmp_path / "home", tmp_path / "out.txt"
    process = start(home, output)
    wait_until(lambda: list(home.glob("embeddings/*/*.jsonl")), process)
    os.kill(process.pid or 0, signal.SIGINT)
    assert ends_with(process) == 130
    (segment,) = home.glob("embeddings/*/*.jsonl")
    assert segment.read_bytes().endswith(b"\n")
    assert ends_with(start(home, output)) == 0


def test_sets_have_nothing_in_common() -> None:
    assert len({image.sha256 for item in sets(5) for image in item.images}) == 10


def test_a_statement_is_refused_before_anything_is_encoded(tiny: Path) -> None:
    lm = model(tiny)
    asked = Query("v/statement", "v", Direction.STATEMENT, (picture(1),), ("false", "true"), (1,), "The cat is here.")
    with pytest.raises(UsageError, match=r"cannot say whether a statement is true; run .* with a chat model"):
        lm.generate_until(requests_of([*queries(1), asked]))
    assert lm.work["images_encoded"] == 0


def test_wordings_are_refused_since_no_prompt_is_read_and_orders_are_answered(tiny: Path) -> None:
    lm, query = model(tiny), queries(1)[0]
    worded = replace(query, query_id=f"{query.query_id}@w2", form="w2")
    with pytest.raises(UsageError, match=r"reads no prompt, so the wordings of .* change nothing for it; run \w+$"):
        lm.generate_until(requests_of([worded]))
    order = tuple(range(query.candidates))
    assert len(lm.generate_until(requests_of([replace(worded, order=order)]))) == 1
