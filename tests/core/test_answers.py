from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minchange_eval
from minchange_eval.core.answers import (
    med_letter,
    read_answer,
    vismin_matches,
    vismin_normalised,
    write_scores,
    write_words,
)
from minchange_eval.core.prompts import LABELS


@dataclass(frozen=True)
class Case:
    """A reply of the corpus, and the position that it chooses; None where it is unreadable."""

    style: str
    labels: tuple[str, ...]
    options: tuple[str, ...]
    reply: str
    choice: int | None


def _corpus() -> list[Case]:
    cases = []
    for path in sorted((Path(__file__).parent / "replies").glob("*.toml")):
        for group in tomllib.loads(path.read_text(encoding="utf-8"))["group"]:
            shown = (group["style"], tuple(group["labels"]), tuple(group.get("options", ())))
            cases += [Case(*shown, reply, None) for reply in group["unreadable"]]
            cases += [Case(*shown, reply, int(at)) for at, replies in group["reads"].items() for reply in replies]
    return cases


CORPUS = _corpus()
STYLES = {
    *("letters of 2", "letters of 4", "letters of 9", "ordinals of 2", "ordinals of 3", "ordinals of 9"),
    *(
        "yes/no",
        "yes/no with options",
        "true/false",
        "true/not",
        "A/B",
        "letters with options",
        "short options",
        "options that are numbers",
        "differences",
    ),
}
cases = st.sampled_from(CORPUS)

LETTERS, NINE, WORDS = "ABCD", "ABCDEFGHI", ("First", "Second")


@pytest.mark.parametrize(
    "reply",
    [
        "B",
        "b",
        "(B)",
        "(b)",
        "B.",
        "B)",
        " B \n",
        "**B**",
        "`B`",
        "Option B",
        "The answer is B.",
        "The correct answer is (B).",
        "Answer: B",
        "answer:B",
        "**Answer:** B",
        "Answer: **B**",
        "Answer - B",
        "Answer: (B) In the second image, a cat is gone.",
        "B. In the second image, a cat is gone.",
        "(B) A cat is gone.",
        "B: a cat is gone",
        "B, because the cat is gone.",
        "B is correct.",
        "B\n\nThe cat is gone.",
        "Option A shows a cat, option C a dog. The answer is B.",
        r"So the result is $\boxed{B}$.",
        "<answer>B</answer>",
        "<think>Perhaps A? Or C.</think>\nB",
        "Answer: B\n\nFinal answer: B",
        "My answer is option B",
        "The answer is B for sure",
        "Answer: B in the second image, the cat is gone.",
        "Answer: B\n\nThe first image has a dog, the second does not.",
        "Answer: B. A cat is gone, and a dog has come.",
        "B. A cat is gone.",
        "B. The dog faces the other way, rather than the wall.",
        "The answer is B because the cat is not there.",
        "Since the cat is not there, the answer is B.",
        "Perhaps A, or C.</think>\n\nB",  # some models open their <think> in the prompt
        r"\boxed{\text{(B)}}",
        "B is the best match.",
    ],
)
def test_a_reply_that_names_one_letter_is_read(reply: str) -> None:
    assert read_answer(reply, LETTERS).choice == 1


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " ",
        "?",
        "I cannot tell.",
        "A or B",
        "A/B",
        "Answer: A or B",
        "Answer: A, B",
        "Answer: A and B.",
        "(A) or (B)",
        "Answer: A. Answer: B.",
        "not B",
        "Not (B).",
        "B is not correct",
        "A cat is on the mat.",
        "Answer: A cat",
        "a cat",
        "E",
        "Answer: E",
        "BB",
        "B-52",
        "I",
        "A. B. C. D.",
        "A. a cat\nB. a dog",
        "Both A and B",
        "neither",
        "A is incorrect.",
        "A is wrong.",
        "(A) is not correct.",
        "A is the wrong option",
        "B is false, because the cat is gone",
        "A was my first thought but it is wrong",
        "The answer is A or maybe C",
        "The answer is A, perhaps.",
        "Answer: A (or B)",
        "Answer: A or",
        "Answer: A.B",
        "Answer: B, the other one",
        "Answer: B. Option A sounds odd.",
        "The answer is A. Actually, B.",
        "The answer is A? No, compare again",
        "I don't think the answer is A.",
        "A\n\nWait, I think it is B",
        "B.\nA is wrong",
        "<think>So the answer is B? No, compare again",
        "<think>The answer is B.",
        "<think>A</think>The answer is B <think>or",
        "Cat.",
        '{"scores": [1, 0, 0, 0]}',  # words of a chat model, which no adapter wrote
        '{"scores": [1, 0, 0, 0], "truncated": 0, "scored": "pairs", "sure": true}',
        '{"scores": [1, 2], "truncated": 0, "scored": "pairs"}',
        '{"scores": [1, 2, 3, "4"], "truncated": 0, "scored": "pairs"}',
        '{"scores": [true, false, true, false], "truncated": 0, "scored": "pairs"}',
        '{"answer": 1}',
        "[1, 2, 3, 4]",
        "{" * 5000,
        '{"scores":' + "[" * 100_000,
    ],
)
def test_a_reply_that_names_no_letter_or_two_is_unreadable_and_not_guessed(reply: str) -> None:
    answer = read_answer(reply, LETTERS)
    assert (answer.choice, answer.scores, answer.text) == (None, None, reply)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("First", 0),
        ("second.", 1),
        ("The first image.", 0),
        ("Second image", 1),
        ("The second image better aligns with the description.", 1),
        ("Answer: First", 0),
        ("The answer is the second image", 1),
        ("First. It has a cat.", 0),
        ("First or Second", None),
        ("First and second", None),
        ("First, let me look at the pictures.", None),
        ("The first image does not match.", None),
        ("The first image has a cat, the second image a dog.", None),
        ("Seconds later", None),
        ("The first image is wrong.", None),
        ("The first image shows a red car, so it must be the other one", None),
        ("The first one is false", None),
        ("First: no", None),
        ("The second one, I think", 1),
        ("The first image, of a red car, does not fit.", None),
        ("Second to none", None),
        ("Answer: First, I look at the images.", None),
        ("The answer is first determined by the cat.", None),
        ("Answer: First. The second image has no cat.", None),
        ("Answer: First, because it has a cat.", 0),
        ("The second image is the correct one.", 1),
        ("F\u0130RST", None),
        ("B", None),
    ],
)
def test_word_labels_are_read_where_they_are_the_answer(reply: str, choice: int | None) -> None:
    assert read_answer(reply, WORDS).choice == choice


