"""Whether two records may stand beside each other: both complete, and of the same questions asked in the same way.

Never a warning instead: a difference between a record and another one of other data is no difference of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from minchange_eval.core.errors import DataError, IncompleteError, NotComparableError
from minchange_eval.core.forms import in_orders, merged
from minchange_eval.core.metrics import Kind
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.queries import Direction
from minchange_eval.core.record import ModelDescription, RunRecord, TaskRecord

__all__ = ["MOST_UNSCORED", "require_comparable", "require_complete"]

# Share of a task's queries, as a run itself decides on its exit code (`tasks.run_recorder`, kept equal by a test).
MOST_UNSCORED = 0.05
_MOST_SHOWN = 4  # differences in one message

# What decides on the answers that are asked for, in the words of a message.
_OF_TASKS: Mapping[str, Callable[[TaskRecord], Any]] = {
    "data set": lambda task: task.dataset,
    "data fingerprint": lambda task: task.fingerprint,
    "subsets": lambda task: ", ".join(sorted(task.subsets)),
    "kind": lambda task: task.kind,
    "variant": lambda task: task.variant,
    "protocol": lambda task: task.protocol,
    "prompt": lambda task: task.prompt_sha256,
    "generation settings": lambda task: dict(sorted(task.generation_kwargs.items())),
    "--limit": lambda task: task.limit,
    "--offset": lambda task: task.offset,
    "items": lambda task: f"{task.items} of {task.items_in_full}",
}
# What a chat adapter adds to every prompt or takes from it, and how it scores options that are longer than a letter;
# each with what is meant where a record does not say.
_OF_PROMPTS: Mapping[str, Any] = {"images": "shown", "image_position": "prompt", "system_prompt": "", "normalise": ""}
_DIRECTIONS: Mapping[Kind, tuple[Direction, ...]] = {
    "sets": (Direction.IMAGE_TO_TEXT, Direction.TEXT_TO_IMAGE),
    "questions": (Direction.CHOICE,),
    "statements": (Direction.STATEMENT,),
}
_SCORINGS = {"generate": "words", "letters": "labels"}  # an adapter's name for it -> what the answers are


def require_comparable(first: RunRecord, second: RunRecord, names: tuple[str, str] = ("first", "second")) -> None:
    """Accept two records whose difference says something about their models, refuse any others.

    Compared are the tasks by name and of each task: data set, fingerprint, subsets, variant, protocol, prompt, how
    answers are scored and generated, limit and offset, and the queries themselves. Models may differ in all else.

    Args:
        first, second: whole records or slim ones, of this or any earlier version.
        names: what the two are called in a message.

    Raises:
        IncompleteError: one of them lacks queries or answers, see `require_complete`.
        NotComparableError: both are complete, and the message names what differs, on both sides.
    """
    for record, name in zip((first, second), names, strict=True):
        require_complete(record, name)
    found: dict[str, list[str]] = {}  # what differs -> the tasks in which it does
    for of, difference in _differences(first, second):
        found.setdefault(difference, []).append(of)
    if found:
        said = [f"{_some(tasks)}: {difference}" for difference, tasks in found.items()]
        more = f"; and {len(said) - _MOST_SHOWN} more differences" if len(said) > _MOST_SHOWN else ""
        raise NotComparableError(
            f"{names[0]} and {names[1]} record are not of the same questions ({names[0]} | {names[1]}): "
            f"{'; '.join(said[:_MOST_SHOWN])}{more}; evaluate both models with the same tasks, data and options"
        )


def require_complete(record: RunRecord, name: str = "the") -> None:
    """Accept a record that has all of its queries, nearly all of them scored, and no score that is not finite.

    Raises:
        IncompleteError: no queries at all; a set that lacks some; a query with a score that is not finite; or more
            than `MOST_UNSCORED` of a task's queries unscored, a question in several orders counted once.
        DataError: queries of another kind than the task says, or orders that do not go together.
    """
    if not record.tasks:
        raise IncompleteError(f"{name} record: expected at least one task, got none; evaluate the model again")
    for task in record.tasks:
        where = f"{name} record, {task.name}"
        outcomes = record.outcomes[task.name]
        if not outcomes:
            raise IncompleteError(f"{where}: expected queries, got none; evaluate the model again")
        _require_kind(outcomes, task.kind, where)
        _require_finite(outcomes, where)
        if task.kind == "sets":
            _require_whole_sets(outcomes, where)
        asked = _in_one_order(outcomes, where)
        unscored = sum(outcome.unscored for outcome in asked)
        if unscored > MOST_UNSCORED * len(asked):
            raise IncompleteError(
                f"{where}: {unscored} of {len(asked)} queries are unscored, more than {MOST_UNSCORED:.0%}; "
                "mend how the model is asked or read and evaluate it again"
            )


def _require_kind(outcomes: Iterable[QueryOutcome], kind: Kind, where: str) -> None:
    strange = next((outcome for outcome in outcomes if outcome.direction not in _DIRECTIONS[kind]), None)
    if strange:
        raise DataError(
            f"{where}: expected queries of {kind}, got {strange.query_id} with direction {strange.direction}; "
            "the record was changed after it was written, evaluate the model again"
        )


def _in_one_order(outcomes: tuple[QueryOutcome, ...], where: str) -> tuple[QueryOutcome, ...]:
    try:
        return merged(outcomes) if in_orders(outcomes) else outcomes
    except ValueError as error:
        raise DataError(f"{where}: {error}; the record was changed after it was written") from error


def _require_finite(outcomes: Iterable[QueryOutcome], where: str) -> None:
    broken = [outcome.query_id for outcome in outcomes if outcome.scores is not None and None in outcome.scores]
    if broken:
        raise IncompleteError(
            f"{where}: {len(broken)} queries have a score that is not finite (NaN), the first is {broken[0]}; "
            "mend the model and evaluate it again"
        )


def _require_whole_sets(outcomes: Iterable[QueryOutcome], where: str) -> None:
    """Each form of a set has K queries in each of the two directions."""
    held: dict[tuple[str, str, str], set[str]] = {}
    wanted: dict[tuple[str, str, str], int] = {}
    for outcome in outcomes:
        key = (outcome.item_id, outcome.form, outcome.direction)
        held.setdefault(key, set()).add(outcome.query_id)
        wanted[key] = outcome.candidates
    for (item, form, direction), queries in held.items():
        other = "t2i" if direction == "i2t" else "i2t"
        if len(queries) != wanted[item, form, direction] or (item, form, other) not in held:
            raise IncompleteError(
                f"{where}: set {item} lacks queries; expected {wanted[item, form, direction]} in each direction, got "
                f"{len(queries)} {direction} and {len(held.get((item, form, other), ()))} {other}; run the task again"
            )


def _differences(first: RunRecord, second: RunRecord) -> Iterable[tuple[str, str]]:
    """(task, what differs on both sides)."""
    tasks = [{task.name: task for task in record.tasks} for record in (first, second)]
    for name in sorted(tasks[0].keys() ^ tasks[1].keys()):
        yield name, "asked | not asked" if name in tasks[0] else "not asked | asked"
    for name in sorted(tasks[0].keys() & tasks[1].keys()):
        pairs = zip(_facts(first, tasks[0][name]), _facts(second, tasks[1][name]), strict=True)
        facts = [f"{what} {_shown(one)} | {_shown(other)}" for (what, one), (_, other) in pairs if one != other]
        # queries differ because of those facts, or for no reason that a record gives
        yield from ((name, said) for said in facts or _of_queries(first.outcomes[name], second.outcomes[name]))


def _facts(record: RunRecord, task: TaskRecord) -> Iterable[tuple[str, Any]]:
    for what, fact in _OF_TASKS.items():
        yield what, fact(task)
    yield "scoring", _scoring(record.model, record.outcomes[task.name])
    for setting, usual in _OF_PROMPTS.items():
        yield setting, record.model.settings.get(setting, usual)


def _scoring(model: ModelDescription, outcomes: Iterable[QueryOutcome]) -> str:
    """What the answers are, `words`, `labels`, `options` or `pairs`: as the adapter says, else as the answers show."""
    if model.scoring is not None:
        return _SCORINGS.get(model.scoring, model.scoring)
    scored = [outcome for outcome in outcomes if not outcome.unscored]
    return ", ".join(sorted({"pairs" if one.of_pairs else one.scored or "words" for one in scored}))


def _of_queries(first: Iterable[QueryOutcome], second: Iterable[QueryOutcome]) -> Iterable[str]:
    """Queries that only one side has, or that are not the same query on both."""
    one, other = ({outcome.query_id: _asked(outcome) for outcome in outcomes} for outcomes in (first, second))
    if one.keys() != other.keys():
        apart = [sorted(one.keys() - other.keys()), sorted(other.keys() - one.keys())]
        example = next(ids[0] for ids in apart if ids)
        yield f"sets: {len(apart[0])} queries of its own | {len(apart[1])} of its own, such as {example}"
    changed = [query_id for query_id in one if other.get(query_id, one[query_id]) != one[query_id]]
    if changed:
        said = " | ".join(str(asked[changed[0]]) for asked in (one, other))
        yield f"sets: {len(changed)} queries with other content, such as {changed[0]}: {said}"


def _asked(outcome: QueryOutcome) -> tuple[Any, ...]:
    direction = str(outcome.direction)
    return outcome.item_id, outcome.subset, direction, outcome.candidates, outcome.answers, outcome.form, outcome.order


def _shown(fact: Any) -> str:
    if fact is None or fact == "" or fact == {}:
        return "none"
    text = str(fact)
    return f"{text[:12]}…" if len(text) == 64 else text[:80]


def _some(tasks: list[str]) -> str:
    return tasks[0] if len(tasks) == 1 else f"{tasks[0]} and {len(tasks) - 1} more tasks"
