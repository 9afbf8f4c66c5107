"""A gate's decision as JSON, as JUnit XML and as Markdown for a CI's page.

Names of models and sets come from others: whatever stands in them is shown as text, on one line, and not at any length.
A gate that could not decide (exit 3, 4, 5, …) is written too, so that no earlier decision is taken for this one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict

from minchange_eval.core.errors import ExitCode, MinchangeError, printable
from minchange_eval.reports.gate import Check, GateResult, Side
from minchange_eval.reports.shown_text import shown_name

__all__ = ["Refusal", "as_json", "as_junit", "as_markdown", "flipped", "points", "reason", "side"]

_FLIPS = 5  # items that are named; JSON has all
_MARKS = {"pass": "✅", "regression": "❌", "undecided": "❔"}


class Refusal(BaseModel):
    """A gate that could not decide.

    Attributes:
        verdict: none was reached.
        exit_code: which kind of error.
        message: its line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: None = None
    exit_code: ExitCode
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Refusal:
        """The refusal that an error is; one that is no `MinchangeError` is a defect or an interruption."""
        if isinstance(error, MinchangeError):
            return cls(exit_code=error.exit_code, message=str(error))
        interrupted = isinstance(error, KeyboardInterrupt)
        return cls(
            exit_code=ExitCode.INTERRUPTED if interrupted else ExitCode.INTERNAL,
            message="interrupted" if interrupted else printable(f"internal error, {type(error).__name__}: {error}"),
        )


def as_json(decided: GateResult | Refusal) -> str:
    """All that is known, fractions as they are; plain ASCII, sorted keys, a line at the end."""
    content = {**decided.model_dump(mode="json"), "exit_code": int(decided.exit_code)}
    return json.dumps(content, allow_nan=False, indent=1, sort_keys=True) + "\n"


def as_junit(decided: GateResult | Refusal) -> str:
    """One test case a gated value: a regression or an undecided one fails, an undecided one that is let through is
    skipped, and a gate that could not decide is an error."""
    checks = decided.checks if isinstance(decided, GateResult) else ()
    failed = [check for check in checks if check.verdict != "pass" and not _let_through(decided, check)]
    suite = ElementTree.Element(
        "testsuite",
        name="minchange-eval gate",
        tests=str(len(checks) or 1),
        failures=str(len(failed)),
        errors=str(int(isinstance(decided, Refusal))),
        skipped=str(sum(_let_through(decided, check) for check in checks)),
    )
    if isinstance(decided, Refusal):
        case = ElementTree.SubElement(suite, "testcase", classname="gate", name="records can be compared")
        error = ElementTree.SubElement(case, "error", type=decided.exit_code.name.lower(), message=decided.message)
        error.text = decided.message
    for check in checks:
        name = shown_name(f"{check.metric} {check.slice}".rstrip())
        case = ElementTree.SubElement(suite, "testcase", classname=shown_name(check.benchmark), name=name)
        if check.verdict != "pass":
            kind = "skipped" if _let_through(decided, check) else "failure"
            told = ElementTree.SubElement(case, kind, type=check.verdict, message=reason(check))
            told.text = f"turned wrong: {flipped(check.to_wrong)}\nturned right: {flipped(check.to_right)}"
    ElementTree.indent(suite)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + ElementTree.tostring(suite, encoding="unicode") + "\n"


def as_markdown(decided: GateResult | Refusal) -> str:
    """A heading, a table of the gated values, and below it what kept them from passing."""
    if isinstance(decided, Refusal):
        head = f"## ⛔ Gate: no decision (exit {int(decided.exit_code)}, {_word(decided.exit_code)})"
        return f"{head}\n\n{_inert(decided.message)}\n"
    lines = [
        f"## {_MARKS[decided.verdict]} Gate: {decided.verdict} (exit {int(decided.exit_code)})",
        "",
        f"Baseline: {_inert(side(decided.baseline))}  ",
        f"Candidate: {_inert(side(decided.candidate))}",
        "",
        "| | value | baseline | candidate | difference | 95 % bounds | margin | clusters | flips |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_row, decided.checks),
        "",
        "Values and differences in points; bounds are one-sided, each at 95 %; "
        "flips are sets or questions that turned right and wrong.",
    ]
    remarks = [*(reason(check) for check in decided.checks if check.verdict != "pass"), *decided.remarks]
    lines += ["", *(f"- {_inert(remark)}" for remark in remarks)] if remarks else []
    for check in decided.checks:
        if check.verdict == "regression" and check.to_wrong:
            lines.append(f"- {_inert(f'{shown_name(check.name)}, turned wrong: {flipped(check.to_wrong)}')}")
    return "\n".join(lines) + "\n"


def reason(check: Check) -> str:
    """One line: why a value passes, fails or is undecided, and what would settle it."""
    about = f"{shown_name(check.name)}: {points(check.difference, sign=True)} points"
    if check.verdict == "pass":
        asked = "not shown to be worse" if check.margin is None else f"at worst {points(check.lower, sign=True)}"
        return f"{about}, {asked}"
    if check.verdict == "regression":
        return f"{about}, at best {points(check.upper, sign=True)}: the candidate is worse"
    if check.upper < 0:
        several = f"among all gated values (p {check.p_worse:.3f} after Holm's correction)"
        return f"{about}, at best {points(check.upper, sign=True)}: a loss if it were gated alone, not shown {several}"
    loss = check.smallest_effect
    power = "" if loss is None else f", and this n shows a loss of {points(loss)} four times out of five"
    margin = points(check.margin or 0.0)
    return (
        f"{about}, anywhere from {points(check.lower, sign=True)} to {points(check.upper, sign=True)}: "
        f"neither a loss under {margin} nor a loss at all is shown; "
        f"it would pass with a margin above {points(-check.lower)}{power}"
    )


def side(one: Side) -> str:
    """One of the two records, on one line."""
    weights = f", weights {one.weights_sha256[:12]}" if one.weights_sha256 else ""
    return f"{shown_name(one.adapter)} {shown_name(one.model)}{weights}, record {one.record_sha256[:12]}"


def points(fraction: float, *, sign: bool = False) -> str:
    """A fraction in points, with one decimal: 0.0213 is `2.1`."""
    text = f"{100 * fraction:+.1f}" if sign else f"{100 * fraction:.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text


def flipped(items: Sequence[str]) -> str:
    """The first of the items that flipped, and how many more."""
    more = f" and {len(items) - _FLIPS} more" if len(items) > _FLIPS else ""
    return (", ".join(map(shown_name, items[:_FLIPS])) or "none") + more


def _let_through(decided: GateResult | Refusal, check: Check) -> bool:
    return isinstance(decided, GateResult) and decided.undecided_passes and check.verdict == "undecided"


def _row(check: Check) -> str:
    cells = (
        f"{_MARKS[check.verdict]} {check.verdict}",
        _inert(shown_name(check.name)),
        points(check.baseline),
        points(check.candidate),
        points(check.difference, sign=True),
        f"{points(check.lower, sign=True)} to {points(check.upper, sign=True)}",
        "not worse" if check.margin is None else points(check.margin),
        str(check.clusters),
        f"{len(check.to_right)} right, {len(check.to_wrong)} wrong",
    )
    return f"| {' | '.join(cells)} |"


def _inert(text: str) -> str:
    """Text that no Markdown reader takes for markup: everything but letters, digits and spaces as an entity."""
    return "".join(c if c.isalnum() or c in " ,…" else f"&#{ord(c)};" for c in printable(text))


def _word(code: ExitCode) -> str:
    return code.name.lower().replace("_", " ")
