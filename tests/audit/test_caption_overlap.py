from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.audit import caption_overlap
from minchange_eval.audit.caption_overlap import CONTAINMENT, LEAST_SHARED, NGRAM, Texts, normalised, overlap

LONG = "a weathered fisherman mends his torn orange net beside an upturned dinghy while two gulls squabble over crumbs"
OTHERS = [f"number {n} shows {word} and {n + 7} more {word} near hut {n * 3}" for n, word in enumerate("abcdefghij")]


def texts(captions: list[str]) -> Texts:
    distinct = list(dict.fromkeys(map(normalised, captions)))
    return Texts(distinct, np.arange(len(distinct)), len(captions))


def pairs(train: list[str], evaluation: list[str]) -> list[tuple[int, int]]:
    found = overlap(texts(train), texts(evaluation))
    return list(zip(found.train.tolist(), found.evaluation.tolist(), strict=True))


def ngrams(caption: str) -> set[tuple[str, ...]]:
    words = caption.split()
    return {tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("The cat's UNDER the bed.", "the cat\u2019s under   the bed"),
        ("ＦＵＬＬ width", "full width"),
        ("Straße", "STRASSE"),
        ("café", "cafe\u0301"),
        ("一只猫在床下。", "一只猫，在床下"),
        ("قطة تحت السرير", "قطة تحت السرير!"),
    ],
)
def test_captions_that_differ_in_case_punctuation_and_width_are_one(first: str, second: str) -> None:
    assert normalised(first) == normalised(second)


@given(st.text(max_size=60))
def test_normalising_again_changes_nothing_and_no_text_is_lost(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
    assert bool(normalised(text)) == bool(text.strip()) or not text.isprintable()


def test_scripts_without_spaces_have_their_characters_as_words() -> None:
    assert normalised("一只猫") == "一 只 猫"
    assert len(normalised("แมวอยู่").split()) > 1


def test_a_copy_with_more_words_around_it_is_found() -> None:
    assert pairs([*OTHERS, f"In this old photo, {LONG}, at dusk."], [LONG]) == [(10, 0)]


def test_an_equal_caption_is_no_finding_of_ngrams() -> None:
    assert pairs([*OTHERS, LONG], [LONG]) == []


def test_a_template_matches_nothing_and_is_counted_as_such() -> None:
    things = ["cat", "dog", "car", "cup", "hat", "key", "bus", "pen"]
    train = [f"a photo in which the {a} is to the left of the {b}" for a in things for b in things if a != b]
    evaluation = [f"a photo in which the {a} is to the left of the {a}" for a in things]
    found = overlap(texts(train), texts(evaluation))
    assert len(found.train) == 0
    assert found.of_template.all()


def test_short_sentences_in_common_words_are_no_evidence_and_long_rare_ones_are() -> None:
    train = [f"the {a} is behind the {b}" for a in ("cat", "dog", "car") for b in ("bed", "box", "bus")]
    found = overlap(texts([*train, LONG]), texts([*train, LONG]))
    assert found.beyond_chance([normalised(train[0]), normalised(LONG)]).tolist() == [False, True]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_containment_is_that_of_the_slow_definition(data: st.DataObject) -> None:
    words = st.sampled_from("abcdefgh")
    captions = st.lists(st.lists(words, min_size=1, max_size=14).map(" ".join), min_size=1, max_size=8, unique=True)
    train, evaluation = data.draw(captions), data.draw(captions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_overlap, "SPARE_BITS", -1000.0)  # every agreement, so that the counting shows
        patch.setattr(caption_overlap, "_JOINED_AT_A_TIME", 5)
        found = overlap(texts(train), texts(evaluation))
    counts = [
        {gram: sum(gram in ngrams(caption) for caption in side) for caption in side for gram in ngrams(caption)}
        for side in (train, evaluation)
    ]
    templates = {gram for side in counts for gram, count in side.items() if count > caption_overlap.TEMPLATE_EXAMPLES}
    expected = {}
    for e, caption in enumerate(evaluation):
        rare = ngrams(caption) - templates
        for t, other in enumerate(train):
            shared = len(rare & ngrams(other))
            if caption != other and shared >= LEAST_SHARED and shared >= CONTAINMENT * len(rare):
                expected[t, e] = shared / len(rare)
    got = {
        (int(t), int(e)): share for t, e, share in zip(found.train, found.evaluation, found.containment, strict=True)
    }
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("side", [[], ["!!!"], ["one"]])
def test_captions_without_words_or_none_at_all_overlap_with_nothing(side: list[str]) -> None:
    assert pairs(side, [LONG]) == pairs([LONG], side) == pairs(side, side) == []


def test_a_caption_of_ten_megabytes_is_compared() -> None:
    novel = " ".join(f"word{n % 250_000}" for n in range(1_000_000))
    assert len(novel) > 9_900_000
    assert pairs([novel, *OTHERS], [f"said to be {novel[:3000]}", LONG]) == [(0, 0)]


@pytest.mark.parametrize(("ngram", "containment"), [(0, 0.5), (5, 0.0), (5, 1.1)])
def test_thresholds_out_of_range_are_refused(ngram: int, containment: float) -> None:
    with pytest.raises(ValueError, match="expected ngram"):
        overlap(texts([LONG]), texts([LONG]), ngram=ngram, containment=containment)
