"""The words first and second, exchanged: what is safe, what is not, on written and on the real MED's texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minchange_eval.tasks.exchange import exchanged, exchanged_text

SHARED_MED = Path(__file__).parents[2].parent / "shared" / "data" / "med_sample"


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("In the first image, a cat.", "In the second image, a cat."),
        ("The 2nd picture is dark.", "The 1st picture is dark."),
        ("First image: red. Second image: blue.", "Second image: red. First image: blue."),
        ("Open in the first image, but closed in the second.", "Open in the second image, but closed in the first."),
        (
            "The first image shows a dog, while the second shows two.",
            "The second image shows a dog, while the first shows two.",
        ),
        ("The left image is dark.", "The right image is dark."),
        ("The image on the left is dark.", "The image on the right is dark."),
        ("In image 1 it rains, in image 2 it snows.", "In image 2 it rains, in image 1 it snows."),
        ("In image one it rains.", "In image two it rains."),
        (
            "What has changed from the first image to the second?",
            "What has changed from the second image to the first?",
        ),
        ("In the first image, the cat is left of the dog.", "In the second image, the cat is left of the dog."),
        ("In the second image, it is standing still.", "In the first image, it is standing still."),
        ("Both flowers are identical.", "Both flowers are identical."),
    ],
)
def test_the_names_of_the_images_are_exchanged_and_nothing_else(text: str, other: str) -> None:
    assert exchanged_text(text) == other
    assert exchanged_text(other) == text


@pytest.mark.parametrize(
    "text",
    [
        "In the original image, a cat.",
        "The edited image is dark.",
        "A dog was added in the second image.",
        "The dog was removed.",
        "The dog is no longer there in the second image.",
        "The cat has been replaced in the second image.",
        "In the second image, the second row is empty.",
        "In the first image, the first dog is black.",
        "In the second image, the light is on for two seconds.",
        "In the second image, the number remains the same.",
        "The dog moved to the left in the second image.",
        "The former is dark, the latter bright.",
        "In image A, a cat.",
        "The top image is dark.",
        "In the second image, the sign is now red.",
        "In the second image, the cat is still on the mat.",
        "The one on the left is dark.",
    ],
)
def test_what_speaks_of_time_of_roles_or_of_other_orders_is_refused(text: str) -> None:
    assert exchanged_text(text) is None


def test_an_option_that_names_neither_image_is_refused() -> None:
    assert exchanged("What differs?", ["In the first image, a cat.", "A dog is there."]) is None
    assert exchanged("What differs?", ["In the first image, a cat.", "Both images show a dog."]) is not None


@given(st.text(max_size=80))
def test_exchanging_twice_gives_the_text_back_and_nothing_is_raised(text: str) -> None:
    other = exchanged_text(f"In the first image, {text}")
    assert other is None or exchanged_text(other) == f"In the first image, {text}"


def test_of_the_real_med_seven_of_44_are_left_out_and_of_med_real_none() -> None:
    if not SHARED_MED.is_dir():
        pytest.skip("the sample of MED is not beside the checkout")
    left_out = {
        name: sum(
            exchanged(row["question"], row["options"]) is None for row in json.loads((SHARED_MED / name).read_text())
        )
        for name in ("MED_bench.json", "MED_real_set.json")
    }
    assert left_out == {"MED_bench.json": 7, "MED_real_set.json": 0}
