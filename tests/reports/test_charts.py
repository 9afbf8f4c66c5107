from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from minchange_eval.core.answers import Answer
from minchange_eval.core.queries import Query
from minchange_eval.core.record import RunRecord, make_record
from minchange_eval.core.slim_records import slim
from minchange_eval.reports import change_chart
from minchange_eval.reports.agreement import _kappa as kappa
from minchange_eval.reports.answered import Answers, answers_in
from minchange_eval.reports.change_chart import _equal_bins as equal_bins
from minchange_eval.reports.charts import charts_of
from minchange_eval.reports.figure import Figure
from tests.reports.pictured_runs import by_scores, in_words, questions, run, sets, stored, three_runs


@pytest.fixture(autouse=True)
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path))


def of(records: Sequence[RunRecord]) -> dict[str, dict[str, Figure]]:
    found = charts_of([answers_in(record) for record in records], [record.model.name for record in records])
    return {charts.title: {figure.title: figure for figure in charts.figures} for charts in found}


def test_every_chart_is_well_formed_and_tells_in_words_what_it_shows(three: list[RunRecord]) -> None:
    drawn = [figure.drawn for figures in of(three).values() for figure in figures.values() if figure.drawn]
    assert len(drawn) >= 10
    names = []
    for one in drawn:
        tree = ElementTree.fromstring(one)  # noqa: S314  # our own
        if tree.tag == "svg":
            labelled = tree.attrib["aria-labelledby"].split()
            assert tree.attrib["role"] == "img"
            assert [(part.tag, bool(part.text)) for part in tree[:2]] == [("title", True), ("desc", True)]
            assert labelled == [part.attrib["id"] for part in tree[:2]]
            names += labelled
    assert len(names) == len(set(names))


def test_nothing_writes_a_style_that_the_page_forbids(three: list[RunRecord]) -> None:
    for figures in of(three).values():
        assert not any(re.search(r"\sstyle=|\son\w+=", figure.drawn or "") for figure in figures.values())


def test_each_model_has_its_mark_where_its_value_is(three: list[RunRecord]) -> None:
    figure = of(three)["spots"]["Accuracy"]
    assert figure.drawn is not None
    titles = re.findall(r"<title>(\S+), (.*?): ([\d.]+) %", figure.drawn)
    places = [float(place) for place in re.findall(r'<use href="#mark-\d" x="([\d.]+)%"', figure.drawn)]
    assert {model for model, _, _ in titles} == {"good-clip", "poor-clip", "chatty"}
    for (_, _, percent), place in zip(titles, places, strict=True):
        assert place == pytest.approx(2 + 0.95 * float(percent), abs=0.06)


def test_chance_is_drawn_and_people_where_they_are_published() -> None:
    figures = of(three_runs())
    assert figures["spots"]["Accuracy"].lines == ("chance",)
    med = [run("m", (stored("med", (item for item in questions(8))), "questions", by_scores(0.5, 1)))]
    assert of(med)["med"]["Accuracy"].lines == ("chance",)  # its subset is none of MED's
    object_ = stored("med", (item for item in questions(8, lambda text: "Object" if text == "places" else text)))
    assert of([run("m", (object_, "questions", by_scores(0.5, 1)))])["med"]["Accuracy"].lines == ("chance", "human")


def test_chance_is_drawn_for_each_kind_of_answer() -> None:
    shapes = stored("shapes", sets(24))
    records = [
        run("clip", (shapes, "sets", by_scores(0.5, 1))),
        run("chat", (shapes, "sets", in_words(0.5, 1))),
    ]
    figure = of(records)["shapes"]["Whole sets right (group score)"]
    places = set(re.findall(r'<line x1="([\d.]+)%"[^>]*class="chance"', str(figure.drawn)))
    assert places == {f"{2 + 95 / 6:.2f}", f"{2 + 95 / 16:.2f}"}
    assert "a chance line for each" in figure.note
    assert "for each" not in of(records[:1])["shapes"]["Whole sets right (group score)"].note


def test_the_mean_of_one_subset_stands_beside_no_mean_of_several() -> None:
    names = iter(["a", "b"] * 100)
    both = stored("both", (replace(item, subset=next(names)) for item in questions(24)))
    wide = run("wide", (both, "questions", by_scores(0.5, 1)))
    narrow_lines = [line for line in wide.outcomes["both"] if line.subset == "a"]
    described = wide.tasks[0].model_copy(update={"name": "both_a", "subsets": ("a",), "queries": len(narrow_lines)})
    narrow = make_record([described], {"both_a": narrow_lines}, wide.model.model_copy(update={"name": "narrow"}))
    figure = of([wide, narrow])["both"]["Accuracy"]
    assert "narrow, a: " in str(figure.drawn)
    assert "wide, mean: " in str(figure.drawn)
    assert "narrow, mean: " not in str(figure.drawn)


