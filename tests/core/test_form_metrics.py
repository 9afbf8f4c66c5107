"""Metrics of statements, slices, and questions that are asked in several orders or wordings."""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.core.answers import Answer
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.metrics import MetricValue, summarize, whole
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import Query, queries_of_set, query_of_question, query_of_statement

YES, NO, SILENT = Answer(choice=1, text="True"), Answer(choice=0, text="False"), Answer(text="?")


def question(number: int, right: int, k: int = 4) -> Query:
    image = BytesImage("i", f"image {number}".encode())
    return query_of_question(ChoiceQuestion(f"q{number:03}", "t", (image,), "?", tuple("wxyz"[:k]), (right,)))


def statement(number: int, truth: bool, image: str = "") -> Query:
    picture = BytesImage("i", (image or f"image {number}").encode())
    return query_of_statement(
        ChoiceQuestion(f"s{number:03}", "t", (picture,), "It is.", ("false", "true"), (int(truth),))
    )


def cyclic(query: Query, answer: Callable[[Query], Answer], subset: str = "t") -> list[QueryOutcome]:
    outcomes = []
    for by in range(query.candidates):
        order = tuple((place + by) % query.candidates for place in range(query.candidates))
        answers = tuple(order.index(right) for right in query.answers)
        form = replace(query, query_id=f"{query.query_id}@c{by}", form=f"c{by}", order=order, answers=answers)
        outcomes.append(outcome_of(form, subset, answer(form)))
    return outcomes


def worded(query: Query, answers: dict[str, Answer], slices: tuple[str, ...] = ()) -> list[QueryOutcome]:
    forms = [replace(query, query_id=f"{query.query_id}@{name}", form=name) for name in answers]
    return [outcome_of(form, "t", answers[form.form], slices) for form in forms]


def value(values: tuple[MetricValue, ...], name: str, subset: str = "") -> MetricValue:
    (found,) = [one for one in values if (one.name, one.subset) == (name, subset)]
    return found


def names(values: tuple[MetricValue, ...]) -> set[str]:
    return {one.name for one in values}


@pytest.mark.parametrize("letter", range(4))
def test_a_constant_letter_is_shown_for_what_it_is_in_cyclic_orders(letter: int) -> None:
    # 63 % of the right answers stand at D, and always D gets 63 % as released
    right = [3] * 19 + [0] * 4 + [1] * 4 + [2] * 3
    outcomes = [
        line
        for n, at in enumerate(right)
        for line in cyclic(question(n, at), lambda _: Answer(choice=letter, text="?"))
    ]
    values = whole(summarize(outcomes, "questions"))
    assert values["macro"].value <= values["macro"].chance  # type: ignore[operator]
    assert (values["macro"].value, values["macro"].ties, values["macro"].n) == (0, 30, 30)
    assert (values["consistency"].value, values["consistency"].chance) == (0, pytest.approx(1 / 64))
    bias = values["position_bias"]
    assert (bias.value, bias.high, bias.chance, bias.n) == (1, 1, None, 120)
    assert bias.low > 0.7


def test_a_model_that_knows_half_and_has_no_habit_is_consistent_in_half_and_unbiased() -> None:
    def answer(form: Query) -> Answer:
        return Answer(choice=form.order.index(0), text="?")  # the released first, wherever it stands

    outcomes = [line for n in range(20) for line in cyclic(question(n, n % 2), answer)]
    values = whole(summarize(outcomes, "questions"))
    assert [values[name].value for name in ("macro", "micro", "consistency", "position_bias")] == [0.5, 0.5, 1, 0]
    assert "spread" not in values


