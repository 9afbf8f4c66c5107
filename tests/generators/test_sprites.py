"""Sprites and paint: exact arithmetic, vendored files with their licence, colours that a person would name so."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minchange_eval
from minchange_eval.generators.procedural.categories import CATEGORIES, CATEGORY
from minchange_eval.generators.procedural.colours import (
    COLOURS,
    PAINTABLE,
    PATTERNABLE,
    PATTERNS,
    colour_name,
    hue_saturation_value,
    patterned,
    recoloured,
    rgb_of,
)
from minchange_eval.generators.procedural.question_states import _FAMILIES, _WORN
from minchange_eval.generators.procedural.scene import sprite_of
from minchange_eval.generators.procedural.sprites import Look, drawn, original, shrunk, soft_ellipse, soft_silhouette

ASSETS = Path(minchange_eval.__file__).parent / "generators" / "procedural" / "assets"


def slow_mean(source: np.ndarray, width: int, height: int) -> np.ndarray:
    """The mean under each target pixel with fractions, one pixel at a time."""
    rows, columns = source.shape[:2]
    result = np.zeros((height, width, source.shape[2]), dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            total = [Fraction(0)] * source.shape[2]
            for r in range(rows):
                tall = min(Fraction((y + 1) * rows, height), r + 1) - max(Fraction(y * rows, height), r)
                for c in range(columns):
                    wide = min(Fraction((x + 1) * columns, width), c + 1) - max(Fraction(x * columns, width), c)
                    if tall > 0 and wide > 0:
                        total = [t + int(v) * tall * wide for t, v in zip(total, source[r, c], strict=True)]
            area = Fraction(rows * columns, width * height)
            result[y, x] = [int(t / area + Fraction(1, 2)) for t in total]
    return result


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_scaling_is_the_exact_mean_rounded_half_up(rows: int, columns: int, width: int, height: int, seed: int) -> None:
    source = np.random.default_rng(seed).integers(0, 256, (rows, columns, 4), dtype=np.uint8)
    assert (shrunk(source, width, height) == slow_mean(source, width, height)).all()


def test_every_category_part_and_look_alike_has_a_sprite_whose_longer_side_is_256() -> None:
    names = [*CATEGORIES, *_WORN, *(name for _, members in _FAMILIES for name in members)]
    for name in names:
        height, width, channels = original(sprite_of(name)).shape
        assert channels == 4
        assert 254 <= max(height, width) <= 257


def test_the_vendored_art_is_small_and_carries_its_licence() -> None:
    assert sum(path.stat().st_size for path in (ASSETS / "sprites").glob("*.png")) < 1_000_000
    said = (ASSETS / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Noto" in said
    assert "Apache" in said


def test_no_sprite_is_vendored_without_use() -> None:
    used = {CATEGORY[name].sprite for name in CATEGORIES} | {sprite_of(name) for name in _WORN}
    used |= {sprite_of(name) for _, members in _FAMILIES for name in members}
    used |= {"person_walking", "person_running", "person_kneeling"}
    assert {path.stem for path in (ASSETS / "sprites").glob("*.png")} == used


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("name", PAINTABLE)
def test_a_painted_sprite_is_called_by_its_paint(name: str, colour: str) -> None:
    assert colour_name(recoloured(original(sprite_of(name)), colour)) == colour


@pytest.mark.parametrize("name", PATTERNABLE)
def test_a_pattern_changes_a_good_part_of_a_sprite_and_not_its_outline(name: str) -> None:
    plain = recoloured(original(sprite_of(name)), "blue")
    for pattern in PATTERNS:
        other = patterned(plain, pattern)
        assert (other[..., 3] == plain[..., 3]).all()
        share = (other != plain).any(axis=2).sum() / (plain[..., 3] > 0).sum()
        assert 0.1 <= share <= 0.6


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_hue_saturation_and_value_lead_back_to_the_colour(rgb: tuple[int, int, int]) -> None:
    pixel = np.array([[rgb]], dtype=np.uint8)
    back = rgb_of(*hue_saturation_value(pixel))
    assert np.abs(back.astype(int) - pixel).max() <= 3


def test_shadows_are_soft_and_keep_their_weight() -> None:
    look = Look("dog", 90, 95)
    shadow = soft_silhouette(look, 4)
    assert shadow.shape == (95 + 8, 90 + 8)
    assert abs(int(shadow.sum()) - int(drawn(look)[..., 3].sum())) < 0.02 * shadow.sum()
    ellipse = soft_ellipse(40, 12)
    assert ellipse.max() == 255
    assert ellipse[0, 0] == 0
    assert (ellipse == ellipse[::-1, ::-1]).all()


def test_a_mirrored_sprite_is_the_sprite_from_right_to_left() -> None:
    assert (drawn(Look("horse", 64, 57, mirrored=True)) == drawn(Look("horse", 64, 57))[:, ::-1]).all()
