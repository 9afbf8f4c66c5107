"""The table that `lmms_eval` prints after lmms-eval's own: every number with what is needed to believe it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minchange_eval.core.errors import printable
from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.record import RunRecord, TaskRecord

# What a benchmark's readers look for; the record holds every metric.
_METRICS_SHOWN = {"spec": ("i2t_accuracy", "t2i_accuracy", "group_score")}
_HEAD = ("task", "metric", "value", "95 % interval", "chance", "n", "unscored", "ties")


def print_record(record: RunRecord) -> None:
    """Print the scores of a run, with what a reader must know about the data and the model above them."""
    model = record.model
    weights = f", weights {model.weights_sha256[:12]}" if model.weights_sha256 else ""
    print(f"\n{model.adapter} {printable(model.name)}{weights}")
    for line in _remarks(record):
        print(line)
    print()
    for line in table(_HEAD, _rows(record)):
        print(line)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a plain text table; the first two columns are words, the others numbers."""
    cells = [tuple(head), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        aligned = [
            cell.ljust(w) if c < 2 else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return [line(cells[0]), "  ".join("-" * width for width in widths), *map(line, cells[1:])]


def _remarks(record: RunRecord) -> list[str]:
    lines = []
    drawn = sorted({task.dataset for task in record.tasks if task.synthetic})
    if drawn:
        lines.append(f"{', '.join(drawn)}: drawn by this package's generator, not an official benchmark")
    lines += [line for task in record.tasks for line in _remarks_on(task, record.outcomes[task.name])]
    queries = {outcome.query_id: outcome for outcomes in record.outcomes.values() for outcome in outcomes}.values()
    truncated = sum(outcome.truncated > 0 for outcome in queries)
    if truncated:
        lines.append(f"{truncated} queries had captions longer than the model's context; they were truncated")
    near_ties = sum(outcome.near_tie for outcome in queries)
    if near_ties:
        lines.append(f"{near_ties} queries were decided by less than 1e-5; another batch size may turn them over")
    return lines


def _remarks_on(task: TaskRecord, outcomes: Sequence[QueryOutcome]) -> list[str]:
    lines = []
    if task.items < task.items_in_full:
        options = {"--limit": task.limit, "--offset": task.offset}
        given = [f"{name} {value:g}" for name, value in options.items() if value]
        part = f"{task.items} of {task.items_in_full} items"
        lines.append(f"{task.name}: {part} ({', '.join(given)}), not a score to publish")
    if task.items_released is not None and task.items_in_full < task.items_released:
        lines.append(f"{task.name}: {task.items_in_full} of the {task.items_released} released items are prepared")
    if task.rows_skipped:
        lines.append(
            f"{task.name}: {task.rows_skipped} broken rows of {task.dataset} were left out when it was prepared"
        )
    if any(len(o.images) == 2 and o.direction == "choice" and o.scores is not None for o in outcomes):
        lines.append(f"{task.name}: a dual encoder on two images, this package's own protocol (docs/evaluate.md)")
    return lines


def _rows(record: RunRecord) -> list[tuple[str, ...]]:
    """Whole groups last, so that the headline stands next to the prompt."""
    grouped = {member for members in record.groups.values() for member in members}
    single = [name for name in record.metrics if name not in record.groups]
    rows = [_row(name, value) for name in single for value in _shown(record, name, alone=name not in grouped)]
    return rows + [_row(name, value) for name in record.groups for value in _shown(record, name, alone=False)]


def _shown(record: RunRecord, name: str, *, alone: bool) -> list[MetricValue]:
    """The whole of a task or group; the subsets too for a task that has several and is no part of a group."""
    values = record.metrics[name]
    member = record.groups.get(name, (name,))[0]
    (protocol,) = {task.protocol for task in record.tasks if task.name == member}
    metrics = _METRICS_SHOWN.get(protocol, tuple(value.name for value in values))
    split = alone and len({value.subset for value in values}) > 2  # more than one subset beside the whole
    return [value for value in values if value.name in metrics and (split or not value.subset)]


def _row(name: str, value: MetricValue) -> tuple[str, ...]:
    return (
        f"{name}/{value.subset}" if value.subset else name,
        value.name,
        f"{100 * value.value:.1f}",
        f"{100 * value.low:.1f} - {100 * value.high:.1f}",
        "-" if value.chance is None else f"{100 * value.chance:.1f}",
        str(value.n),
        str(value.unscored),
        str(value.ties),
    )
