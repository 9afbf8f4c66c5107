"""The report page in a real Chromium: what a person does with it, and what hostile texts must not do."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minchange_eval.cli.main import main
from minchange_eval.core.record import RunRecord, write_record
from tests.reports.browser.injections import INJECTIONS, hostile_runs
from tests.reports.pictured_runs import three_runs

playwright = pytest.importorskip("playwright.sync_api", reason="the browser's driver is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")

WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 375, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(
            executable_path=CHROMIUM,
            headless=True,
            args=[
                *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            ],
        )
        yield found
        found.close()


def _written(folder: Path, runs: Callable[[], list[RunRecord]], items: int) -> Path:
    """The page of these runs; their store is the folder's `home`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(folder / "home"))
        paths = []
        for number, record in enumerate(runs()):
            paths.append(folder / f"run{number}.jsonl")
            write_record(record, paths[-1])
        out = folder / "report.html"
        assert main(["report", *map(str, paths), "--out", str(out), "--gallery", str(items)]) == 0
    return out


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written(tmp_path_factory.mktemp("report"), three_runs, 15)


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written(tmp_path_factory.mktemp("hostile"), hostile_runs, 24)


class Watched:
    """A page that remembers every request, message, error and dialog."""

    def __init__(self, browser: Any, path: Path, **settings: Any) -> None:
        self.heard: list[str] = []
        self.context = browser.new_context(viewport=WIDE, **settings)
        self.context.set_default_timeout(5000)
        own = path.as_uri()

        def answer(route: Any) -> None:
            if route.request.url == own:
                route.continue_()
            else:
                self.heard.append(f"request {route.request.url[:200]}")
                route.abort()

        self.context.route("**/*", answer)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.heard.append(f"console {message.type} {message.text}"))
        self.page.on("pageerror", lambda error: self.heard.append(f"error {error}"))
        self.page.on("dialog", lambda dialog: (self.heard.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.goto(own)

    def shown(self, selector: str) -> int:
        """Elements that match and are drawn."""
        return int(
            self.page.eval_on_selector_all(selector, "all => all.filter(one => one.getClientRects().length).length")
        )

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.page.eval_on_selector_all(selector, "all => all.map(one => one.textContent.trim())")
        return found

    def overflow_px(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture
def watched(browser: Any, report: Path) -> Iterator[Watched]:
    opened = Watched(browser, report)
    yield opened
    heard = opened.heard
    opened.context.close()
    assert heard == []


def test_pictures_come_when_they_come_into_sight(watched: Watched) -> None:
    page = watched.page
    assert page.eval_on_selector_all("#gallery img", "all => all.length") > 15
    waiting = "all => all.filter(image => !image.src).length"
    before = page.eval_on_selector_all("#gallery img", waiting)
    assert before > 0
    page.locator("#gallery .gallery-item").last.scroll_into_view_if_needed()
    page.locator("#gallery .gallery-item").last.locator("img[src^='data:image/jpeg']").first.wait_for()
    assert page.eval_on_selector_all("#gallery img", waiting) < before


def test_pictures_and_charts_are_all_there_in_print(watched: Watched) -> None:
    watched.page.emulate_media(media="print")
    watched.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert watched.page.eval_on_selector_all("#gallery img", "all => all.every(image => image.src)")
    assert watched.shown(".gallery-filters") == 0
    assert watched.shown("svg.chart") == watched.page.locator("svg.chart").count() > 3
    assert len(watched.page.pdf()) > 10_000


def test_the_gallery_is_filtered_by_benchmark_slice_model_outcome_and_disagreement(watched: Watched) -> None:
    page, items = watched.page, "#gallery .gallery-item"
    assert watched.shown(items) == 15
    page.select_option("#gallery-benchmark", label="spots")
    assert watched.shown(items) == 5
    assert all(name.startswith("q/") for name in watched.texts(f"{items}:not([hidden]) h4 > bdi"))
    assert page.locator("#gallery-count").text_content() == "5 of 15 items"
    assert watched.shown(".gallery-part h3") == 1
    page.select_option("#gallery-benchmark", label="all")
    page.select_option("#gallery-slice", label="shapes: moved")
    assert set(watched.texts(f"{items}:not([hidden]) h4 small bdi")) == {"moved"}
    page.select_option("#gallery-slice", label="all")
    page.select_option("#gallery-model", label="chatty")
    page.select_option("#gallery-outcome", label="no answer")
    assert watched.shown(items) > 0
    rows = page.locator(f"{items}:not([hidden]) .choices tr").filter(has_text="chatty")
    assert rows.locator("td:nth-child(2)").all_text_contents() == ["no answer"] * watched.shown(items)
    page.select_option("#gallery-model", label="any")
    page.select_option("#gallery-outcome", label="all")
    page.check("#gallery-disagree")
    agreed = page.eval_on_selector_all(
        f"{items}:not([hidden])",
        "all => all.map(one => [...one.querySelectorAll('.choices td:nth-child(2)')].map(td => td.textContent))",
    )
    assert agreed
    assert all(len({result == "right" for result in results}) == 2 for results in agreed)


def test_failures_stand_first_in_the_gallery(watched: Watched) -> None:
    wrong = watched.page.eval_on_selector_all(
        ".gallery-part",
        "parts => parts.map(part => part.querySelector('.gallery-item').dataset.outcomes.includes('R'))",
    )
    assert len(wrong) == 3
    assert not all(wrong)


def test_changed_words_are_marked(watched: Watched) -> None:
    assert {"left", "right"} <= set(watched.texts("#gallery mark"))


def test_a_table_is_sorted_by_its_headings(watched: Watched) -> None:
    page = watched.page
    table = page.locator("table.leaderboard").first
    heading = table.locator("thead th").first
    for order, turned in (("ascending", False), ("descending", True)):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        names = table.locator("tbody tr .label").all_text_contents()
        assert names == sorted(names, key=str.casefold, reverse=turned)
    number = table.locator("thead th").nth(1)
    number.locator("button").click()
    values = [
        float(one)
        for one in table.locator("tbody tr td:nth-child(2)").evaluate_all("all => all.map(c => c.dataset.value)")
        if one
    ]
    assert values == sorted(values, reverse=True)


def test_lines_of_a_table_are_found_and_hidden(watched: Watched) -> None:
    page = watched.page
    board = page.locator(".board").first
    before = watched.shown(".board:first-of-type tbody tr")
    assert before > 0
    board.locator(".find").fill("good-clip")
    assert all("good-clip" in text for text in board.locator("tbody tr:visible").all_text_contents())
    board.locator(".find").fill("nobody at all")
    assert board.locator("tbody tr:visible").count() == 0
    assert board.locator(".none").is_visible()
    board.locator(".find").fill("")
    board.locator(".role-choice[value=chance]").uncheck()
    assert board.locator("tbody tr[data-role=chance]:visible").count() == 0


def test_each_metric_has_its_own_table(watched: Watched) -> None:
    choice = watched.page.locator(".metric-choice").first
    for metric in choice.locator("option").evaluate_all("all => all.map(one => one.value)"):
        choice.select_option(metric)
        shown = watched.page.locator(".board").first.locator(".metric:visible")
        assert [one.get_attribute("data-metric") for one in shown.all()] == [metric]


def test_everything_is_reached_by_keyboard(watched: Watched) -> None:
    page = watched.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.className || document.activeElement.id || document.activeElement.tagName"
            )
        )
    assert {"theme", "sort", "find"} <= reached
    page.locator("#gallery-benchmark").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#gallery-count").text_content() == "5 of 15 items"
    page.locator("table.leaderboard .sort").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("table.leaderboard th").first.get_attribute("aria-sort") == "ascending"


def _ground(watched: Watched) -> tuple[float, float]:
    """Lightness of the page's ground and of its letters, 0 to 1."""
    colours = watched.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    ground, ink = ([float(part) for part in colour[4:-1].split(",")[:3]] for colour in colours)
    return sum(ground) / 765, sum(ink) / 765


def test_light_and_dark_follow_the_reader_and_the_button(watched: Watched) -> None:
    ground, ink = _ground(watched)
    assert ground > 0.9 > 0.3 > ink
    watched.page.emulate_media(color_scheme="dark")
    ground, ink = _ground(watched)
    assert ground < 0.2 < 0.7 < ink
    dots = watched.page.eval_on_selector("svg.chart .label", "label => getComputedStyle(label).fill")
    assert min(map(float, dots[4:-1].split(","))) > 180
    watched.page.locator("#theme").click()
    assert _ground(watched)[0] > 0.9


@pytest.mark.parametrize("width_px", [320, 375])
def test_a_phone_never_scrolls_the_page_sideways(watched: Watched, width_px: int) -> None:
    page = watched.page
    page.set_viewport_size({"width": width_px, "height": 800})
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    assert watched.overflow_px() == 0
    small = page.eval_on_selector_all(
        "svg.chart text, p, td, th, li",
        "all => all.filter(one => one.getClientRects().length)"
        ".filter(one => parseFloat(getComputedStyle(one).fontSize) < 10).length",
    )
    assert small == 0


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark")])
def test_axe_finds_no_serious_fault(browser: Any, report: Path, viewport: dict[str, int], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    opened = Watched(browser, report, color_scheme=scheme)
    opened.page.set_viewport_size(viewport)
    opened.page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    # one item of each benchmark, drawn though it is out of sight: the others are made alike
    opened.page.evaluate(
        "document.querySelectorAll('.gallery-item').forEach(one => {"
        " one.hidden = one.previousElementSibling.matches('.gallery-item'); one.style.contentVisibility = 'visible'; })"
    )
    found = axe.run(opened.page, options={"resultTypes": ["violations"]}).response["violations"]
    opened.context.close()
    serious = {
        fault["id"]: [node["target"] for node in fault["nodes"]][:3]
        for fault in found
        if fault["impact"] in ("serious", "critical")
    }
    assert serious == {}


def test_hostile_texts_neither_run_nor_break_the_page(browser: Any, hostile_report: Path) -> None:
    opened = Watched(browser, hostile_report)
    page = opened.page
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.select_option("#gallery-outcome", "W")
    page.locator("table.leaderboard .sort").first.click()
    page.locator(".find").first.fill("<script>")
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.evaluate("[...document.scripts].map(one => one.type)") == ["application/json", ""]
    for intruder in (
        "iframe",
        "object",
        "embed",
        "base",
        "marquee",
        "[onerror]",
        "[onload]",
        "[style]",
        "img:not([data-picture])",
        "a:not([href^='#'])",
    ):
        assert page.locator(intruder).count() == 0, intruder
    assert page.evaluate("document.querySelectorAll('body > *').length") == 6
    words = page.evaluate("document.documentElement.textContent")
    assert not {"\u202e", "\0", "\ufffd"} & set(words)
    for sample in INJECTIONS:
        visible = sample.replace("\u202e", "⟨U+202E⟩").replace("\0", "⟨U+0000⟩")
        assert visible in words, sample
    assert opened.overflow_px() == 0
    page.set_viewport_size(PHONE)
    assert opened.overflow_px() == 0
    assert opened.heard == []
    opened.context.close()


def test_lone_surrogates_are_named_in_a_file_that_is_utf8(
    tmp_path: Path, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(report.parent / "home"))
    lines = [json.loads(line) for line in (report.parent / "run2.jsonl").read_text().splitlines()]
    lines[0]["model"]["name"] += "\ud800"
    lines[0]["model"]["settings"] = {"dtype": "\ud801"}
    for line in lines[1:]:
        line.update({"text": "\ud802"} if line.get("text") else {}, slices=["relation: \ud803"])
    path = tmp_path / "surrogates.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    assert main(["report", str(path), "--out", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert {"⟨U+D800⟩", "⟨U+D801⟩", "⟨U+D802⟩", "⟨U+D803⟩"} <= set(re.findall("⟨U\\+D80.⟩", page))
    assert "\\ud80" not in page
