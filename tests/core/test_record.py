from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.core.answers import Answer, read_answer, write_unscored
from minchange_eval.core.errors import DataError, MinchangeError
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.queries import queries_of_set, query_of_question
from minchange_eval.core.record import (
    SCHEMA_VERSION,
    ModelDescription,
    RunPart,
    RunRecord,
    TaskRecord,
    UnfinishedRecordError,
    comparable_bytes,
    digest,
    make_record,
    read_record,
    write_record,
)

OLD = Path(__file__).parent / "records"


def pair_outcomes(subset: str, sets: int) -> list[QueryOutcome]:
    outcomes = []
    for number in range(sets):
        item = CandidateSet(
            f"{subset}/{number}",
            subset,
            (BytesImage("0", f"{subset}{number}0".encode()), BytesImage("1", f"{subset}{number}1".encode())),
            ("zero", "one"),
        )
        for place, query in enumerate(queries_of_set(item)):
            scores = (0.25, 0.125 * (number + place)) if number != 1 or place else (0.5, None)
            outcomes.append(outcome_of(query, subset, Answer(scores=scores)))
    return outcomes


def question_outcomes() -> list[QueryOutcome]:
    item = ChoiceQuestion("q1", "Counting", (BytesImage("i", b"i"),), "How many?", ("one", "two"), (1,))
    return [outcome_of(query_of_question(item), "Counting", read_answer("Answer: B – zwei\u2028\ud800", "AB"))]


def cyclic_outcomes() -> list[QueryOutcome]:
    """Two orders of two questions whose options were scored, with the sums beside the means; one is too long."""
    outcomes = []
    for number in range(2):
        item = ChoiceQuestion(f"c{number}", "Counting", (BytesImage("i", b"i"),), "How many?", ("one", "two"), (1,))
        query = query_of_question(item)
        for place, order in enumerate(((0, 1), (1, 0))):
            form = replace(
                query,
                query_id=f"{query.query_id}@cyclic{place}",
                form=f"cyclic{place}",
                order=order,
                answers=(order.index(1),),
            )
            said = json.dumps({
                "scores": [-0.5 - place, -1.5 + place], "truncated": 0, "scored": "options",
                "alternatives": {"sum": [-4.5, -2.25]},
            })  # fmt: skip
            reply = write_unscored("the prompt has 5012 tokens, the model's context 4096") if number and place else said
            outcomes.append(outcome_of(form, "Counting", read_answer(reply, "AB"), slices=("options: two",)))
    return outcomes


def task(name: str, kind: Any, lines: int, **more: Any) -> TaskRecord:
    return TaskRecord(
        name=name, kind=kind, dataset=name, subsets=(name,), fingerprint="f" * 64, items=1, items_in_full=9,
        queries=lines, **more,
    )  # fmt: skip


def sample_record(**changes: Any) -> RunRecord:
    arguments: dict[str, Any] = {
        "tasks": [
            task("spec_b", "sets", 8, protocol="spec", synthetic=True),
            task("spec_a", "sets", 12, protocol="spec", limit=3),
            task("med", "questions", 1, protocol="med", prompt_sha256="0" * 64),
        ],
        "outcomes": {
            "spec_b": pair_outcomes("b", 2),
            "spec_a": pair_outcomes("a", 3),
            "med": question_outcomes(),
        },
        "model": ModelDescription(
            adapter="open_clip", name="tiny", weights_sha256="a" * 64, settings={"dtype": "float32", "batch_size": 8}
        ),
        "groups": {"spec": ("spec_b", "spec_a")},
        "packages": {"numpy": "2.0", "lmms-eval": "0.7.3"},
        "run": RunPart(host="here", started="2025-01-01T00:00:00Z", seconds=1.5, work={"images_encoded": 10}),
    }
    return make_record(**(arguments | changes))


def record_of_forms() -> RunRecord:
    """A sample with a task in cyclic orders."""
    tasks = [
        *sample_record().tasks,
        task(
            "med_cyclic", "questions", 4, variant="cyclic", prompt_source="rebuilt", prompt_sha256="1" * 64, left_out=2
        ),
    ]
    outcomes = {**sample_record().outcomes, "med_cyclic": tuple(cyclic_outcomes())}
    model = ModelDescription(adapter="hf_multi_image", name="tiny", settings={"scoring": "options"})
    return sample_record(tasks=tasks, outcomes=outcomes, model=model)


