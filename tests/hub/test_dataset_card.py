from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.data.audit_results import AuditResult, BestRule, RuleResult, Share, write_audit
from minchange_eval.data.store import Store, write_store
from minchange_eval.data.store_card import SkippedRow, StoreCard
from minchange_eval.generators.contact_sheet import contact_sheet
from minchange_eval.hub.address import parse_address
from minchange_eval.hub.dataset import sample_items, write_dataset_files
from minchange_eval.hub.dataset_card import SAMPLES_FILE, code, escaped
from tests.data.official_layouts import picture_bytes

TO = parse_address("hub:ada/tiny")
HOSTILE = (
    "a | b | c",
    "`code` and ``more`` ```",
    "`",
    "</code><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "@ada and @lab/all",
    "[link](https://evil.example) ![image](https://evil.example/x.png)",
    "https://evil.example www.evil.example ada@evil.example",
    "# a heading\n## another\n\n- a list\n\n---\nlicense: mit\n---",
    "1. a number",
    "- a dash",
    "> quoted",
    "***bold*** __too__ ~~gone~~ $x^2$ \\\\ \\| &amp; &#60;b&#62;",
    "\u202eturned round\x1b[2J\x00",
    "    indented",
    "| --- | --- |",
    "x" * 5_000,
)


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))


def picture(seed: object) -> BytesImage:
    return BytesImage("x.jpg", picture_bytes(seed))


def sets(texts: tuple[str, ...] = ("one", "two"), subset: str = "count") -> Iterator[CandidateSet]:
    images = tuple(picture((subset, i)) for i in range(len(texts)))
    yield CandidateSet(f"id {texts[0]}", subset, images, texts)


def card_of(folder: Path, items: Any, name: str = "tiny", samples: bytes = b"", **card: Any) -> tuple[Store, str]:
    said = StoreCard(name=name, **{"licence": "MIT", "title": "Tiny", **card})
    store = write_store(name, items, card=said, skipped=said.skipped, force=True)
    write_dataset_files(store, folder, TO, samples_png=samples)
    return store, (folder / "README.md").read_text(encoding="utf-8")


def front_matter(card: str) -> dict[str, Any]:
    found = yaml.safe_load(card.split("\n---\n")[0])
    assert isinstance(found, dict)
    return found


def test_the_front_matter_tells_the_hub_what_it_is(tmp_path: Path) -> None:
    _, card = card_of(tmp_path / "out", [*sets(), *sets(subset="left/right")], licence="cc-by-sa-4.0", synthetic=True)
    front = front_matter(card)
    assert front["pretty_name"] == "Tiny"
    assert front["license"] == "cc-by-sa-4.0"
    assert front["size_categories"] == ["n<1K"]
    assert "synthetic" in front["tags"]
    assert [config["config_name"] for config in front["configs"]] == ["count", "left_right"]
    assert [config.get("default", False) for config in front["configs"]] == [True, False]
    assert front["configs"][1]["data_files"] == [{"split": "train", "path": "data/left_right/*.parquet"}]
    assert "`left_right`: `left/right`" in card


def test_counts_k_and_chance_of_each_subset_stand_in_a_table(tmp_path: Path) -> None:
    _, card = card_of(tmp_path / "out", [*sets(), *sets(("a", "b", "c"), "three")])
    assert "| `count` | 1 | 2 | 50.0 % | 25.0 % | 16.7 % |" in card
    assert "| `three` | 1 | 3 | 33.3 % | 3.7 % | 1.7 % |" in card


def test_no_chance_is_said_of_a_subset_whose_items_differ_in_it(tmp_path: Path) -> None:
    mixed = [*sets(("a", "b"), "mixed"), *sets(("c", "d", "e"), "mixed")]
    _, card = card_of(tmp_path / "sets", mixed)
    assert "| `mixed` | 2 | 2 to 3 |  |  |  |" in card
    options = ("a", "b", "c", "d")
    asked = [
        ChoiceQuestion("1", "two right", (picture(1),), "?", options, (0, 1)),
        ChoiceQuestion("2", "mixed", (picture(1),), "?", options, (0,)),
        ChoiceQuestion("3", "mixed", (picture(1), picture(2)), "?", options, (0, 3)),
    ]
    _, card = card_of(tmp_path / "questions", asked)
    assert "| `two right` | 1 | 4 | 50.0 % |" in card.replace("two_right", "two right")
    assert "| `mixed` | 2 | 4 |  |" in card


def test_a_benchmark_names_its_task_and_other_data_do_not_pretend_to_have_one(tmp_path: Path) -> None:
    _, card = card_of(tmp_path / "spec", sets(), "spec", expected_items=3000)
    assert "minchange-eval prepare spec --source hub:ada/tiny@main\nlmms_eval " in card
    assert "--tasks spec\n" in card
    assert "The whole release has 3,000; this is a part of it." in card
    assert front_matter(card)["configs"][0]["data_files"][0]["split"] == "test"
    _, card = card_of(tmp_path / "mine", sets())
    assert "lmms_eval" not in card
    assert "minchange-eval audit tiny" in card


