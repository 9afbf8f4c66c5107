"""The leaderboard as text: Markdown and LaTeX for people, CSV and JSON with everything for programs.

Labels come from records and may hold anything: each format escapes them in its own way.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from minchange_eval import __version__
from minchange_eval.reports.leaderboard import METRIC_TITLES, Board, Cell, Report, Row
from minchange_eval.reports.shown_text import shown_text

_LABEL = 120
_COLUMNS = (
    *("benchmark", "dataset", "fingerprint", "variant", "synthetic", "protocol", "model", "role", "metric", "subset"),
    *("value", "low", "high", "chance", "n", "unscored", "ties", "leads", "about", "marks", "notes", "record"),
)
_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "≈": r"$\approx$",
    "[": "{[}",  # at the start of a line it would be an argument of the \\ before, as an asterisk would
    "*": "{*}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def as_markdown(report: Report) -> str:
    """One table a benchmark and headline: values with intervals, n, unscored and ties."""
    lines = ["# Leaderboard", "", *(f"{_markdown(line)}\n" for line in report.remarks)]
    for board in report.boards:
        lines += [f"## {_markdown(board.title)}{' (synthetic)' if board.synthetic else ''}", ""]
        lines += [" · ".join(map(_markdown, board.facts)), "", *(f"- {_markdown(line)}" for line in board.remarks)]
        for metric in board.headlines:
            lines += ["", *_markdown_table(board, metric)]
        lines.append("")
        lines += [f"- {_markdown(row.label)}: {_markdown(said)}" for row in board.rows for said in _said_of(row)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _said_of(row: Row) -> tuple[str, ...]:
    """What a line may not be read without: its marks, and of a blind rule its own chance."""
    return (*row.marks, row.about) if row.role == "blind rule" and row.about else row.marks


def _markdown_table(board: Board, metric: str) -> Iterator[str]:
    columns = board.columns(metric)
    head = [METRIC_TITLES.get(metric, metric), "", *_headings(columns), "n", "unscored", "ties"]
    yield f"| {' | '.join(map(_markdown, head))} |"
    yield f"|{'---|' * 2}{'---:|' * (len(head) - 2)}"
    for row in _rows(board, metric):
        label = _markdown(shown_text(row.label, _LABEL))
        name = f"**{label}**" if metric in row.leads else label
        what = "leading" if metric in row.leads else row.tag
        cells = [_value(row.cells.get(at), _interval_in_words) for at in columns]
        yield f"| {' | '.join([name, what, *cells, *_counts(row, columns)])} |"


def as_latex(report: Report) -> str:
    """One `tabular` a benchmark and headline, for `booktabs`; what leads is bold."""
    lines = ["% needs \\usepackage{booktabs}; values in percent with 95 % intervals over clusters"]
    for board in report.boards:
        for metric in board.headlines:
            lines += ["", *_latex_table(board, metric)]
    return "\n".join(lines) + "\n"


def _latex_table(board: Board, metric: str) -> Iterator[str]:
    columns = board.columns(metric)
    title = f"{board.title}{', synthetic' if board.synthetic else ''}, {METRIC_TITLES.get(metric, metric)}"
    yield f"% {_one_line(title)}; {_one_line(' · '.join(board.facts))}"
    for line in (*board.remarks, *(f"{row.label}: {said}" for row in board.rows for said in _said_of(row))):
        yield f"% {_one_line(line)}"
    yield f"\\begin{{tabular}}{{ll{'r' * (len(columns) + 1)}}}\n\\toprule"
    yield " & ".join(["Model", "", *map(_latex, _headings(columns)), "$n$"]) + r" \\" + "\n\\midrule"
    for row in _rows(board, metric):
        label = _latex(shown_text(row.label, _LABEL))
        name = f"\\textbf{{{label}}}" if metric in row.leads else label
        cells = [_value(row.cells.get(at), _interval_small).replace("≈", _LATEX["≈"]) for at in columns]
        yield " & ".join([name, row.tag, *cells, _counts(row, columns)[0]]) + r" \\"
    yield "\\bottomrule\n\\end{tabular}"


def as_csv(report: Report) -> str:
    """One line a value, of every metric and slice; fractions."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for board in report.boards:
        for row in board.rows:
            for (metric, subset), cell in row.cells.items():
                writer.writerow({"protocol": report.reading} | _flat(board, row, metric, subset, cell))
    return out.getvalue()


