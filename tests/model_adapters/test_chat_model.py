"""What all chat adapters share, with an adapter that answers by counting."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.core.prompts import Prompt
from minchange_eval.core.queries import Query, queries_of_set
from minchange_eval.core.record import ModelDescription
from minchange_eval.model_adapters.chat_model import Ask, ChatModel

PROMPT = Prompt.read(
    {
        "name": "p",
        "source": "",
        "origin": "ours",
        "templates": {
            "i2t": {"text": "which text? {images}{options}"},
            "t2i": {"text": "{images}which image? {caption}", "labels": "ordinals"},
        },
    }
)
SET = CandidateSet("s", "x", (BytesImage("0", b"0"), BytesImage("1", b"1")), ("a cat", "a dog"))


class Counting(ChatModel):
    """Answers each prompt with the number of prompts before it."""

    adapter = "counting"
    own_args = ("pretrained", "fails_after")

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.description = ModelDescription(adapter=self.adapter, name=str(self.own.get("pretrained", "")))
        self.asked: list[Ask] = []

    def answer(self, asks: Sequence[Ask]) -> Iterator[dict[str, str]]:
        for ask in asks:
            if len(self.asked) == self.own.get("fails_after"):
                raise RuntimeError("gone")
            self.asked.append(ask)
            yield {ask.key: str(len(self.asked))}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path))


def request(query: Query | None, prompt: Prompt | None = PROMPT, **settings: Any) -> Any:
    metadata = {"query": query, "prompt": prompt} if query else {}
    return SimpleNamespace(args=("", None, {"max_new_tokens": 9, **settings}, 0, "t", "test"), metadata=metadata)


def foreign(pictures: Sequence[Image.Image], words: str) -> tuple[Callable[[Any], Any], Any]:
    content = [{"type": "image", "url": picture} for picture in pictures] + [{"type": "text", "text": words}]
    return lambda doc: [{"role": "user", "content": content}], {"test": [None]}


def test_equal_prompts_are_answered_once() -> None:
    model, queries = Counting(), queries_of_set(SET)
    assert model.generate_until([request(queries[0]), request(queries[1]), request(queries[0])]) == ["1", "2", "1"]
    assert model.generate_until([request(queries[1])]) == ["2"]
    assert (len(model.asked), model.work["answers_computed"]) == (2, 2)


def test_a_later_run_reads_the_log_and_another_length_of_reply_is_another_question() -> None:
    query = queries_of_set(SET)[0]
    assert Counting().generate_until([request(query)]) == ["1"]
    again = Counting()
    assert again.generate_until([request(query)]) == ["1"]
    assert (again.asked, again.work["answers_from_log"]) == ([], 1)
    again.generate_until([request(query, max_new_tokens=10)])
    assert again.work["answers_computed"] == 1
    unlogged = Counting(log=False)
    unlogged.generate_until([request(query)])
    assert len(unlogged.asked) == 1


@pytest.mark.parametrize(
    "changed", [{"scoring": "letters"}, {"image_position": "first"}, {"images": "none"}, {"system_prompt": "Be brief."}]
)
def test_another_way_of_asking_is_another_answer(changed: dict[str, str]) -> None:
    query = queries_of_set(SET)[0]
    Counting().generate_until([request(query)])
    other = Counting(**changed)
    other.generate_until([request(query)])
    assert len(other.asked) == 1


def test_a_failure_loses_no_finished_answer() -> None:
    requests = [request(query) for query in queries_of_set(SET)]
    with pytest.raises(RuntimeError, match="gone"):
        Counting(fails_after=3).generate_until(requests)
    again = Counting()
    again.generate_until(requests)
    assert (again.work["answers_from_log"], again.work["answers_computed"]) == (3, 1)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"temperature": 0.9, "top_p": 0.5, "do_sample": True}, "do_sample=True, temperature=0.9, got"),
        ({"temperature": "0.2", "do_sample": False}, "asks for temperature=0.2, got"),
        ({"num_beams": 4}, "asks for num_beams=4, got"),
        ({"temperature": "warm"}, "asks for temperature=warm, got"),
    ],
)
def test_sampling_and_beams_are_refused_in_one_line(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=f"task t: .*{named} .*greedily.*temperature=") as caught:
        Counting(log=False).generate_until([request(queries_of_set(SET)[0], **settings)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0, "top_p": 1.0, "num_beams": 1, "do_sample": False},
        {"temperature": "0.0", "top_p": None, "num_beams": None, "do_sample": "false"},
        {"temperature": None},
    ],
)
def test_what_asks_for_greedy_words_in_other_words_is_answered(settings: dict[str, Any]) -> None:
    assert Counting(log=False).generate_until([request(queries_of_set(SET)[0], **settings)]) == ["1"]


def test_what_an_adapter_does_not_want_logged_is_asked_again_by_a_later_run() -> None:
    query = queries_of_set(SET)[0]
    first = Counting()
    first.not_logged = {first._ask(request(query)).key}
    assert first.generate_until([request(query), request(query)]) == ["1", "1"]
    again = Counting()
    again.generate_until([request(query)])
    assert again.work["answers_from_log"] == 0


def parts_sent(query: Query, **options: str) -> list[str]:
    model = Counting(log=False, **options)
    model.generate_until([request(query)])
    return [part if isinstance(part, str) else f"image {part.name}" for part in model.asked[0].parts]


def test_images_stand_where_the_prompt_has_them_or_first_or_nowhere() -> None:
    query = queries_of_set(SET)[1]
    options = "(A) a cat, or (B) a dog"
    assert parts_sent(query) == ["which text? ", "image 1", options]
    assert parts_sent(query, image_position="first") == ["image 1", "which text? ", options]
    assert parts_sent(query, images="none") == ["which text? ", options]


def test_labels_are_those_of_the_prompt_in_the_querys_order() -> None:
    model = Counting(log=False)
    model.generate_until([request(query) for query in queries_of_set(SET)])
    assert [ask.labels for ask in model.asked] == [("A", "B")] * 2 + [("First", "Second")] * 2


def test_a_task_of_lmms_evals_own_is_asked_in_its_own_words_and_pictures() -> None:
    pictures = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    doc_to_messages, documents = foreign(pictures, "what?")
    model = Counting(log=False)
    model.task_dict = {"t": documents}
    model.generate_until([SimpleNamespace(args=("", doc_to_messages, {"until": "\n"}, 0, "t", "test"), metadata=None)])
    (ask,) = model.asked
    first, second, words = ask.parts
    assert (words, ask.until, ask.query) == ("what?", ("\n",), None)
    assert not isinstance(first, str)
    assert not isinstance(second, str)
    assert Image.open(io.BytesIO(second.read())).getpixel((0, 0)) == (0, 0, 255)
    assert first.sha256 != second.sha256
    with pytest.raises(UsageError, match="names no candidates to score"):
        _ = ask.labels


def asked_of(content: Any, role: str = "user") -> Sequence[Any]:
    """The parts that a document of lmms-eval's own is asked with."""
    model = Counting(log=False)
    model.task_dict = {"t": {"test": [None]}}
    messages = [{"role": role, "content": content}]
    model.generate_until([SimpleNamespace(args=("", lambda doc: messages, {}, 0, "t", "test"), metadata=None)])
    return model.asked[0].parts


