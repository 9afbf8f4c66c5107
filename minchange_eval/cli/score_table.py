"""The table that `lmms_eval` prints after lmms-eval's own: every number with what is needed to believe it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from minchange_eval.core.errors import printable
from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.record import RunRecord, TaskRecord

# What a benchmark's readers look for; the record holds every metric.
_METRICS_SHOWN = {"spec": ("i2t_accuracy", "t2i_accuracy", "group_score")}
_ALWAYS_SHOWN = ("consistency", "position_bias", "spread", "bias")
_HEAD = ("task", "metric", "value", "95 % interval", "chance", "n", "unscored", "ties")
_MOST_SLICES = 12  # of one kind (`group: …`); VSR's relations are about 70, and stay in the record

_VARIANTS = {
    "cyclic": "each question once in every cyclic order of its candidates, probabilities or votes averaged",
    "swapped": "the two images, and the words first and second, exchanged",
    "blank": "blank images in place of the item's own, what the model scores without looking",
    "otherpair": "another item's images in place of the item's own, what the model scores without looking",
    "raw": "options as released, with their letters and doubles",
    "templates": "each question in several wordings, accuracies over all of them",
}
_BLIND = ("blank", "otherpair")
_PROMPTS = {
    "published": "as the paper prints it",
    "rebuilt": "rebuilt from the parts of the paper's prompt",
    "ours": "this package's own words",
    "released": "the data's own questions",
    "released and published": "the data's own questions, and the paper's where an item has none",
}
_METRICS_EXPLAINED = {
    "consistency": "questions with one choice in all their orders or wordings",
    "position_bias": "0: all places chosen alike, 100: always the same one",
    "spread": "standard deviation of the wordings' accuracies",
    "bias": "right on true statements less right on false ones",
    "yes_rate": 'statements called "true", of all asked',
}


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
    lines = _remarks_on_model(record)
    drawn = sorted({task.dataset for task in record.tasks if task.synthetic})
    if drawn:
        lines.append(f"{', '.join(drawn)}: drawn by this package's generator, not an official benchmark")
    lines += [line for task in record.tasks for line in _remarks_on(task, record.outcomes[task.name])]
    for source in dict.fromkeys(task.prompt_source for task in record.tasks if task.prompt_source):
        asked = ", ".join(task.name for task in record.tasks if task.prompt_source == source)
        lines.append(f"{asked}: prompt {_PROMPTS.get(source, source)}")
    variant = {task.name: task.variant for task in record.tasks}
    lined_up = [(variant[name], outcome) for name, outcomes in record.outcomes.items() for outcome in outcomes]
    queries = {(asked, outcome.query_id): outcome for asked, outcome in lined_up}.values()
    truncated = sum(outcome.truncated > 0 for outcome in queries)
    if truncated:
        lines.append(f"{truncated} queries had captions longer than the model's context; they were truncated")
    near_ties = sum(outcome.near_tie for outcome in queries)
    if near_ties:
        lines.append(f"{near_ties} queries were decided by less than 1e-5; another batch size may turn them over")
    shown = {value.name for values in record.metrics.values() for value in values}
    return lines + [f"{name}: {said}" for name, said in _METRICS_EXPLAINED.items() if name in shown]


def _remarks_on_model(record: RunRecord) -> list[str]:
    """How a chat model was asked, as far as it is not what a reader expects."""
    model, lines = record.model, []
    if model.scoring == "letters":
        lines.append("scoring=letters: the log-probability of the candidates' labels, nothing was generated")
    if model.scoring == "options":
        lines.append("scoring=options: the log-probability of the candidates' own words, nothing was generated")
    if model.settings.get("images") == "none":
        lines.append("images=none: no image was sent, what the model scores blind")
    if model.settings.get("image_position") == "first":
        lines.append("image_position=first: images before all words, wherever the prompt has them")
    if model.settings.get("system_prompt"):
        lines.append("a system prompt was sent before each question")
    if model.settings.get("images_per_prompt") == "one":
        lines.append(f"one image a prompt: several are stitched into one ({model.settings.get('several_images')})")
    return lines


def _remarks_on(task: TaskRecord, outcomes: Sequence[QueryOutcome]) -> list[str]:
    lines = []
    if task.variant:
        lines.append(f"{task.name}: {_VARIANTS.get(task.variant, task.variant)}")
    if task.left_out:
        lines.append(f"{task.name}: {task.left_out} items whose wording cannot be exchanged were left out")
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
    unscored = [outcome for outcome in outcomes if outcome.unscored]
    if unscored:
        lines.append(f"{task.name}: {len(unscored)} of {task.queries} queries are unscored, misses{_why(unscored)}")
    if any(len(o.images) == 2 and o.direction == "choice" and o.of_pairs for o in outcomes):
        lines.append(f"{task.name}: a dual encoder on two images, this package's own protocol (docs/evaluate.md)")
    return lines


def _why(unscored: Sequence[QueryOutcome]) -> str:
    """The most frequent reason: the adapter's own words, a reply without an answer, a score that is no number."""
    reasons = Counter(
        outcome.reason
        or ("the reply names no answer, or several" if outcome.text is not None else "a score is not finite")
        for outcome in unscored
    )
    ((reason, times),) = reasons.most_common(1)
    return f"; {'' if len(reasons) == 1 else f'{times} of them: '}{printable(reason)}"


