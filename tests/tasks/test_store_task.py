"""The task over a store: what it asks in each variant, in whose words, and how it reads the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion, Item
from minchange_eval.data.prepare import prepare
from minchange_eval.data.store import write_store
from minchange_eval.tasks.store_task import CandidateSetTask, ChoiceTask, StatementTask, StoreTask
from tests.data.official_layouts import picture_bytes

SHARED_MED = Path(__file__).parents[2].parent / "shared" / "data" / "med_sample"
RELEASED = {
    "text_question_0": "<image_0> (A) or (B)?",
    "text_question_1": "<image_1> (A) or (B)?",
    "image_question_0": "<image_0> or <image_1>?",
    "image_question_1": "<image_0>, <image_1>: which?",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path))
    return tmp_path


def picture(number: int) -> BytesImage:
    return BytesImage(f"{number}.jpg", picture_bytes(("task", number)))


def pair(number: int, **facts: str) -> CandidateSet:
    images = (picture(2 * number), picture(2 * number + 1))
    return CandidateSet(f"object/{number}", "object", images, (f"{number} cats", f"{number} dogs"), facts=facts)


def question(number: int, *options: str) -> ChoiceQuestion:
    images = (picture(2 * number), picture(2 * number + 1))
    return ChoiceQuestion(f"med/{number}", "Object", images, "What differs?", options, (1,))


def statement(number: int, label: int) -> ChoiceQuestion:
    facts = {"relation": "under"}
    return ChoiceQuestion(
        f"v/{number}",
        "zeroshot_test",
        (picture(number),),
        "The cat is under the car.",
        ("false", "true"),
        (label,),
        facts,
    )


def task(kind: Callable[..., StoreTask], *items: Item, dataset: str, **metadata: Any) -> StoreTask:
    write_store(dataset, items, force=True)
    return kind({"task": "t", "metadata": {"dataset": dataset, **metadata}})


def vismin(*items: Item, **metadata: Any) -> StoreTask:
    return task(CandidateSetTask, *items, dataset="vismin", prompt="vismin", **metadata)


def test_the_datas_own_questions_are_asked_and_the_record_says_so() -> None:
    built = vismin(pair(0, **RELEASED), pair(1, **RELEASED))
    assert [query.question for query, _ in built.asks(built.items[0])] == list(RELEASED.values())
    assert built.prompt_source == "released"


@pytest.mark.parametrize("variant", ["cyclic", "swapped"])
def test_in_other_orders_the_template_is_asked(variant: str) -> None:
    built = vismin(pair(0, **RELEASED), variant=variant)
    assert {query.question for query, _ in built.asks(built.items[0])} == {""}
    assert built.prompt_source == "published"


def test_where_some_items_have_questions_or_some_places_do_not_fit_both_sources_are_named() -> None:
    assert vismin(pair(0, **RELEASED), pair(1)).prompt_source == "released and published"
    misplaced = {**RELEASED, "text_question_0": "<image_0> <image_1> (A) or (B)?"}
    built = vismin(pair(0, **misplaced), variant="blank")
    assert [bool(query.question) for query, _ in built.asks(built.items[0])] == [False, True, True, True]


def test_without_question_columns_the_words_are_the_published_ones() -> None:
    assert vismin(pair(0), pair(1)).prompt_source == "published"


def test_a_bank_is_one_digest_over_its_wordings_and_another_choice_of_them_another() -> None:
    wanted = {"dataset": "vsr", "bank": "vsr_templates", "variant": "templates"}
    eight = task(StatementTask, statement(0, 1), **wanted, wordings=["s01", "s05"])
    other = StatementTask({"task": "t", "metadata": {**wanted, "wordings": ["s01", "s07"]}})
    assert eight.prompt_sha256 != other.prompt_sha256
    assert (eight.prompt_source, eight.variant) == ("ours", "templates")
    assert eight.config.metadata["prompt_sha256"] == eight.prompt_sha256  # in lmms-eval's own keys too


def test_each_answer_is_read_by_the_style_of_its_own_wording() -> None:
    wordings = ["s01", "s02", "s03", "s04"]  # true/false, yes/no, true/not, A/B
    built = task(
        StatementTask, statement(0, 1), dataset="vsr", bank="vsr_templates", variant="templates", wordings=wordings
    )
    (doc,) = built.dataset["test"]
    rows = built.process_results(doc, ["True", "yes.", "Not", "B"])["queries"]
    assert [(row["form"], row["choice"], row["hit"]) for row in rows] == [
        ("s01", 1, True),
        ("s02", 1, True),
        ("s03", 0, False),
        ("s04", 0, False),
    ]
    assert {*rows[0]["slices"]} == {"group: Projective", "relation: under"}
    assert built.process_results(doc, ["B", "First", "it depends", ""])["unscored"] == 4


def test_votes_of_all_orders_are_merged_before_they_are_counted() -> None:
    built = task(ChoiceTask, question(0, "A. w", "B. x", "C. y"), dataset="med", prompt="med", variant="cyclic")
    (doc,) = built.dataset["test"]
    constant = built.process_results(doc, ["Answer: A"] * 3)
    assert (constant["micro"], constant["tied"], len(constant["queries"])) == ([0, 1], 1, 3)
    by_content = built.process_results(doc, ["Answer: B", "Answer: A", "Answer: C"])
    assert by_content["micro"] == [1, 1]


def test_items_whose_words_cannot_be_exchanged_are_left_out_and_counted() -> None:
    plain = question(0, "A. In the first image, a cat.", "B. In the second image, a cat.")
    timed = question(1, "A. In the first image, a cat.", "B. A cat was added in the second image.")
    built = task(ChoiceTask, plain, timed, dataset="med", prompt="med", variant="swapped")
    assert ([item.question_id for item in built.items], built.left_out) == (["med/0"], 1)  # type: ignore[union-attr]
    assert len(built.dataset["test"]) == 1


@pytest.mark.skipif(not SHARED_MED.is_dir(), reason="the sample of MED is not beside the checkout")
def test_of_the_real_med_pairs_37_are_exchanged_and_the_right_options_stay_right() -> None:
    prepare("med", SHARED_MED)
    built = ChoiceTask({"task": "med_swapped", "metadata": {"dataset": "med", "prompt": "med", "variant": "swapped"}})
    assert (len(built.items), built.left_out) == (37, 7)
    for item in built.items:
        ((query, _),) = built.asks(item)
        (own,) = built.queries(item)
        assert query.images == own.images[::-1]
        assert query.answers == own.answers


@pytest.mark.parametrize("variant", ["", "cyclic", "blank"])
def test_a_limit_takes_items_of_every_subset(variant: str) -> None:
    items = [
        replace(pair(n), set_id=f"{subset}/{n}", subset=subset)
        for n, subset in enumerate(["object"] * 3 + ["relation"] + ["counting"] * 2)
    ]
    built = vismin(*items, variant=variant)
    documents = [doc["item_id"] for doc in built.dataset["test"]]
    assert documents == ["object/0", "relation/3", "counting/4", "object/1", "counting/5", "object/2"]
    for doc in built.dataset["test"]:  # lmms-eval asks by number
        assert {query.item_id for query, _ in built.asks(built.items[doc["number"]])} == {doc["item_id"]}
    assert [item.set_id for item in vismin(*items, subset="object").items] == ["object/0", "object/1", "object/2"]  # type: ignore[union-attr]


def test_raw_pastes_the_options_as_released() -> None:
    item = question(0, "A. red  ", "B. blue", "C. red", "D. green")
    built = task(ChoiceTask, item, dataset="med", prompt="med_raw", variant="raw")
    (request,) = built.construct_requests(0, "", metadata={"task": "t", "doc_id": 0, "repeats": 1})
    assert "Options:\nA. red  \nB. blue\nC. red\nD. green\n" in request.args[0]
    assert request.metadata["query"].texts == item.options


def test_both_interfaces_show_the_same_images_and_words() -> None:
    built = vismin(pair(0, **RELEASED), pair(1, **RELEASED), variant="otherpair")
    metadata = {"task": "t", "doc_id": 0, "repeats": 1}
    simple = built.construct_requests(0, "", metadata=metadata)
    built.task_type = "chat"
    chat = built.construct_requests(0, "", metadata=metadata)
    for apart, together in zip(simple, chat, strict=True):
        (message,) = together.args[1]({})
        words = [part["text"] for part in message["content"] if part["type"] == "text"]
        pictures = [part["url"].tobytes() for part in message["content"] if part["type"] == "image"]
        assert apart.args[0] == "".join(words)
        assert [picture.tobytes() for picture in apart.args[2]({})] == pictures
        assert {image.name for image in apart.metadata["query"].images} <= {"2.jpg", "3.jpg"}
        assert set(apart.metadata["query"].cluster_keys) <= {picture(0).sha256, picture(1).sha256}
