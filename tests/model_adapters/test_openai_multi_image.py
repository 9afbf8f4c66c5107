"""The adapter for servers, against one on a real socket that fails as it is told to."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import io
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from minchange_eval.core.answers import read_answer
from minchange_eval.core.errors import DataError, ExitCode, IncompleteError, MinchangeError, ModelError, UsageError
from minchange_eval.core.items import BytesImage, ChoiceQuestion
from minchange_eval.core.prompts import Prompt
from minchange_eval.core.queries import query_of_question
from minchange_eval.model_adapters.openai_multi_image import OpenAIMultiImage
from tests.model_adapters.fault_server import Asked, FaultServer, Said, error, reply

KEY = "sk-marker-0123456789/abcdef"
PROMPT = Prompt.read(
    {
        "name": "p",
        "source": "",
        "origin": "ours",
        "templates": {"choice": {"text": "{question}{images}{lines}", "reply_prefix": "Answer:"}},
    }
)


def picture(colour: str, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(buffer, form)
    return buffer.getvalue()


RED, BLUE = BytesImage("red", picture("red")), BytesImage("blue", picture("blue", "JPEG"))


def request(number: int, images: tuple[BytesImage, ...] = (RED, BLUE), **settings: Any) -> Any:
    question = ChoiceQuestion(f"q{number}", "x", images, f"question {number}", ("a cat", "a dog"), (0,))
    metadata = {"query": query_of_question(question), "prompt": PROMPT}
    given = {"max_new_tokens": 9, **settings}
    return SimpleNamespace(args=("", None, given, number, "t", "test"), metadata=metadata)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as started:
        yield started


def model(server: FaultServer, **given: Any) -> OpenAIMultiImage:
    return OpenAIMultiImage(base_url=server.base_url, **{"first_wait_s": 0.01, "log": False, **given})


def answers(server: FaultServer, asked: int = 1, **given: Any) -> list[str]:
    return model(server, **given).generate_until([request(number) for number in range(asked)])


def test_released_bytes_are_sent_once_in_the_prompts_order_in_one_turn(server: FaultServer) -> None:
    chat = model(server, system_prompt="Be brief.")
    assert chat.generate_until([request(7, until=["\n\n"])]) == ["B"]
    body = server.asked[0].body
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "image_url", "text"]
    urls = [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]
    assert urls[0] == "data:image/png;base64," + base64.b64encode(RED.data).decode()
    assert urls[1] == "data:image/jpeg;base64," + base64.b64encode(BLUE.data).decode()
    assert {name: body[name] for name in ("model", "seed", "temperature", "max_tokens", "stop")} == {
        "model": "m", "seed": 0, "temperature": 0.0, "max_tokens": 9, "stop": ["\n\n"]
    }  # fmt: skip
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert chat.work["images_sent"] == 2


def test_a_format_that_servers_do_not_take_goes_as_png_of_the_same_pixels_and_is_counted(server: FaultServer) -> None:
    chat = model(server)
    bmp = BytesImage("bmp", picture("green", "BMP"))
    webp = BytesImage("webp", picture("green", "WEBP"))
    chat.generate_until([request(0, (bmp, webp))])
    first, second = (part["image_url"]["url"] for part in server.asked[0].body["messages"][0]["content"][1:3])
    sent = Image.open(io.BytesIO(base64.b64decode(first.removeprefix("data:image/png;base64,"))))
    assert (sent.format, sent.getpixel((0, 0))) == ("PNG", (0, 128, 0))
    assert second == "data:image/webp;base64," + base64.b64encode(webp.data).decode()
    assert chat.work["images_converted_to_png"] == 1


def test_a_broken_image_is_bad_data_and_what_was_answered_before_is_kept(server: FaultServer) -> None:
    broken = BytesImage("broken.bmp", b"BM no picture")
    with pytest.raises(DataError, match=r"broken\.bmp"):
        model(server, log=True, concurrency=1).generate_until([request(0), request(1, (broken, RED))])
    again = model(server, log=True)
    assert again.generate_until([request(0)]) == ["B"]
    assert again.work["answers_from_log"] == 1


def test_tokens_names_and_fingerprints_that_the_server_reports_are_in_the_runs_work(server: FaultServer) -> None:
    chat = model(server)
    chat.generate_until([request(number) for number in range(3)])
    expected = {
        "prompt_tokens": 300,
        "completion_tokens": 6,
        "prompt_tokens_cached": 120,
        "requests_sent": 3,
        "requests_repeated": 0,
        "models_reported": ["m-2024"],
        "system_fingerprints": ["fp_1"],
    }
    assert {name: chat.work[name] for name in expected} == expected
    settings = chat.description.settings
    assert (chat.description.name, settings["root"], settings["seed"]) == ("m", "/weights/m", 0)


def test_the_only_listed_model_is_taken_and_of_several_one_must_be_named(server: FaultServer) -> None:
    server.models = [{"id": "a"}, {"id": "b"}]
    with pytest.raises(UsageError, match="lists a, b; say which one with model=NAME"):
        model(server)
    assert model(server, model="b").description.name == "b"


@pytest.mark.parametrize("listing", [error(404, "no such page"), error(500, "boom"), Said(b"<html>hello")])
def test_a_server_without_a_listing_answers_for_a_model_that_is_named(server: FaultServer, listing: Said) -> None:
    server.models = listing
    with pytest.raises(MinchangeError, match="model="):
        model(server)
    assert answers(server, model="m") == ["B"]


def test_the_address_may_come_from_the_environment(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url + "/")
    assert OpenAIMultiImage(log=False).description.settings["server"] == server.base_url


# --- what passes ---


def once(said: Said) -> Callable[[Asked], Said]:
    return lambda asked: said if asked.attempt == 1 else reply("B")


WHOLE = reply("B")


@pytest.mark.parametrize(
    "said",
    [
        error(500, "boom"),
        error(502, "bad gateway"),
        error(503, "overloaded"),
        error(408, "too slow"),
        error(409, "locked"),
        Said(WHOLE.body, cut_at=20),
        Said(WHOLE.body, cut_at=0),
        Said(WHOLE.body[:30], promised=len(WHOLE.body) - 30),
        Said(b"{not JSON"),
        Said(b""),
        Said(b"[1, 2]"),
        Said(b'{"choices": []}'),
        Said(b'{"choices": [{"message": {"content": 3}}]}'),
        Said(b'{"error": {"message": "in a 200"}}'),
        Said(b"[" * 200_000),
        Said(gzip.compress(WHOLE.body), headers={"Content-Encoding": "gzip"}),
        Said(b"\x28\xb5\x2f\xfd", headers={"Content-Encoding": "zstd"}),
    ],
    ids=lambda said: f"{said.status} {said.body[:12]!r} {said.cut_at}",
)
def test_what_may_pass_is_asked_again(server: FaultServer, said: Said) -> None:
    server.behave = once(said)
    chat = model(server)
    assert chat.generate_until([request(0), request(1)]) == ["B", "B"]
    assert (chat.work["requests_sent"], chat.work["requests_repeated"]) == (2, 2)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed_as_seconds_and_as_a_date_and_stops_all_requests(
    server: FaultServer, as_date: bool
) -> None:
    said: list[float] = []

    def behave(asked: Asked) -> Said:
        if said:
            return reply("B")
        said.append(asked.at)
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return error(429, "slow down", Retry_After=until if as_date else "1")

    server.behave = behave
    assert answers(server, 3, concurrency=1) == ["B"] * 3
    others = [asked.at - said[0] for asked in server.asked[1:]]
    assert min(others) >= 0.95  # a date has whole seconds


def test_a_server_that_takes_three_at_a_time_is_soon_sent_no_more(server: FaultServer) -> None:
    def behave(asked: Asked) -> Said:
        return error(429, "too many") if asked.others >= 3 else Said(reply("B").body, wait_s=0.1)

    server.behave = behave
    chat = model(server, concurrency=16, max_retries=30)
    assert chat.generate_until([request(number) for number in range(60)]) == ["B"] * 60
    assert chat.work["concurrency_least"] <= 4
    refused = [asked for asked in server.asked[-30:] if asked.others >= 3]
    assert len(refused) < 15


def test_no_more_than_the_bound_are_sent_at_once(server: FaultServer) -> None:
    server.behave = lambda asked: Said(reply("B").body, wait_s=0.01)
    assert answers(server, 20, concurrency=4) == ["B"] * 20
    assert max(asked.others for asked in server.asked) <= 3


# --- what does not pass ---


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (error(401, "no such key"), "HTTP 401 .no such key.; it refuses the key in OPENAI_API_KEY"),
        (error(403, "not yours"), "HTTP 403"),
        (error(404, "no model m"), "HTTP 404 .no model m.; check model= and base_url="),
        (error(429, "code insufficient_quota"), "HTTP 429"),
        (Said(b"moved", 301, {"Location": "https://elsewhere/v1"}), "give the place it leads to .*elsewhere"),
    ],
)
def test_a_refusal_is_one_line_and_is_not_asked_again(server: FaultServer, said: Said, line: str) -> None:
    server.behave = lambda asked: said
    with pytest.raises(UsageError, match=line) as caught:
        answers(server, 3, concurrency=1)
    assert len(server.asked) == 1
    assert "\n" not in str(caught.value)


def unless(refused: Callable[[Asked], bool], said: Said) -> Callable[[Asked], Said]:
    return lambda asked: said if refused(asked) else reply("B")


def number_of(asked: Asked) -> int:
    return int(asked.words.split("A.")[0].removeprefix("question "))


@pytest.mark.parametrize(
    "said",
    [
        error(400, "The decoder prompt (length 5012) is longer than the maximum model length of 4096"),
        error(400, "content_policy_violation"),
        error(422, "too many images"),
        Said(b"<html>413 Request Entity Too Large</html>", 413),
        Said(b'{"choices": []}'),
        Said(b'{"choices": [{"index": 0, "finish_reason": "content_filter"}]}'),
        reply("B is what I w", finish="content_filter"),
    ],
    ids=lambda said: f"{said.status} {said.body[:40]!r}",
)
def test_a_prompt_that_is_declined_is_unscored_with_the_reason_and_asked_again_by_the_next_run(
    server: FaultServer, said: Said
) -> None:
    questions = [request(number) for number in range(12)]
    for first_run in (True, False):  # the second asks nothing but what is declined
        server.start_over(unless(lambda asked: number_of(asked) < 2, said))
        chat = model(server, log=True, concurrency=4)
        declined = [read_answer(text, "AB") for text in chat.generate_until(questions)]
        assert [answer.choice for answer in declined] == [None] * 2 + [1] * 10
        assert chat.work["prompts_declined"] == 2
        assert {asked.number for asked in server.asked} == set(range(1, 13 if first_run else 3))
    reason = declined[0].reason or ""
    assert any(word in reason for word in ("4096", "policy", "images", "Too Large", "without a message", "filter"))


def test_a_server_that_declines_every_prompt_refuses_the_request(server: FaultServer) -> None:
    server.behave = lambda asked: error(400, "images are not supported")
    line = r"HTTP 400 \(images are not supported\); it refuses 8 questions in a row, and answered none meanwhile"
    with pytest.raises(UsageError, match=line) as caught:
        answers(server, 30, concurrency=1)
    assert (len(server.asked), "\n" in str(caught.value)) == (8, False)
    with pytest.raises(UsageError, match="it refuses the question"):
        answers(server, 1)
    server.start_over(unless(lambda asked: number_of(asked) > 20, error(400, "now they are not")))
    with pytest.raises(UsageError, match="now they are not"):
        answers(server, 60, concurrency=1)
    assert len(server.asked) == 29


def test_a_server_that_cannot_be_reached_is_a_model_error_that_says_where() -> None:
    with FaultServer() as gone:
        pass
    with pytest.raises(ModelError, match=r"127\.0\.0\.1.*no connection.*after 3 attempts; start it") as caught:
        model(gone)
    assert caught.value.exit_code is ExitCode.INTERNAL


def test_a_slow_reply_ends_at_the_time_out_and_in_total(server: FaultServer) -> None:
    server.behave = lambda asked: Said(reply("B").body, wait_s=0.8 if asked.attempt < 3 else 0)
    assert answers(server, timeout_s=0.3) == ["B"]
    server.behave = lambda asked: Said(reply("B").body, wait_s=0.8)
    began = time.monotonic()
    with pytest.raises(IncompleteError, match=r"no reply within .* total_timeout_s=0.7 is over"):
        answers(server, timeout_s=0.3, total_timeout_s=0.7, max_retries=100)
    assert time.monotonic() - began < 10


def test_a_wish_to_wait_longer_than_the_total_is_not_waited_for(server: FaultServer) -> None:
    server.behave = lambda asked: error(429, "later", Retry_After="86400")
    began = time.monotonic()
    with pytest.raises(IncompleteError, match="a wish to wait 86400 s; total_timeout_s=1800 is over"):
        answers(server)
    assert time.monotonic() - began < 5


def test_a_failing_question_leaves_a_run_incomplete_and_a_later_one_asks_only_it(server: FaultServer) -> None:
    server.behave = lambda asked: error(500, "boom") if "question 3" in asked.words else reply("B")
    questions = [request(number) for number in range(12)]
    line = r"1 of 12 questions got no reply \(HTTP 500 \(boom\), after 3 attempts\); the 11 answers are kept"
    with pytest.raises(IncompleteError, match=line):
        model(server, log=True, max_retries=2).generate_until(questions)
    before = len(server.asked)
    with pytest.raises(IncompleteError, match=line):  # as it was: one is missing, eleven are kept
        model(server, log=True, max_retries=2).generate_until(questions)
    server.behave = lambda asked: reply("A")
    again = model(server, log=True)
    assert again.generate_until(questions) == ["B"] * 3 + ["A"] + ["B"] * 8
    assert (len(server.asked) - before, again.work["answers_from_log"]) == (4, 11)


def test_what_is_under_way_is_kept_when_the_others_fail(server: FaultServer) -> None:
    def behave(asked: Asked) -> Said:
        return Said(reply("B").body, wait_s=0.5) if number_of(asked) < 4 else error(500, "boom")

    server.behave = behave
    questions = [request(number) for number in range(40)]
    with pytest.raises(IncompleteError, match="the 4 answers are kept"):
        model(server, log=True, max_retries=0, concurrency=5).generate_until(questions)
    again = model(server, log=True)
    assert again.generate_until(questions[:4]) == ["B"] * 4
    assert again.work["answers_from_log"] == 4


def test_a_server_that_is_gone_halfway_is_given_up_soon_and_nothing_is_lost(server: FaultServer) -> None:
    def behave(asked: Asked) -> Said:
        return reply("B") if asked.number <= 20 else Said(WHOLE.body, cut_at=0)

    server.behave = behave
    questions = [request(number) for number in range(200)]
    with pytest.raises(IncompleteError, match=r"180 of 200 questions got no reply \(the connection broke"):
        model(server, log=True, max_retries=1).generate_until(questions)
    assert len(server.asked) < 100
    server.behave = lambda asked: reply("B")
    again = model(server, log=True)
    assert again.generate_until(questions) == ["B"] * 200
    assert again.work["answers_from_log"] == 20
    assert max(server.answered.values()) == 1


# --- replies ---


def test_an_empty_and_an_endless_reply_are_unscored_with_the_reason(server: FaultServer) -> None:
    texts = {"question 0": "", "question 1": None, "question 2": " \n", "question 3": "x" * 2**20}
    server.behave = lambda asked: reply(texts[asked.words.split("A.")[0]], finish="length")
    reasons = [read_answer(text, "AB").reason for text in answers(server, 4)]
    assert reasons[:3] == ["the reply is empty (finish_reason length)"] * 3
    assert reasons[3] == "the reply has 1,048,576 characters, more than 100,000"


def test_control_characters_and_half_characters_come_through_as_text(server: FaultServer) -> None:
    server.behave = lambda asked: Said(reply("B").body.replace(b'"B"', b'"\x1b[2J\x00B\\ud83d \\u0007"'))
    (text,) = answers(server)
    assert text == "\x1b[2J\x00B� \x07"
    text.encode()


def test_a_body_without_end_is_not_read_to_it(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minchange_eval.model_adapters.chat_server._LONGEST_BODY", 2**16)
    server.behave = once(Said(b" " * 2**20))
    assert answers(server) == ["B"]


def test_no_reply_is_unpacked_and_none_is_asked_for_packed(server: FaultServer) -> None:
    server.behave = lambda asked: Said(gzip.compress(WHOLE.body), headers={"Content-Encoding": "gzip"})
    with pytest.raises(IncompleteError, match="a reply encoded as gzip, which was not asked for, after 3 attempts"):
        answers(server)
    assert {asked.headers["Accept-Encoding"] for asked in server.asked} == {"identity"}


def test_a_refusal_of_the_model_is_the_reason_and_imitated_scores_are_no_scores(server: FaultServer) -> None:
    refusal = {"choices": [{"finish_reason": "stop", "message": {"content": None, "refusal": "I can't\nsee"}}]}
    forged = '{"scores":[9,0],"truncated":0,"scored":"pairs"}'
    server.behave = lambda asked: reply(forged) if number_of(asked) else Said(json.dumps(refusal).encode())
    refused, imitated = (read_answer(text, "AB") for text in answers(server, 2))
    assert refused.reason == "the model refuses to answer: I can't see"
    assert (imitated.scores, imitated.choice) == (None, None)
    assert "JSON" in (imitated.reason or "")


def test_replies_that_the_limit_cut_are_counted(server: FaultServer) -> None:
    server.behave = lambda asked: reply("B", finish="length" if number_of(asked) else "stop")
    chat = model(server)
    chat.generate_until([request(number) for number in range(3)])
    assert chat.work["replies_cut_short"] == 2


def test_a_reply_ends_at_the_first_of_the_texts_that_end_it(server: FaultServer) -> None:
    server.behave = lambda asked: reply("B;\nmore###")
    ends = ["###", ";", "3", "4", "5"]
    assert model(server).generate_until([request(0, until=ends)]) == ["B"]
    assert server.asked[0].body["stop"] == ends[:4]
    assert model(server, stop="false").generate_until([request(0, until=ends)]) == ["B"]
    assert "stop" not in server.asked[1].body


def test_a_services_other_names_and_refusals_can_be_met(server: FaultServer) -> None:
    chat = model(server, limit_field="max_completion_tokens", temperature="none", seed="none", image_detail="low")
    chat.generate_until([request(0)])
    body = server.asked[0].body
    assert body["max_completion_tokens"] == 9
    assert not {"max_tokens", "temperature", "seed"} & set(body)
    assert body["messages"][0]["content"][1]["image_url"]["detail"] == "low"
    settings = chat.description.settings
    assert (settings["limit_field"], settings["stop"]) == ("max_completion_tokens", True)


# --- letters ---


def test_letters_are_scored_where_the_server_lists_them(server: FaultServer) -> None:
    tokens = [[("Answer", -0.1)], [(":", -0.1)], [(" B", -0.5), ("A", -1.5), (" A", -2.5)]]
    server.behave = lambda asked: reply("Answer: B", tokens=tokens)
    (text,) = answers(server, scoring="letters")
    answer = read_answer(text, "AB")
    assert answer.scored == "labels"
    assert answer.scores == pytest.approx((-1.1867, -0.5), abs=1e-3)
    assert (server.asked[0].body["logprobs"], server.asked[0].body["top_logprobs"]) == (True, 20)


def test_a_label_that_is_not_listed_has_its_bound_and_the_answer_says_so(server: FaultServer) -> None:
    server.behave = lambda asked: reply("B", tokens=[[("B", -0.01), ("C", -9.0)]])
    chat = model(server, scoring="letters")
    answer = read_answer(chat.generate_until([request(0)])[0], "AB")
    assert answer.scores is not None
    assert answer.scores[0] < answer.scores[1]
    assert answer.alternatives == {"listed": (None, pytest.approx(-0.01))}
    assert chat.work["replies_with_labels_not_listed"] == 1


def test_without_log_probabilities_the_words_are_read_and_it_is_said_once(
    server: FaultServer, loguru_lines: list[str]
) -> None:
    server.behave = lambda asked: reply("Answer: B")
    chat = model(server, scoring="letters")
    assert chat.generate_until([request(number) for number in range(5)]) == ["Answer: B"] * 5
    assert chat.work["replies_read_as_words"] == 5
    assert [line for line in loguru_lines if "reads the replies' words instead" in line] == [
        f"{server.base_url}: the server gives no log-probabilities; scoring=letters reads the replies' words instead"
    ]


def test_where_no_label_is_listed_the_words_are_read(server: FaultServer) -> None:
    server.behave = lambda asked: reply("The answer is B", tokens=[[("The", -0.1), ("An", -3.0)]])
    assert answers(server, scoring="letters") == ["The answer is B"]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (reply("B", tokens=[[("So", -0.1)], [(":", -0.1)], [("A", -0.1), ("B", -9.0)], [("B", -0.1)]]), 1),
        (reply("A. Answer: B", tokens=[[("A", -0.1), ("B", -3.0)], [(". Answer", -0.1)], [(": B", -0.1)]]), 1),
        (reply("A. No, B. No", tokens=[[("A", -0.1), ("B", -3.0)], [(". No, B. No", -0.1)]]), None),
    ],
    ids=["thinking", "another label", "no label"],
)
def test_a_place_is_not_scored_where_the_replys_words_do_not_say_its_label(
    server: FaultServer, said: Said, read: int | None
) -> None:
    server.behave = lambda asked: said
    answer = read_answer(answers(server, scoring="letters")[0], "AB")
    assert (answer.scores, answer.choice) == (None, read)


def test_a_token_that_ends_the_turn_behind_the_words_is_none_of_them(server: FaultServer) -> None:
    server.behave = lambda asked: reply("B", tokens=[[("B", -0.1), ("A", -3.0)], [("<|im_end|>", 0.0)]])
    assert read_answer(answers(server, scoring="letters")[0], "AB").scored == "labels"


def test_log_probabilities_that_are_no_numbers_are_scores_that_are_not_finite(server: FaultServer) -> None:
    server.behave = lambda asked: reply("B", tokens=[[("B", float("nan")), ("A", -1.0)]])
    assert read_answer(answers(server, scoring="letters")[0], "AB").scores == (None, None)


@pytest.fixture
def loguru_lines() -> Iterator[list[str]]:
    from loguru import logger

    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="DEBUG")
    yield lines
    logger.remove(sink)


# --- arguments and the key ---


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"api_key": KEY}, "api_key: secrets are not taken here.*set OPENAI_API_KEY"),
        ({"hf_token": KEY}, "hf_token: secrets are not taken here"),
        ({"base_url": f"http://me:{KEY}@host/v1"}, "names and keys do not belong into it"),
        ({"base_url": f"http://host/v1?key={KEY}"}, "names and keys do not belong into it"),
        ({"base_url": f"http://host/{KEY}/v1"}, "names and keys do not belong into it"),
        ({"base_url": "localhost:8000"}, "expected http://HOST:PORT/v1"),
        ({"base_url": "http://host:abc/v1"}, "base_url=http://host:abc/v1: expected http://HOST:PORT/v1"),
        ({"base_url": "http://[::1/v1"}, "expected http://HOST:PORT/v1"),
        ({"base_url": "http://xn--/v1"}, "expected http://HOST:PORT/v1"),
        ({"scoring": "options"}, "a chat server gives no log-probability of a given text"),
        ({"batch_size": "8"}, "concurrency=N says how many"),
        ({"concurrency": 0}, "at least 1"),
        ({"timeout_s": 0}, "a number above 0"),
        ({"temperature": "warm"}, "a number of at least 0"),
        ({"image_detail": "max"}, "auto, low, high"),
        ({"modle": "m"}, "Did you mean model"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_line_without_the_key(given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        OpenAIMultiImage(**{"model": "m", **given})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("proxy", ["socks5://me:secret@127.0.0.1:1", "socks://host:1", "http://host:abc"])
def test_a_proxy_that_cannot_be_used_is_one_line_without_its_password(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    if proxy.startswith("socks5") and importlib.util.find_spec("socksio"):
        pytest.skip("socksio is installed, which makes this proxy one that can be used")
    with pytest.raises(UsageError, match="ALL_PROXY, HTTPS_PROXY or HTTP_PROXY: no proxy that can be used") as caught:
        model(server)
    assert "secret" not in str(caught.value)


def test_a_key_that_is_none_changes_no_reply(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    server.behave = lambda asked: reply("none of them but B")
    assert answers(server) == ["none of them but B"]


def test_a_key_with_a_line_break_is_refused_before_it_could_stand_in_a_librarys_error(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one\nsk-two")
    with pytest.raises(UsageError, match="OPENAI_API_KEY: holds a blank, a line break") as caught:
        model(server)
    assert "sk-" not in str(caught.value)


def test_without_a_key_none_is_sent_and_a_server_that_wants_one_says_how(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    server.models = error(401, "who are you?")
    with pytest.raises(UsageError, match="set the key in OPENAI_API_KEY"):
        model(server)
    server.models = []
    answers(server, model="m")
    assert "Authorization" not in server.asked[0].headers


def echoing(asked: Asked) -> Said:
    """Sends the key back in everything that a server sends."""
    key = asked.headers["Authorization"].removeprefix("Bearer ")
    if "question 0" in asked.words:
        said = reply("B", model=f"m {key}", system_fingerprint=key)
        parts = [{"type": "text", "text": text} for text in ("B ", key[:9], key[9:])]
        return replace(said, body=said.body.replace(b'"B"', json.dumps(parts).encode()))
    escaped = key.replace("/", "\\/")  # JSON may write it so
    raw = f'{{"error": {{"message": "headers were {escaped}, {key}", "headers": ["Bearer {key}"]}}}}'
    return Said(raw.encode(), 500 if asked.attempt == 1 else 403, {"X-Echo": f"Bearer {key}"})


def test_the_key_is_in_nothing_that_is_written_whatever_the_server_sends_back(
    server: FaultServer, home: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
    loguru_lines: list[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "httpcore", "httpcore.http11", "httpcore.connection"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    server.models = [{"id": "m", "root": f"/weights/{KEY}"}]
    server.behave = echoing
    chat = model(server, log=True, model="m", concurrency=1)
    with pytest.raises(UsageError, match=r"HTTP 403 .headers were \[hidden\], \[hidden\]") as caught:
        chat.generate_until([request(0), request(1)])
    written = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert any(b"B [hidden]" in content for content in written)
    said = [str(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__), caplog.text]
    said += [*capfd.readouterr(), *loguru_lines, json.dumps(chat.work), chat.description.model_dump_json()]
    for content in [*written, *(text.encode() for text in said)]:
        assert KEY.encode() not in content
        assert KEY.replace("/", "\\/").encode() not in content


def test_a_traceback_of_a_defect_does_not_show_the_key_even_with_its_variables(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(_: object) -> None:
        raise RuntimeError("a defect")

    chat = model(server)
    monkeypatch.setattr("minchange_eval.model_adapters.chat_server._reply", defect)
    with pytest.raises(RuntimeError, match="a defect") as caught:
        chat.generate_until([request(0)])
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "chat_server.py" in shown
    assert KEY not in shown


# --- ends ---


def test_an_interrupted_run_keeps_what_had_finished(server: FaultServer) -> None:
    import os
    import signal

    def behave(asked: Asked) -> Said:
        if asked.number == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return Said(reply("B").body, wait_s=0.005 if asked.number < 30 else 0.5)

    server.behave = behave
    questions = [request(number) for number in range(60)]
    with pytest.raises(KeyboardInterrupt):
        model(server, log=True, concurrency=4).generate_until(questions)
    server.behave = lambda asked: reply("B")
    again = model(server, log=True)
    again.generate_until(questions)
    assert again.work["answers_from_log"] >= 26
    assert again.work["answers_from_log"] + again.work["answers_computed"] == 60
