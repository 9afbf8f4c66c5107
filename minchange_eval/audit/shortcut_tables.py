"""An audit as plain text, and as a section of a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from minchange_eval.core.errors import printable
from minchange_eval.core.text_table import table
from minchange_eval.data.audit_results import Asks, AuditResult, BalancedSubset, BestRule, RuleResult, Share

ASKED: dict[Asks, str] = {
    "answer": "Which option is the answer?",
    "caption": "Which caption is the original?",
    "image": "Which image is the original?",
    "i2t_place": "At which place does the right caption stand (image-to-text)?",
    "t2i_place": "At which place does the right image stand (text-to-image)?",
    "match": "Which caption goes with which image, by which of them look original?",
}
SOURCE = "Method: Test-set Stress-Test and bias scores of Brown et al. 2025, arXiv:2511.04655; docs/audit.md"
_HEAD = ("rule", "sees", "solves", "value", "95 % interval", "chance", "decides", "p (Holm)", "")
_MOST_SLICES = 12
BALANCED_TASKS = frozenset({"spec", "vismin", "med"})  # data sets that have a task over their balanced subset


def shortcuts_text(result: AuditResult, balanced: BalancedSubset | None = None) -> Iterator[str]:
    """Lines for a terminal; every text of the data is made printable."""
    found = [rule for rule in result.rules if rule.significant]
    yield f"{printable(result.dataset)}: {result.items:,} items, fingerprint {result.fingerprint[:12]}"
    yield f"{len(found)} of {len(result.rules)} rules that do not look are above or below chance (5 % after Holm)"
    for asks, rules in by_question(result.rules):
        yield ""
        yield ASKED[asks]
        yield from _table(_HEAD, [_row(rule) for rule in rules if rule.decided])
        if ties := [rule.name for rule in rules if not rule.decided]:
            yield f"  prefer no candidate of any item: {', '.join(ties)}"
    for best in result.bests:
        yield ""
        yield from _best_text(best)
    if result.unread:
        yield from ("", f"Not read: {result.unread}.")
    for rule in (rule for rule in found if rule.carried_by or rule.examples):
        yield ""
        yield from _details(rule)
    if balanced is not None:
        yield ""
        yield from balanced_text(balanced, result)
    yield from ("", SOURCE)


def by_question(rules: Sequence[RuleResult]) -> Iterator[tuple[Asks, list[RuleResult]]]:
    """What is asked, with its rules, the most telling first."""
    for asks in ASKED:
        if held := [rule for rule in rules if rule.asks == asks]:
            yield asks, sorted(held, key=lambda rule: (rule.holm, rule.p, -rule.value))


def _row(rule: RuleResult) -> tuple[str, ...]:
    return (
        rule.name,
        rule.sees,
        f"{rule.hits}/{rule.n}",
        percent(rule.value),
        f"{percent(rule.low)} - {percent(rule.high)}",
        percent(rule.chance),
        f"{rule.decided_hits}/{rule.decided}",
        p_value(rule.holm),
        "" if not rule.significant else "above chance" if rule.value > rule.chance else "below chance",
    )


def percent(share: float) -> str:
    """One decimal."""
    return f"{100 * share:.1f}"


def p_value(p: float) -> str:
    """Three decimals, or an upper bound."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _best_text(best: BestRule) -> Iterator[str]:
    where = f" (as the {best.variant} task shows it)" if best.variant else ""
    folds = ", ".join(f"{name} in {times}" for name, times in best.chosen.items())
    chosen = f"{folds} folds" if folds else "none, as all items are one cluster"
    yield f"Best rule by nested choice{where}: {ASKED[best.asks]} Chosen: {chosen}; p {p_value(best.p)}"
    wholes = [share for share in best.shares if not share.subset]
    for share in _alike_once(wholes):
        yield (
            f"  {share.metric or 'share'}: {percent(share.value)} "
            f"({percent(share.low)} - {percent(share.high)}), chance {percent(share.chance)}, n {share.n:,}"
        )
    parts = [share for share in best.shares if share.subset and share.metric == best.shares[-1].metric]
    if 1 < len(parts) <= _MOST_SLICES:
        yield "  " + "; ".join(f"{printable(share.subset)} {share.hits:g}/{share.n}" for share in parts)


def _alike_once(shares: Iterable[Share]) -> list[Share]:
    """Shares that differ in the name of their metric only become one line."""
    held: dict[tuple[float, ...], Share] = {}
    for share in shares:
        key = (share.value, share.low, share.high, share.chance, share.n)
        before = held.get(key)
        held[key] = (
            share if before is None else before.model_copy(update={"metric": f"{before.metric}, {share.metric}"})
        )
    return list(held.values())


def _details(rule: RuleResult) -> Iterator[str]:
    yield f"{rule.name}: {rule.says} ({ASKED[rule.asks]})"
    if 1 < len(rule.slices) <= _MOST_SLICES:
        yield "  solves " + "; ".join(f"{printable(name)} {hits}/{n}" for name, (hits, n) in rule.slices.items())
    if rule.carried_by:
        carried = (f"{printable(weight.feature)} {weight.weight:+.3f}" for weight in rule.carried_by)
        yield "  carried by " + "; ".join(carried)
    for example in rule.examples:
        verdict = "solves" if example.chosen in example.answers else "fails"
        bias = "" if example.bias is None else f", bias score {example.bias:.2f}"
        yield f"  {verdict} {printable(example.item_id)}{bias}: {printable(example.question)}"
        for place, candidate in enumerate(example.candidates):
            marks = ("*" if place in example.answers else " ") + (">" if place == example.chosen else " ")
            yield f"    {marks} {printable(candidate)}"


def balanced_text(balanced: BalancedSubset, result: AuditResult) -> Iterator[str]:
    """How large the balanced subset is, what was removed and why, and the rules before and after."""
    kept, removed = len(balanced.ids), len(balanced.removed)
    yield (
        f"Balanced subset: {kept} of {kept + removed} items, {removed} removed, on which no rule is above or below "
        f"chance (rounds of pruning: {balanced.rounds})"
        + (f"; task {balanced.dataset}_balanced asks it" if balanced.dataset in BALANCED_TASKS else "")
    )
    if balanced.reasons:
        yield f"  rules above chance that solve removed items, or below chance that fail them: {balanced.reasons}"
    if balanced.over:
        yield f"  balanced over: {', '.join(ASKED[asks] for asks in balanced.over)}"
    rows = []
    for rule in result.rules:
        if after := balanced.rules.get(f"{rule.asks}:{rule.name}"):
            hits, n, p = after
            if rule.significant:
                share = percent(hits / n) if n else "-"
                rows.append((rule.name, f"{rule.hits}/{rule.n}", percent(rule.value), f"{hits}/{n}", share, p_value(p)))
    if rows:
        yield from _table(("rule", "all items", "", "balanced", "", "p (Holm)"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    return (f"  {line}" for line in table(head, rows))


def shortcuts_html(result: AuditResult, balanced: BalancedSubset | None = None) -> str:
    """A `<section>` without style, script or reference of its own; everything escaped."""
    from importlib.resources import files

    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "p_value": p_value}
    template = environment.from_string((files(__package__) / "shortcuts.html").read_text(encoding="utf-8"))
    return template.render(
        result=result,
        asked=ASKED,
        questions=list(by_question(result.rules)),
        wholes={
            number: _alike_once(s for s in best.shares if not s.subset) for number, best in enumerate(result.bests)
        },
        balanced=balanced,
        balanced_lines=list(balanced_text(balanced, result))[:2] if balanced else [],
    )