def _rows(record: RunRecord) -> list[tuple[str, ...]]:
    """Whole groups last, so that the headline stands next to the prompt; what is blind beneath what sees."""
    grouped = {member for members in record.groups.values() for member in members}
    single = [name for name in record.metrics if name not in record.groups]
    blind = {name: full for name in record.metrics if (full := _full(record, name)) in record.metrics}
    rows: list[tuple[str, ...]] = []
    for name in (*single, *record.groups):
        if name not in blind:
            beneath = [other for other, full in blind.items() if full == name]
            rows += _rows_of(record, name, beneath, alone=name in single and name not in grouped)
    return rows


def _full(record: RunRecord, name: str) -> str | None:
    """The name of the task or group that a blind one belongs to."""
    task = _task(record, name)
    return name.removesuffix(f"_{task.variant}") if task.variant in _BLIND else None


def _rows_of(record: RunRecord, name: str, beneath: Sequence[str], *, alone: bool) -> list[tuple[str, ...]]:
    shown = _shown(record, name, alone=alone)
    blind = {
        (other, value.name, value.subset): value for other in beneath for value in _shown(record, other, alone=alone)
    }
    rows = []
    for value in shown:
        rows.append(_row(name, value))
        for other in beneath:
            same = blind.pop((other, value.name, value.subset), None)
            rows += [_row(other, same)] if same else []
    return rows + [_row(other, value) for (other, _, _), value in blind.items()]


def _task(record: RunRecord, name: str) -> TaskRecord:
    """The task of a name, or one of a group's."""
    member = record.groups.get(name, (name,))[0]
    (task,) = (task for task in record.tasks if task.name == member)
    return task


def _shown(record: RunRecord, name: str, *, alone: bool) -> list[MetricValue]:
    """The whole of a task or group; for a task that is no part of a group its subsets too where it has several, and
    its slices where they are few."""
    values, task = record.metrics[name], _task(record, name)
    subsets = {subset for task in record.tasks for subset in task.subsets}
    parts = {value.subset for value in values} - {""}
    slices = Counter(part.split(": ")[0] for part in parts - subsets)
    few = {part for part in parts - subsets if slices[part.split(": ")[0]] <= _MOST_SLICES}
    split = few | (parts & subsets if len(parts & subsets) > 1 else set())
    wanted = {"", *split} if alone else {""}
    metrics = _METRICS_SHOWN.get(task.protocol)
    return [
        value
        for value in values
        if value.subset in wanted and (metrics is None or value.name in (*metrics, *_ALWAYS_SHOWN))
    ]


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