# {x} is the answer, or would be; {y} another label
TEMPLATES = (
    *("{x}", "({x})", "{x}.", "**{x}**", "{x}: the cat", "{x}, because", "{x} is correct", "{x} is wrong", "{x} cat"),
    *("{x} in the second image", "{x} better view", "{x} TV", "{x} matches best", "{x} can", "{x} was", "not {x}"),
    *("Answer: {x}", "Answer: {x} in the second image, it is", "The answer is {x} for sure", "Answer: {x} cat", "{x}?"),
    *("the answer is {x} because it fits", "Answer: {x} The cat is gone", "Answer: {x} Two cats", "Option {x} fits"),
    *("Answer: {x}. A cat is gone.", "{x}, because A cat is gone", "{x}. I see A Cat, a dog", "Answer: {x} is wrong"),
    *("Answer: {x} or {y}", "Answer: {x}. {y} is wrong", "Answer: {x}. Option {y} sounds odd", "{x}/{y}", "{x} {y}"),
    *("Answer: {x}. {y} cat is gone", "{x}. {y} in the first image", "{x}, since {y} looks odd", "{y}. Answer: {x}"),
)


@given(st.sampled_from(TEMPLATES), st.booleans(), st.permutations(NINE), st.permutations(NINE))
def test_every_letter_is_read_by_the_same_rule(template: str, lower: bool, one: list[str], other: list[str]) -> None:
    if lower and "{y}" not in template:
        one, other = [x.lower() for x in one], [x.lower() for x in other]
    choices = [
        (read_answer(template.format(x=x, y=y), NINE).choice, NINE.index(x.upper())) for x, y in (one[:2], other[:2])
    ]
    assert all(choice in (None, own) for choice, own in choices)
    assert len({choice is None for choice, _ in choices}) == 1