def test_orders_of_sets_are_merged_for_the_set_scores_with_their_consistency() -> None:
    item = CandidateSet("a", "s", (BytesImage("0", b"0"), BytesImage("1", b"1")), ("zero", "one"))
    right, first = (lambda form: Answer(choice=form.answers[0], text="?")), (lambda _: Answer(choice=0, text="?"))
    outcomes = [
        line
        for query in queries_of_set(item)
        for line in cyclic(query, right if query.direction == "i2t" else first, subset="s")
    ]
    values = whole(summarize(outcomes, "sets"))
    assert [values[name].value for name in ("text_score", "image_score", "t2i_accuracy")] == [1, 0, 0]
    assert (values["consistency"].value, values["consistency"].n, values["consistency"].chance) == (0.5, 4, 0.5)
    assert values["position_bias"].value == 0.5  # 0 over the texts, 1 over the images
    assert values["group_score"].chance == (1 / 4) ** 4  # votes, and two of two orders can be shared


def test_one_exchanged_order_has_the_usual_metrics_only() -> None:
    outcomes = []
    for n in range(6):
        query = question(n, 1, k=2)
        form = replace(query, query_id=f"{query.query_id}@swapped", form="swapped", order=(1, 0), answers=(0,))
        outcomes.append(outcome_of(form, "t", Answer(choice=0, text="A")))
    values = summarize(outcomes, "questions")
    assert names(values) == {"accuracy", "macro", "micro"}
    assert whole(values)["micro"].value == 1


def test_an_unscored_order_counts_its_question_once_as_a_miss() -> None:
    def answer(form: Query) -> Answer:
        return SILENT if form.form == "c1" else Answer(choice=form.answers[0], text="?")

    values = whole(summarize(cyclic(question(0, 0), answer), "questions"))
    assert (values["micro"].value, values["micro"].unscored, values["micro"].n) == (0, 1, 1)
    assert (values["consistency"].value, values["consistency"].unscored) == (0, 1)
    assert values["position_bias"].n == 4


def test_consistency_counts_a_question_once_however_many_of_its_forms_are_unread_or_tied() -> None:
    tied = Answer(scores=(0.5, 0.5, 0.1, 0.0), scored="labels")
    unread = [line for n in range(2) for line in cyclic(question(n, 0), lambda _: SILENT)]
    shared = [line for n in range(2, 5) for line in cyclic(question(n, 0), lambda _: tied)]
    one = whole(summarize([*unread, *shared], "questions"))["consistency"]
    assert (one.n, one.unscored, one.ties) == (5, 2, 3)
    wordings = worded(statement(0, True), {"a": SILENT, "b": SILENT, "c": YES})
    one = whole(summarize(wordings, "statements"))["consistency"]
    assert (one.n, one.unscored) == (1, 1)


def tossed(rng: random.Random, k: int) -> Callable[[Query], Answer]:
    return lambda _: Answer(choice=rng.randrange(k), text="?")


@pytest.mark.parametrize(
    ("k", "questions", "expected"), [(2, 1500, 0.25), (3, 1500, 0.2593), (4, 1500, 0.1914), (9, 600, 0.0595)]
)
def test_chance_of_cyclic_orders_in_words_is_what_a_coin_tosser_gets(k: int, questions: int, expected: float) -> None:
    rng = random.Random(k)
    outcomes = [
        line
        for n in range(questions)
        for line in cyclic(
            query_of_question(
                ChoiceQuestion(f"q{n}", "t", (BytesImage("i", b"%d" % n),), "?", tuple("abcdefghi"[:k]), (n % k,))
            ),
            tossed(rng, k),
        )
    ]
    got = whole(summarize(outcomes, "questions", resamples=2))["micro"]
    assert got.chance == pytest.approx(expected, abs=5e-5)
    assert abs(got.value - expected) < 4 * math.sqrt(expected / questions)


def test_set_scores_of_votes_have_the_powers_of_their_chance() -> None:
    rng, sets = random.Random(0), 1200
    outcomes = []
    for n in range(sets):
        images = (BytesImage("0", b"%d zero" % n), BytesImage("1", b"%d one" % n))
        for query in queries_of_set(CandidateSet(f"s{n}", "s", images, ("zero", "one"))):
            outcomes += cyclic(query, tossed(rng, 2), subset="s")
    values = whole(summarize(outcomes, "sets", resamples=2))
    expected = {"i2t_accuracy": 1 / 4, "t2i_accuracy": 1 / 4, "text_score": 1 / 16, "image_score": 1 / 16,
                "group_score": 1 / 256, "pair_mean": (1 / 16 + 1 / 16 + 1 / 256) / 3, "consistency": 1 / 2}  # fmt: skip
    for name, one in expected.items():
        assert values[name].chance == pytest.approx(one), name
        assert abs(values[name].value - one) < 4 * math.sqrt(one / sets), name


