from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from minchange_eval.audit.change import cells, changed_area, word_edits
from minchange_eval.audit.hash_file import HashFile
from minchange_eval.audit.place_balance import place_balances
from minchange_eval.audit.plain_files import questions_of_file
from minchange_eval.audit.quality import quality, quality_of_questions
from minchange_eval.audit.quality_report import QualityReport
from minchange_eval.audit.quality_tables import quality_html, quality_text
from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion, Item
from minchange_eval.data.prepare import prepare
from minchange_eval.data.store import write_store
from tests.audit.pictures import encoded, picture

TAGS = {"section", "h2", "p", "table", "caption", "thead", "tbody", "tr", "th", "td"}
TAGS |= {"details", "summary", "ul", "li", "code", "bdi"}
SHARED_MED = Path(__file__).parents[2].parent / "shared" / "data" / "med_sample"


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))


def judged(items: Sequence[Item], name: str = "made_up") -> QualityReport:
    return quality(write_store(name, items))


def found(report: QualityReport) -> dict[str, int]:
    return {check.name: check.found for check in report.checks if check.found}


def edited(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    image = picture(seed).resize((160, 120))
    ImageDraw.Draw(image).rectangle((60, 40, 75, 55), fill="yellow")
    return image.resize(size)


def original(seed: int) -> BytesImage:
    return encoded(picture(seed).resize((160, 120)))


def pair(seed: int, captions: tuple[str, str], subset: str = "object") -> CandidateSet:
    return CandidateSet(f"s/{seed}", subset, (original(seed), encoded(edited(seed))), captions)


def question(number: int, options: tuple[str, ...], answer: int = 0, text: str = "What differs?") -> ChoiceQuestion:
    return ChoiceQuestion(f"q/{number}", "x", (original(number), encoded(edited(number))), text, options, (answer,))


def test_sound_pairs_have_no_fault_and_their_changes_are_measured() -> None:
    report = judged([pair(n, (f"one red cup {n}", f"two red cups {n}")) for n in range(4)])
    assert found(report) == {}
    edits, area = report.spreads
    assert (edits.name, edits.n, edits.median) == ("word_edits", 4, 2)
    assert 0.005 < area.smallest <= area.largest < 0.05  # 16 x 16 of 160 x 120 is 1.3 %


def test_faults_of_options_are_counted_by_item() -> None:
    report = judged([
        question(0, ("A. a cat", "B. a dog", "C. a cow")),
        question(1, ("A. a dog", "B. a cat ", "C. a cat")),
        question(2, ("A. a cat", "B. a dog ", "C. a cow  ")),
        question(3, ("A. a cat", "B. a dog", "C. a cat"), 2),
        question(4, ("A.a cat", "B. a dog", "C. in the third image, a cow")),
        question(5, ("A. the cat is not mentioned", "B. a caption", "C. a cow")),
    ])  # fmt: skip
    assert found(report) == {
        "duplicate_options": 2, "ambiguous_answers": 1, "glued_letters": 1, "missing_images": 1,
        "only_clean_answer": 1, "caption_answers": 1, "caption_distractors": 1, "edge_blanks": 3,
    }  # fmt: skip
    assert report.check("duplicate_options").item_ids == ("q/1", "q/3")
    assert report.check("ambiguous_answers").item_ids == ("q/3",)
    assert report.check("only_clean_answer").item_ids == ("q/2",)


def test_doubles_within_and_between_sets_are_told_apart() -> None:
    same = original(7)
    report = judged([
        pair(0, ("a red cup", "A red cup.")),
        CandidateSet("s/same", "x", (same, same), ("one", "two")),
        CandidateSet("s/pixels", "x", (original(8), encoded(picture(8).resize((160, 120)), "BMP")), ("three", "four")),
        pair(9, ("a red cup", "a blue cup")),
        CandidateSet("s/again", "x", pair(9, ("", "")).images, ("a red cup", "a blue cup")),
    ])  # fmt: skip
    assert report.check("duplicate_captions").item_ids == ("s/0",)
    assert report.check("repeated_captions").item_ids == ("s/9", "s/again")
    assert report.check("identical_images").item_ids == ("s/same", "s/pixels")
    assert report.check("repeated_images").item_ids == ("s/again",)
    assert report.check("duplicate_items").item_ids == ("s/again",)


def test_pairs_that_were_mixed_up_are_the_exceptions_that_show() -> None:
    items: list[Item] = [
        CandidateSet(
            f"s/{n}",
            "x",
            tuple(
                BytesImage(f"{n:03d}{side}.png", image.data)
                for side, image in zip("ab", pair(n, ("", "")).images, strict=True)
            ),
            (f"one cup {n}", f"two cups {n}"),
        )
        for n in range(24)
    ]
    assert found(judged(items, "sound")) == {}
    first, second = items[3], items[11]
    assert isinstance(first, CandidateSet)
    assert isinstance(second, CandidateSet)
    items[3] = CandidateSet("s/3", "x", (first.images[0], second.images[1]), first.captions)
    items[11] = CandidateSet("s/11", "x", (second.images[0], first.images[1]), second.captions)
    report = judged(items, "mixed_up")
    for name in ("unlike_images", "unlike_names", "nearer_elsewhere"):
        assert report.check(name).item_ids == ("s/3", "s/11"), name


def test_unrelated_images_in_every_item_are_no_mix_up() -> None:
    items = [
        CandidateSet(f"s/{n}", "x", (original(2 * n), original(2 * n + 1)), (f"a {n}", f"b {n}")) for n in range(8)
    ]
    assert found(judged(items)) == {}


def test_sizes_and_aspects_that_differ_are_seen() -> None:
    items = [
        CandidateSet("s/0", "x", (original(0), encoded(edited(0, (80, 60)))), ("a", "b")),
        CandidateSet("s/1", "x", (original(1), encoded(edited(1, (80, 80)))), ("c", "d")),
    ]
    assert {"other_sizes": 2, "other_aspects": 1}.items() <= found(judged(items)).items()


def test_a_broken_image_is_counted_and_the_rest_judged() -> None:
    broken = BytesImage("broken.png", original(1).data[:200])
    items = [pair(0, ("a", "b")), CandidateSet("s/1", "x", (original(1), broken), ("c", "d")), pair(2, ("e", "f"))]
    report = judged(items)
    assert found(report) == {"unreadable_images": 1}
    assert report.check("unreadable_images").examples[0].item_id == "s/1"
    assert report.spreads[-1].n == 1 or report.check("other_sizes").of == 2


def test_one_item_and_a_caption_of_ten_megabytes_are_judged() -> None:
    novel = "word " * 2_000_000 + "end"
    report = judged([pair(0, (novel, "another novel"))])
    assert found(report) == {}
    assert [spread.name for spread in report.spreads] == ["changed_area"]  # too long to count its edits
    assert max(map(len, quality_text(report))) < 1000


def test_hashes_are_kept_for_later_comparisons(tmp_path: Path) -> None:
    store = write_store("kept", [pair(0, ("a", "b"))])
    with HashFile() as kept:
        quality(store, kept=kept)
        assert all(kept.get(image.sha256) for image in store.items()[0].images)


@pytest.mark.skipif(not SHARED_MED.exists(), reason="the sample of MED lies beside some checkouts only")
def test_what_is_known_of_the_44_real_pairs_of_med_is_found() -> None:
    rows = json.loads((SHARED_MED / "MED_bench.json").read_text("utf-8"))
    answers = ["ABCD".index(row["answer"]) for row in rows]
    report = quality(prepare("med", SHARED_MED))

    def ids(wanted: list[bool]) -> tuple[str, ...]:
        return tuple(f"med/{number}" for number, yes in enumerate(wanted) if yes)

    def bare(option: str) -> str:
        return option.split(".", 1)[1].strip()

    clean = [[option == option.strip() for option in row["options"]] for row in rows]
    only_clean = [sum(one) == 1 and one[answer] for one, answer in zip(clean, answers, strict=True)]
    # the distractors were not stripped and the golds were
    assert report.check("only_clean_answer").item_ids == ids(only_clean)
    assert report.check("edge_blanks").found == sum(not one for item in clean for one in item) >= 30
    assert all(one[answer] for one, answer in zip(clean, answers, strict=True))
    doubles = [len({bare(option) for option in row["options"]}) < 4 for row in rows]
    assert report.check("duplicate_options").item_ids == ids(doubles)
    assert report.check("duplicate_options").found == 2
    golds = [row["options"][answer] for row, answer in zip(rows, answers, strict=True)]
    assert report.check("caption_answers").found >= sum("not mentioned" in gold for gold in golds) > 0
    # only 2 of the 165 released pairs have images of one size, 8 aspect ratios that differ by more than 0.05
    assert report.check("other_sizes").found >= 42
    assert 0 < report.check("other_aspects").found <= 8
    # no duplicate image, ids equal inside a pair
    for name in ("repeated_images", "identical_images", "duplicate_items", "unlike_names", "unreadable_images"):
        assert report.check(name).found == 0, name
    letters = next(one for one in report.balances if not one.subset)
    assert letters.counts == tuple(np.bincount(answers, minlength=4))


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\x1b[2J\x00", "\u202egnp.x", "{{ 7 * 7 }}"],
)
def test_no_text_of_the_data_gets_out_of_its_place(hostile: str) -> None:
    options = (f"A. {hostile}", f"B. {hostile}", "C. a cow ")
    report = judged([ChoiceQuestion(f"q/{hostile!r}", hostile, (original(1),), hostile, options, (0,))])
    tags: list[str] = []

    class Reading(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert {name for name, _ in attrs} <= {"class", "scope"}

    page = quality_html(report)
    Reading().feed(page)
    assert set(tags) <= TAGS
    assert all(line.isprintable() for line in quality_text(report))
    assert not any(character in page for character in "\x1b\x00\u202e")


@given(st.lists(st.sampled_from("abcd"), max_size=8), st.lists(st.sampled_from("abcd"), max_size=8))
def test_word_edits_are_levenshtein_s_distance(first: list[str], second: list[str]) -> None:
    def slow(a: list[str], b: list[str]) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    if len(first) + len(second) <= 12:
        assert word_edits(" ".join(first), " ".join(second)) == slow(first, second)
    assert word_edits(" ".join(first), " ".join(second)) == word_edits(" ".join(second), " ".join(first))


@pytest.mark.parametrize("part", [0.0, 0.25, 0.5, 1.0])
def test_changed_area_is_the_share_that_was_painted_over(part: float) -> None:
    image = Image.new("RGB", (192, 96), "white")
    painted = image.copy()
    if part:
        painted.paste((0, 0, 0), (0, 0, int(192 * part), 96))
    assert changed_area(cells(image), cells(painted)) == part
    assert changed_area(cells(image), cells(painted.resize((96, 48)))) == pytest.approx(part, abs=0.03)


def test_a_table_is_judged_as_far_as_its_images_are_at_hand(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "1.png")
    picture(2, (90, 90)).save(tmp_path / "2.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "1.png").read_bytes()[:300])
    rows: list[dict[str, object]] = [
        {"question": "What is it?", "options": ["a cat", "a dog"], "answer": 0, "image_1": "1.png", "image_2": "2.png"},
        {"question": "And here?", "options": ["a tree", "a tree"], "answer": 0, "image": "cut.png"},
        {"question": "Where?", "options": ["here ", "there"], "answer": 1, "image": "elsewhere.png"},
        {"question": "Where?", "options": ["here ", "there"], "answer": 1, "image": "elsewhere.png"},
        {"question": "Why?", "options": ["so", "not"], "answer": 0},
    ]
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = quality_of_questions(questions_of_file(table), "table", "0" * 64)
    assert found(report) == {
        "duplicate_options": 1, "ambiguous_answers": 1, "edge_blanks": 2, "only_clean_answer": 2,
        "duplicate_items": 1, "unreadable_images": 1, "other_sizes": 1, "other_aspects": 1,
    }  # fmt: skip
    assert report.images == 3
    [balance] = report.balances
    assert (balance.subset, balance.counts) == ("", (3, 2))


def test_questions_without_a_subset_are_counted_once_beside_those_of_one() -> None:
    def question(number: int, subset: str) -> ChoiceQuestion:
        image = encoded(picture(number))
        return ChoiceQuestion(str(number), subset, (image,), f"Question {number}?", ("a", "b"), (number % 2,), {})

    items = [question(number, "colour" if number == 0 else "") for number in range(4)]
    assert [(one.subset, one.counts) for one in place_balances(items)] == [("", (2, 2)), ("colour", (1, 0))]
