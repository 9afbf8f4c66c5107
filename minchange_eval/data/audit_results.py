"""What an audit found, as `minchange-eval audit` keeps it for reports and tasks: `$MINCHANGE_HOME/audits/`.

Two files a data set, both named after the data they are of: `<dataset>-<fingerprint>.json` with what the rules that do
not look get, and `<dataset>-<fingerprint>.balanced.json` with the ids of the items on which none of them gets anything.
"""

from __future__ import annotations

import errno
from collections import Counter
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minchange_eval.core.errors import DataError, MinchangeError, UsageError
from minchange_eval.core.home import home
from minchange_eval.core.whole_files import write_whole

SCHEMA_VERSION = 1

# What a rule is to find: the option that answers; the caption or the image that is the original and no edit; the place
# of the right candidate in either direction of a set; the pairs of a set, by which caption and image look original.
Asks = Literal["answer", "caption", "image", "i2t_place", "t2i_place", "match"]
Sees = Literal["text", "released text", "image", "place", "text and image"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Share(_Model):
    """A share of yes/no results with its 95 % interval, all in [0, 1]; a macro mean has no whole number of hits.

    Attributes:
        metric: the record's name of the metric that it stands beside; empty where no metric asks this.
        subset: a subset, or empty for the whole.
        hits: items or queries that are solved.
        n: of so many.
    """

    metric: str = ""
    subset: str = ""
    hits: float
    n: int
    value: float
    low: float
    high: float
    chance: float


class Example(_Model):
    """One item that a rule solves, or fails."""

    item_id: str
    question: str
    candidates: tuple[str, ...]
    answers: tuple[int, ...]
    chosen: int
    bias: float | None = None


class Weight(_Model):
    """A feature that carries a learned rule, with its share of the rule's weight; of a linear rule with its sign."""

    feature: str
    weight: float


class RuleResult(_Model):
    """What one rule gets on all items.

    Attributes:
        name: `longest`, `words`, …; with `asks` the key of a rule.
        kind: `fixed` needs no data, `learned` is judged out of fold.
        sees: `released text` is the options with their letters and stray blanks, which only `raw` tasks show.
        asks: what it is to find.
        says: the rule in one line.
        hits, n, value, low, high, chance: over all items, ties at random; the interval is the exact binomial one.
        decided, decided_hits: the items on which it prefers some candidates to others.
        p: two-sided, against chance, over the decided items (a tie says nothing); exact for a fixed rule, for a learned
            one with twice the binomial variance, as folds teach each other; where clusters hold several items, never
            below what whole clusters say.
        holm: `p` adjusted for all rules of the audit.
        slices: subset -> (hits, n).
        bias: of a learned rule, id of each item -> its bias score, the out-of-fold probability of its answer.
        carried_by: what carries a learned rule, heaviest first.
        examples: items that it solves, and some that it fails.
    """

    name: str
    kind: Literal["fixed", "learned"]
    sees: Sees
    asks: Asks
    says: str
    hits: int
    n: int
    value: float
    low: float
    high: float
    chance: float
    decided: int
    decided_hits: int
    p: float
    holm: float
    slices: dict[str, tuple[int, int]] = Field(default_factory=dict)
    bias: dict[str, float] = Field(default_factory=dict, repr=False)
    carried_by: tuple[Weight, ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def significant(self) -> bool:
        """Whether it is above or below chance at 5 % after Holm."""
        return self.holm < 0.05


class BestRule(_Model):
    """The best rule for one question, chosen by nested cross-validation: what trying many rules really earns.

    Attributes:
        asks: what is to be found.
        variant: of the task that shows what the rules read: `raw` for options as released, else empty.
        name: the rule that was chosen most often.
        chosen: rule -> folds that chose it.
        p: two-sided, against chance.
        shares: its result by metric and subset, as the report shows it; the first is the whole.
    """

    asks: Asks
    variant: str = ""
    name: str
    chosen: dict[str, int]
    p: float
    shares: tuple[Share, ...]

    def share(self, metric: str, subset: str = "") -> Share | None:
        """Its result in one metric of the run record, whole or of a subset."""
        return next((share for share in self.shares if (share.metric, share.subset) == (metric, subset)), None)


class AuditResult(_Model):
    """An audit, whole.

    Attributes:
        dataset, fingerprint: of the prepared data; of a plain file its name, and the SHA-256 of its bytes.
        kind: `sets`, `questions` or `statements`.
        items: how many were audited.
        seed: of folds, trees and ties.
        rules: every registered rule that applies.
        bests: one for each thing asked.
        unread: why rules that need images or originals were left out; empty where none was.
    """

    schema_version: int = SCHEMA_VERSION
    dataset: str
    fingerprint: str
    kind: Literal["sets", "questions", "statements"]
    items: int
    seed: int = 0
    rules: tuple[RuleResult, ...]
    bests: tuple[BestRule, ...]
    unread: str = ""

    def blind(self, metric: str, subset: str = "", variant: str = "") -> tuple[BestRule, Share] | None:
        """The best rule's result in a metric of the run record; None where no rule answers what the metric asks."""
        for best in self.bests:
            share = best.share(metric, subset)
            if share and best.variant == variant:
                return best, share
        return None


class BalancedSubset(_Model):
    """Items on which no registered rule is above or below chance.

    Attributes:
        dataset, fingerprint: of the prepared data that the ids are of.
        over: what is to be found in the puzzles that it is balanced over.
        ids: of the items kept, in the order of the data.
        removed: id of each item that was left out -> why: of the rules significant on all items those above chance that
            solve it, and those below chance that fail it. Empty where only later rounds pruned it.
        rounds: how often items were taken out and all rules learned anew.
        rules: what each rule gets on the subset: (asks, name) joined by a colon -> (hits, n, p after Holm).
    """

    schema_version: int = SCHEMA_VERSION
    dataset: str
    fingerprint: str
    over: tuple[Asks, ...] = ()
    ids: tuple[str, ...]
    removed: dict[str, tuple[str, ...]]
    rounds: int
    rules: dict[str, tuple[int, int, float]]

    @property
    def reasons(self) -> str:
        """Rules by which items were removed with how many, most first: `longest (22), words (3)`; may be empty."""
        counted = Counter(name for names in self.removed.values() for name in names)
        listed = sorted(counted.items(), key=lambda reason: (-reason[1], reason[0]))
        return ", ".join(f"{name} ({times})" for name, times in listed)


def audit_path(dataset: str, fingerprint: str) -> Path:
    """Where the audit of this data lies, whether it exists or not."""
    return home() / "audits" / f"{dataset}-{fingerprint[:16]}.json"


def balanced_path(dataset: str, fingerprint: str) -> Path:
    """Where the ids of its balanced subset lie, whether they exist or not."""
    return audit_path(dataset, fingerprint).with_suffix(".balanced.json")


def write_audit(result: AuditResult) -> Path:
    """Keep an audit for reports; whole or not at all.

    Raises:
        UsageError: the folder cannot be written to.
        MinchangeError: the disk is full.
    """
    return _write(result, audit_path(result.dataset, result.fingerprint))


def write_balanced(subset: BalancedSubset) -> Path:
    """Keep a balanced subset for its task; whole or not at all.

    Raises:
        UsageError, MinchangeError: as in `write_audit`.
    """
    return _write(subset, balanced_path(subset.dataset, subset.fingerprint))


def read_audit(dataset: str, fingerprint: str) -> AuditResult | None:
    """The audit of exactly this data; None where there is none.

    Raises:
        DataError: the file is damaged, or of a newer version.
    """
    path = audit_path(dataset, fingerprint)
    return _read(AuditResult, path, dataset, fingerprint, f"minchange-eval audit {dataset}")


def read_balanced(dataset: str, fingerprint: str) -> BalancedSubset | None:
    """The balanced subset of exactly this data; None where there is none.

    Raises:
        DataError: as in `read_audit`.
    """
    path = balanced_path(dataset, fingerprint)
    return _read(BalancedSubset, path, dataset, fingerprint, f"minchange-eval audit {dataset} --balance")


def _write(content: _Model, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [content.model_dump_json().encode(), b"\n"])
    except OSError as error:
        reason = f"{path}: cannot be written ({error.strerror or error})"
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise MinchangeError(f"{reason}; make room or set MINCHANGE_HOME to a folder on another disk") from error
        raise UsageError(f"{reason}; set MINCHANGE_HOME to a folder you may write to") from error
    return path


_Kept = TypeVar("_Kept", AuditResult, BalancedSubset)


def _read(kind: type[_Kept], path: Path, dataset: str, fingerprint: str, command: str) -> _Kept | None:
    try:
        found = kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: is damaged or of another version; run again: {command}") from error
    return found if (found.dataset, found.fingerprint) == (dataset, fingerprint) else None
