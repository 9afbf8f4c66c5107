"""VSR's relations: their seven groups, and the parts of a statement."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.core.items import BytesImage, ChoiceQuestion
from minchange_eval.data.vsr_relations import relation_groups, statement_fields, statement_slices

SHARED_VSR = Path(__file__).parents[2].parent / "shared" / "data" / "vsr_sample"


def statement(text: str, **facts: Any) -> ChoiceQuestion:
    return ChoiceQuestion("v", "zeroshot_test", (BytesImage("a", b""),), text, ("false", "true"), (0,), facts)


def test_seventy_relations_are_in_the_seven_groups_of_the_paper_and_among_in_the_later_one() -> None:
    groups = relation_groups()
    assert len(groups) == 70
    assert Counter(groups.values()) == {
        "Adjacency": 10,
        "Directional": 16,
        "Orientation": 4,
        "Projective": 12,
        "Proximity": 5,
        "Topological": 17,  # 18 in the list, one of which is "among"
        "Unallocated": 6,
    }
    assert groups["among"] == "Unallocated"


def test_a_statement_is_in_its_relation_and_its_group() -> None:
    assert statement_slices(statement("The cat is under the car.", relation="under")) == (
        "group: Projective",
        "relation: under",
    )
    assert statement_slices(statement("The cat is congruent the car.", relation="congruent")) == (
        "relation: congruent",
    )
    assert statement_slices(statement("The cat is under the car.")) == ()


def test_subject_and_object_are_read_from_the_statement_and_else_taken_from_the_release() -> None:
    typed = {"relation": "right of", "subj": "andbag", "obj": "bed"}  # as released, with its first letter lost
    assert statement_fields(statement("The handbag is right of the bed.", **typed))["subject"] == "handbag"
    assert statement_fields(statement("Elsewise.", **typed)) == {
        "subject": "andbag",
        "object": "bed",
        "relation": "right of",
    }
    contains = statement_fields(statement("The suitcase contains the hot dog.", relation="contains"))
    assert (contains["subject"], contains["object"]) == ("suitcase", "hot dog")


def test_boxes_are_there_only_where_the_item_has_them() -> None:
    boxed = statement_fields(statement("The cat is on the bed.", relation="on", subject_box=[0.1, 0.2, 0.3, 0.4]))
    assert boxed["subject_box"] == "[0.1, 0.2, 0.3, 0.4]"
    assert "object_box" not in boxed


def test_every_real_row_has_a_group_a_subject_and_an_object() -> None:
    if not SHARED_VSR.is_dir():
        pytest.skip("the sample of VSR is not beside the checkout")
    rows = [json.loads(line) for file in SHARED_VSR.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(rows) == 80
    for row in rows:
        fields = statement_fields(statement(row["caption"], **row))
        assert row["caption"].removeprefix("The ").startswith(fields["subject"])
        assert row["caption"].endswith(f"{fields['object']}.")
        assert len(statement_slices(statement("", **row))) == 2
