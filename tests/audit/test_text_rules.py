"""Fixed rules on puzzles worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minchange_eval.audit.puzzles import Pile, Puzzle
from minchange_eval.audit.shortcuts import piles_of
from minchange_eval.audit.text_rules import fixed_rules, punctuation, stray_blanks
from minchange_eval.audit.word_counts import alike, words_of
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion

OPTIONS = (
    "A. The red cat sits on the mat.  ",
    "B. The blue cat sits on the mat; the dog, too.",
    "C. The red cat is not on the mat. ",
    "D. A horse runs!! ",
)


def asked(options: tuple[str, ...], answer: int = 1, question: str = "Where is the cat?") -> Pile:
    item = ChoiceQuestion("q", "s", (BytesImage("i", b"i"),), question, options, (answer,))
    return piles_of([item], "made_up")["answer"]


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ("always_A", 0), ("always_D", 3), ("longest", 1), ("shortest", 3), ("most_alike", 0), ("least_alike", 3),
        ("most_punctuation", 1), ("absence", 2), ("echo", 2), ("clean_ends", 1), ("stray_blanks", 0),
    ],
)  # fmt: skip
def test_a_rule_takes_the_option_that_its_name_says(rule: str, place: int) -> None:
    pile = asked(OPTIONS)
    (found,) = [one for one in fixed_rules(pile) if one.name == rule]
    choices = pile.choices(found.score(pile))
    assert choices.place.tolist() == [place]
    assert choices.hit.tolist() == [place == 1]
    assert choices.decided.tolist() == [True]


def test_options_are_read_as_a_model_is_shown_them_and_of_doubles_only_the_first() -> None:
    pile = asked(("A. a cat ", "B. a cat", "C. a dog"), answer=1)
    assert pile.puzzles[0].texts == ("a cat", "a dog")
    assert pile.puzzles[0].released == ("A. a cat ", "C. a dog")
    assert pile.right.tolist() == [True, False]
    assert pile.chance.tolist() == [0.5]


def test_a_rule_that_prefers_none_is_undecided_and_its_draws_are_spread_evenly_and_the_same_again() -> None:
    puzzles = [Puzzle("i", f"k{n}", "s", n, 4, (0,), texts=("x",) * 4, released=("x",) * 4) for n in range(4000)]
    pile = Pile("answer", puzzles)
    choices = pile.choices(np.ones(len(pile.owner)))
    assert not choices.decided.any()
    assert np.bincount(choices.place, minlength=4).tolist() == pytest.approx([1000] * 4, abs=110)
    again = Pile("answer", puzzles[::-1]).choices(np.ones(len(pile.owner)))
    assert again.place[::-1].tolist() == choices.place.tolist()


def test_blanks_behind_a_text_and_missing_behind_its_letter_are_counted() -> None:
    assert [stray_blanks(text) for text in ("A. x", "A.x", "A. x  ", "x", "x\n")] == [0, 1, 2, 0, 1]


def test_in_a_candidate_set_places_are_asked_in_both_directions_and_the_original_where_the_data_says_which() -> None:
    images = (BytesImage("0", b"0"), BytesImage("1", b"1"))
    one = CandidateSet("s", "object", images, ("A cat.", "A dog."), image_to_text=((1, 0), (0, 1)))
    piles = piles_of([one], "vismin")
    assert set(piles) == {"i2t_place", "t2i_place", "caption", "image"}
    assert [puzzle.answers for puzzle in piles["i2t_place"].puzzles] == [(1,), (1,)]
    assert piles["caption"].puzzles[0].texts == ("A cat.", "A dog.")
    assert not [rule.name for rule in fixed_rules(piles["caption"]) if rule.sees == "place"]
    assert set(piles_of([one], "spec")) == {"i2t_place", "t2i_place"}


def test_where_all_options_say_the_same_there_is_nothing_to_find() -> None:
    from minchange_eval.audit.shortcuts import audit

    item = ChoiceQuestion("q", "s", (BytesImage("i", b"i"),), "?", ("A. x", "B. x "), (0,))
    assert piles_of([item], "made_up") == {}
    assert audit([item], "made_up", "f" * 64).rules == ()


def test_in_scripts_without_blanks_texts_are_alike_by_their_characters_and_marks_are_no_punctuation() -> None:
    near = alike(["一只猫在桌子上", "一只狗在桌子上", "下雨了"])
    assert near[0, 1] > 0.8 > 0.2 > near[0, 2]
    assert words_of("ลูกแมว") == ("ลู", "ก", "แ", "ม", "ว")
    assert words_of("קָטָן كِتَاب") == ("קָטָן", "كِتَاب")
    assert punctuation("हिन्दी में लिखा") == 0
