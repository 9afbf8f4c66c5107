"""The table that `lmms_eval` prints after lmms-eval's own: every number with what is needed to believe it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from minchange_eval.core.errors import printable
from minchange_eval.core.forms import forms_of, in_orders, merged
from minchange_eval.core.metrics import MetricValue, summarize, whole
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.record import RunRecord, TaskRecord
from minchange_eval.core.text_table import table as table

# What a benchmark's readers look for; the record holds every metric.
_METRICS_SHOWN = {"spec": ("i2t_accuracy", "t2i_accuracy", "group_score")}
_ALWAYS_SHOWN = ("consistency", "position_bias", "spread", "bias")
_SHOWN_OF_SLICES = ("accuracy", "i2t_accuracy", "t2i_accuracy")
_OF_SETS = ("text_score", "image_score", "group_score", "pair_mean")
_HEAD = ("task", "metric", "value", "95 % interval", "chance", "n", "unscored", "ties")
_MOST_SLICES = 12  # of one kind (`group: …`); VSR's relations are about 70, and stay in the record

_VARIANTS = {
    "cyclic": "each question once in every cyclic order of its candidates, probabilities or votes averaged",
    "swapped": "the two images, and the words first and second, exchanged",
    "blank": "blank images in place of the item's own, what the model scores without looking",
    "otherpair": "another item's images in place of the item's own, what the model scores without looking",
    "raw": "options as released, with their letters and doubles",
    "templates": "each question in several wordings, accuracies over all of them",
    "balanced": "the items on which an audit found no rule that solves them without looking (docs/audit.md)",
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
    rows = _rows(record)
    for line in (*_remarks(record), *_remarks_on_counts([value for _, value in rows])):
        print(line)
    print()
    for line in table(_HEAD, [_row(name, value) for name, value in rows]):
        print(line)


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
    lined_up = [(variant[name], outcome) for name, outcomes in record.outcomes.items() for outcome in merged(outcomes)]
    queries = {(asked, outcome.query_id): outcome for asked, outcome in lined_up}.values()
    truncated = sum(outcome.truncated > 0 for outcome in queries)
    if truncated:
        lines.append(f"{truncated} queries had captions longer than the model's context; they were truncated")
    near_ties = sum(outcome.near_tie for outcome in queries)
    if near_ties:
        lines.append(f"{near_ties} queries were decided by less than 1e-5; another batch size may turn them over")
    lines += [
        f"{name}: asked of other items than {full}, so its rows cannot be read beside those"
        for name in record.metrics
        if (full := _full(record, name)) and not _same_items(record, name, full)
    ]
    shown = {value.name for values in record.metrics.values() for value in values}
    return lines + [f"{name}: {said}" for name, said in _METRICS_EXPLAINED.items() if name in shown]


def _remarks_on_counts(values: Iterable[MetricValue]) -> list[str]:
    puzzling = {value.name for value in values if value.name in _OF_SETS and value.unscored + value.ties > 0}
    names = ", ".join(name for name in _OF_SETS if name in puzzling)
    return [f"{names}: n counts sets, unscored and ties count their queries"] if names else []


def _remarks_on_model(record: RunRecord) -> list[str]:
    """How a chat model was asked, as far as it is not what a reader expects."""
    model, lines = record.model, []
    if model.scoring == "letters":
        lines.append("scoring=letters: the log-probability of the candidates' labels decides")
    if model.scoring == "options":
        lines.append("scoring=options: the log-probability of the candidates' own words decides")
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
        why = "solved without looking" if task.variant == "balanced" else "whose wording cannot be exchanged"
        lines.append(f"{task.name}: {task.left_out} items {why} were left out")
    if task.items < task.items_in_full:
        options = {"--limit": task.limit, "--offset": task.offset}
        given = [f"{name} {value:g}" for name, value in options.items() if value]
        part = f"{task.items} of {task.items_in_full} items"
        lines.append(f"{task.name}: {part} ({', '.join(given)}), not a score to publish")
    prepared = task.items_in_full + task.left_out
    if task.items_released is not None and prepared < task.items_released:
        lines.append(f"{task.name}: {prepared} of the {task.items_released} released items are prepared")
    if task.rows_skipped:
        lines.append(
            f"{task.name}: {task.rows_skipped} broken rows of {task.dataset} were left out when it was prepared"
        )
    lines += _remarks_on_unscored(task, outcomes)
    if any(len(o.images) == 2 and o.direction == "choice" and o.of_pairs for o in outcomes):
        lines.append(f"{task.name}: a dual encoder on two images, this package's own protocol (docs/evaluate.md)")
    return lines


def _remarks_on_unscored(task: TaskRecord, outcomes: Sequence[QueryOutcome]) -> list[str]:
    """Counted as the metrics do: a question in several orders once."""
    if not in_orders(outcomes):
        unscored = [outcome for outcome in outcomes if outcome.unscored]
        said = f"{len(unscored)} of {len(outcomes)} queries are unscored"
    else:
        questions = forms_of(outcomes).values()
        firsts = [next((form for form in forms if form.unscored), None) for forms in questions]
        unscored = [form for form in firsts if form]
        said = f"{len(unscored)} of {len(questions)} queries are unscored in one order or more"
    return [f"{task.name}: {said}, misses{_why(unscored)}"] if unscored else []


def _why(unscored: Sequence[QueryOutcome]) -> str:
    """The most frequent reason: the adapter's own words, a reply without an answer, a score that is no number."""
    reasons = Counter(
        outcome.reason
        or ("the reply names no answer, or several" if outcome.text is not None else "a score is not finite")
        for outcome in unscored
    )
    ((reason, times),) = reasons.most_common(1)
    return f"; {'' if len(reasons) == 1 else f'{times} of them: '}{printable(reason)}"


