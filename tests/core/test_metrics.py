from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.core.answers import Answer, read_answer
from minchange_eval.core.errors import IncompleteError
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.metrics import MetricValue, summarize, whole
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import Direction, candidate_scores, queries_of_set, query_of_question
from minchange_eval.core.readings import published_hit
from minchange_eval.core.scores import candidate_set_scores


def set_outcomes(set_id: str, subset: str, similarity: Any, images: list[str] | None = None) -> list[QueryOutcome]:
    """Outcomes of a set whose similarities are [image, caption]."""
    values = np.asarray(similarity, dtype=np.float32)
    names = images or [f"{set_id}:{i}" for i in range(len(values))]
    item = CandidateSet(
        set_id,
        subset,
        tuple(BytesImage(name, name.encode()) for name in names),
        tuple(f"caption {i}" for i in range(len(values))),
    )
    outcomes = []
    for query in queries_of_set(item):
        i = int(query.query_id.rsplit("/", 1)[1])
        own = values[i : i + 1] if query.direction is Direction.IMAGE_TO_TEXT else values[:, i : i + 1]
        scores = tuple(None if math.isnan(score) else float(score) for score in candidate_scores(query, own))
        outcomes.append(outcome_of(query, subset, Answer(scores=scores)))
    return outcomes


def word_outcomes(set_id: str, replies: list[str]) -> list[QueryOutcome]:
    """Outcomes of a pair from four replies in words: text of image 0, of image 1, image of caption 0, of caption 1."""
    item = CandidateSet(set_id, "object", (BytesImage("0", b"0"), BytesImage("1", b"1")), ("zero", "one"))
    labels = {Direction.IMAGE_TO_TEXT: ("A", "B"), Direction.TEXT_TO_IMAGE: ("First", "Second")}
    return [
        outcome_of(query, "object", read_answer(reply, labels[query.direction]))
        for query, reply in zip(queries_of_set(item), replies, strict=True)
    ]


def question_outcome(number: int, kind: str, reply: str, answer: int = 0) -> QueryOutcome:
    item = ChoiceQuestion(
        f"q{number}", kind, (BytesImage("i", f"image {number}".encode()),), "?", tuple("wxyz"), (answer,)
    )
    return outcome_of(query_of_question(item), kind, read_answer(reply, "ABCD"))


def value(values: tuple[MetricValue, ...], name: str, subset: str = "") -> MetricValue:
    (found,) = [one for one in values if (one.name, one.subset) == (name, subset)]
    return found


RIGHT, WRONG = [[0.9, 0.1], [0.2, 0.8]], [[0.1, 0.9], [0.8, 0.2]]
TEXT_ONLY = [[0.9, 0.8], [0.1, 0.2]]  # each image finds its caption, caption 1 prefers image 0


def test_hand_worked_pairs_give_vismins_twelve_columns_and_their_mean() -> None:
    outcomes = [
        *set_outcomes("a1", "object", RIGHT),
        *set_outcomes("a2", "object", TEXT_ONLY),
        *set_outcomes("b1", "relation", WRONG),
        *set_outcomes("b2", "relation", RIGHT),
        *set_outcomes("b3", "relation", [[0.5, 0.5], [0.1, 0.9]]),  # image 0 is tied, captions are found
    ]
    values = summarize(outcomes, "sets")
    columns = {
        ("text_score", "object"): 1.0,
        ("image_score", "object"): 0.5,
        ("group_score", "object"): 0.5,
        ("text_score", "relation"): 1 / 3,
        ("image_score", "relation"): 2 / 3,
        ("group_score", "relation"): 1 / 3,
    }
    for (name, subset), expected in columns.items():
        assert value(values, name, subset).value == pytest.approx(expected), (name, subset)
    assert value(values, "pair_mean").value == pytest.approx(sum(columns.values()) / 6)
    tied = value(values, "text_score", "relation")
    assert (tied.n, tied.ties, tied.unscored) == (3, 1, 0)
    assert value(values, "image_score", "relation").ties == 0
    assert value(values, "i2t_accuracy", "object").n == 4