def test_of_many_models_the_best_are_drawn_and_the_note_says_so() -> None:
    spots = stored("spots", questions(12))
    records = [run(f"m{number}", (spots, "questions", by_scores(number / 20, number))) for number in range(20)]
    figure = of(records)["spots"]["Accuracy"]
    assert len(figure.models) == 8
    assert "m0" not in figure.models
    assert "8 best of 20" in figure.note
    assert (of(records)["spots"]["Agreement between models"].drawn or "").count("<tr>") == 17


def test_the_order_chart_has_the_share_of_each_place() -> None:
    def always_c(query: Query) -> Answer:
        return Answer(choice=2, text="C")

    figures = of([run("m", (stored("spots", questions(12)), "questions", always_c))])["spots"]
    figure = figures["Which place was chosen, of 4 options of a question"]
    assert "m: 0.0 %, 0.0 %, 100.0 %, 0.0 %" in str(figure.drawn)
    assert "right answers: 25.0 %, 25.0 %, 25.0 %, 25.0 %" in str(figure.drawn)


def test_models_that_see_no_order_are_in_no_order_chart() -> None:
    spots = stored("spots", questions(12))
    encoder = run("encoder", (spots, "questions", by_scores(0.5, 1)))
    for record in (encoder, slim(encoder)):
        assert not any(title.startswith("Which place") for title in of([record])["spots"])
    labels = run("labels", (spots, "questions", by_scores(0.5, 1, "labels")))
    both = of([encoder, labels])["spots"]["Which place was chosen, of 4 options of a question"]
    assert "labels" in str(both.drawn)
    assert "encoder" not in str(both.drawn)


def test_accuracy_against_change_counts_the_queries_of_each_part() -> None:
    shapes = stored("shapes", sets(40))
    record = run("m", (shapes, "sets", by_scores(0.5, 1)))
    figure = of([record])["shapes"]["Accuracy against how much of the picture changed"]
    shares = [float(share) for share in re.findall(r"changed: ([\d.]+) %", str(figure.drawn))]
    sizes = [int(n) for n in re.findall(r"changed: .*?n = (\d+)<", str(figure.drawn))]
    assert sum(sizes) == 40
    hits = sum(line.hit for line in record.outcomes["shapes"])
    assert sum(share * n * 4 / 100 for share, n in zip(shares, sizes, strict=True)) == pytest.approx(hits, abs=1)


def test_of_sets_of_many_pictures_fewer_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_chart, "MEASURED_PICTURES", 90)
    shapes = stored("shapes", sets(24, k=4))
    figure = of([run("m", (shapes, "sets", by_scores(0.5, 1)))])["shapes"][
        "Accuracy against how much of the picture changed"
    ]
    assert figure.note.startswith("22 of 24 sets, evenly picked")


def test_without_the_store_the_change_chart_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, three: list[RunRecord]
) -> None:
    records = three
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "elsewhere"))
    figure = of(records)["shapes"]["Accuracy against how much of the picture changed"]
    assert figure.drawn is None
    assert "minchange-eval prepare shapes" in figure.note


def test_parts_are_of_equal_size_and_never_part_equal_areas() -> None:
    areas = {f"{number:02}": number / 100 for number in range(50)}
    assert [len(part) for part in equal_bins(areas)] == [10] * 5
    assert len(equal_bins(dict.fromkeys(areas, 0.1))) == 1


def test_kappa_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    spots = stored("spots", questions(40))
    one, other = (answers_in(run("m", (spots, "questions", by_scores(skill, 5))))[0] for skill in (0.4, 0.7))
    value, agree, n = kappa(one, other)
    assert value == pytest.approx(cohen_kappa_score(one.hits, other.hits))
    assert (agree, n) == (pytest.approx(float(np.mean(one.hits == other.hits))), 40)


def test_kappa_is_over_the_queries_that_both_were_asked() -> None:
    def first(count: int) -> Answers:
        return answers_in(run("m", (stored("spots", questions(count)), "questions", in_words(0.5, count))))[0]

    many, few = first(30), first(20)
    shared = [many.queries.index(query) for query in few.queries]
    assert kappa(many, few)[2] == kappa(few, many)[2] == 20
    assert kappa(many, few)[1] == pytest.approx(float(np.mean(many.hits[shared] == few.hits)))


def test_a_model_that_is_always_right_has_no_kappa() -> None:
    spots = stored("spots", questions(10))
    sure = answers_in(run("m", (spots, "questions", by_scores(1.0, 5))))[0]
    assert kappa(sure, sure)[0] is None


def test_one_model_on_one_item_is_drawn() -> None:
    figures = of([run("m", (stored("spots", questions(1)), "questions", by_scores(1, 1)))])["spots"]
    assert set(figures) == {"Accuracy", "Accuracy against how much of the picture changed"}
    assert "too few" in figures["Accuracy against how much of the picture changed"].note