def _rows(record: RunRecord) -> list[tuple[str, MetricValue]]:
    """Whole groups last, so that the headline stands next to the prompt; what is blind beneath what sees."""
    grouped = {member for members in record.groups.values() for member in members}
    single = [name for name in record.metrics if name not in record.groups]
    blind = {name: full for name in single if (full := _seeing(record, name))}
    rows: list[tuple[str, MetricValue]] = []
    for name in (*single, *record.groups):
        if name not in blind:
            beneath = [other for other, full in blind.items() if full == name]
            rows += _rows_of(record, name, beneath, alone=name in single and name not in grouped)
            rows += _both_ways(record, name)
    return rows


def _full(record: RunRecord, name: str) -> str | None:
    """The task or group in the record that a task is to be read beside, as it asks the same of other images or in the
    other order."""
    variant = _task(record, name).variant
    full = name.removesuffix(f"_{variant}")
    return full if variant in (*_BLIND, "swapped") and full in record.metrics else None


def _seeing(record: RunRecord, name: str) -> str | None:
    """The task or group beneath whose rows those of a blind one stand: it asks the same items."""
    full = _full(record, name) if _task(record, name).variant in _BLIND else None
    return full if full and _same_items(record, name, full) else None


def _both_ways(record: RunRecord, name: str) -> list[tuple[str, MetricValue]]:
    """Beneath a swapped task: the full one on the same items, and how often the two have the same choice.

    Nothing where the full one asks in other words, or not all of the items.
    """
    full, task = _full(record, name), _task(record, name)
    if task.variant != "swapped" or not full or not _same_items(record, name, full):
        return []
    asked = _asked(record, name)
    others = [_task(record, member) for member in record.groups.get(full, (full,))]
    if {(other.prompt_sha256, other.prompt_source) for other in others} != {(task.prompt_sha256, task.prompt_source)}:
        return []
    same = [outcome for other in others for outcome in record.outcomes[other.name] if outcome.item_id in asked]
    as_released = _headline(summarize(same, task.kind), task)
    consistency = whole(summarize([*same, *record.outcomes[name]], task.kind))["consistency"]
    return [*((f"{full} (same items)", value) for value in as_released), (f"{full}, {name}", consistency)]


def _asked(record: RunRecord, name: str) -> set[str]:
    """The items that a task or group asked."""
    return {outcome.item_id for member in record.groups.get(name, (name,)) for outcome in record.outcomes[member]}


def _same_items(record: RunRecord, name: str, full: str) -> bool:
    """Whether a blind task asked the items of the full one, or a swapped one some of them."""
    asked, in_full = _asked(record, name), _asked(record, full)
    return asked <= in_full if _task(record, name).variant == "swapped" else asked == in_full


def _rows_of(record: RunRecord, name: str, beneath: Sequence[str], *, alone: bool) -> list[tuple[str, MetricValue]]:
    shown = _shown(record, name, alone=alone)
    blind = {
        (other, value.name, value.subset): value for other in beneath for value in _shown(record, other, alone=alone)
    }
    rows = []
    for value in shown:
        rows.append((name, value))
        for other in beneath:
            same = blind.pop((other, value.name, value.subset), None)
            rows += [(other, same)] if same else []
    return rows + [(other, value) for (other, _, _), value in blind.items()]


def _task(record: RunRecord, name: str) -> TaskRecord:
    """The task of a name, or one of a group's."""
    member = record.groups.get(name, (name,))[0]
    (task,) = (task for task in record.tasks if task.name == member)
    return task


def _shown(record: RunRecord, name: str, *, alone: bool) -> list[MetricValue]:
    """The whole of a task or group; for a task that is no part of a group its subsets too where it has several, and
    the accuracies of its slices where they are few."""
    values, task = record.metrics[name], _task(record, name)
    if not alone:
        return _headline(values, task)
    subsets = {subset for task in record.tasks for subset in task.subsets}
    parts = {value.subset for value in values} - {""}
    slices = Counter(part.split(": ")[0] for part in parts - subsets)
    few = {part for part in parts - subsets if slices[part.split(": ")[0]] <= _MOST_SLICES}
    several = parts & subsets if len(parts & subsets) > 1 else set()
    return [
        value
        for value in values
        if (value.subset in {"", *several} and _wanted(value, task))
        or (value.subset in few and value.name in _SHOWN_OF_SLICES)
    ]


def _headline(values: Iterable[MetricValue], task: TaskRecord) -> list[MetricValue]:
    return [value for value in whole(values).values() if _wanted(value, task)]


def _wanted(value: MetricValue, task: TaskRecord) -> bool:
    metrics = _METRICS_SHOWN.get(task.protocol)
    return metrics is None or value.name in (*metrics, *_ALWAYS_SHOWN)


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
