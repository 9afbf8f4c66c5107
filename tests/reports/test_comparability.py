from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.errors import DataError, IncompleteError, NotComparableError
from minchange_eval.core.record import ModelDescription, RunRecord
from minchange_eval.core.slim_records import slim
from minchange_eval.reports import comparability
from minchange_eval.reports.comparability import MOST_UNSCORED, require_comparable, require_complete
from tests.reports.made_records import MODEL, OTHER, questions, record, sets

FORTY = [number % 3 > 0 for number in range(40)]
BASE = record(quiz=questions(FORTY))


def asked_with(**settings: Any) -> ModelDescription:
    return MODEL.model_copy(update={"settings": settings})


def spoilt(made: RunRecord, **changes: Any) -> RunRecord:
    """The record with its first line changed."""
    (name, lines), *_ = made.outcomes.items()
    first = lines[0].model_copy(update=changes)
    return made.model_copy(update={"outcomes": {**made.outcomes, name: (first, *lines[1:])}})


def test_two_models_on_the_same_questions_are_comparable_whole_or_slim() -> None:
    other = record(quiz=questions([not hit for hit in FORTY]), model=OTHER)
    require_comparable(BASE, other)
    require_comparable(slim(BASE), other)
    require_comparable(slim(BASE), slim(other))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fingerprint": "0" * 64}, "data fingerprint ffffffffffff… | 000000000000…"),
        ({"dataset": "other"}, "data set quiz | other"),
        ({"prompt_sha256": "1" * 64}, "prompt none | 111111111111…"),
        ({"protocol": "med"}, "protocol ours | med"),
        ({"variant": "blank"}, "variant none | blank"),
        ({"generation_kwargs": {"max_new_tokens": 16}}, "generation settings none | {'max_new_tokens': 16}"),
        ({"limit": 40, "items_in_full": 100}, "--limit none | 40.0; quiz: items 40 of 40 | 40 of 100"),
        ({"offset": 3}, "--offset none | 3"),
        ({"subsets": ("all", "more")}, "subsets all | all, more"),
    ],
)
def test_what_a_task_asked_otherwise_is_named_on_both_sides(changes: dict[str, Any], said: str) -> None:
    other = record(quiz=questions(FORTY), changes=changes)
    with pytest.raises(NotComparableError) as caught:
        require_comparable(BASE, other, ("baseline", "candidate"))
    assert said.replace("--offset none", "--offset 0") in str(caught.value)
    assert "(baseline | candidate)" in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scoring": "generate"}, "scoring labels | words"),
        ({"scoring": "options"}, "scoring labels | options"),
        ({"scoring": "letters", "images": "none"}, "images shown | none"),
        ({"scoring": "letters", "system_prompt": "Be brief."}, "system_prompt none | Be brief."),
        ({"scoring": "letters", "image_position": "first"}, "image_position prompt | first"),
        ({"scoring": "options", "normalise": "sum"}, "normalise none | sum"),
    ],
)
def test_how_a_model_was_asked_is_named_on_both_sides(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(NotComparableError, match=said.replace("|", r"\|")):
        require_comparable(BASE, record(quiz=questions(FORTY), model=asked_with(**settings)))


def test_precision_and_packages_may_differ() -> None:
    other = asked_with(scoring="letters", dtype="bf16", activation="gelu", batch_size=7)
    require_comparable(BASE, record(quiz=questions(FORTY), model=other))


def test_other_tasks_and_other_sets_are_named_on_both_sides() -> None:
    with pytest.raises(NotComparableError, match=r"pairs: not asked \| asked; quiz: asked \| not asked"):
        require_comparable(BASE, record(pairs=sets(FORTY)))
    with pytest.raises(
        NotComparableError, match=r"sets: 40 queries of its own \| 40 of its own, such as q00000/choice"
    ):
        require_comparable(BASE, record(quiz=questions(FORTY, prefix="r")))


def test_a_query_of_another_content_under_the_same_name_is_no_pair() -> None:
    with pytest.raises(NotComparableError, match="1 queries with other content, such as q00000/choice"):
        require_comparable(BASE, spoilt(BASE, answers=(2,)))


def test_a_long_list_of_differences_is_cut_and_counted() -> None:
    changes = {"fingerprint": "0" * 64, "dataset": "d", "variant": "raw", "protocol": "med", "offset": 2, "limit": 1}
    with pytest.raises(NotComparableError, match="and 2 more differences"):
        require_comparable(BASE, record(quiz=questions(FORTY), changes=changes))


@pytest.mark.parametrize("unscored", [2, 3])
def test_five_percent_may_be_unscored_and_no_more(unscored: int) -> None:
    made = record(quiz=questions([None] * unscored + FORTY[unscored:]))
    if unscored <= MOST_UNSCORED * len(FORTY):
        require_complete(made)
    else:
        with pytest.raises(IncompleteError, match="3 of 40 queries are unscored, more than 5%"):
            require_comparable(BASE, made, ("baseline", "candidate"))


def test_the_limit_is_that_of_a_run() -> None:
    source = Path(comparability.__file__).parents[1] / "tasks" / "run_recorder.py"  # which imports lmms-eval
    (said,) = [line for line in source.read_text(encoding="utf-8").splitlines() if line.startswith("MOST_UNSCORED =")]
    assert float(said.split()[2]) == MOST_UNSCORED


def test_one_score_that_is_not_finite_is_incomplete_slim_or_not() -> None:
    made = spoilt(BASE, scores=(0.0, None, 0.0, 0.0), hit=False, unscored=True)
    for broken in (made, slim(made)):
        with pytest.raises(IncompleteError, match=r"1 queries have a score that is not finite \(NaN\)"):
            require_comparable(broken, BASE)


def test_a_set_without_all_its_queries_is_incomplete() -> None:
    lines = sets(FORTY)
    whole = record(pairs=lines)
    for fewer in (lines[:-1], lines[:-2]):
        cut = whole.model_copy(update={"outcomes": {"pairs": tuple(fewer)}})
        with pytest.raises(IncompleteError, match="set s00039 lacks queries; expected 2 in each direction"):
            require_comparable(whole, cut)


def test_no_tasks_and_no_queries_are_incomplete() -> None:
    with pytest.raises(IncompleteError, match="expected at least one task, got none"):
        require_comparable(BASE, BASE.model_copy(update={"tasks": (), "outcomes": {}}))
    with pytest.raises(IncompleteError, match="expected queries, got none"):
        require_comparable(BASE.model_copy(update={"outcomes": {"quiz": ()}}), BASE)


def test_a_record_that_contradicts_itself_is_bad_data() -> None:
    with pytest.raises(DataError, match="expected queries of questions, got q00000/choice with direction i2t"):
        require_complete(spoilt(BASE, direction="i2t"))
    with pytest.raises(DataError, match="expected an order of 4 candidates"):
        require_complete(spoilt(BASE, order=(0, 0, 1, 2)))