def test_a_record_of_forms_and_other_scores_comes_back_equal(tmp_path: Path) -> None:
    record = record_of_forms()
    write_record(record, tmp_path / "r.jsonl")
    assert read_record(tmp_path / "r.jsonl") == record


def test_other_scores_of_the_same_answers_have_metrics_of_their_own() -> None:
    record = record_of_forms()
    assert set(record.alternatives) == {"sum"}
    assert set(record.alternatives["sum"]) == {"med_cyclic"}
    means, sums = (
        {v.name: v for v in values if not v.subset}
        for values in (record.metrics["med_cyclic"], record.alternatives["sum"]["med_cyclic"])
    )
    assert means.keys() == sums.keys()
    assert means["micro"].unscored == sums["micro"].unscored == 1
    assert (means["consistency"].value, sums["consistency"].value) == (0.5, 0.0)  # the sums always choose B
    assert (means["position_bias"].value, sums["position_bias"].value) == (pytest.approx(1 / 3), 1.0)


def test_a_line_has_no_field_that_has_its_default(tmp_path: Path) -> None:
    write_record(sample_record(), tmp_path / "r.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_bytes().splitlines()[1:]]
    held = {"task", "query_id", "item_id", "subset", "direction", "candidates", "answers", "images"}
    held |= {"hit", "unscored", "tie", "near_tie"}
    assert set(lines[-1]) == held | {"scores"}
    assert set(lines[0]) == held | {"choice", "text"}


def test_how_a_chat_adapter_asks_stands_in_its_settings() -> None:
    assert record_of_forms().model.scoring == "options"
    assert sample_record().model.scoring is None


def test_a_record_comes_back_equal(tmp_path: Path) -> None:
    record = sample_record()
    write_record(record, tmp_path / "deep" / "record.jsonl")
    assert read_record(tmp_path / "deep" / "record.jsonl") == record


def test_the_file_is_a_header_and_one_line_per_query_sorted_by_task_and_query(tmp_path: Path) -> None:
    write_record(sample_record(), tmp_path / "r.jsonl")
    header, *lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_bytes().splitlines()]
    assert header["schema_version"] == SCHEMA_VERSION
    assert set(header["metrics"]) == {"spec", "spec_a", "spec_b", "med"}
    assert [entry["name"] for entry in header["tasks"]] == ["med", "spec_a", "spec_b"]
    keys = [(line["task"], line["query_id"]) for line in lines]
    assert keys == sorted(keys)
    assert len(keys) == 21


