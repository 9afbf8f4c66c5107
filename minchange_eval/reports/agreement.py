"""How far models make the same mistakes."""

from __future__ import annotations

from markupsafe import Markup

from minchange_eval.reports.answered import Answered, Answers
from minchange_eval.reports.figure import MOST_COMPARED, Figure, leading, left_out, names_of, percent
from minchange_eval.reports.svg import element


def agreement(of: Answered) -> Figure | None:
    """A table of the best models against each other; None for one model."""
    chosen = leading(of, MOST_COMPARED)
    if len(chosen) < 2:
        return None
    names = names_of(of, chosen)
    head = element("tr", element("td"), *(_column(number, name) for number, name in enumerate(names)))
    rows = []
    for i, one in enumerate(chosen):
        cells = [
            _cell(*_kappa(of.answers[one], of.answers[other]), names[i], names[j]) for j, other in enumerate(chosen)
        ]
        rows.append(element("tr", element("th", element("bdi", f"{i + 1}. {names[i]}"), scope="row"), *cells))
    table = element(
        "table",
        element("caption", "Cohen's kappa of which queries were answered right", class_="unseen"),
        element("thead", head),
        element("tbody", *rows),
        class_="agreement",
    )
    note = (
        "Cohen's kappa over queries of whether two models are both right or both wrong: 1 for the same mistakes, 0 for "
        "no more than their accuracies bring about. Under the pointer: the share of queries on which they agree. – "
        "where one of them is always right or always wrong." + left_out(of, chosen)
    )
    return Figure("Agreement between models", table, note)


def _column(number: int, name: str) -> Markup:
    return element("th", str(number + 1), scope="col", title=name)


def _cell(kappa: float | None, agree: float, n: int, one: str, other: str) -> Markup:
    told = f"{one} and {other}: the same on {percent(agree)} of {n} queries"
    if kappa is None:
        return element("td", "–", title=told)
    shade = f"shade-{max(0, min(9, round(9 * kappa)))}"
    return element("td", f"{kappa:.2f}", title=told, class_=shade)


def _kappa(one: Answers, other: Answers) -> tuple[float | None, float, int]:
    """Cohen's kappa, the share of equal results, and the queries that both were asked.

    Source: Cohen 1960, Educational and Psychological Measurement 20(1).
    """
    first, second = one.hits, other.hits
    if one.queries != other.queries:
        at = {query: number for number, query in enumerate(other.queries)}
        both = [(number, at[query]) for number, query in enumerate(one.queries) if query in at]
        if not both:
            return None, 0.0, 0
        first, second = first[[place for place, _ in both]], second[[place for _, place in both]]
    agree = float((first == second).mean())
    p, q = float(first.mean()), float(second.mean())
    expected = p * q + (1 - p) * (1 - q)
    return (agree - expected) / (1 - expected) if expected < 1 - 1e-12 else None, agree, len(first)
