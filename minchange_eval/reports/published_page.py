"""What can be said of published numbers without running anything, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from minchange_eval.reports.attainability import (
    OLDER_COUNTS,
    VERDICTS,
    AverageCheck,
    Checked,
    check_averages,
    check_published,
)

HEAD = ("model", "subset", "metric", "published", "n", "verdict", "power", "k of n, or why")


def summary(checks: Sequence[Checked]) -> str:
    """How many numbers have which verdict.

    >>> summary([])
    'nothing'
    """
    counts = Counter(check.verdict for check in checks)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "nothing"


def average_lines(averages: Sequence[AverageCheck]) -> list[str]:
    """One line a printed average that does not follow from its columns, or only if it was truncated."""
    return [
        f"{check.row.model}, {check.row.metric} {check.row.printed} ({check.row.source}): "
        + ("follows only if truncated" if check.follows != "does not follow" else "does not follow")
        + f", the mean of its {check.columns} columns is {check.mean:.{check.row.decimals + 1}f}"
        for check in averages
        if check.follows != "follows"
    ]


def cells(check: Checked) -> tuple[str, ...]:
    """One number as the words of a table's row, in the order of `HEAD`."""
    row, result = check.row, check.result
    return (
        row.model,
        row.subset or "whole",
        row.metric,
        row.printed,
        str(check.sizes[0]) if len(check.sizes) == 1 else f"{len(check.sizes)} shares" if check.sizes else "-",
        check.verdict,
        f"{100 * result.power:.0f} %" if result and result.power else "",
        check.said,
    )


def shown_sizes(sizes: Sequence[int]) -> str:
    """`579`, or for a mean of several shares the n of each: `3 x 579, 3 x 294`."""
    counts = Counter(sizes)
    return ", ".join(str(n) if times == 1 else f"{times} x {n}" for n, times in counts.items()) or "-"


def markdown(benchmarks: Iterable[str]) -> str:
    """A page with every published number of the benchmarks: what was found first, then a table for each source."""
    checked = {name: check_published(name) for name in benchmarks}
    averages = {name: check_averages(name) for name in checked}
    lines = [*_INTRODUCTION.splitlines(), "", *_found(checked, averages), ""]
    for name, checks in checked.items():
        lines += [f"## {name}", "", *_averages(averages[name])]
        sources = dict.fromkeys(check.row.source for check in checks)
        for source in sources:
            lines += _table(source, [check for check in checks if check.row.source == source])
    return "\n".join(lines).rstrip() + "\n"


_INTRODUCTION = """# Published numbers, and whether they can be what they say

Made by `minchange-eval reproduce all --format md --out docs/ledger.md`; how the test works stands in
[reproduce.md](reproduce.md).

- **attainable**: some k of the released n is printed so. It says that the number is possible, not that it is right.
- **not attainable**: no k of the released n is printed so, neither rounded nor truncated as the rest of its row is.
  It says that the number is of other items, of another metric or misprinted, not which of these.
- **no power**: n is so large, or decimals so few, that every printed value is attainable; the test can find nothing.
- **not tested**: no measurement (chance), or n is not stated.

`power` is the share of printable values that no k of n is printed as, by any rule or by that of the row where it tells
which: how likely a made-up number would be found out."""


