"""Batches in step order: the same for any number of workers, broken images named in the order of the steps."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from minchange_eval.core.errors import DataError
from minchange_eval.model_adapters.encoder import Encoder
from minchange_eval.trainers.clip.batches import PLAIN, Batch
from minchange_eval.trainers.clip.caption_tokens import CaptionTokens
from minchange_eval.trainers.clip.loader import BatchStream, PreparedImages, TrainingData, batches
from minchange_eval.trainers.clip.plan import BatchPlan
from minchange_eval.trainers.clip.sources import PairData, SetData, open_pairs
from tests.trainers.clip.pair_files import pairs, write_csv, write_sets


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    from minchange_eval.model_adapters.open_clip_models import OpenClip

    return OpenClip.load({"model_name": "minchange-tiny"}, torch.device("cpu"), "fp32")


@pytest.fixture
def sets() -> SetData:
    write_sets("one", 8)
    return SetData.open(["one"])


@pytest.fixture
def plain(tmp_path: Path) -> PairData:
    return open_pairs(str(write_csv(tmp_path / "p.csv", pairs(12))))


def plan_of(sets: SetData, plain: PairData, **more: int) -> BatchPlan:
    return BatchPlan(sets.sizes, sets.subsets, len(plain), sets_per_batch=2, pairs_per_batch=4, **more)


def same(one: Batch, other: Batch) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in (
            (one.images["image"], other.images["image"]),
            (one.texts["text"], other.texts["text"]),
            (one.sets, other.sets),
            (one.anchors, other.anchors),
        )
    )


def test_batches_are_the_same_for_any_number_of_workers_and_any_cache(
    sets: SetData, plain: PairData, encoder: Encoder
) -> None:
    plan = plan_of(sets, plain)
    expected = list(batches(sets, plain, plan, encoder, steps=6, workers=0))
    assert len(expected) == 6
    for workers, cache_mb in ((1, 0), (3, 0), (2, 64)):
        found = list(batches(sets, plain, plan, encoder, steps=6, workers=workers, cache_mb=cache_mb))
        assert all(same(one, other) for one, other in zip(expected, found, strict=True))


def test_a_row_is_the_image_and_the_caption_of_its_member(sets: SetData, plain: PairData, encoder: Encoder) -> None:
    from minchange_eval.core.images import open_image

    plan = plan_of(sets, plain)
    batch = next(batches(sets, plain, plan, encoder, steps=1))
    for row, key in enumerate(plan.at(0).members):
        if key.source == "set":
            place = sets.place(key.number, key.member)
            image, caption = sets.images[place], sets.captions[place]
        else:
            image, caption = plain.image(key.number), plain.caption(key.number)
        assert torch.equal(batch.images["image"][row], encoder.prepare_image(open_image(image))["image"])
        assert torch.equal(batch.texts["text"][row], encoder.tokenize([caption]).inputs["text"][0])
        assert int(batch.sets[row]) == (key.number if key.source == "set" else PLAIN)
        assert bool(batch.anchors[row]) == key.is_anchor


def test_ranks_and_a_resumed_run_get_the_shares_of_the_same_batches(
    sets: SetData, plain: PairData, encoder: Encoder
) -> None:
    plan = plan_of(sets, plain)
    whole = list(batches(sets, plain, plan, encoder, steps=4))
    resumed = list(batches(sets, plain, plan, encoder, start_step=2, steps=4))
    assert [same(one, other) for one, other in zip(whole[2:], resumed, strict=True)] == [True, True]
    shares = [list(batches(sets, plain, plan, encoder, steps=4, rank=rank, world=2)) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        rows = torch.cat([share[step].images["image"] for share in shares])
        assert torch.equal(rows.sum(dim=(1, 2, 3)).sort()[0], batch.images["image"].sum(dim=(1, 2, 3)).sort()[0])


def test_a_missing_image_in_the_middle_is_one_error_at_its_step(
    tmp_path: Path, sets: SetData, plain: PairData, encoder: Encoder
) -> None:
    plan = plan_of(sets, plain)
    lost = next(key.number for key in plan.at(2).members if key.source == "pair")
    (tmp_path / f"{lost:06d}.jpg").unlink()
    before = threading.active_count()
    for workers in (0, 3):
        stream = batches(sets, plain, plan, encoder, steps=6, workers=workers)
        assert len([next(stream), next(stream)]) == 2
        with pytest.raises(DataError) as caught:
            next(stream)
        assert str(caught.value) == (
            f"{tmp_path}/p.csv line {lost + 2}: image {lost:06d}.jpg: there is no such file; put the image back or "
            "take the row out, then start again: what was trained so far is kept"
        )
        assert list(stream) == []
    assert threading.active_count() == before


def test_of_several_broken_images_the_first_in_the_order_of_the_step_is_named(
    tmp_path: Path, sets: SetData, plain: PairData, encoder: Encoder
) -> None:
    plan = plan_of(sets, plain)
    numbers = [key.number for key in plan.at(1).members if key.source == "pair"]
    for number in numbers:
        (tmp_path / f"{number:06d}.jpg").write_bytes(b"\xff\xd8 no picture")
    for _ in range(3):
        stream = batches(sets, plain, plan, encoder, steps=2, workers=3)
        next(stream)
        with pytest.raises(DataError, match=rf"line {numbers[0] + 2}: image {numbers[0]:06d}\.jpg: "):
            next(stream)


def test_a_damaged_store_says_to_prepare_it_again(sets: SetData, plain: PairData, encoder: Encoder) -> None:
    import re

    plan = plan_of(sets, plain)
    store = sets.images[0].path  # type: ignore[attr-defined]
    data = bytearray(Path(store).read_bytes())
    for match in re.finditer(b"\xff\xd8\xff", bytes(data)):
        data[match.start() : match.start() + 3] = b"\0\0\0"
    Path(store).write_bytes(data)
    with pytest.raises(DataError, match=r"one set one/\d member \d: .*is damaged.*minchange-eval prepare one --force"):
        list(batches(sets, plain, plan, encoder, steps=1))


def test_a_file_system_that_fails_for_a_moment_is_asked_again(
    tmp_path: Path, sets: SetData, plain: PairData, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = {"left": 2}
    read_bytes = Path.read_bytes

    def shaky(path: Path) -> bytes:
        if path.suffix == ".jpg" and failures["left"]:
            failures["left"] -= 1
            raise OSError(5, "Input/output error")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", shaky)
    monkeypatch.setattr("minchange_eval.trainers.clip.loader._WAIT_S", 0.0)
    assert len(list(batches(sets, plain, plan_of(sets, plain), encoder, steps=1, workers=1))) == 1
    failures["left"] = 1000
    with pytest.raises(DataError, match=r"cannot be read \(Input/output error\)"):
        list(batches(sets, plain, plan_of(sets, plain), encoder, steps=1, workers=1))


def test_prepared_images_are_kept_up_to_their_bytes_and_prepared_once(
    sets: SetData, plain: PairData, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = {"image": torch.zeros(1024)}
    kept = PreparedImages(2 * 4096)
    for number in range(3):
        kept.keep(("pair", number), image)
    assert [kept.get(("pair", number)) is not None for number in range(3)] == [True, True, False]
    prepared: list[int] = []
    prepare_image = encoder.prepare_image
    monkeypatch.setattr(encoder, "prepare_image", lambda picture: prepared.append(1) or prepare_image(picture))
    for cache_mb, again in ((64, 0), (0, 4 * (2 * 3 + 4))):
        data = TrainingData(sets, plain, encoder, cache_mb)
        list(BatchStream(data, plan_of(sets, plain), range(4), workers=0))
        prepared.clear()
        with BatchStream(data, plan_of(sets, plain), range(4), workers=0) as stream:
            list(stream)
        assert len(prepared) == again


def test_captions_over_the_context_are_counted_before_training(tmp_path: Path, sets: SetData, encoder: Encoder) -> None:
    six = pairs(6)
    long = [*six[:4], *((name, data, " and ".join([caption] * 9)) for name, data, caption in six[4:])]
    plain = open_pairs(str(write_csv(tmp_path / "p.csv", long)))
    data = TrainingData(sets, plain, encoder)
    assert data.cut_captions == (
        f"longer than the model's context and cut: 2 of 6 captions (first: {tmp_path}/p.csv line 6)"
    )
    assert data.pair_tokens is not None
    assert torch.equal(data.pair_tokens.rows([5])["text"], encoder.tokenize([long[5][2]]).inputs["text"])
    assert TrainingData(sets, None, encoder).cut_captions == ""


def test_tokens_are_kept_small_and_come_back_as_the_model_takes_them(encoder: Encoder) -> None:
    captions = [f"a photo of a dog {number}" for number in range(3000)]
    tokens = CaptionTokens.of(encoder, iter(captions))
    assert tokens.inputs["text"].itemsize <= 2
    rows = tokens.rows([2999, 0, 1024])["text"]
    assert rows.dtype == torch.int64
    assert torch.equal(rows, encoder.tokenize([captions[place] for place in (2999, 0, 1024)]).inputs["text"])


def test_what_is_loaded_while_the_model_computes_is_not_waited_for(
    sets: SetData, plain: PairData, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_image = encoder.prepare_image

    def slow(picture: Image.Image) -> dict[str, torch.Tensor]:
        time.sleep(0.004)
        return prepare_image(picture)

    monkeypatch.setattr(encoder, "prepare_image", slow)

    def waited(workers: int, step_s: float) -> float:
        with BatchStream(TrainingData(sets, plain, encoder), plan_of(sets, plain), range(8), workers=workers) as stream:
            next(stream)
            first = stream.waited_s
            for _ in stream:
                time.sleep(step_s)
            return stream.waited_s - first

    assert waited(0, 0.0) > 7 * 10 * 0.004
    assert waited(4, 0.08) < 0.5 * 7 * 10 * 0.004


def test_closing_a_stream_stops_its_workers(sets: SetData, plain: PairData, encoder: Encoder) -> None:
    before = threading.active_count()
    with batches(sets, plain, plan_of(sets, plain), encoder, steps=1000, workers=3) as stream:
        next(stream)
    assert threading.active_count() == before
    assert list(stream) == []


def test_sets_alone_and_pairs_alone_make_batches_too(sets: SetData, plain: PairData, encoder: Encoder) -> None:
    only_sets = BatchPlan(sets.sizes, sets.subsets, 0, sets_per_batch=2, pairs_per_batch=0)
    only_pairs = BatchPlan([], [], len(plain), sets_per_batch=0, pairs_per_batch=5)
    assert PLAIN not in next(batches(sets, None, only_sets, encoder, steps=1)).sets.tolist()
    assert next(batches(None, plain, only_pairs, encoder, steps=1)).sets.tolist() == [PLAIN] * 5