def test_an_unread_order_does_not_change_the_chance_of_votes() -> None:
    unread = cyclic(question(0, 0), lambda form: SILENT if form.form == "c1" else Answer(choice=0, text="?"))
    read = cyclic(question(1, 0), lambda _: Answer(choice=0, text="?"))
    assert whole(summarize([*unread, *read], "questions"))["micro"].chance == 49 / 256
    failed = cyclic(question(0, 0), lambda form: Answer(reason="the server answered 500"))
    assert whole(summarize(failed, "questions"))["micro"].chance == 1 / 4  # in words or not, nobody knows


def test_one_vote_has_the_chance_of_one_answer_and_merged_scores_that_of_scores() -> None:
    query = question(0, 1, k=2)
    swapped = replace(query, query_id=f"{query.query_id}@swapped", form="swapped", order=(1, 0), answers=(0,))
    said = [outcome_of(swapped, "t", Answer(choice=0, text="A"))]
    assert whole(summarize(said, "questions"))["micro"].chance == 1 / 2
    for scored in ("labels", "options", "pairs"):
        outcomes = cyclic(query, lambda form: Answer(scores=(0.5, 0.1), scored=scored))  # type: ignore[arg-type]  # noqa: B023
        assert whole(summarize(outcomes, "questions"))["micro"].chance == 1 / 2


def test_labels_and_options_are_answers_of_one_query_each_and_only_pairs_share_their_scores() -> None:
    item = CandidateSet("a", "s", (BytesImage("0", b"0"), BytesImage("1", b"1")), ("zero", "one"))
    chances = {}
    for scored in ("pairs", "labels", "options", None):
        answer = Answer(scores=(0.2, 0.1), scored=scored)  # type: ignore[arg-type]
        outcomes = [outcome_of(query, "s", answer) for query in queries_of_set(item)]
        chances[scored] = whole(summarize(outcomes, "sets"))["group_score"].chance
    assert chances == {"pairs": pytest.approx(1 / 6), "labels": 1 / 16, "options": 1 / 16, None: pytest.approx(1 / 6)}


def test_statements_of_hand_worked_answers() -> None:
    said = [(True, YES), (True, YES), (True, NO), (True, SILENT), (False, YES), (False, NO)]
    outcomes = [
        outcome_of(statement(n, truth), "t", answer, slices=("group: x",) if n < 2 else ("group: y", "relation: z"))
        for n, (truth, answer) in enumerate(said)
    ]
    values = summarize(outcomes, "statements")
    expected = {
        "accuracy": 3 / 6,
        "accuracy_true": 2 / 4,
        "accuracy_false": 1 / 2,
        "yes_rate": 3 / 6,
        "answered": 5 / 6,
    }
    assert {name: one.value for name, one in whole(values).items()} == pytest.approx(expected)
    assert {name: one.n for name, one in whole(values).items()} == {
        "accuracy": 6, "accuracy_true": 4, "accuracy_false": 2, "yes_rate": 6, "answered": 6,
    }  # fmt: skip
    assert {name: one.chance for name, one in whole(values).items()} == {
        "accuracy": 0.5, "accuracy_true": 0.5, "accuracy_false": 0.5, "yes_rate": 0.5, "answered": None,
    }  # fmt: skip
    assert [(value(values, "accuracy", part).value, value(values, "accuracy", part).unscored) for part in (
        "group: x", "group: y", "relation: z")] == [(1.0, 0), (0.25, 1), (0.25, 1)]  # fmt: skip
    assert value(values, "accuracy", "t").value == 0.5
    of_y = {one.name: (one.value, one.n) for one in values if one.subset == "group: y"}
    assert of_y == {
        "accuracy": (0.25, 4), "accuracy_true": (0, 2), "accuracy_false": (0.5, 2), "yes_rate": (0.25, 4),
        "answered": (0.75, 4),
    }  # fmt: skip
    assert {one.name for one in values if one.subset == "group: x"} == set(expected) - {"accuracy_false"}


