"""What a candidate may lose: margins by benchmark and metric, and rules for slices, from a small YAML file.

    margin: 0.02                      # of every gated metric; a fraction, 0.02 is two points
    slices: {margin: 0.10}            # every slice must pass too, with a margin of its own
    benchmarks:
      med_mini:
        margin: 0.05
      spec_mini:
        metrics: {i2t_accuracy: 0.02, t2i_accuracy: 0.03}
        slices: {rule: not worse, of: ["count", "relative_*"]}

A benchmark that the policy does not name is gated by its headline, with the margin on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minchange_eval.core.errors import UsageError
from minchange_eval.core.metrics import Kind
from minchange_eval.data.benchmark_card import benchmark_card, card_names
from minchange_eval.data.settings_file import meant, read_settings

__all__ = ["DEFAULT_MARGIN", "BenchmarkPolicy", "Policy", "SliceRule", "headline", "hint", "margin_of", "read_policy"]

DEFAULT_MARGIN = 0.02
"""Two points; how often an unchanged checkpoint passes with it stands in docs/ci.md."""

_MARGIN = "expected a fraction from 0 to below 1, 0.02 is two points"
Margin = Annotated[float, Field(ge=0, lt=1)]
# What the paper of a benchmark quotes; ours by kind of item where there is no paper.
_HEADLINES: Mapping[str, tuple[str, ...]] = {
    "spec": ("i2t_accuracy", "t2i_accuracy"),
    "vismin": ("pair_mean",),
    "med": ("macro",),
    "vsr": ("accuracy",),
}
_OF_KIND: Mapping[Kind, tuple[str, ...]] = {
    "sets": ("group_score",),
    "questions": ("macro",),
    "statements": ("accuracy",),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SliceRule(_Part):
    """What is asked of a benchmark's subsets and slices, of the metrics that gate the whole.

    Attributes:
        rule: `pass`: each must pass with the margin; no correction, since all have to. `not worse`: none may be shown
            to be worse, which is claimed of several and therefore corrected for their number (Holm).
        margin: of each slice, for `pass`; the benchmark's own where it is not given.
        of: which slices, by name or pattern (`count`, `relation: *`); all where it is not given.
    """

    rule: Literal["pass", "not worse"] = "pass"
    margin: Margin | None = None
    of: tuple[str, ...] = Field(default=("*",), min_length=1)

    def covers(self, name: str) -> bool:
        """Whether the rule is about a slice."""
        return any(fnmatchcase(name, pattern) for pattern in self.of)


class BenchmarkPolicy(_Part):
    """What one benchmark may lose.

    Attributes:
        margin: of each gated metric that has none of its own; the policy's where it is not given.
        metrics: which metrics gate, each with its margin or null for the benchmark's; its headline where not given.
        slices: rule for its slices; the policy's where it is not given.
    """

    margin: Margin | None = None
    metrics: dict[str, Margin | None] | None = None
    slices: SliceRule | None = None


class Policy(_Part):
    """What a candidate may lose, of all benchmarks.

    Attributes:
        margin: of the headline of each benchmark, as a fraction.
        slices: rule for slices; None for no rule.
        benchmarks: by name of the task or group.
    """

    margin: Margin = DEFAULT_MARGIN
    slices: SliceRule | None = None
    benchmarks: dict[str, BenchmarkPolicy] = Field(default_factory=dict)

    def margins(self, benchmark: str, dataset: str, kind: Kind) -> dict[str, float]:
        """Metric -> margin of what gates a benchmark."""
        own = self.benchmarks.get(benchmark, BenchmarkPolicy())
        usual = self.margin if own.margin is None else own.margin
        metrics = dict.fromkeys(headline(dataset, kind)) if own.metrics is None else own.metrics
        return {metric: usual if margin is None else margin for metric, margin in metrics.items()}

    def slice_rule(self, benchmark: str) -> SliceRule | None:
        """The rule for the slices of a benchmark."""
        own = self.benchmarks.get(benchmark, BenchmarkPolicy())
        return own.slices or self.slices

    def require_known(self, benchmarks: Iterable[str]) -> None:
        """Refuse a policy for benchmarks that were not asked: their rules would pass unread.

        Raises:
            UsageError: with the name, and the one that was perhaps meant.
        """
        there = sorted(benchmarks)
        for name in self.benchmarks:
            if name not in there:
                raise UsageError(
                    f"policy: benchmarks.{name} is in neither record; {hint(name, there)}evaluate it or take it out "
                    f"of the policy"
                )


_KEYS = frozenset({*Policy.model_fields, *BenchmarkPolicy.model_fields, *SliceRule.model_fields})


def headline(dataset: str, kind: Kind) -> tuple[str, ...]:
    """The metrics that a benchmark's readers look at first: those of its paper, else of its kind of items."""
    like = benchmark_card(dataset).made_like or dataset if dataset in card_names() else dataset
    return _HEADLINES.get(like, _OF_KIND[kind])


def read_policy(path: Path) -> Policy:
    """Read a policy from YAML.

    Raises:
        UsageError: the file cannot be read, is no YAML, or has a key or value that no policy has (named with its
            place in the file).
    """
    content = read_settings(path, "policy", "margin")
    try:
        return Policy.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"policy {path}: {_said(error)}") from error


def margin_of(text: str) -> float:
    """A margin from the command line.

    Raises:
        ValueError: no number from 0 to below 1.
    """
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError(_MARGIN)
    return value


def _said(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        return f"unknown key {place}; {hint(str(first['loc'][-1]), sorted(_KEYS))}known are {', '.join(sorted(_KEYS))}"
    got = repr(first["input"])[:60]
    if first["loc"][-1] == "margin" or "metrics" in first["loc"]:
        return f"{place}: {_MARGIN}, got {got}"
    return f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {got}"


def hint(name: str, known: Iterable[str]) -> str:
    """What a misspelt name was perhaps meant to be, as the beginning of what to do; empty where nothing is near."""
    near = meant(name, known)
    return f"{near} " if near else ""