def test_an_audit_of_exactly_this_data_stands_in_the_card_and_another_does_not(tmp_path: Path) -> None:
    store = write_store("tiny", sets(), card=StoreCard(name="tiny", licence="MIT"))
    whole = Share(hits=7, n=10, value=0.7, low=0.4, high=0.9, chance=0.5)
    best = BestRule(asks="match", name="words", chosen={"words": 5}, p=0.3, shares=(whole,))
    rule = RuleResult(
        name="words",
        kind="learned",
        sees="text",
        asks="match",
        says="",
        hits=7,
        n=10,
        value=0.7,
        low=0.4,
        high=0.9,
        chance=0.5,
        decided=10,
        decided_hits=7,
        p=0.3,
        holm=0.3,
    )
    for fingerprint, told in (("0" * 64, False), (store.card.fingerprint, True)):
        write_audit(
            AuditResult(dataset="tiny", fingerprint=fingerprint, kind="sets", items=1, rules=(rule,), bests=(best,))
        )
        folder = tmp_path / fingerprint
        write_dataset_files(store, folder, TO)
        card = (folder / "README.md").read_text()
        assert ("| which caption is of which image | `words` | 70.0 % | 40.0 to 90.0 | 50.0 % |" in card) is told
        assert ("It was not audited when it was published" in card) is not told


def test_the_sample_picture_lies_beside_the_card_only_where_there_is_one(tmp_path: Path) -> None:
    store, card = card_of(tmp_path / "with", sets(), samples=picture_bytes(1, kind="PNG"))
    assert f"({SAMPLES_FILE})" in card
    assert (tmp_path / "with" / SAMPLES_FILE).read_bytes() == picture_bytes(1, kind="PNG")
    _, card = card_of(tmp_path / "without", sets())
    assert SAMPLES_FILE not in card
    assert [item.subset for item in sample_items(store)] == ["count"]


def test_what_is_shown_stays_small_whatever_a_text_holds(tmp_path: Path) -> None:
    long = "word " * 2_000_000
    mine = CandidateSet("i" * 10_000, "count", (picture(1), picture(2)), (long, f"{long}2"), (long, f"{long}2"))
    others = [item for number in range(30) for item in sets(subset=f"s{number}")]
    store = write_store("tiny", [mine, *(replace(item, set_id=f"{item.subset}") for item in others)])
    shown = sample_items(store)
    assert len(shown) == 24
    assert contact_sheet(shown[:1]).height < 400
    asked = ChoiceQuestion("q" * 10_000, "count", (picture(1),), long, (long, f"{long}2"), (1,))
    (question,) = sample_items(write_store("asked", [asked]))
    assert contact_sheet([question]).height < 400


def test_what_is_odd_about_the_data_and_what_is_missing_is_said(tmp_path: Path) -> None:
    skipped = [SkippedRow(where=f"row {number}", reason="a | b") for number in range(30)]
    _, card = card_of(tmp_path / "out", sets(), quirks=["a *quirk*"], skipped=skipped, paper="arXiv:2312.00081")
    assert "- a &#42;quirk&#42;" in card
    assert "- 30 broken rows of the source are not in it:\n  - `row 0`: `a | b`" in card
    assert "row 10" not in card
    assert "[arXiv:2312.00081](https://arxiv.org/abs/2312.00081)" in card


def spans(text: str) -> list[Any]:
    """Every token of the text as GitHub's Markdown has it, with HTML, tables and bare addresses made links."""
    markdown = (
        pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    )
    found = []
    for block in markdown.parse(text):
        found += [block, *(block.children or [])]
    return found


def kinds_of_sets(folder: Path, text: str) -> list[str]:
    """Kinds of the tokens of a card with the text wherever others may write one."""
    said = {"title": text, "quirks": [text], "source": text, "paper": text}
    skipped = [SkippedRow(where=text, reason=text)]
    item = CandidateSet(text[:50], "count", (picture(1), picture(2)), (text, f"{text}2"))
    _, card = card_of(folder, [item], skipped=skipped, **said)
    assert front_matter(card)["license"] == "mit"
    return [token.type for token in spans(card.split("\n---\n", 1)[1])]


def kinds_of_questions(folder: Path, text: str) -> list[str]:
    item = ChoiceQuestion("q", text, (picture(1),), text, (text, f"{text}2"), (0,))
    _, card = card_of(folder, [item])
    (config,) = front_matter(card)["configs"]
    assert re.fullmatch("[A-Za-z0-9_.-]+", config["config_name"])
    return [token.type for token in spans(card.split("\n---\n", 1)[1])]


@pytest.mark.parametrize("kinds", [kinds_of_sets, kinds_of_questions], ids=["sets", "questions"])
def test_nothing_that_others_wrote_is_markup(tmp_path: Path, kinds: Callable[[Path, str], list[str]]) -> None:
    """The same tokens, in the same order, as a card of the same data with harmless texts in their place."""
    harmless = kinds(tmp_path / "harmless", "harm/less")
    for number, hostile in enumerate(HOSTILE):
        assert kinds(tmp_path / str(number), hostile) == harmless, hostile


@pytest.mark.parametrize("hostile", HOSTILE)
def test_code_and_escaped_texts_stay_one_line_and_show_what_was_written(hostile: str) -> None:
    for shown in (code(hostile), escaped(hostile)):
        assert shown.isprintable() or "\u2060" in shown
    (paragraph, *_) = [token for token in spans(f"- {code(hostile)}") if token.type == "inline"]
    assert [child.type for child in paragraph.children] == ["code_inline"]
    if len(hostile) < 300 and hostile.isprintable():
        assert paragraph.children[0].content.strip() == hostile.strip()