def test_statements_that_are_all_true_have_no_accuracy_on_false_ones() -> None:
    values = summarize([outcome_of(statement(n, True), "t", YES) for n in range(3)], "statements")
    assert "accuracy_false" not in names(values)
    assert whole(values)["accuracy_true"].value == 1


def test_a_statement_scored_by_labels_says_true_where_true_is_strictly_first() -> None:
    scores = ((0.1, 0.9), (0.5, 0.5), (0.9, 0.1), (None, 0.5))
    outcomes = [
        outcome_of(statement(n, True), "t", Answer(scores=one, scored="labels")) for n, one in enumerate(scores)
    ]
    values = whole(summarize(outcomes, "statements"))
    assert (values["yes_rate"].value, values["answered"].value, values["accuracy"].ties) == (0.25, 0.75, 1)


def test_statements_about_one_image_are_one_cluster() -> None:
    apart = [outcome_of(statement(n, n % 2 == 0), "t", YES) for n in range(40)]
    shared = [outcome_of(statement(n, n % 4 < 2, image=f"{n // 2}"), "t", YES) for n in range(40)]
    narrow, wide = (whole(summarize(lines, "statements"))["accuracy"] for lines in (apart, shared))
    assert narrow.value == wide.value == 0.5
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_slices_are_no_part_of_any_mean() -> None:
    plain = [outcome_of(question(n, 0), "ab"[n % 2], Answer(choice=n % 3, text="?")) for n in range(12)]
    sliced = [line.model_copy(update={"slices": ("half: one",) if n < 6 else ()}) for n, line in enumerate(plain)]
    without, with_them = summarize(plain, "questions"), summarize(sliced, "questions")
    assert tuple(one for one in with_them if one.subset != "half: one") == without
    assert value(with_them, "accuracy", "half: one").n == 6


def test_sets_have_both_accuracies_of_each_slice() -> None:
    item = CandidateSet("a", "s", (BytesImage("0", b"0"), BytesImage("1", b"1")), ("zero", "one"))
    outcomes = [outcome_of(q, "s", Answer(choice=0, text="?"), ("place: left",)) for q in queries_of_set(item)]
    values = summarize(outcomes, "sets")
    assert {one.name: one.value for one in values if one.subset == "place: left"} == {
        "i2t_accuracy": 0.5,
        "t2i_accuracy": 0.5,
    }


def test_wordings_of_hand_worked_statements() -> None:
    outcomes = [
        *worded(statement(0, True), {"s01": YES, "s02": YES, "l01": YES}),
        *worded(statement(1, True), {"s01": YES, "s02": NO, "l01": SILENT}),
        *worded(statement(2, False), {"s01": YES, "s02": NO, "l01": YES}),
        *worded(statement(3, False), {"s01": NO, "s02": NO, "l01": NO}),
    ]
    values = summarize(outcomes, "statements")
    accuracies = [value(values, "accuracy", f"wording: {name}").value for name in ("l01", "s01", "s02")]
    assert accuracies == [2 / 4, 3 / 4, 3 / 4]
    totals = whole(values)
    assert totals["accuracy"].value == pytest.approx(8 / 12)
    assert totals["spread"].value == pytest.approx(statistics.pstdev(accuracies))
    assert totals["spread"].chance is None
    assert totals["bias"].value == pytest.approx(4 / 6 - 4 / 6)
    assert (totals["consistency"].value, totals["consistency"].n) == (2 / 4, 4)
    assert totals["consistency"].chance == pytest.approx(1 / 4)
    assert "position_bias" not in totals


