"""The section of a model card that the Hub reads: YAML front matter with a `model-index`, and the table for people.

Source: the Hub's model card metadata, https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from minchange_eval import __version__
from minchange_eval.core.errors import UsageError
from minchange_eval.data.benchmark_card import benchmark_card, card_names
from minchange_eval.reports.leaderboard import METRIC_TITLES, Board, Cell, Report, Row, model_name
from minchange_eval.reports.run_results import Reading, RunResults
from minchange_eval.reports.shown_text import shown_text
from minchange_eval.reports.tables import as_markdown

# The Hub's task of a kind of answer; it has none for matching sets.
_TASKS = {True: "zero-shot-image-classification", False: "image-text-to-text"}
_NAME = 120


def as_model_card(report: Report, runs: Sequence[RunResults]) -> str:
    """Front matter and a section, to be put into a model's README.md.

    Raises:
        UsageError: the runs are of several models, or none of them is of a whole benchmark.
    """
    import yaml

    front = yaml.safe_dump(
        {"model-index": model_index(report, runs)}, sort_keys=False, allow_unicode=True, width=1_000, indent=2
    )
    own = Report(tuple(map(_of_model, report.boards)), report.reading, report.runs, report.remarks)
    table = as_markdown(own).replace("# Leaderboard", "# Minimal-change evaluation", 1).replace("\n## ", "\n### ")
    return f"---\n{front}---\n\n#{table}\nMade by minchange-eval {__version__}.\n"


def model_index(report: Report, runs: Sequence[RunResults]) -> list[dict[str, Any]]:
    """What stands under `model-index`: one entry, the model, with a result a benchmark.

    Values are percentages; interval, n, unscored, ties and chance are the metric's `args`.

    Raises:
        UsageError: the runs are of several models, or none of them is of a whole benchmark.
    """
    models = sorted({(run.model.name, run.model.weights_sha256 or "") for run in runs})
    if len(models) > 1:
        names = ", ".join(f"{model_name(name)} {weights[:8]}".strip() for name, weights in models[:4])
        raise UsageError(f"--format model-card: expected runs of one model, got {len(models)}: {names}")
    results = [result for board in report.boards for result in _results(board, report.reading, runs)]
    if not results:
        raise UsageError("--format model-card: no run is of a whole benchmark; evaluate without --limit")
    return [{"name": shown_text(model_name(models[0][0]), _NAME), "results": results}]


def _of_model(board: Board) -> Board:
    kept = tuple(row for row in board.rows if row.role in ("model", "chance", "blind model", "blind rule"))
    return Board(**{**vars(board), "rows": kept})


def _results(board: Board, reading: Reading, runs: Sequence[RunResults]) -> Iterator[dict[str, Any]]:
    for row in board.rows:
        metrics = list(_metrics(board, row)) if row.role == "model" else []
        if metrics:
            yield {"task": _task(row), "dataset": _dataset(board, reading, runs), "metrics": metrics}


def _task(row: Row) -> dict[str, str]:
    return {"type": _TASKS["similarity scores" in row.about], "name": "Minimal-change understanding"}


def _dataset(board: Board, reading: Reading, runs: Sequence[RunResults]) -> dict[str, Any]:
    from minchange_eval.data.releases import OFFICIAL

    release = OFFICIAL[board.key.dataset]() if board.key.dataset in OFFICIAL else None
    hub = release.hub if release else None
    part = _part(board, runs)
    only = f", {', '.join(part)} only" if part else ""
    return {
        "name": shown_text(board.title, _NAME) + shown_text(only, _NAME) + (" (synthetic)" if board.synthetic else ""),
        "type": hub.repo_id if hub else board.key.dataset,
        **({"config": board.key.variant} if board.key.variant else {}),
        "split": "test",
        "args": {"items": board.facts[1], "fingerprint": board.key.fingerprint, "protocol": reading}
        | ({"subsets": part} if part else {}),
    }


def _part(board: Board, runs: Sequence[RunResults]) -> list[str]:
    """The subsets that were asked, where the benchmark has others too: a whole of some is no whole of all."""
    if board.key.dataset not in card_names():
        return []
    asked = {subset for run in runs for entry in run.entries if entry.key == board.key for subset in entry.subsets}
    known = benchmark_card(board.key.dataset).subsets
    return [subset for subset in known if subset in asked] if set(known) - asked else []


def _metrics(board: Board, row: Row) -> Iterator[dict[str, Any]]:
    """Of the whole; of single subsets where no whole was asked."""
    wholes = [at for at in row.cells if not at[1]]
    for name, subset in wholes or [at for at in row.cells if at[1] in board.subsets]:
        title = METRIC_TITLES.get(name, name)
        yield {
            "type": name,
            "value": _percent(row.cells[name, subset].value),
            "name": f"{title}, {shown_text(subset, _NAME)} (%)" if subset else f"{title} (%)",
            "args": _args(row.cells[name, subset]),
        }


def _args(cell: Cell) -> dict[str, Any]:
    interval = [] if cell.low is None or cell.high is None else [_percent(cell.low), _percent(cell.high)]
    chance = {} if cell.chance is None else {"chance": _percent(cell.chance)}
    return {"interval_95": interval, "n": cell.n, "unscored": cell.unscored, "ties": cell.ties, **chance}


def _percent(share: float) -> float:
    return round(100 * share, 2)