def test_bytes_do_not_depend_on_the_order_of_tasks_outcomes_and_settings_or_on_repeats(tmp_path: Path) -> None:
    first = sample_record()
    backwards = sample_record(
        tasks=list(first.tasks)[::-1],
        outcomes={name: [*reversed(lines), lines[0]] for name, lines in reversed(first.outcomes.items())},
        model=first.model.model_copy(update={"settings": {"batch_size": 8, "dtype": "float32"}}),
        packages={"lmms-eval": "0.7.3", "numpy": "2.0"},
        groups={"spec": ("spec_a", "spec_b")},
    )
    write_record(first, tmp_path / "a")
    write_record(backwards, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_only_the_run_part_is_left_out_of_comparisons() -> None:
    record = sample_record()
    assert digest(record) == digest(sample_record(run=RunPart(host="there", seconds=9.0)))
    assert b"here" not in comparable_bytes(record)
    assert digest(record) != digest(sample_record(packages={"numpy": "2.1"}))


def test_published_readings_stand_beside_ours() -> None:
    record = sample_record()
    assert set(record.published) == {"spec", "spec_a", "spec_b", "med"}
    ours, theirs = (
        {v.name: v.value for v in part["spec"] if not v.subset} for part in (record.metrics, record.published)
    )
    assert ours.keys() == theirs.keys()


def test_a_repeated_query_with_another_answer_is_an_error() -> None:
    lines = question_outcomes()
    other = lines[0].model_copy(update={"hit": False})
    with pytest.raises(ValueError, match="two different outcomes"):
        sample_record(tasks=[task("med", "questions", 1)], outcomes={"med": [*lines, other]}, groups={})


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    slipped_in = ModelDescription(adapter="a", name="n").model_copy(update={"settings": {"temperature": float("nan")}})
    record = sample_record().model_copy(update={"model": slipped_in})  # past pydantic's own check
    with pytest.raises(ValueError, match="JSON compliant"):
        write_record(record, tmp_path / "r.jsonl")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="finite"):
        ModelDescription(adapter="a", name="n", settings={"temperature": [float("nan")]})
    with pytest.raises(ValueError, match="finite"):
        QueryOutcome.model_validate({**question_outcomes()[0].model_dump(), "scores": (0.5, float("inf"))})


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("seam", ["fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_record_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, seam: str
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("what was there")

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(*((os, "fsync") if seam == "fsync" else (Path, "replace")), fail)
    expected = MinchangeError if isinstance(fault, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_record(sample_record(), path)
    if isinstance(fault, OSError):
        assert f"record {path}: cannot be written (No space left on device)" in str(caught.value)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("r.jsonl", "what was there")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a limit on file size")
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_record
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
try:
    test_record.write_record(test_record.sample_record(), Path({str(tmp_path)!r}) / "r.jsonl")
except test_record.MinchangeError as error:
    sys.exit(0 if "cannot be written" in str(error) and "\\n" not in str(error) else 3)
sys.exit(4)
"""
    assert signal.SIGXFSZ
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def _lines(tmp_path: Path) -> list[bytes]:
    write_record(sample_record(), tmp_path / "good")
    return (tmp_path / "good").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: [*lines[:3], lines[3][:20]], "line 4: expected JSON"),
        (lambda lines: lines[:-1], "line 1: does not fit its lines"),
        (lambda lines: [*lines[:3], b"[1]\n", *lines[4:]], "line 4: expected an object"),
        (lambda lines: [lines[0], lines[1].replace(b'"hit"', b'"hot"'), *lines[2:]], "line 2: not the outcome"),
        (lambda lines: [lines[0], lines[1].replace(b'"task":"med"', b'"job":"med"')], "line 2: not the outcome"),
        (lambda lines: [lines[0], b'{"task": NaN}\n'], "line 2: expected JSON"),
        (lambda lines: [lines[0], b"\xff\xfe\n"], "line 2: expected JSON"),
        (lambda lines: [], "line 1: expected a header with schema_version"),
        (lambda lines: [b"{}\n"], "line 1: expected a header with schema_version"),
        (lambda lines: [b'{"schema_version":true}\n'], "line 1"),
        (lambda lines: [b"[" * 200_000], "line 1: expected JSON"),
        (
            lambda lines: [lines[0].replace(b'"schema_version":3', b'"schema_version":99')],
            "line 1: written with schema 99",
        ),
    ],
)
def test_a_broken_or_newer_record_is_refused_with_its_line(tmp_path: Path, spoil: Any, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"".join(spoil(_lines(tmp_path))))
    with pytest.raises(DataError, match=message) as caught:
        read_record(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": []}, r"expected right and chosen positions in 0..1, got \[\]"),
        ({"answers": [2]}, r"expected right and chosen positions in 0..1, got \[2\]"),
        ({"choice": -1}, r"expected right and chosen positions in 0..1, got \[\d, -1\]"),
        ({"candidates": 3}, "expected 3 scores, one a candidate, got 2"),
        ({"alternatives": {"sum": [0.5]}}, "expected 2 scores, one a candidate, got 1"),
    ],
)
def test_an_answer_that_does_not_fit_its_question_is_refused_with_its_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    lines = _lines(tmp_path)
    lines[-1] = json.dumps({**json.loads(lines[-1]), **changes}).encode()
    (tmp_path / "bad").write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=rf"line {len(lines)}: not the outcome of a query \({message}\)"):
        read_record(tmp_path / "bad")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": {"g": ["none"]}}, r"group g: expected tasks of the record, all of one kind, got \['none'\]"),
        ({"groups": {"g": []}}, r"group g: expected tasks of the record, all of one kind, got \[\]"),
        ({"groups": {"g": ["a", "b"]}}, "group g: expected tasks of the record, all of one kind"),
        ({"groups": {"a": ["b"]}}, "group a: expected the task of that name among its own"),
        ({"tasks": ["a", "a"]}, "expected each task once, got a, a"),
    ],
)
def test_groups_and_tasks_that_do_not_go_together_are_bad_data(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    lines = {"a": pair_outcomes("count", 1), "b": question_outcomes()}
    tasks = {name: task(name, kind, len(lines[name])) for name, kind in (("a", "sets"), ("b", "questions"))}
    path = tmp_path / "r.jsonl"
    write_record(make_record(tasks.values(), lines, ModelDescription(adapter="a", name="m")), path)
    header, *rest = path.read_bytes().splitlines(keepends=True)
    if "tasks" in changes:
        changes = {"tasks": [tasks[name].model_dump(mode="json") for name in changes["tasks"]]}
        rest = [line for line in rest if b'"task":"a"' in line]
    path.write_bytes(json.dumps({**json.loads(header), **changes}).encode() + b"\n" + b"".join(rest))
    with pytest.raises(DataError, match=message):
        read_record(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [*lines[:3], lines[3][:20]],
        lambda lines: [lines[0][:200]],
        lambda lines: lines[:-1],
        lambda lines: lines[:1],
        lambda lines: [*lines[:-1], lines[-1].replace(b"0.25", b"NaN", 1)],
        lambda lines: [*lines[:-1], lines[-1].replace(b"0.25", b"1e999", 1)],
        lambda lines: [lines[0].replace(b'"value":0.5', b'"value":Infinity', 1), *lines[1:]],
    ],
    ids=[
        "in a line",
        "in the header",
        "at a line's end",
        "after the header",
        "NaN",
        "beyond floats",
        "infinite metric",
    ],
)
def test_a_record_that_broke_off_or_holds_nan_is_incomplete(tmp_path: Path, spoil: Any) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"".join(spoil(_lines(tmp_path))))
    with pytest.raises(UnfinishedRecordError) as caught:
        read_record(path)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_compressed_record_has_the_same_bytes_each_time_and_comes_back_equal(tmp_path: Path) -> None:
    record = record_of_forms()
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_record(record, tmp_path / name)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert read_record(tmp_path / "a.jsonl.gz") == record


def test_a_compressed_record_that_broke_off_is_incomplete_and_a_damaged_one_bad_data(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    write_record(sample_record(), path)
    packed = path.read_bytes()
    path.write_bytes(packed[:-40])
    with pytest.raises(UnfinishedRecordError, match="breaks off"):
        read_record(path)
    path.write_bytes(packed[:60] + bytes(40) + packed[100:])
    with pytest.raises(DataError, match=r"damaged|cannot be read|expected JSON"):
        read_record(path)


def test_a_task_of_no_queries_comes_back_as_one(tmp_path: Path) -> None:
    record = sample_record()
    tasks = tuple(
        task.model_copy(update={"queries": 0 if task.name == "med" else task.queries}) for task in record.tasks
    )
    write_record(record.model_copy(update={"tasks": tasks, "outcomes": {**record.outcomes, "med": ()}}), tmp_path / "r")
    assert read_record(tmp_path / "r").outcomes["med"] == ()


def test_a_record_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_record(tmp_path / "none.jsonl")


@given(st.binary(max_size=80))
def test_any_bytes_are_either_a_record_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_record(path)


@pytest.mark.parametrize("path", sorted(OLD.glob("v*.jsonl")), ids=lambda path: path.stem)
def test_records_of_every_earlier_version_keep_loading(path: Path) -> None:
    record = read_record(path)
    assert record.model.name == "tiny"
    held = {name: len(lines) for name, lines in record.outcomes.items()}
    assert held == {"med": 1, "spec_a": 12, "spec_b": 8} | ({} if path.stem == "v1" else {"med_cyclic": 4})
    assert {value.name for value in record.metrics["spec"]} >= {"i2t_accuracy", "pair_mean"}


def test_there_is_a_fixture_of_every_version() -> None:
    assert {path.stem for path in OLD.glob("*.jsonl")} == {f"v{n}" for n in range(1, SCHEMA_VERSION + 1)}
