"""The audit finds what was put in, and nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from minchange_eval.audit import learned_rules
from minchange_eval.audit.learned_rules import folds_of
from minchange_eval.audit.shortcuts import audit, judge, nested_best, piles_of
from minchange_eval.core.errors import DataError
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.data.audit_results import AuditResult
from tests.audit.quizzes import quiz, with_longest_right


def rule(result: AuditResult, name: str, asks: str = "answer"):  # type: ignore[no-untyped-def]
    return next(one for one in result.rules if (one.name, one.asks) == (name, asks))


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown by simulation does not depend on how many trees vote."""
    monkeypatch.setattr(learned_rules, "_TREES", 5)


def test_a_shortcut_that_was_put_in_is_found_by_its_rule_and_by_the_forest_with_what_carries_it() -> None:
    result = audit(with_longest_right(quiz(240), 0.8), "made_up", "f" * 64)
    assert rule(result, "longest").significant
    assert rule(result, "longest").value > 0.7
    assert rule(result, "shape").significant
    assert {"characters", "words"} & {word for w in rule(result, "shape").carried_by for word in w.feature.split()}
    assert result.bests[0].name in {"longest", "shape"}
    best, share = result.blind("micro")  # type: ignore[misc]
    assert (best.asks, share.n, share.chance) == ("answer", 240, 0.25)
    assert share.low < share.value < share.high
    assert {part.subset for part in best.shares} == {"", "part0", "part1", "part2"}
    shown = rule(result, "longest").examples
    assert [one.chosen in one.answers for one in shown] == [True, True, False]


def test_where_answers_are_drawn_apart_from_the_texts_nothing_is_found() -> None:
    result = audit(quiz(240, seed=3), "made_up", "f" * 64)
    assert [one.name for one in result.rules if one.significant] == []
    assert result.bests[0].p > 0.01


def test_on_random_answers_the_best_of_many_rules_is_at_chance_by_nested_choice_though_the_luckiest_is_not(
    few_trees: None,
) -> None:
    nested, luckiest, n = [], [], 60
    for seed in range(24):
        pile = piles_of(quiz(n, seed=100 + seed), "made_up")["answer"]
        judged = judge(pile, None, nested=True)
        nested.append(nested_best(judged).hit.mean())
        luckiest.append(max(one.choices.hit.mean() for one in judged))
    error = np.std(nested, ddof=1) / len(nested) ** 0.5
    assert abs(np.mean(nested) - 0.25) < 3 * max(error, (0.25 * 0.75 / n / len(nested)) ** 0.5)
    assert np.mean(luckiest) > 0.25 + 5 * error


def test_learned_rules_are_at_chance_on_random_answers_and_their_p_values_are_honest(few_trees: None) -> None:
    p_values = [
        one.p
        for seed in range(24)
        for one in judge(piles_of(quiz(60, seed=500 + seed), "made_up")["answer"], None)
        if one.learned is not None
    ]
    assert np.mean(np.array(p_values) < 0.05) <= 0.12  # 48 tests at 5 %: more than 6 are seen in 1 of 60 such runs


def test_questions_that_share_an_image_lie_in_one_fold_and_so_cannot_teach_each_other() -> None:
    items = quiz(60, shared_images=10)
    twins = [ChoiceQuestion(**{**vars(item), "question": items[n // 10 * 10].question}) for n, item in enumerate(items)]
    pile = piles_of(twins, "made_up")["answer"]
    folds = folds_of(pile.clusters)
    assert {len(set(folds[start : start + 10])) for start in range(0, 60, 10)} == {1}
    assert sorted(np.bincount(folds).tolist()) == [10, 10, 10, 10, 20]


def test_the_same_audit_twice_on_one_thread_or_two_gives_the_same_bytes() -> None:
    items = with_longest_right(quiz(80), 0.5)
    one, two = (audit(items, "made_up", "f" * 64, n_jobs=jobs).model_dump_json() for jobs in (1, 2))
    assert one == two


def test_a_bias_score_is_the_probability_of_the_answer_among_its_options() -> None:
    pile = piles_of(with_longest_right(quiz(120), 0.9), "made_up")["answer"]
    (shape,) = [one for one in judge(pile, None) if one.name == "shape"]
    sums = np.add.reduceat(shape.scores, pile.starts)
    assert sums == pytest.approx(1)
    assert shape.bias is not None
    result = audit([*with_longest_right(quiz(40), 0.9)], "made_up", "f" * 64)
    assert {one.name: len(one.bias) for one in result.rules if one.kind == "learned"} == {"words": 40, "shape": 40}
    assert all(0 <= score <= 1 for one in result.rules for score in one.bias.values())
    assert shape.bias[shape.choices.hit].mean() > 0.5 > shape.bias[~shape.choices.hit].mean()


def edited(n: int, *, sharp: float, more_words: float) -> list[CandidateSet]:
    """Pairs of which the first is the original: in some its image is sharper, in some its caption longer."""
    import io

    from PIL import Image

    rng = np.random.default_rng(0)

    def image(number: int, amplitude: int) -> BytesImage:
        grey = rng.integers(128 - amplitude, 128 + amplitude, (32, 32), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "PNG")
        return BytesImage(f"{number}.png", file.getvalue())

    sets = []
    for number in range(n):
        loud, long = (rng.random() < share for share in (sharp, more_words))
        images = (image(number, 90 if loud else 30), image(number, 30 if loud else 90))
        short, wordy = "A cat.", "A cat with a very long tail."
        sets.append(CandidateSet(f"s{number}", "object", images, (wordy, short) if long else (short, wordy)))
    return sets


def test_who_sees_which_image_and_which_caption_is_the_original_matches_them_without_reading_either() -> None:
    result = audit(edited(60, sharp=1.0, more_words=0.9), "vismin", "f" * 64)
    assert rule(result, "looks", "image").significant
    assert rule(result, "longest", "caption").significant
    best, share = result.blind("group_score")  # type: ignore[misc]
    assert best.asks == "match"
    assert share.value > 0.75
    assert share.chance == 0.5


def test_where_one_side_tells_nothing_the_pairs_cannot_be_matched() -> None:
    result = audit(edited(60, sharp=1.0, more_words=0.5), "vismin", "f" * 64)
    assert rule(result, "looks", "image").significant
    best, _ = result.blind("group_score")  # type: ignore[misc]
    assert best.p > 0.01


def test_where_all_items_are_one_cluster_no_rule_can_be_chosen_and_the_best_is_at_chance_not_at_nothing() -> None:
    best = audit(quiz(200, shared_images=200), "made_up", "f" * 64).bests[0]
    assert (best.name, best.chosen) == ("", {})
    assert best.shares[0].value == pytest.approx(0.25, abs=0.1)
    assert best.p > 0.01


def test_nothing_to_audit_is_an_error_and_one_question_is_not() -> None:
    with pytest.raises(DataError, match="expected items to audit, got none"):
        audit([], "made_up", "f" * 64)
    one = audit(quiz(1), "made_up", "f" * 64)
    assert one.items == 1
    assert not any(found.significant for found in one.rules)