def _found(checked: Mapping[str, Sequence[Checked]], averages: Mapping[str, Sequence[AverageCheck]]) -> Iterator[str]:
    yield "| benchmark | numbers | " + " | ".join(VERDICTS) + " | averages that follow |"
    yield "|---|" + "---:|" * (len(VERDICTS) + 2)
    for name, checks in checked.items():
        yield _count_row(f"[{name}](#{name})", checks, averages[name])
    every = [check for checks in checked.values() for check in checks]
    together = [check for of in averages.values() for check in of]
    if len(checked) > 1:
        yield _count_row("all", every, together)
    yield ""
    wrong = [(name, line) for name, of in averages.items() for line in average_lines(of)]
    if wrong:
        yield "Averages that do not follow from their own columns, whatever was rounded:"
        yield ""
        yield from (f"- {name}: {_escaped(line)}" for name, line in wrong)
        yield ""
    yield "Numbers that no k of the released n gives:"
    yield ""
    for name, checks in checked.items():
        rows: dict[tuple[str, str], list[str]] = {}
        for check in checks:
            if check.verdict == "not attainable":
                where = f"{check.row.subset or 'whole'} {check.row.metric} {check.row.printed}"
                where += f" (but {check.older})" * bool(check.older)
                rows.setdefault((check.row.model, check.row.source), []).append(where)
        for (model, source), values in rows.items():
            yield f"- {name}: {_escaped(model)} ({_escaped(source)}): {', '.join(values)}"
    for name, checks in checked.items():
        older = sum(bool(check.older) for check in checks)
        if older:
            sizes = ", ".join(f"{subset} {n}" for (where, subset), n in OLDER_COUNTS.items() if where == name)
            yield ""
            yield f"{older} of those of {name} fit an older labelling of the same items ({sizes}), given in brackets."
    yield from _truncated(checked)


def _count_row(name: str, checks: Sequence[Checked], averages: Sequence[AverageCheck]) -> str:
    counts = Counter(check.verdict for check in checks)
    numbers = " | ".join(str(counts[verdict]) for verdict in VERDICTS)
    follow = sum(check.follows != "does not follow" for check in averages)
    return f"| {name} | {len(checks)} | {numbers} | {f'{follow} of {len(averages)}' if averages else '-'} |"


def _truncated(checked: Mapping[str, Sequence[Checked]]) -> Iterator[str]:
    """Rows that were truncated throughout."""
    rows = Counter(
        (name, check.row.model)
        for name, checks in checked.items()
        for check in checks
        if check.verdict == "attainable" and check.result and check.result.roundings == ("truncation",)
    )
    for (name, model), values in rows.items():
        yield ""
        yield f"Attainable only as truncated, not rounded: {name}, {_escaped(model)} ({values} values)."


def _averages(averages: Sequence[AverageCheck]) -> list[str]:
    if not averages:
        return []
    follow = sum(check.follows != "does not follow" for check in averages)
    return [f"{follow} of {len(averages)} printed averages follow from their own columns.", ""]


def _table(source: str, checks: Sequence[Checked]) -> Iterator[str]:
    yield f"### {_escaped(source)}"
    yield ""
    yield f"{len(checks)} numbers: {summary(checks)}."
    yield ""
    yield "| " + " | ".join(HEAD) + " |"
    yield "|---|---|---|---:|---:|---|---:|---|"
    for check in checks:
        yield "| " + " | ".join(map(_escaped, cells(check))) + " |"
    yield ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def as_json(benchmarks: Iterable[str]) -> str:
    """A list of the numbers and a list of the averages."""
    names = tuple(benchmarks)
    rows = [_fields(check) for name in names for check in check_published(name)]
    averages = [_average_fields(check) for name in names for check in check_averages(name)]
    return json.dumps({"numbers": rows, "averages": averages}, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def as_csv(benchmarks: Iterable[str]) -> str:
    """One line a number, with its source."""
    rows = [_fields(check) for name in benchmarks for check in check_published(name)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "n": shown_sizes(row["n"]), "roundings": "; ".join(row["roundings"])} for row in rows)
    return text.getvalue()


def _fields(check: Checked) -> dict[str, Any]:
    row, result = check.row, check.result
    return {
        "benchmark": row.benchmark,
        "model": row.model,
        "role": row.role,
        "subset": row.subset,
        "metric": row.metric,
        "published": row.printed,
        "n": list(check.sizes),
        "verdict": check.verdict,
        "roundings": list(result.roundings) if result else [],
        "power": round(result.power, 6) if result else None,
        "said": check.said,
        "source": row.source,
        "note": row.note,
    }


def _average_fields(check: AverageCheck) -> dict[str, Any]:
    return {
        "benchmark": check.row.benchmark,
        "model": check.row.model,
        "metric": check.row.metric,
        "published": check.row.printed,
        "mean_of_columns": round(check.mean, 6),
        "slack": round(check.slack, 6),
        "columns": check.columns,
        "follows": check.follows,
        "source": check.row.source,
    }
