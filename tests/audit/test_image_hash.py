from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from minchange_eval.audit.hash_file import HashFile
from minchange_eval.audit.image_hash import hash_image, hash_images, perceptual_hash
from minchange_eval.audit.near_images import RADIUS, near_images
from minchange_eval.core.items import BytesImage, FileImage
from tests.audit.pictures import encoded, picture

SHARED_IMAGES = Path(__file__).parents[2].parent / "shared" / "data" / "med_sample" / "images"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10_000),
    quality=st.integers(40, 95),
    scale=st.floats(0.5, 1.6),
    form=st.sampled_from(["JPEG", "WEBP"]),
)
def test_a_picture_stays_near_itself_when_encoded_again_and_resized_a_little(
    seed: int, quality: int, scale: float, form: str
) -> None:
    image = picture(seed)
    again = image.resize((round(320 * scale), round(240 * scale)), Image.Resampling.BICUBIC)
    first, second = hash_image(encoded(image)), hash_image(encoded(again, form, quality=quality))
    assert first.sha256 != second.sha256
    assert len(near_images([first], [second], RADIUS)[0]) == 1


def test_unrelated_pictures_are_far_apart() -> None:
    hashes = [hash_image(encoded(picture(seed))) for seed in range(60)]
    i, j, _ = near_images(hashes, hashes)
    assert np.array_equal(i, j)


def test_other_things_in_the_same_places_are_told_apart_by_their_colours() -> None:
    def drawing(ground: str, thing: str) -> Image.Image:
        image = Image.new("RGB", (200, 200), ground)
        ImageDraw.Draw(image).ellipse((60, 60, 140, 140), fill=thing)
        return image

    first, second = (hash_image(encoded(drawing(*colours))) for colours in (("white", "navy"), ("pink", "black")))
    assert first.perceptual is not None
    assert second.perceptual is not None
    assert (first.perceptual ^ second.perceptual).bit_count() <= RADIUS
    assert len(near_images([first], [second])[0]) == 0


@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_picture_without_contrast_has_no_perceptual_hash_and_resembles_nothing(level: int) -> None:
    blank = hash_image(encoded(Image.new("RGB", (64, 64), (level,) * 3)))
    assert blank.perceptual is None
    assert not blank.fault
    assert len(near_images([blank], [blank])[0]) == 0


# `imagehash.phash` of these images, imagehash 4.3.2
@pytest.mark.parametrize(
    ("name", "bits"),
    [("1071.jpg", 0x8CCC98606BA71D7B), ("1071_edit.jpg", 0x8CCCD87321835F3D), ("140.jpg", 0x94A2AD9DA32BCB4A)],
)
def test_bits_are_those_of_the_imagehash_package(name: str, bits: int) -> None:
    if not SHARED_IMAGES.exists():
        pytest.skip("the sample of MED lies beside some checkouts only")
    assert perceptual_hash(Image.open(SHARED_IMAGES / name).convert("RGB")) == bits


def test_the_slow_definition_gives_the_same_bits() -> None:
    image = picture(3)
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
    from scipy.fft import dctn

    lowest = dctn(grey, type=2)[:8, :8]
    bits = "".join("1" if value > np.median(lowest) else "0" for value in lowest.ravel())
    assert perceptual_hash(image) == int(bits, 2)


def test_a_corrupt_image_in_the_middle_is_described_and_the_others_are_hashed(tmp_path: Path) -> None:
    good = encoded(picture(1))
    cut_off = BytesImage("cut.png", good.data[: len(good.data) // 2])
    missing = FileImage("gone.png", tmp_path / "gone.png")
    [(owner, hashes)] = hash_images([("row", [good, cut_off, missing, BytesImage("empty", b""), good])])
    assert owner == "row"
    assert [bool(image.fault) for image in hashes] == [False, True, True, True, False]
    assert [bool(image.sha256) for image in hashes] == [True, True, False, False, True]
    assert hashes[0].perceptual == hashes[4].perceptual is not None


def test_rows_come_back_in_their_order_however_many_images_they_have() -> None:
    images = [encoded(picture(seed, (40, 30))) for seed in range(8)]
    rows = [(row, [images[row % 8]] * (row % 4)) for row in range(100)]
    done = list(hash_images(rows))
    assert [row for row, _ in done] == list(range(100))
    assert all([one.sha256 for one in hashes] == [one.sha256 for one in rows[row][1]] for row, hashes in done)


def test_a_second_run_decodes_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [encoded(picture(seed)) for seed in range(5)] + [encoded(Image.new("RGB", (9, 9)))]
    with HashFile(tmp_path / "kept" / "hashes.sqlite") as kept:
        [(_, first)] = hash_images([("", images)], kept)
    monkeypatch.setattr("minchange_eval.audit.image_hash.decode", lambda *_: pytest.fail("decoded again"))
    renamed = [BytesImage("elsewhere/" + image.name, image.data) for image in images]
    with HashFile(tmp_path / "kept" / "hashes.sqlite") as kept:
        [(_, second)] = hash_images([("", renamed)], kept)
    assert [one.name for one in second] == [image.name for image in renamed]
    assert [(one.perceptual, one.colours, one.size_px) for one in second] == [
        (one.perceptual, one.colours, one.size_px) for one in first
    ]


def test_hashes_of_an_interrupted_run_are_kept(tmp_path: Path) -> None:
    image = encoded(picture(1))
    kept = HashFile(tmp_path / "hashes.sqlite").__enter__()
    hash_image(image, kept)
    kept.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with HashFile(tmp_path / "hashes.sqlite") as kept:
        assert kept.get(image.sha256) is not None


def test_two_runs_share_one_file_of_hashes(tmp_path: Path) -> None:
    first, second = encoded(picture(1)), encoded(picture(2))
    path = tmp_path / "hashes.sqlite"
    with HashFile(path) as one, HashFile(path) as other:
        for kept, images in ((one, [first, second]), (other, [second])):
            list(hash_images([("", images)], kept))
    with HashFile(path) as kept:
        assert kept.get(first.sha256) is not None
        assert kept.get(second.sha256) == (hash_image(second).perceptual, hash_image(second).colours, (320, 240))


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_damaged_file_of_hashes_costs_time_only(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "hashes.sqlite").write_bytes(content)
    with HashFile(tmp_path / "hashes.sqlite") as kept:
        assert hash_image(encoded(picture(1)), kept).perceptual is not None
    assert ("are not kept" in caplog.text) == bool(content)


def test_a_place_that_cannot_be_written_to_costs_time_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    with HashFile(tmp_path / "file" / "hashes.sqlite") as kept:
        assert hash_image(encoded(picture(1)), kept).perceptual is not None
    assert "are not kept" in caplog.text
