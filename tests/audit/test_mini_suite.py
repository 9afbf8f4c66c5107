"""The mini suite cannot be solved without looking; whoever changes a generator hears of it here."""

from __future__ import annotations

import pytest

from minchange_eval.audit.shortcuts import audit
from minchange_eval.core.items import BytesImage
from minchange_eval.data.audit_results import AuditResult
from minchange_eval.generators.procedural import suite


def telling(result: AuditResult) -> list[str]:
    """Rules above or below chance, and best rules that are."""
    rules = [f"{rule.asks}: {rule.name} {rule.hits}/{rule.n}" for rule in result.rules if rule.significant]
    return rules + [f"best of {best.asks}: {best.name}" for best in result.bests if best.p < 0.01]


@pytest.mark.parametrize("name", ["vismin_mini", "med_mini"])
def test_no_rule_that_does_not_look_is_above_or_below_chance(name: str) -> None:
    release = getattr(suite, name)()
    result = audit(list(release.read(None)), name, "f" * 64)
    assert telling(result) == []
    assert {rule.kind for rule in result.rules} == {"fixed", "learned"}
    assert {"image"} <= {rule.sees for rule in result.rules}


def test_in_spec_mini_no_place_is_right_more_often_than_another(monkeypatch: pytest.MonkeyPatch) -> None:
    # of SPEC's sets only the orders can tell anything, so none of the 3,000 pictures need be drawn
    monkeypatch.setattr(
        suite, "images_of", lambda name, scenes: [BytesImage(n, n.encode()) for n in _names(name, scenes)]
    )
    result = audit(list(suite.spec_mini().read(None)), "spec_mini", "f" * 64)
    assert result.items == 600
    assert telling(result) == []


def _names(set_id: str, scenes: object) -> list[str]:
    return [f"{set_id}/{number}" for number in range(len(scenes))]  # type: ignore[arg-type]