def _flat(board: Board, row: Row, metric: str, subset: str, cell: Cell) -> dict[str, object]:
    words = {
        "benchmark": board.title,
        "dataset": board.key.dataset,
        "fingerprint": board.key.fingerprint,
        "variant": board.key.variant,
        "model": row.label,
        "role": row.role,
        "metric": metric,
        "subset": subset,
        "about": row.about,
        "marks": "; ".join(row.marks),
        "notes": "; ".join(row.notes),
        "record": row.path,
    }
    numbers: dict[str, object] = {
        "value": f"{cell.value:.6g}",
        "n": cell.n,
        "unscored": cell.unscored,
        "ties": cell.ties,
    }
    further = {"low": cell.low, "high": cell.high, "chance": cell.chance}
    bounds = {name: "" if share is None else f"{share:.6g}" for name, share in further.items()}
    flags: dict[str, object] = {"synthetic": int(board.synthetic), "leads": int(metric in row.leads and not subset)}
    return {**{name: _not_a_formula(text) for name, text in words.items()}, **numbers, **bounds, **flags}


def _not_a_formula(text: str) -> str:
    """A spreadsheet runs what begins like a formula; an apostrophe says that it is text.

    Some spreadsheets part cells at semicolons, and some read the signs' wide forms as the signs.
    """
    return re.sub(r"(^|;\s*)(?=[=+@＝＋－＠-])", r"\1'", _one_line(text))


def as_json(report: Report) -> str:
    """Everything, as one object."""
    boards = [
        {
            **board.key._asdict(),
            "title": board.title,
            "synthetic": board.synthetic,
            "metrics": board.metrics,
            "headlines": board.headlines,
            "subsets": board.subsets,
            "facts": board.facts,
            "remarks": board.remarks,
            "rows": [_row(row) for row in board.rows],
        }
        for board in report.boards
    ]
    whole = {
        "made_by": f"minchange-eval {__version__}",
        "protocol": report.reading,
        "runs": report.runs,
        "remarks": report.remarks,
        "benchmarks": boards,
    }
    # escaped to ASCII: a lone surrogate in a label is no UTF-8, and \ud800 is
    return json.dumps(whole, allow_nan=False, indent=1) + "\n"


def _row(row: Row) -> dict[str, object]:
    values = [
        {"metric": metric, "subset": subset} | {name: of for name, of in vars(cell).items() if of is not None}
        for (metric, subset), cell in row.cells.items()
    ]
    said = {"about": row.about, "marks": row.marks, "notes": row.notes, "record": row.path}
    return {"label": row.label, "role": row.role, "leads": sorted(row.leads), **said, "values": values}


def _rows(board: Board, metric: str) -> list[Row]:
    """Those with a value in the metric's table, in the order of the table."""
    columns = board.columns(metric)
    return [row for row in board.ordered(metric) if any(at in row.cells for at in columns)]


def _headings(columns: Sequence[tuple[str, str]]) -> list[str]:
    return [shown_text(subset, _LABEL) or "overall" for _, subset in columns]


def _counts(row: Row, columns: Sequence[tuple[str, str]]) -> list[str]:
    cell = row.cells.get(columns[0]) if columns else None
    counts = (cell.n, cell.unscored, cell.ties) if cell else (None, None, None)
    return ["" if count is None else str(count) for count in counts]


def _value(cell: Cell | None, interval: Callable[[str, str], str]) -> str:
    if cell is None:
        return "–"
    value = cell.printed or f"{100 * cell.value:.1f}"
    if cell.low is None or cell.high is None:
        return value
    unread = f", {cell.unscored} unscored" if cell.unscored else ""
    return f"{value} {interval(f'{100 * cell.low:.1f}', f'{100 * cell.high:.1f}')}{unread}"


def _interval_in_words(low: str, high: str) -> str:
    return f"({low} to {high})"


def _interval_small(low: str, high: str) -> str:
    return f"{{\\scriptsize [{low}, {high}]}}"


def _one_line(text: str) -> str:
    return " ".join(shown_text(text, 10_000).split())


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~&$])", r"\\\1", _one_line(text))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _one_line(text))