def test_specs_headline_is_the_mean_of_its_subsets_and_chance_follows_their_k() -> None:
    rng = np.random.default_rng(0)
    outcomes = [
        outcome
        for subset, k in (("count", 9), ("existence", 2))
        for number in range(3)
        for outcome in set_outcomes(f"{subset}/{number}", subset, rng.random((k, k)))
    ]
    values = summarize(outcomes, "sets")
    parts = [value(values, "i2t_accuracy", subset).value for subset in ("count", "existence")]
    headline = whole(values)["i2t_accuracy"]
    assert headline.value == pytest.approx(sum(parts) / 2)
    assert headline.chance == pytest.approx((1 / 9 + 1 / 2) / 2)
    assert headline.n == 3 * 9 + 3 * 2


def test_mixed_sizes_in_one_subset_weigh_queries_for_accuracies_and_sets_for_scores() -> None:
    outcomes = [*set_outcomes("a", "s", RIGHT), *set_outcomes("b", "s", np.zeros((4, 4)))]
    values = whole(summarize(outcomes, "sets"))
    assert values["i2t_accuracy"].value == pytest.approx(2 / 6)
    assert values["i2t_accuracy"].chance == pytest.approx((2 / 2 + 4 / 4) / 6)
    assert values["text_score"].value == 0.5
    assert values["text_score"].chance == pytest.approx((1 / 4 + 1 / 4**4) / 2)


def test_questions_have_a_macro_mean_over_types_with_micro_beside_it_and_a_slice_each() -> None:
    outcomes = [
        *(question_outcome(n, "Counting", "Answer: A") for n in range(3)),
        question_outcome(3, "Scene", "Answer: B"),
        question_outcome(4, "Scene", "Answer: A"),
        question_outcome(5, "Scene", "?"),
        question_outcome(6, "Scene", "B", answer=1),
    ]
    values = summarize(outcomes, "questions")
    assert (value(values, "accuracy", "Counting").value, value(values, "accuracy", "Scene").value) == (1.0, 0.5)
    assert whole(values)["macro"].value == 0.75
    assert whole(values)["micro"].value == pytest.approx(5 / 7)
    assert whole(values)["macro"].chance == whole(values)["micro"].chance == 0.25
    assert (whole(values)["micro"].unscored, value(values, "accuracy", "Counting").unscored) == (1, 0)


def test_chance_of_a_group_score_is_a_sixth_for_scores_and_a_sixteenth_for_words() -> None:
    assert whole(summarize(set_outcomes("a", "s", RIGHT), "sets"))["group_score"].chance == pytest.approx(1 / 6)
    words = word_outcomes("a", ["A", "B", "First", "Second"])
    assert whole(summarize(words, "sets"))["group_score"].chance == pytest.approx(1 / 16)
    assert whole(summarize(words, "sets"))["group_score"].value == 1.0


def test_an_unscored_query_is_a_miss_for_itself_and_its_set_and_counted_where_it_is_read() -> None:
    values = whole(summarize(set_outcomes("a", "s", [[0.9, float("nan")], [0.1, 0.8]]), "sets"))
    assert values["i2t_accuracy"].value == 0.5
    assert (values["text_score"].value, values["image_score"].value) == (0.0, 0.0)
    assert (values["i2t_accuracy"].unscored, values["t2i_accuracy"].unscored, values["pair_mean"].unscored) == (1, 1, 2)


def test_a_subset_asked_for_twice_counts_once_and_order_does_not_matter() -> None:
    outcomes = [*set_outcomes("a", "s", RIGHT), *set_outcomes("b", "s", WRONG), *set_outcomes("c", "r", TEXT_ONLY)]
    shuffled = outcomes * 2
    random.Random(0).shuffle(shuffled)
    assert summarize(shuffled, "sets") == summarize(outcomes, "sets")


