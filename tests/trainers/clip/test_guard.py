"""Nothing is trained on that is evaluated: what is guilty, what is not, and what is said."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from minchange_eval.core.errors import DataError, ExitCode
from minchange_eval.core.images import decode
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.data.store import Store, write_store
from minchange_eval.generators.procedural.suite import draw_spec
from minchange_eval.generators.procedural.training_sets import draw_spec_train
from minchange_eval.trainers.clip.guard import GuardResult, OverlapError, guard, is_telling
from minchange_eval.trainers.clip.sources import SetData, open_pairs
from tests.data.official_layouts import picture_bytes
from tests.trainers.clip.pair_files import candidate_set, pairs, write_csv, write_sets


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))


def smooth(seed: int, edge_px: int = 192) -> bytes:
    """Something like a photograph: no two seeds are alike, and JPEG changes little of it."""
    picture = decode(picture_bytes(("smooth", seed), 8, "PNG"), "smooth")
    return encoded(picture.resize((edge_px, edge_px), Image.Resampling.BICUBIC), "PNG")


def encoded(picture: Image.Image, kind: str, **how: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


def benchmark(name: str = "bench", count: int = 3) -> Store:
    sets = [
        CandidateSet(
            set_id=f"{n}",
            subset="count",
            images=tuple(BytesImage(f"{n}_{i}.png", smooth(10 * n + i)) for i in range(2)),
            captions=(f"A dog at place {n}.", f"A cat at place {n}."),
            query_captions=(f"the dog, place {n}", f"the cat, place {n}"),
        )
        for n in range(count)
    ]
    return write_store(name, sets)


def counts(result: GuardResult) -> dict[str, int]:
    return {kind: count for kind, count in result.benchmarks[0].overlaps.items() if count}


def trained_on(*sets: CandidateSet) -> SetData:
    write_store("mine", [*sets, candidate_set("mine/other", ["x", "y"], ["said x", "said y"])])
    return SetData.open(["mine"])


def test_other_pictures_with_other_captions_pass_and_the_comparison_is_recorded() -> None:
    store = benchmark()
    write_sets("mine")
    result = guard(SetData.open(["mine"]), None, ["bench", "bench"])
    assert not result.found
    assert not result.allowed
    assert result.images == 12
    assert [(one.name, one.fingerprint, one.items) for one in result.benchmarks] == [
        ("bench", store.card.fingerprint, 3)
    ]


def test_the_same_image_under_another_name_is_found_in_sets_and_in_plain_pairs(tmp_path: Path) -> None:
    benchmark()
    stolen = replace(
        candidate_set("mine/1", ["a", "b"], ["one", "two"]),
        images=(BytesImage("a", smooth(11)), BytesImage("b", smooth(99))),
    )
    result = guard(trained_on(stolen), None, ["bench"], allow_overlap=True)
    assert counts(result) == {"image": 1}
    assert (result.first[0].training, result.first[0].item) == ("mine set mine/1 member 0", "1")
    plain = open_pairs(str(write_csv(tmp_path / "p.csv", [*pairs(3), ("x.png", smooth(20), "whatever")])))
    result = guard(None, plain, ["bench"], allow_overlap=True)
    assert counts(result) == {"image": 1}
    assert result.first[0].training == f"{tmp_path}/p.csv line 5"


@pytest.mark.parametrize(
    "again",
    [
        lambda picture: encoded(picture, "JPEG", quality=60),
        lambda picture: encoded(picture.resize((96, 96)), "PNG"),
        lambda picture: encoded(picture.resize((120, 120)), "JPEG", quality=70),
    ],
)
def test_the_same_picture_encoded_anew_is_found(tmp_path: Path, again) -> None:  # type: ignore[no-untyped-def]
    benchmark()
    copy = again(decode(smooth(20), "x"))
    plain = open_pairs(str(write_csv(tmp_path / "p.csv", [*pairs(3), ("x.png", copy, "whatever")])))
    result = guard(None, plain, ["bench"], allow_overlap=True)
    assert counts(result) == {"near_image": 1}
    assert (result.first[0].item, result.first[0].shown) == ("2", "2_0.png")


def test_a_whole_set_of_captions_is_found_in_either_wording_and_single_captions_are_not() -> None:
    benchmark()
    for captions in (("a dog at place 1", "A cat at place 1"), ("The dog, place 1", "the cat, place 1")):
        result = guard(trained_on(candidate_set("mine/1", ["a", "b"], captions)), None, ["bench"], allow_overlap=True)
        assert counts(result) == {"captions": 1}
        assert (result.first[0].item, result.first[0].training) == ("1", "mine set mine/1 member 0")
        write_store("mine", [candidate_set("z", [1, 2], ["p", "q"])], force=True)  # the next round writes its own
        import shutil

        shutil.rmtree(Store.open("mine").folder)
    apart = [
        candidate_set("mine/1", ["a", "b"], ["A dog at place 1.", "else"]),
        candidate_set("mine/2", ["c", "d"], ["A cat at place 1.", "other"]),
        candidate_set("mine/3", ["e", "f"], ["A dog at place 1.", "the cat, place 1"]),
    ]
    assert not guard(trained_on(*apart), None, ["bench"]).found


def test_a_set_of_captions_inside_a_larger_group_is_found() -> None:
    benchmark()
    edits = [
        candidate_set("mine/1", ["original", "edit 1"], ["A dog at place 1.", "A cow at place 1."]),
        candidate_set("mine/2", ["original", "edit 2"], ["A dog at place 1.", "A cat at place 1."]),
    ]
    assert counts(guard(trained_on(*edits), None, ["bench"], allow_overlap=True)) == {"captions": 1}


def test_an_id_counts_only_where_it_tells_more_than_a_place() -> None:
    write_store(
        "bench", [candidate_set(one, [one, one + "b"], [one, one + "b"]) for one in ("count/0001", "000000391895")]
    )
    mine = [
        candidate_set(one, [f"mine {one}", f"edit {one}"], ["p" + one, "q" + one])
        for one in ("count/0001", "000000391895")
    ]
    result = guard(trained_on(*mine), None, ["bench"], allow_overlap=True)
    assert counts(result) == {"id": 1}
    assert result.first[0].item == "000000391895"
    assert [is_telling(one) for one in ("object/row622", "000012", "a/1f0c9a7e", "decade", "12345678")] == [
        False,
        False,
        True,
        False,
        True,
    ]


def test_images_of_questions_are_compared_too() -> None:
    image = BytesImage("q.png", smooth(5))
    write_store("quiz", [ChoiceQuestion("q1", "s", (image,), "A dog?", ("A. yes", "B. no"), (0,))])
    stolen = replace(
        candidate_set("mine/1", ["a", "b"], ["one", "two"]),
        images=(BytesImage("a", smooth(5)), BytesImage("b", smooth(99))),
    )
    assert counts(guard(trained_on(stolen), None, ["quiz"], allow_overlap=True)) == {"image": 1}


def test_an_overlap_is_refused_in_one_line_and_recorded_where_it_is_allowed() -> None:
    benchmark("bench")
    data = SetData.open(["bench"])
    with pytest.raises(OverlapError) as caught:
        guard(data, None, ["bench"])
    said = str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE
    assert said.startswith(
        "training data hold what is evaluated (6 of bench: same image, byte for byte; 3 of bench: all captions of a "
        "candidate set); for example bench set 0 member 0 ~ bench 0: same image, byte for byte (0_0.png); "
        "bench set 0 member 0 ~ bench 0: all captions of a candidate set (A dog at place 0. | A cat at place 0.); "
    )
    assert "--allow-overlap" in said
    assert "\n" not in said
    assert caught.value.result.found
    allowed = guard(data, None, ["bench"], allow_overlap=True)
    assert allowed.allowed
    assert [overlap.kind for overlap in allowed.first] == ["image"] * 5 + ["captions"] * 3
    assert GuardResult.model_validate_json(allowed.model_dump_json()) == allowed


def test_nothing_evaluated_is_nothing_to_compare() -> None:
    write_sets("mine")
    assert guard(SetData.open(["mine"]), None, []) == GuardResult()


def test_a_training_image_that_cannot_be_read_is_named_before_the_first_step(tmp_path: Path) -> None:
    benchmark()
    path = write_csv(tmp_path / "p.csv", pairs(5))
    (tmp_path / "000002.jpg").unlink()
    (tmp_path / "000004.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"p\.csv line 4: .*No such file.*\(2 of 5 training images cannot be read\)"):
        guard(None, open_pairs(str(path)), ["bench"])


def test_progress_is_told_of_every_training_image(tmp_path: Path) -> None:
    benchmark()
    seen = []

    def progress(examples, total):  # type: ignore[no-untyped-def]
        for example in examples:
            seen.append(total)
            yield example

    guard(None, open_pairs(str(write_csv(tmp_path / "p.csv", pairs(5)))), ["bench"], progress=progress)
    assert seen == [5] * 5


def test_drawn_training_sets_pass_and_the_drawn_suite_itself_does_not() -> None:
    write_store("suite", draw_spec(0, 3, 64))
    write_store("training", draw_spec_train(3, edge_px=64))
    assert not guard(SetData.open(["training"]), None, ["suite"]).found
    write_store("suite_again", draw_spec(0, 3, 56))  # the same scenes at another size share no byte
    found = guard(SetData.open(["suite_again"]), None, ["suite"], allow_overlap=True).benchmarks[0].overlaps
    assert found["image"] == 0
    assert found["captions"] == 18
