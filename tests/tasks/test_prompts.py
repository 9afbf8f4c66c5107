"""The words that chat models see; a change here moves scores and must be meant."""

from __future__ import annotations

import pytest

from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.prompts import candidate_labels, render
from minchange_eval.core.queries import Query, queries_of_set, query_of_question
from minchange_eval.tasks.prompts import prompt

MED, VISMIN = prompt("med"), prompt("vismin")

IMAGES = tuple(BytesImage(f"{i}.png", bytes([i])) for i in range(9))
PAIR = CandidateSet("s", "object", IMAGES[:2], ("A cat on a mat.", "A dog on a mat."))
QUESTION = ChoiceQuestion(
    "q", "Object", IMAGES[:2], "What is different?", ("A. The cat is gone.  ", "B. A dog came.", "C. x", "D. y"), (1,)
)


def shown(query: Query, prompt: object) -> list[str]:
    return [part if isinstance(part, str) else part.name for part in render(query, prompt)]  # type: ignore[arg-type]


def test_vismin_asks_which_caption_in_the_authors_words() -> None:
    assert shown(queries_of_set(PAIR)[1], VISMIN) == [
        "1.png",
        "Does this image best match: (A) A cat on a mat., or (B) A dog on a mat.? Choices: A, B.",
    ]


def test_vismin_asks_which_image_in_the_authors_words() -> None:
    assert shown(queries_of_set(PAIR)[2], VISMIN) == [
        "0.png",
        "1.png",
        'Which image better aligns with the description: "A cat on a mat."? Choices: First, Second.',
    ]


def test_med_shows_the_text_and_then_the_two_images_with_options_stripped() -> None:
    text, *images = shown(query_of_question(QUESTION), MED)
    assert images == ["0.png", "1.png"]
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


def test_the_digest_moves_with_the_words_only() -> None:
    assert VISMIN.sha256 != MED.sha256
    assert VISMIN.sha256 == "4666f6ecec15ef384a95d22341eb6a8e0fb4d1ed0374eccfd0c2b734e58c2c99"


@pytest.mark.parametrize("braces", ["{caption}", "{0}", "}{"])
def test_braces_in_a_caption_stay_as_they_are(braces: str) -> None:
    pair = CandidateSet("s", "object", IMAGES[:2], (f"a {braces}", "b"))
    assert f"a {braces}" in "".join(shown(queries_of_set(pair)[0], VISMIN))
