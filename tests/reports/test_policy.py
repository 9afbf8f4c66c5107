from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.core.errors import UsageError
from minchange_eval.data.benchmark_card import card_names
from minchange_eval.reports.policy import DEFAULT_MARGIN, Policy, headline, read_policy

EXAMPLE = Path(__file__).parents[2] / "examples" / "ci" / "gate_policy.yaml"


def policy_of(tmp_path: Path, text: str) -> Policy:
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    return read_policy(tmp_path / "p.yaml")


def test_margins_are_those_of_the_metric_else_of_the_benchmark_else_of_the_policy(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        "margin: 0.01\nbenchmarks:\n  spec: {margin: 0.03, metrics: {i2t_accuracy: , group_score: 0.1}}\n"
        "  vismin: {margin: 0}\n",
    )
    assert policy.margins("spec", "spec", "sets") == {"i2t_accuracy": 0.03, "group_score": 0.1}
    assert policy.margins("vismin", "vismin", "sets") == {"pair_mean": 0.0}
    assert policy.margins("med", "med", "questions") == {"macro": 0.01}


def test_slice_rules_of_a_benchmark_replace_those_of_the_policy(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path, "slices: {margin: 0.1}\nbenchmarks: {med: {slices: {rule: not worse, of: ['Spatial *']}}}\n"
    )
    usual, own = policy.slice_rule("spec"), policy.slice_rule("med")
    assert usual is not None
    assert own is not None
    assert (usual.rule, usual.margin, usual.covers("count")) == ("pass", 0.1, True)
    assert (own.rule, own.covers("Spatial Relation"), own.covers("Negation")) == ("not worse", True, False)


def test_an_empty_policy_is_the_usual_one(tmp_path: Path) -> None:
    assert policy_of(tmp_path, "# nothing yet\n") == Policy()
    assert Policy().margins("x", "x", "sets") == {"group_score": DEFAULT_MARGIN}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("margn: 0.1", "unknown key margn; did you mean margin?"),
        ("benchmarks: {med: {margins: 0.1}}", "unknown key benchmarks.med.margins; did you mean margin?"),
        ("slices: {every: true}", "unknown key slices.every; known are"),
        ("margin: 2", "margin: expected a fraction from 0 to below 1, 0.02 is two points, got 2"),
        ("margin: -0.1", "margin: expected a fraction"),
        ("margin: .nan", "margin: expected a fraction"),
        ("margin: much", "margin: expected a fraction"),
        ("benchmarks: {med: {metrics: {macro: 5}}}", "benchmarks.med.metrics.macro: expected a fraction"),
        ("slices: {rule: all}", "slices.rule: input should be 'pass' or 'not worse', got 'all'"),
        ("benchmarks: [med]", "benchmarks: input should be a valid dictionary"),
        ("margin: 0.1\nmargin: 0.2", "'margin' is given twice"),
        ("- 1", "expected keys such as margin, got '[1]'"),
        ("margin: [", "expected YAML"),
        ("margin: !!python/object/apply:os.getcwd []", "expected YAML"),
        ("? [a, b]\n: 1", "expected YAML"),
        ("margin: 2026-11-99", "expected YAML, got day is out of range for month"),
        ("slices: {of: []}", "slices.of: tuple should have at least 1 item"),
    ],
)
def test_what_no_policy_has_is_a_usage_error_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        policy_of(tmp_path, text)
    assert said in str(caught.value)
    assert str(tmp_path / "p.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_policy_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_policy(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"margin: \xff")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        read_policy(tmp_path / "latin.yaml")


@given(st.text(max_size=60))
def test_any_text_is_a_policy_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        assert isinstance(read_policy(path), Policy)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_a_benchmark_that_is_not_there_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, "benchmarks: {spec_mni: {margin: 0.1}}")
    with pytest.raises(UsageError, match=r"benchmarks\.spec_mni is in neither record; did you mean spec_mini\?"):
        policy.require_known(["med_mini", "spec_mini"])


@pytest.mark.parametrize("name", card_names())
def test_every_benchmark_with_a_card_has_a_headline(name: str) -> None:
    assert headline(name, "sets")


def test_a_mini_suite_has_the_headline_of_what_it_is_made_like() -> None:
    assert headline("spec_mini", "sets") == headline("spec", "sets") == ("i2t_accuracy", "t2i_accuracy")
    assert headline("med_mini", "questions") == headline("med_real", "questions") == ("macro",)


def test_the_example_is_a_policy() -> None:
    assert read_policy(EXAMPLE).benchmarks
