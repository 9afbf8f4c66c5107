from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile

from minchange_eval.core.errors import DataError
from minchange_eval.core.images import DECODING, check, decode, open_image
from minchange_eval.core.items import BytesImage


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def huge_png(edge_px: int) -> bytes:
    """A PNG of edge x edge pixels by its header, with hardly any data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", edge_px, edge_px, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def pixel(data: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    value = decode(data, "it").getpixel((x, y))
    assert isinstance(value, tuple)
    return value


GRADIENT = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_every_format_opens_as_rgb_of_its_size(kind: str) -> None:
    picture = open_image(BytesImage("a", saved(GRADIENT, kind)))
    assert (picture.mode, picture.size) == ("RGB", (4, 4))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    assert decode(saved(GRADIENT, kind), "a").tobytes() == GRADIENT.tobytes()


@pytest.mark.parametrize("grey", [0, 1, 128, 200, 255])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(grey: int, kind: str) -> None:
    picture = Image.fromarray(np.full((2, 2), grey * 257, dtype=np.uint16))
    assert pixel(saved(picture, kind)) == (grey, grey, grey)


@pytest.mark.parametrize("values", [np.int32, np.float32])
def test_32_bit_pictures_are_refused_because_nothing_says_what_white_is(values: type) -> None:
    data = saved(Image.fromarray(np.full((2, 2), 200, dtype=values)), "TIFF")
    with pytest.raises(DataError, match="32-bit values have no fixed white"):
        decode(data, "x.tif")


def test_odd_pictures_decode_to_the_pixels_of_this_version_of_decoding() -> None:
    """A change here must raise `images.DECODING`, or logged embeddings of other pixels are taken for these."""
    grey = Image.fromarray(np.arange(0, 65536, 4096, dtype=np.uint16).reshape(4, 4))
    see_through = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(4, 4, 4) * 4, "RGBA")
    turned = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    odd = [saved(grey, "PNG"), saved(see_through, "PNG"), saved(see_through.convert("LA"), "PNG"), buffer.getvalue()]
    pixels = b"".join(decode(data, "odd").tobytes() for data in odd)
    assert (DECODING, hashlib.sha256(pixels).hexdigest()[:16]) == (1, "023cfd486d541aa9")


def test_cmyk_becomes_rgb() -> None:
    red, green, blue = pixel(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert red > 240
    assert max(green, blue) < 15


def test_a_palette_with_alpha_lies_on_white() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putdata([0, 1])
    data = saved(picture, "PNG", transparency=0)
    assert pixel(data, 0) == (255, 255, 255)
    assert pixel(data, 1) == (0, 255, 0)


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))])
def test_transparency_lies_on_white(mode: str, colour: tuple[int, ...]) -> None:
    assert pixel(saved(Image.new(mode, (2, 2), colour), "PNG")) == (255, 255, 255)


def test_half_transparency_is_blended() -> None:
    assert pixel(saved(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG")) == (127, 127, 127)


def test_one_bit_pictures_are_black_and_white() -> None:
    assert pixel(saved(Image.new("1", (2, 2), 1), "PNG")) == (255, 255, 255)


def test_exif_orientation_is_applied() -> None:
    picture = Image.new("RGB", (30, 10), "white")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    data = saved(picture, "JPEG", exif=exif)
    assert decode(data, "a").size == (10, 30)
    assert check(data, "a") == (10, 30)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused_because_no_frame_is_the_picture(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="image a: expected one picture, got an animation of 3 frames"):
        check(data, "a")


def test_a_phones_jpeg_with_a_preview_behind_it_is_its_first_picture() -> None:
    data = saved(Image.new("RGB", (8, 8), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    assert check(data, "a") == (8, 8)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"<!DOCTYPE html><html>not found</html>", "got bytes that begin b'<!DOCTYPE ht'"),
        (b"\xff\xd8\xff", "image a.jpg: "),
        (huge_png(50_000), "refused as a bomb"),
        (huge_png(12_000), "refused as a bomb"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "expected JPEG, PNG"),
    ],
    ids=["0 bytes", "html", "three bytes", "50,000 px", "144 megapixels", "postscript"],
)
def test_what_is_no_picture_is_refused_in_one_line(data: bytes, reason: str) -> None:
    for look in (check, decode):
        with pytest.raises(DataError, match=reason) as caught:
            look(data, "a.jpg")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_cut_off_file_is_refused(kind: str, keep: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, kind)
    with pytest.raises(DataError, match="image a: ") as caught:
        check(data[: int(len(data) * keep)], "a")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # Pillow's own, about broken metadata
def test_a_cut_off_file_is_refused_where_another_package_told_pillow_to_fill_it_with_grey(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """lmms-eval does, for the whole process; its switch stays as it set it."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = saved(GRADIENT.resize((64, 64)), "JPEG")
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda length: _end(data[:length]), [len(data) * 9 // 10, len(data)] * 50))
    assert ends == ["cut", "whole"] * 50
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def _end(data: bytes) -> str:
    try:
        decode(data, "it")
    except DataError:
        return "cut"
    return "whole"


def test_random_damage_ends_in_a_picture_or_one_clear_line() -> None:
    dice = np.random.default_rng(0)
    noise = Image.fromarray(dice.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        data = bytearray(saved(noise, kind))
        for _ in range(150):
            damaged = bytearray(data)
            for place in dice.integers(0, len(data), 3):
                damaged[place] = dice.integers(0, 256)
            with contextlib.suppress(DataError):
                assert min(check(bytes(damaged), "a")) > 0
