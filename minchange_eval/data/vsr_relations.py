"""What a VSR statement is made of: its relation, the relation's group, and the two things that it relates.

Groups: `vsr_relation_groups.json`, the seven of the VSR paper (arXiv:2205.00363) as its authors' list has them; a
relation that stands in two (`among`) belongs to the later one, and `congruent` to none.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

from minchange_eval.core.items import ChoiceQuestion

# Facts of the released rows, or of rows that were given boxes, by the names that templates use.
_FACTS = {"subj": "subject", "obj": "object", "subject_box": "subject_box", "object_box": "object_box"}


def relation_groups() -> dict[str, str]:
    """Relation -> its group."""
    return dict(_groups())


def statement_slices(item: ChoiceQuestion) -> tuple[str, ...]:
    """The slices of the data that a statement belongs to, beside its split: `group: Projective`, `relation: under`."""
    relation = item.facts.get("relation")
    if not isinstance(relation, str):
        return ()
    group = _groups().get(relation)
    return (*((f"group: {group}",) if group else ()), f"relation: {relation}")


def statement_fields(item: ChoiceQuestion) -> dict[str, str]:
    """What a template may name: `relation`, `subject`, `object`, and `subject_box`, `object_box` where known.

    Subject and object are read from the statement, by its relation; where that fails they are the release's own, which
    only one of its two divisions has, and with some first letters lost.
    """
    fields = {ours: str(item.facts[theirs]) for theirs, ours in _FACTS.items() if theirs in item.facts}
    relation = item.facts.get("relation")
    if not isinstance(relation, str):
        return fields
    said = re.fullmatch(
        rf"(?:the )?(.+?)(?: (?:is|are))? {re.escape(relation)} (?:the )?(.+?)\.?", item.question.strip(), re.IGNORECASE
    )
    named = {"subject": said[1], "object": said[2]} if said else {}
    return {**fields, **named, "relation": relation}


@cache
def _groups() -> dict[str, str]:
    groups: dict[str, list[str]] = json.loads((files(__package__) / "vsr_relation_groups.json").read_text("utf-8"))
    return {relation: group for group, relations in groups.items() for relation in relations}
