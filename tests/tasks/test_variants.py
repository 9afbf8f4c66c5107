"""Forms of a query: other orders, other images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minchange_eval.core.errors import DataError
from minchange_eval.core.images import open_image
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion, Item
from minchange_eval.core.queries import Query, queries_of_set, query_of_question
from minchange_eval.tasks.variants import OtherImages, blank_image, blank_images, cyclic, swapped, with_images, worded


def image(number: int) -> BytesImage:
    return BytesImage(f"{number}.png", bytes([number]))


def pair(number: int, subset: str = "object", k: int = 2) -> CandidateSet:
    images = tuple(image(k * number + i) for i in range(k))
    return CandidateSet(f"s{number}", subset, images, tuple(f"{i} dogs" for i in range(k)))


def question(*options: str, answers: tuple[int, ...] = (0,), images: int = 2) -> ChoiceQuestion:
    return ChoiceQuestion("q", "Object", tuple(map(image, range(images))), "What differs?", options, answers)


OPTIONS = tuple(f"{letter}. In the {name} image, it is red." for letter, name in (("A", "first"), ("B", "second")))


def seen(queries: Sequence[Query]) -> list[Sequence[str]]:
    return [query.texts if len(query.texts) > 1 else [picture.name for picture in query.images] for query in queries]


def test_each_candidate_stands_once_in_each_place() -> None:
    forms = cyclic(query_of_question(question("A. w", "B. x", "C. y", "D. z", answers=(1, 3))))
    assert seen(forms) == [tuple("wxyz"), tuple("xyzw"), tuple("yzwx"), tuple("zwxy")]
    assert [form.form for form in forms] == ["cyclic0", "cyclic1", "cyclic2", "cyclic3"]
    assert [form.answers for form in forms] == [(1, 3), (0, 2), (1, 3), (0, 2)]
    assert forms[1].order == (1, 2, 3, 0)
    assert {form.base_id for form in forms} == {"q/choice"}
    assert len({form.query_id for form in forms}) == 4


def test_images_are_rotated_where_they_are_the_candidates() -> None:
    *_, asked = queries_of_set(pair(0, k=3))
    assert seen(cyclic(asked)) == [
        ["0.png", "1.png", "2.png"],
        ["1.png", "2.png", "0.png"],
        ["2.png", "0.png", "1.png"],
    ]
    assert [form.answers for form in cyclic(asked)] == [(2,), (1,), (0,)]


@given(k=st.integers(2, 9), answer=st.integers(0, 8))
def test_the_order_leads_every_form_back_to_the_released_candidate(k: int, answer: int) -> None:
    asked = query_of_question(question(*(f"{i} dogs" for i in range(k)), answers=(answer % k,)))
    for form in cyclic(asked):
        assert tuple(asked.texts[released] for released in form.order) == form.texts
        assert tuple(form.order[place] for place in form.answers) == asked.answers


def test_swapping_a_pair_shows_its_candidates_the_other_way_round() -> None:
    (form,) = swapped(queries_of_set(pair(0), ["as released"] * 4)[0])
    assert (form.texts, form.answers, form.order, form.question) == (("1 dogs", "0 dogs"), (1,), (1, 0), "")
    assert form.query_id == "s0/i2t/0@swapped"
    assert swapped(queries_of_set(pair(0, k=3))[0]) == ()


def test_swapping_a_question_exchanges_images_and_words_and_leaves_the_options_in_place() -> None:
    (form,) = swapped(query_of_question(question(*OPTIONS[:2], answers=(1,))))
    assert [picture.name for picture in form.images] == ["1.png", "0.png"]
    assert form.texts == ("In the second image, it is red.", "In the first image, it is red.")
    assert (form.answers, form.order, form.form) == ((1,), (0, 1), "swapped")


def test_a_question_that_cannot_be_exchanged_has_no_swapped_form() -> None:
    assert swapped(query_of_question(question("A. A dog was added in the second image.", "B. Both are alike."))) == ()
    assert swapped(query_of_question(question(*OPTIONS[:2], images=1))) == ()


def test_a_wording_is_a_form_of_that_name_without_an_order() -> None:
    form = worded(query_of_question(question(*OPTIONS)), "s01")
    assert (form.query_id, form.form, form.order, form.base_id) == ("q/choice@s01", "s01", (), "q/choice")


def test_a_blank_image_is_plain_grey_of_one_size_and_always_the_same_bytes() -> None:
    picture = open_image(blank_image())
    assert picture.size == (336, 336)
    assert picture.getcolors() == [(336 * 336, (128, 128, 128))]
    assert blank_image().sha256 == "852bb8302147ea744b5cfaa293b30dadcbd54ea9db4e3fd4809e91c1ee5ef33b"
    assert Image.open(io.BytesIO(blank_image().read())).format == "PNG"


def test_other_images_leave_identity_candidates_answers_and_clusters_of_the_item() -> None:
    item = pair(0)
    for own, form in zip(queries_of_set(item), with_images(queries_of_set, item, blank_images(item)), strict=True):  # type: ignore[arg-type]
        assert (form.query_id, form.texts, form.answers) == (own.query_id, own.texts, own.answers)
        assert set(form.images) == {blank_image()}
        assert form.cluster_keys == own.cluster_keys


def other_images(*items: CandidateSet) -> OtherImages:
    def of_subset(subset: str | None) -> Sequence[Item]:
        return [item for item in items if subset in (None, item.subset)]

    return OtherImages(of_subset)


def test_the_other_images_are_those_of_the_next_item_of_the_subset_in_a_circle() -> None:
    items = [pair(0), pair(1, "count"), pair(2), pair(3)]
    other = other_images(*items)
    assert [other(item) for item in (items[0], items[2], items[3])] == [
        i.images for i in (items[2], items[3], items[0])
    ]


def test_items_that_share_an_image_or_have_another_number_are_passed_over() -> None:
    shared = CandidateSet("t", "object", (image(1), image(99)), ("a", "b"))
    three = CandidateSet("u", "object", tuple(map(image, (50, 51, 52))), ("a", "b", "c"))
    assert other_images(pair(0), shared, three, pair(5))(pair(0)) == pair(5).images


def test_a_subset_of_one_item_takes_images_from_the_whole_data_set_and_a_set_of_one_is_refused() -> None:
    assert other_images(pair(0), pair(1, "count"))(pair(0)) == pair(1).images
    with pytest.raises(DataError, match="s0: expected another item with 2 other images"):
        other_images(pair(0))(pair(0))