@pytest.mark.parametrize(("answer", "bias"), [(YES, 1.0), (NO, -1.0)])
def test_always_the_same_answer_is_consistent_without_spread_and_fully_biased(answer: Answer, bias: float) -> None:
    outcomes = [line for n in range(20) for line in worded(statement(n, n % 2 == 0), dict.fromkeys(("a", "b"), answer))]
    values = whole(summarize(outcomes, "statements"))
    assert (values["bias"].value, values["spread"].value, values["consistency"].value) == (bias, 0, 1)
    assert values["bias"].low <= bias <= values["bias"].high
    assert values["bias"].high - values["bias"].low > 0.05  # ten clusters of each say no more
    assert values["accuracy"].value == 0.5


def test_wordings_of_questions_have_a_spread_and_no_bias() -> None:
    outcomes = [
        line
        for n in range(8)
        for line in worded(question(n, 0), {"a": Answer(choice=0, text="A"), "b": Answer(choice=n % 2, text="?")})
    ]
    values = summarize(outcomes, "questions")
    assert whole(values)["spread"].value == pytest.approx(0.25)
    assert "bias" not in names(values)
    assert whole(values)["micro"].value == 0.75
    assert value(values, "accuracy", "wording: b").chance == 0.25


def _reference(outcomes: Sequence[QueryOutcome]) -> dict[str, float]:
    """By plain loops over the lines, one metric after the other."""
    by_wording, by_truth, by_base = defaultdict(list), defaultdict(list), defaultdict(list)
    for line in outcomes:
        by_wording[line.form].append(line.choice == line.answers[0])
        by_truth[line.answers[0]].append(line.choice == line.answers[0])
        by_base[line.query_id.split("@")[0]].append(line.choice)
    shares = [sum(hits) / len(hits) for hits in by_wording.values()]
    mean = sum(shares) / len(shares)
    agree = [len(set(choices)) == 1 and choices[0] is not None for choices in by_base.values()]
    return {
        "accuracy": sum(map(sum, by_truth.values())) / len(outcomes),
        "accuracy_true": sum(by_truth[1]) / len(by_truth[1]),
        "accuracy_false": sum(by_truth[0]) / len(by_truth[0]),
        "yes_rate": sum(line.choice == 1 for line in outcomes) / len(outcomes),
        "answered": sum(line.choice is not None for line in outcomes) / len(outcomes),
        "spread": (sum((share - mean) ** 2 for share in shares) / len(shares)) ** 0.5,
        "consistency": sum(agree) / len(agree),
        "bias": sum(by_truth[1]) / len(by_truth[1]) - sum(by_truth[0]) / len(by_truth[0]),
    }


@settings(deadline=None)  # two busy cores are no error
@given(st.lists(st.lists(st.sampled_from([YES, NO, SILENT]), min_size=3, max_size=3), min_size=2, max_size=9))
def test_metrics_of_wordings_equal_plain_loops_in_any_order_and_lie_in_their_intervals(said: Any) -> None:
    outcomes = [
        line
        for n, answers in enumerate(said)
        for line in worded(statement(n, n % 2 == 0), dict(zip("abc", answers, strict=True)))
    ]
    values = summarize(outcomes, "statements", resamples=50)
    assert {name: one.value for name, one in whole(values).items()} == pytest.approx(_reference(outcomes), abs=1e-9)
    for one in values:
        assert (-1 if one.name == "bias" else 0) <= one.low <= one.value + 1e-12
        assert one.value <= one.high + 1e-12 <= 1 + 1e-9
    random.Random(0).shuffle(outcomes)
    assert summarize(outcomes * 2, "statements", resamples=50) == values


def test_coins_agree_over_wordings_as_often_as_chance_says_and_have_no_bias() -> None:
    rng = random.Random(1)
    coins = [
        line
        for n in range(600)
        for line in worded(statement(n, n % 2 == 0), {name: rng.choice((YES, NO)) for name in "abc"})
    ]
    values = whole(summarize(coins, "statements"))
    assert values["consistency"].chance == 1 / 4
    for name, expected in (("accuracy", 0.5), ("consistency", 0.25), ("bias", 0.0), ("spread", 0.0), ("yes_rate", 0.5)):
        assert values[name].low <= expected <= values[name].high, name
