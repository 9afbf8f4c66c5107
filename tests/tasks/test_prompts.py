"""The words that chat models see; a change here moves scores and must be meant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from minchange_eval.core.items import CandidateSet, ChoiceQuestion
from minchange_eval.core.prompts import LABELS, Origin, applies, candidate_labels, placed_images, render
from minchange_eval.core.queries import Query, queries_of_set, query_of_question, query_of_statement
from minchange_eval.data.vsr_relations import statement_fields
from minchange_eval.tasks.prompts import bank_tables, prompt, prompt_names
from tests.tasks.rendered import IMAGES, PAIR, QUESTION, SNAPSHOT, STATEMENT, all_rendered

SHARED_VSR = Path(__file__).parents[2].parent / "shared" / "data" / "vsr_sample"
MED, VISMIN = prompt("med"), prompt("vismin")
DIGESTS = {
    "spec": "6fcf504ab1106e61",
    "vismin": "c3d19f580f97f11f",
    "med": "f34d3bec4f9b57e2",
    "med_raw": "ab2a30e0ae584dbb",
    "vsr": "168ef45423467138",
}


def shown(query: Query, prompt: object) -> list[str]:
    return [part if isinstance(part, str) else part.name for part in render(query, prompt)]  # type: ignore[arg-type]


def test_vismin_asks_which_caption_in_the_authors_words() -> None:
    assert shown(queries_of_set(PAIR)[1], VISMIN) == [
        "image 1",
        "Does this image best match: (A) A cat on a mat., or (B) A dog on a mat.? Choices: A, B.",
    ]


def test_vismin_asks_which_image_in_the_authors_words() -> None:
    assert shown(queries_of_set(PAIR)[2], VISMIN) == [
        "image 0",
        "image 1",
        'Which image better aligns with the description: "A cat on a mat."? Choices: First, Second.',
    ]


def test_med_shows_the_text_and_then_the_two_images_with_options_stripped() -> None:
    text, *images = shown(query_of_question(QUESTION), MED)
    assert images == ["image 0", "image 1"]
    assert "Options:\nA. The cat is gone.\nB. A dog came.\n" in text
    assert "`Answer: A`" in text


def test_nine_candidates_are_named_a_to_i_and_first_to_ninth() -> None:
    nine = CandidateSet("n", "count", IMAGES, tuple(f"{i} dogs" for i in range(9)))
    queries = queries_of_set(nine)
    assert candidate_labels(queries[0], VISMIN)[-1] == "I"
    assert candidate_labels(queries[9], VISMIN)[-1] == "Ninth"
    assert "(H) 7 dogs, or (I) 8 dogs?" in shown(queries[0], VISMIN)[1]


def test_more_candidates_than_names_are_refused() -> None:
    wide = ChoiceQuestion("w", "", IMAGES[:1], "?", tuple(f"class {i}" for i in range(80)), (0,))
    with pytest.raises(ValueError, match="80 candidates"):
        candidate_labels(query_of_question(wide), MED)


def test_every_wording_in_every_direction_is_as_in_the_snapshot() -> None:
    assert all_rendered() == SNAPSHOT.read_text(encoding="utf-8")


def test_the_digests_of_the_benchmarks_own_prompts() -> None:
    assert {name: prompt(name).sha256[:16] for name in ("spec", "vismin", "med", "med_raw", "vsr")} == DIGESTS


def test_no_two_prompts_have_one_digest() -> None:
    assert len({prompt(name).sha256 for name in prompt_names()}) == len(prompt_names())


def test_every_prompt_says_its_name_its_source_and_whose_words_it_has() -> None:
    for name in prompt_names():
        assert prompt(name).name == name
        assert prompt(name).source
        assert prompt(name).origin in get_args(Origin)


def test_a_wrong_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="no wording is called vsrr; known: med, med_raw, med_templates/q1"):
        prompt("vsrr")
    with pytest.raises(KeyError, match="bank med_templates has no wording q10; known: q1"):
        prompt("med_templates/q10")
    with pytest.raises(KeyError, match="med is one prompt"):
        bank_tables("med")


def test_the_bank_for_statements_has_thirty_short_forms_and_twenty_long_ones_that_differ() -> None:
    tables = bank_tables("vsr_templates")
    assert {name: len(words) for name, words in tables.items()} == {"short": 30, "long": 20}
    texts = [words["text"] for table in tables.values() for words in table.values()]
    assert len({" ".join(re.findall(r"\w+", text.lower())) for text in texts}) == 50
    lengths = {name: [len(words["text"]) for words in table.values()] for name, table in tables.items()}
    assert max(lengths["short"]) < min(lengths["long"])


def test_the_bank_has_every_answer_style_in_short_and_long_forms_and_says_it_in_words() -> None:
    for table in bank_tables("vsr_templates").values():
        assert {words["labels"] for words in table.values()} == {"yes/no", "true/false", "true/not", "A/B"}
        for words in table.values():
            for label in LABELS[words["labels"]]:
                assert re.search(rf"\b{label}\b", words["text"], re.IGNORECASE), words["text"]


def test_some_wordings_need_boxes_and_apply_only_where_there_are_some() -> None:
    boxed = query_of_statement(STATEMENT, statement_fields(STATEMENT))
    plain = query_of_statement(STATEMENT, {"relation": "under", "subject": "cat", "object": "car"})
    wordings = [prompt(name) for name in prompt_names() if name.startswith("vsr_templates/")]
    assert all(applies(boxed, wording) for wording in wordings)
    needing = {wording.name.split("/")[1] for wording in wordings if not applies(plain, wording)}
    assert needing == {"s28", "s29", "s30", "l18", "l19"}


def test_every_wording_without_boxes_renders_for_every_real_vsr_row() -> None:
    if not SHARED_VSR.is_dir():
        pytest.skip("the sample of VSR is not beside the checkout")
    rows = [json.loads(line) for file in SHARED_VSR.glob("*.jsonl") for line in file.read_text().splitlines()]
    wordings = [prompt(name) for name in prompt_names() if name.startswith("vsr_templates/")]
    for row in rows:
        item = ChoiceQuestion("v", "zeroshot_test", IMAGES[:1], row["caption"], ("false", "true"), (0,), row)
        fields = statement_fields(item)
        query = query_of_statement(item, fields)
        fitting = [wording for wording in wordings if applies(query, wording)]
        assert len(fitting) == 45
        for wording in fitting:
            picture, text = shown(query, wording)
            assert picture == "image 0"
            assert "{" not in text
            assert row["caption"][1:-1] in text or all(part in text for part in fields.values())


def test_med_is_asked_in_nine_ways_above_the_same_options() -> None:
    names = [name for name in prompt_names() if name.startswith("med_templates/")]
    texts = [shown(query_of_question(QUESTION), prompt(name))[0] for name in names]
    assert len(set(texts)) == 9
    assert len({text[text.index("Options:") :] for text in texts}) == 1
    assert all(QUESTION.question not in text for text in texts)


def test_released_questions_say_where_images_stand() -> None:
    asked = queries_of_set(PAIR, ["<image_0> A or B?", "", "<image_1> or <image_0>?", "Which one?"])
    assert shown(asked[0], VISMIN) == ["image 0", "A or B?"]
    assert "Does this image best match" in shown(asked[1], VISMIN)[1]
    assert shown(asked[2], VISMIN) == ["image 1", "or", "image 0", "?"]
    assert shown(asked[3], VISMIN) == ["image 0", "image 1", "Which one?"]
    assert [placed_images(query.question) for query in asked] == [1, 0, 2, 0]


@pytest.mark.parametrize("braces", ["{caption}", "{0}", "}{"])
def test_braces_in_a_caption_stay_as_they_are(braces: str) -> None:
    pair = CandidateSet("s", "object", IMAGES[:2], (f"a {braces}", "b"))
    assert f"a {braces}" in "".join(shown(queries_of_set(pair)[0], VISMIN))