def test_foreign_words_may_be_a_plain_string_and_foreign_images_files(tmp_path: Path) -> None:
    assert asked_of("what?") == ("what?",)
    Image.new("RGB", (3, 2), "red").save(tmp_path / "red.png")
    for file in (tmp_path / "red.png", str(tmp_path / "red.png")):
        (part,) = asked_of([{"type": "image", "url": file}])
        assert part.read() == (tmp_path / "red.png").read_bytes()


@pytest.mark.parametrize(
    ("content", "role", "named"),
    [
        ("be brief", "system", "expected one turn of the user, got a message of the system; .*system_prompt="),
        ([{"type": "video", "url": "a.mp4"}], "user", "expected one turn of text and images, got video"),
        ([{"type": "image", "url": "https://a/b.png"}], "user", "as paths of files, got an address"),
        ([{"type": "image", "url": None}], "user", "as paths of files, got NoneType"),
    ],
)
def test_a_foreign_turn_that_cannot_be_asked_is_refused_in_one_line(content: Any, role: str, named: str) -> None:
    with pytest.raises(UsageError, match=f"task t: .*{named}"):
        asked_of(content, role)


def test_a_foreign_image_whose_file_is_gone_is_named() -> None:
    with pytest.raises(DataError, match=r"t image 0: no such file can be read: gone\.png"):
        asked_of([{"type": "image", "url": "gone.png"}])


def test_a_query_without_a_prompt_and_unknown_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="only dual encoders can answer it"):
        Counting().generate_until([request(queries_of_set(SET)[0], prompt=None)])
    with pytest.raises(UsageError, match="Did you mean scoring"):
        Counting(scorin="letters")
    with pytest.raises(UsageError, match="expected one of generate, letters, options"):
        Counting(scoring="words")
