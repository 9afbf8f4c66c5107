from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from minchange_eval.core.image_change import changed_share, difference, heat_map


def square(left: int, size: tuple[int, int] = (100, 80)) -> Image.Image:
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).rectangle((left, 0, left + 9, size[1] - 1), fill="black")
    return picture


def test_the_share_is_the_area_of_what_moved() -> None:
    assert changed_share([square(10), square(50)]) == pytest.approx(0.2)


def test_a_copy_has_not_changed() -> None:
    assert changed_share([square(10), square(10)]) == 0


def test_of_more_than_two_it_is_the_mean_over_pairs() -> None:
    assert changed_share([square(10), square(50), square(10)]) == pytest.approx(0.2 * 2 / 3)


def test_noise_below_the_step_is_no_change() -> None:
    noisy = Image.fromarray(np.asarray(square(10)) // 255 * 240)
    assert changed_share([square(10), noisy]) == 0


def test_another_size_of_file_is_no_change() -> None:
    large = square(10).resize((400, 320), Image.Resampling.NEAREST)
    assert changed_share([square(10), large]) < 0.01
    assert changed_share([large, square(10)]) < 0.03


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 3000)])
def test_thin_pictures_are_compared_too(size: tuple[int, int]) -> None:
    black, white = (Image.new("RGB", size, colour) for colour in ("black", "white"))
    assert changed_share([black, white]) == 1
    assert heat_map([black, white], 64).size == heat_map([white, black], 64).size


def test_the_difference_is_where_a_slow_reference_finds_it() -> None:
    one, other = square(10), square(50)
    expected = np.array(
        [
            [
                max(abs(a - b) for a, b in zip(one.getpixel((x, y)), other.getpixel((x, y)), strict=True)) / 255
                for x in range(100)
            ]
            for y in range(80)
        ]
    )
    assert np.array_equal(difference([one, other], 256), expected)


def test_heat_is_where_pictures_differ_and_pale_elsewhere() -> None:
    heat = np.asarray(heat_map([square(10), square(50)], 256)).astype(int)
    assert heat[:, 10:20].sum(axis=2).max() < 200 < heat[:, 30:40].sum(axis=2).min()


def test_one_picture_has_nothing_to_differ_from() -> None:
    with pytest.raises(ValueError, match="two or more"):
        changed_share([square(1)])
