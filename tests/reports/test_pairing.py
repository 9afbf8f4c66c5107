from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest

from minchange_eval.core.metrics import summarize
from minchange_eval.core.record import RunRecord
from minchange_eval.reports.pairing import benchmarks_of, difference_of, level_with_best, results_of
from tests.reports.made_records import questions, record, sets


def some(seed: int, right: float = 0.6, asked: int = 60) -> RunRecord:
    rng = random.Random(seed)
    return record(
        pairs=sets((rng.random() < right for _ in range(asked)), "a") + _renamed(seed, right),
        med=questions([rng.random() < right if rng.random() < 0.95 else None for _ in range(asked)], ("x", "y")),
    )


def _renamed(seed: int, right: float) -> list[Any]:
    """More sets, in another subset."""
    rng = random.Random(seed + 1000)
    lines = sets((rng.random() < right for _ in range(20)), "b")
    rename = {"item_id": "t", "query_id": "t"}
    return [line.model_copy(update={key: by + getattr(line, key) for key, by in rename.items()}) for line in lines]


def test_the_results_are_those_of_the_records_metrics() -> None:
    one = some(3)
    for benchmark in benchmarks_of(one):
        kind = one.tasks[0].kind if one.tasks[0].name == benchmark else one.tasks[1].kind
        metrics = {
            (value.name, value.subset): value for value in summarize(one.outcomes[benchmark], kind, resamples=50)
        }
        for results in results_of(one, benchmark):
            for metric, part, entries in results.parts():
                value = metrics[metric, part]
                column = results.column[entries]
                shares = [
                    results.hits[entries][column == c].sum() / results.totals[entries][column == c].sum()
                    for c in np.unique(column)
                ]
                assert np.mean(shares) == pytest.approx(value.value, abs=1e-12)
                assert results.unscored[entries].sum() == value.unscored


def test_models_level_with_the_best_are_those_it_is_not_shown_to_be_ahead_of() -> None:
    rng = np.random.default_rng(0)
    best = rng.random(300) < 0.8
    near, far = best.copy(), best.copy()
    near[:6] = ~near[:6]
    far[:150] = False
    models = [results_of(record(med=questions(list(map(bool, hits)))), "med")[0] for hits in (far, best, near, best)]
    (_, _, entries), *_ = models[0].parts()
    place, level = level_with_best(models, entries)
    assert (place, level) == (1, (False, True, True, True))
    assert difference_of(models[1], models[0], entries).p_worse < 0.001


def test_a_model_as_good_as_any_is_set_apart_in_at_most_5_percent() -> None:
    """Twenty models without any true difference: the best of them is ahead by luck alone."""
    rng = np.random.default_rng(1)
    base = results_of(record(med=questions([True] * 120)), "med")[0]
    (_, _, entries), *_ = base.parts()
    apart = 0
    for _ in range(60):
        models = [dataclasses.replace(base, hits=(rng.random(120) < 0.5).astype(np.int64)) for _ in range(20)]
        apart += 20 - sum(level_with_best(models, entries)[1])
    assert apart <= 0.05 * 60 * 20