def test_a_model_that_repeats_itself_for_ever_is_read_at_once() -> None:
    # in a process of its own, since nothing interrupts a pattern that runs away; together they take a second
    code = """
from minchange_eval.core.answers import med_letter, read_answer, vismin_normalised
from minchange_eval.core.prompts import LABELS
UNITS = [" ,", ", ", "or and ", " ", "\\n", " \\n", "\\t", "(", "[", ")", "A", "A ", "A,", "b) ", "the ",
         "the option ", "answer ", "Answer: A ", "answer is ", "-", "*", "<think>", "</think>", "<answer>",
         "\\\\boxed{", "\\\\text{A}", "first ", "First, ", "is the ", "more most ", "not ", "no ",
         "?", ".", "'", "{", "[1,", "0", "this ", "A is wrong, ", "A and ", "B is wrong. ",
         "does not ", "it is "]
for unit in UNITS:
    for before in ("", "Answer: A", '{"scores":'):
        for length in (19_900, 100_000):
            reply = (before + unit * length)[:length] + " x"
            for labels in ("ABCD", ("First", "Second"), ("Not", "True")):
                read_answer(reply, labels, ("a dog", "dog", "a", "the option the")[: len(labels)])
            for labels in ("BA", ("No", "Yes")):
                read_answer(reply, labels, ("false", "true"))
            vismin_normalised(reply), med_letter(reply)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_reply_longer_than_is_read_is_unreadable_but_its_reasoning_does_not_count() -> None:
    assert read_answer("B. " + "The cat is gone. " * 2000, LETTERS).choice is None
    assert read_answer("<think>" + "Is it A? " * 20_000 + "</think>B", LETTERS).choice == 1


@given(st.lists(st.floats(width=32), min_size=2, max_size=9), st.integers(0, 9))
def test_scores_come_back_as_the_same_float32(scores: list[float], truncated: int) -> None:
    text = write_scores(np.array(scores, dtype=np.float32), truncated=truncated)
    answer = read_answer(text, "ABCDEFGHI"[: len(scores)])
    assert answer.truncated == truncated
    assert answer.text is None
    assert answer.scores is not None
    for given_score, read in zip(scores, answer.scores, strict=True):
        assert (read is None and not np.isfinite(given_score)) or np.float32(read) == np.float32(given_score)


def test_words_that_would_be_read_as_an_adapters_scores_are_unscored_and_all_others_are_themselves() -> None:
    forged = [
        '{"scores":[9,0,0,0],"truncated":0,"scored":"pairs"}',
        ' \n{"scores": [1, 2], "truncated": 0, "scored": "labels", "alternatives": {}}',
        '{"unscored":"x"}',
    ]
    for reply in forged:
        read = read_answer(write_words(reply), "ABCD")
        assert (read.scores, read.choice, read.reason) == (
            None, None, "the reply is JSON of the kind in which adapters write scores"
        )  # fmt: skip
    for reply in ["B", "", '{"answer": "B"}', '{"unscored": 3}', '{"scores": [1]}', "{", "[1]"]:
        assert write_words(reply) == reply


def test_scores_are_written_as_strict_json_in_their_shortest_form() -> None:
    text = write_scores(np.array([0.1, np.inf, -np.inf, np.nan], dtype=np.float32))
    scores = [0.1, None, None, None]
    assert json.loads(text, parse_constant=pytest.fail) == {"scores": scores, "truncated": 0, "scored": "pairs"}


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert read_answer(text, LETTERS).truncated == 0
    assert read_answer(text, WORDS).scores is None or text.lstrip().startswith("{")
    vismin_matches(text, "A")
    med_letter(text)


@pytest.mark.parametrize("labels", [("A",), ("A", "a"), ()])
def test_labels_that_cannot_be_told_apart_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="labels"):
        read_answer("A", labels)


@pytest.mark.parametrize(
    ("reply", "normalised"),
    [("(A) a cat", "a"), ("B) dog", "b"), ("First.\nBecause", "first"), ("The  Answer: a!", "the answer a"), ("", "")],
)
def test_vismins_normalisation_follows_its_released_steps(reply: str, normalised: str) -> None:
    assert vismin_normalised(reply) == normalised


def test_vismins_matching_accepts_a_token_the_whole_reply_or_the_phrase() -> None:
    assert vismin_matches("I pick A here", "A")
    assert vismin_matches("First", "First")
    assert vismin_matches("the answer firstly", "First")  # "answer first" is a part of it
    assert not vismin_matches("B", "A")


def test_meds_letter_is_the_first_one_after_answer_and_none_is_drawn() -> None:
    assert med_letter("Answer: a\nAnswer: B") == "A"
    assert med_letter("answer: A") is None
    assert med_letter("The answer is A") is None


def _ids(case: Case) -> str:
    return f"{case.style}: {case.reply[:50]!r}".encode("ascii", "backslashreplace").decode()


@pytest.mark.parametrize("case", CORPUS, ids=_ids)
def test_each_reply_of_the_corpus_is_read_as_a_person_reads_it(case: Case) -> None:
    assert read_answer(case.reply, case.labels, case.options).choice == case.choice


def test_the_corpus_has_at_least_300_replies_and_both_kinds_in_every_style() -> None:
    assert len({(case.style, case.reply) for case in CORPUS}) == len(CORPUS) >= 300
    read = {case.style for case in CORPUS if case.choice is not None}
    unreadable = {case.style for case in CORPUS if case.choice is None}
    assert read == unreadable == STYLES
    assert all(
        {case.choice for case in CORPUS if case.style == style} >= {0, 1}
        for style in STYLES - {"letters of 9", "ordinals of 9"}
    )


@pytest.mark.parametrize(
    "around", ["{}", " {}", "{}\n", "\n\n {} \t", "**{}**", "\ufeff{}", "<think>A? No.</think>\n{}", "{}</s>"]
)
def test_blanks_bold_type_and_reasoning_around_a_reply_change_nothing(around: str) -> None:
    for case in CORPUS:
        if not any(mark in case.reply for mark in ("\\", "think", "```", "</")):
            read = read_answer(around.replace("{}", case.reply), case.labels, case.options).choice
            assert read == case.choice, case


@given(cases, st.randoms(use_true_random=False))
def test_candidates_in_another_order_are_chosen_at_their_new_place(case: Case, random: object) -> None:
    order = list(range(len(case.labels)))
    random.shuffle(order)  # type: ignore[attr-defined]
    labels = [case.labels[place] for place in order]
    options = [case.options[place] for place in order] if case.options else []
    choice = read_answer(case.reply, labels, options).choice
    assert (None if choice is None else order[choice]) == case.choice


WORDINGS = Path(minchange_eval.__file__).parent / "tasks" / "wordings"
# What a false and a true statement are called, bare and in the words of each prompt.
IN_WORDS = {
    "yes/no": [("no", "yes"), ("No, it is not.", "Yes, it is."), ("It is not the case.", "It is the case.")],
    "true/false": [("false", "true"), ("Something false", "Something true"), ("It is false.", "It is true.")],
    "true/not": [("not", "true"), ("Not.", "True."), ("It is not so.", "It is so.")],
    "A/B": [("B", "A"), ("(B)", "(A)"), ("Answer: B", "Answer: A"), ("B is right.", "A is right.")],
}
OPTIONS_IN_PROMPT = {
    **dict.fromkeys(("s04", "s13", "s26", "s30"), ("false", "true")),
    **dict.fromkeys(("s15", "s22", "l12"), ("it is false", "it is true")),
    "s18": ("no", "yes"),
    "l04": ("The sentence is false of the photo", "The sentence is true of the photo"),
    "l08": ("this is not the case", "this is the case"),
    "l16": ("the report is false", "the report is true"),
}


def _wordings() -> list[tuple[str, str, str]]:
    """Name, text and labels of every wording that asks about a statement."""
    found = []
    for path in sorted(WORDINGS.glob("vsr*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        named = [content.get("templates", {}), content.get("short", {}), content.get("long", {})]
        found += [(name, one["text"], one["labels"]) for group in named for name, one in group.items()]
    return found


@pytest.mark.parametrize(("name", "text", "style"), _wordings(), ids=[name for name, _, _ in _wordings()])
def test_both_answers_of_every_wording_are_read_in_its_own_words(name: str, text: str, style: str) -> None:
    pairs = list(IN_WORDS[style])
    if style == "A/B":
        own = OPTIONS_IN_PROMPT[name]
        assert name == "l08" or all(words.lower() in text.lower() for words in own)
        for form in ("{}. {}", "({}) {}.", "{}: {}", "{}, {}.", "{} ({})", "Answer: {}. {}."):
            pairs.append((form.format("B", own[0]), form.format("A", own[1])))
    labels = LABELS[style]
    for pair in pairs:
        assert [read_answer(reply, labels, ("false", "true")).choice for reply in pair] == [0, 1], pair


WORDS_OF_REPLIES = sorted({word for case in CORPUS for word in case.reply.split()})
pieces = st.lists(st.sampled_from(WORDS_OF_REPLIES) | st.text(max_size=3), max_size=25).map(" ".join)
any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@given(cases, pieces | any_text)
def test_whatever_is_said_the_choice_is_one_of_the_labels(case: Case, reply: str) -> None:
    choice = read_answer(reply, case.labels, case.options).choice
    assert choice is None or choice in range(len(case.labels))


@given(st.permutations("ABCD"), st.sampled_from(["{}", "({})", "{}.", "Answer: {}", "The answer is {}."]))
def test_two_answers_below_each_other_are_unreadable(letters: list[str], stated: str) -> None:
    one, other = letters[:2]
    assert read_answer(f"{one}\n{stated.format(other)}", LETTERS).choice is None
    assert read_answer(f"Answer: {one}\n{stated.format(other)}", LETTERS).choice is None


def test_a_reply_of_a_megabyte_is_unreadable_at_once() -> None:
    for unit in ("A", "B. ", "answer ", "the answer is ", "\n", "<think>", "\\boxed{", "'", "é", "\u200b", "\ud800"):
        for labels, options in (("AB", ("a dog", "a cat")), (WORDS, ()), (("No", "Yes"), ("false", "true"))):
            assert read_answer(unit * (1_000_000 // len(unit)), labels, options).choice is None


def test_options_that_are_equal_or_called_like_labels_are_not_read_in_their_own_words() -> None:
    assert read_answer("two dogs", "ABC", ("Two dogs", "two dogs.", "a cat")).choice is None
    assert read_answer("B", "AB", ("B", "A")).choice == 1  # the letter is what was asked for
    assert read_answer("-5", "AB", ("5", "-5")).choice is None
    assert read_answer("the image", "AB", ("the image", "a dog")).choice == 0
