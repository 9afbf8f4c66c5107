from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.core.errors import IncompleteError, NotComparableError
from minchange_eval.reports.gate import Check, GateResult, Side, Verdict
from minchange_eval.reports.gate_output import Refusal, as_json, as_junit, as_markdown, points, reason
from minchange_eval.reports.shown_text import shown_name

HOSTILE = [
    "<script>alert(1)</script>",
    "]]> & \" ' < >",
    "a | b |\n| c `d` **e** _f_ ~~g~~",
    "[x](javascript:alert(1)) ![y](https://evil.example/z.png)",
    "www.evil.example https://evil.example @someone #1",
    "\x1b[2J\x00\x08 bell\x07",
    "\u202eright to left\u202c \u2028 \ufffe \ud800",
    "::error file=x::said the log",
    "日本語 العربية עברית हिन्दी",
    "z" * 10_000_000,
]


def check(verdict: Verdict = "pass", name: str = "quiz", items: tuple[str, ...] = ()) -> Check:
    return Check(
        benchmark=name,
        metric="macro",
        slice="",
        margin=0.02,
        verdict=verdict,
        n=100,
        items=100,
        clusters=100,
        baseline=0.5,
        candidate=0.45,
        difference=-0.05,
        lower=-0.09,
        upper=-0.01,
        p_worse=0.01,
        to_right=(),
        to_wrong=items,
        smallest_effect=0.07,
    )


def decided(*checks: Check, model: str = "m", undecided_passes: bool = False) -> GateResult:
    side = Side(adapter="open_clip", model=model, weights_sha256="a" * 64, record_sha256="b" * 64)
    order = ("regression", "undecided", "pass")
    return GateResult(
        verdict=min((one.verdict for one in checks), key=order.index),
        undecided_passes=undecided_passes,
        baseline=side,
        candidate=side,
        checks=checks,
    )


def test_junit_has_a_case_a_value_and_says_which_fail() -> None:
    suite = ElementTree.fromstring(as_junit(decided(check(), check("regression"), check("undecided"))))  # noqa: S314
    assert suite.tag == "testsuite"
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "2", "errors": "0", "skipped": "0",
    }  # fmt: skip
    cases = suite.findall("testcase")
    assert [(case.get("classname"), case.get("name"), len(case)) for case in cases] == [
        ("quiz", "macro", 0), ("quiz", "macro", 1), ("quiz", "macro", 1),
    ]  # fmt: skip
    assert [failure.get("type") for failure in suite.iter("failure")] == ["regression", "undecided"]


def test_junit_skips_what_is_let_through() -> None:
    suite = ElementTree.fromstring(as_junit(decided(check(), check("undecided"), undecided_passes=True)))  # noqa: S314
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")
    assert len(list(suite.iter("skipped"))) == 1


@pytest.mark.parametrize("error", [IncompleteError("<a> & b"), NotComparableError("x | y")])
def test_a_gate_that_could_not_decide_says_so_in_every_format(error: IncompleteError | NotComparableError) -> None:
    refusal = Refusal.of(error)
    suite = ElementTree.fromstring(as_junit(refusal))  # noqa: S314
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("1", "1", "0")
    (told,) = suite.iter("error")
    assert (told.text, told.get("type")) == (str(error), error.exit_code.name.lower())
    assert json.loads(as_json(refusal)) == {"verdict": None, "exit_code": int(error.exit_code), "message": str(error)}
    assert f"no decision (exit {int(error.exit_code)}" in as_markdown(refusal)


def test_json_has_all_that_was_decided() -> None:
    said = json.loads(as_json(decided(check("regression", items=("a", "b")))))
    assert (said["verdict"], said["exit_code"], said["checks"][0]["to_wrong"]) == ("regression", 1, ["a", "b"])
    assert GateResult.model_validate({name: of for name, of in said.items() if name != "exit_code"})


def harmless(markdown: str) -> bool:
    """No markup but what the summary itself is made of: a heading, list items, table rows, line ends."""
    inside = re.sub(r"&#\d+;", "", markdown)
    return not re.search(r"[<>`\[\]~@\\\x00-\x09\x0b-\x1f\u202a-\u202e\u2028]|://|www\.|\w:\w|__|\*\*", inside)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_text_in_every_format(text: str) -> None:
    result = decided(check("regression", text, (text,) * 7), check("undecided", text), model=text)
    suite = ElementTree.fromstring(as_junit(result))  # noqa: S314
    assert {case.get("classname") for case in suite.iter("testcase")} == {shown_name(text)}
    assert {part.tag for part in suite.iter()} == {"testsuite", "testcase", "failure"}
    assert len(as_junit(result)) < 10_000
    markdown = as_markdown(result)
    assert len(markdown) < 20_000
    assert harmless(markdown)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {10}
    assert markdown.isprintable() or all(line.isprintable() for line in markdown.split("\n"))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_name_leaves_the_formats_whole(text: str) -> None:
    result = decided(check("regression", text, (text,)), model=text)
    assert len(list(ElementTree.fromstring(as_junit(result)).iter("failure"))) == 1  # noqa: S314
    assert harmless(as_markdown(result))
    assert json.loads(as_json(result))["checks"][0]["benchmark"] == text


def test_a_loss_that_is_only_shown_alone_says_so() -> None:
    assert reason(check("undecided").model_copy(update={"p_worse": 0.081})) == (
        "quiz macro: -5.0 points, at best -1.0: a loss if it were gated alone, "
        "not shown among all gated values (p 0.081 after Holm's correction)"
    )


def test_points_are_fractions_of_a_hundred_and_no_zero_is_negative() -> None:
    assert [points(-0.0004, sign=True), points(0.0213, sign=True), points(-0.0213), points(0.0)] == [
        "0.0", "+2.1", "-2.1", "0.0",
    ]  # fmt: skip
