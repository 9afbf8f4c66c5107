"""Balanced subsets: what is left has no shortcut, and as much as possible is left."""

from __future__ import annotations

import numpy as np
import pytest

from minchange_eval.audit import learned_rules
from minchange_eval.audit.balance import balance
from minchange_eval.audit.shortcuts import audit
from minchange_eval.core.errors import DataError
from minchange_eval.core.items import BytesImage, ChoiceQuestion
from tests.audit.quizzes import quiz, with_longest_right


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_rules, "_TREES", 10)


def test_what_is_left_has_no_rule_above_or_below_chance_and_what_was_removed_carried_it() -> None:
    items = with_longest_right(quiz(150), 0.5)
    assert any(rule.significant for rule in audit(items, "made_up", "f" * 64).rules)
    found = balance(items, "made_up", "f" * 64)
    kept = [item for item in items if item.question_id in found.ids]
    assert [rule.name for rule in audit(kept, "made_up", "f" * 64).rules if rule.significant] == []
    assert {*found.ids, *found.removed} == {item.question_id for item in items}
    assert 90 <= len(found.ids) < 150
    solved = np.mean(["longest" in rules for rules in found.removed.values()])
    assert solved > 0.9
    assert all(p >= 0.05 for _, _, p in found.rules.values())


def test_items_that_put_a_rule_below_chance_are_removed_because_it_fails_them() -> None:
    items = quiz(120, options=3)
    longest = [max(one.options, key=len) for one in items]
    rng = np.random.default_rng(1)
    never = [
        ChoiceQuestion(**{**vars(one), "answers": (int(rng.choice([n for n in range(3) if one.options[n] != long])),)})
        for one, long in zip(items, longest, strict=True)
    ]
    found = balance(never, "made_up", "f" * 64)
    assert found.removed
    assert np.mean(["longest" in rules for rules in found.removed.values()]) > 0.9


def test_items_whose_link_was_removed_are_clusters_of_their_own_as_in_an_audit_of_what_is_left() -> None:
    paired = [
        ChoiceQuestion(**{**vars(one), "images": (BytesImage("i.png", f"{n // 2} {n % 2}".encode()),)})
        for n, one in enumerate(with_longest_right(quiz(120), 0.6))
    ]
    links = [
        ChoiceQuestion(
            **{**vars(one), "question_id": f"link{n}", "images": paired[2 * n].images + paired[2 * n + 1].images}
        )
        for n, one in enumerate(with_longest_right(quiz(60, seed=1), 1.0))
    ]
    items = [*paired, *links]
    found = balance(items, "made_up", "f" * 64)
    kept = [item for item in items if item.question_id in found.ids]
    again = {f"{rule.asks}:{rule.name}": (rule.hits, rule.n, rule.holm) for rule in audit(kept, "made_up", "f").rules}
    assert again == found.rules


def test_data_without_a_shortcut_stays_whole() -> None:
    found = balance(quiz(120, seed=3), "made_up", "f" * 64)
    assert (len(found.ids), found.removed, found.rounds) == (120, {}, 0)


def test_the_same_subset_is_found_twice() -> None:
    items = with_longest_right(quiz(60), 0.9)
    assert balance(items, "made_up", "f" * 64, n_jobs=1) == balance(items, "made_up", "f" * 64, n_jobs=2)


def test_a_shortcut_in_every_item_leaves_so_few_that_it_is_an_error_or_unseen() -> None:
    items = with_longest_right(quiz(40, options=8), 1.0)
    with pytest.raises(DataError, match="no subset of at least 10 items"):
        balance(items, "made_up", "f" * 64)