def test_sets_that_share_an_image_are_one_cluster_and_widen_the_interval() -> None:
    apart = [line for n in range(40) for line in set_outcomes(f"s{n:02}", "s", RIGHT if n < 20 else WRONG)]
    shared = [
        line
        for n in range(40)
        for line in set_outcomes(f"s{n:02}", "s", RIGHT if n < 20 else WRONG, images=[f"shared {n // 4}", f"own {n}"])
    ]
    narrow, wide = (whole(summarize(lines, "sets"))["group_score"] for lines in (apart, shared))
    assert narrow.value == wide.value == 0.5
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@settings(deadline=None)  # two busy cores are no error
@given(st.integers(0, 10_000), st.sampled_from([2, 3]))
def test_metrics_of_one_subset_equal_the_array_functions(seed: int, k: int) -> None:
    similarity = np.random.default_rng(seed).integers(0, 4, (5, k, k)).astype(np.float32)
    outcomes = [line for n, one in enumerate(similarity) for line in set_outcomes(f"s{n}", "s", one)]
    values = whole(summarize(outcomes, "sets", resamples=2))
    for name, expected in vars(candidate_set_scores(similarity)).items():
        assert values[name].value == pytest.approx(expected), name


def test_random_scorers_come_out_at_chance_within_their_intervals() -> None:
    rng = np.random.default_rng(3)
    outcomes = [line for n in range(1500) for line in set_outcomes(f"s{n}", "s", rng.random((2, 2)))]
    for name, one in whole(summarize(outcomes, "sets")).items():
        assert abs(one.value - one.chance) < 1.6 * (one.high - one.low) / 2, name
    values = whole(summarize(outcomes, "sets"))
    assert (values["text_score"].chance, values["group_score"].chance) == (0.25, pytest.approx(1 / 6))


def test_specs_published_reading_takes_the_first_of_equal_scores_in_the_released_order() -> None:
    tied = set_outcomes("a", "s", [[0.5, 0.5], [0.5, 0.5]])
    assert [published_hit(outcome, "spec") for outcome in tied] == [True, False, True, False]
    assert whole(summarize(tied, "sets", protocol="spec"))["i2t_accuracy"].value == 0.5
    assert whole(summarize(tied, "sets"))["i2t_accuracy"].value == 0.0
    assert whole(summarize(tied, "sets", protocol="vismin"))["i2t_accuracy"].value == 0.0


def test_vismins_published_reading_matches_words_that_ours_calls_unreadable() -> None:
    outcomes = word_outcomes("a", ["A or B", "A or B", "First", "The second one, I think"])
    assert [outcome.hit for outcome in outcomes] == [False, False, True, True]
    published = whole(summarize(outcomes, "sets", protocol="vismin"))
    assert (published["text_score"].value, published["image_score"].value) == (1.0, 1.0)


def test_meds_published_reading_wants_its_own_form_and_draws_no_letter() -> None:
    outcomes = [question_outcome(0, "t", "A"), question_outcome(1, "t", "Answer: A or B")]
    assert [outcome.hit for outcome in outcomes] == [True, False]
    assert [published_hit(outcome, "med") for outcome in outcomes] == [False, True]


def test_a_reply_in_words_to_more_candidates_than_have_names_is_a_miss_in_every_reading() -> None:
    item = ChoiceQuestion("q", "t", (BytesImage("i", b"i"),), "?", tuple(f"class {n}" for n in range(80)), (79,))
    outcome = outcome_of(query_of_question(item), "t", Answer(text="Answer: B"))
    assert not any(published_hit(outcome, protocol) for protocol in ("ours", "spec", "vismin", "med"))


def test_a_set_that_lacks_queries_is_incomplete_and_not_scored() -> None:
    with pytest.raises(IncompleteError, match="set a: expected 2 queries in each direction, got 1 image-to-text"):
        summarize(set_outcomes("a", "s", RIGHT)[1:], "sets")


def test_empty_input_and_the_wrong_kind_are_errors() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        summarize([], "sets")
    with pytest.raises(ValueError, match="candidate set, got choice queries"):
        summarize([question_outcome(0, "t", "A")], "sets")
    with pytest.raises(ValueError, match="choice question, got i2t queries"):
        summarize(set_outcomes("a", "s", RIGHT), "questions")
