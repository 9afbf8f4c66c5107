"""The items of prepared data beside what each model made of them, failures first.

It needs the store for pictures and texts, and shows a benchmark only where the store holds the very data that the runs
were made on. How many items it holds is bounded for the page as a whole, how many models and how long a text for each
item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from minchange_eval.core.errors import DataError
from minchange_eval.core.items import CandidateSet, Item
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.prompts import LETTERS
from minchange_eval.core.queries import Direction, Query, queries_of_set, query_of_question, query_of_statement
from minchange_eval.core.record import RunRecord
from minchange_eval.reports.answered import (
    NOT_ASKED,
    RIGHT,
    TIE,
    UNSCORED,
    WRONG,
    Answered,
    Answers,
    Key,
    answered,
    outcomes_in,
)
from minchange_eval.reports.matching_store import OTHER_PICTURES, NoPicturesError, matching_items
from minchange_eval.reports.shown_text import shown_text
from minchange_eval.reports.thumbnails import Thumbnail, Thumbnails
from minchange_eval.reports.word_marks import Run, marked

MOST_MODELS = 12  # on one item
MOST_OPTIONS = 12
MOST_MATRICES = 4  # of sets of more than four
TEXT = 600  # characters of a caption or an option
REPLY = 400
NAME = 80

_WORDS = {RIGHT: "right", WRONG: "wrong", TIE: "tie", UNSCORED: "no answer"}


@dataclass(frozen=True)
class Chosen:
    """What a model chose for one query."""

    words: str
    right: bool


@dataclass(frozen=True)
class Cell:
    """One score: `truth` where the candidate is right, `chosen` where it has the highest score alone."""

    words: str
    truth: bool
    chosen: bool


@dataclass(frozen=True)
class Matrix:
    """The scores of the queries of one direction, candidates as released."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class ModelAnswer:
    """Everything one model said of one item."""

    model: str
    outcome: str
    chosen: tuple[Chosen, ...]
    replies: tuple[tuple[str, str], ...]  # the query, and the words
    matrices: tuple[Matrix, ...]


@dataclass(frozen=True)
class GalleryItem:
    """One set or question as shown.

    Attributes:
        outcomes: a letter for each of the page's models.
        slices: indices into the page's slices.
        texts: captions or options as runs, and whether each is an answer.
        asked: headings of the queries.
        left_out: how models that are not shown did, in words.
    """

    name: str
    subset: str
    benchmark: int
    slices: tuple[int, ...]
    outcomes: str
    disagree: bool
    pictures: tuple[Thumbnail, ...]
    question: str
    texts: tuple[tuple[tuple[Run, ...], bool], ...]
    probes: tuple[tuple[Run, ...], ...]
    asked: tuple[str, ...]
    answers: tuple[ModelAnswer, ...]
    left_out: str


@dataclass(frozen=True)
class GalleryPart:
    """One benchmark: its items, or the line that says why there are none."""

    title: str
    synthetic: bool
    note: str
    items: tuple[GalleryItem, ...] = ()


@dataclass(frozen=True)
class GalleryData:
    """What `templates/gallery.html` shows."""

    parts: tuple[GalleryPart, ...]
    models: tuple[str, ...]
    slices: tuple[tuple[int, str], ...]  # (benchmark, name)
    pictures: Markup

    @property
    def count(self) -> int:
        """Items on the page."""
        return sum(len(part.items) for part in self.parts)


def gallery(
    runs: Sequence[Sequence[Answers]], labels: Sequence[str], limit: int, read: Callable[[int], RunRecord]
) -> GalleryData | None:
    """The gallery of several runs; None where `limit` is 0 or less.

    Half of a benchmark's places go to the items that models got most wrong, in turn over its subsets; the rest to those
    on which models disagree and to a few that all got right, so that every filter has something to show.

    Args:
        runs: of each run what `answers_in` found in its record.
        labels: what each run's model is called.
        limit: items on the whole page, shared out evenly among its benchmarks.
        read: the record of a run, asked for once and only of runs whose choices are shown; one is held at a time.
    """
    if limit <= 0:
        return None
    benchmarks = answered(runs, labels)
    held = [_held_items(of) for of in benchmarks]
    quotas = _shared_out(limit, [0 if isinstance(items, str) else len(items) for items in held])
    picked = [
        [] if isinstance(items, str) else _picked(of.answers, items, quota)
        for of, items, quota in zip(benchmarks, held, quotas, strict=True)
    ]
    said, slim = _said(benchmarks, picked, read)
    page = _Page(tuple(dict.fromkeys(model for of in benchmarks for model in of.models)), [], Thumbnails())
    parts = tuple(
        GalleryPart(shown_text(of.title, NAME), of.synthetic, items)
        if isinstance(items, str)
        else page.part(number, of, items, picked[number], said, slim)
        for number, (of, items) in enumerate(zip(benchmarks, held, strict=True))
    )
    return GalleryData(
        parts=parts,
        models=tuple(shown_text(model, NAME) for model in page.models),
        slices=tuple(page.slices),
        pictures=page.thumbnails.as_json(),
    )


def _held_items(of: Answered) -> dict[str, Item] | str:
    """The asked items that the store holds, or why none can be shown."""
    if of.variant in OTHER_PICTURES:
        return "Not shown: these runs saw other pictures than the items' own."
    try:
        items = matching_items(of.dataset, of.fingerprint)
    except NoPicturesError as reason:
        return f"Not shown: {reason}"
    asked = {name for answers in of.answers for name in answers.item_ids}
    found = {name: items[name] for name in items if name in asked}
    return found or "Not shown: these questions are made from the data's sets, which are shown where they are asked."


def _said(
    benchmarks: Sequence[Answered], picked: Sequence[Sequence[str]], read: Callable[[int], RunRecord]
) -> tuple[dict[tuple[int, Key], dict[str, list[QueryOutcome]]], set[int]]:
    """By run and benchmark: what was answered to the picked items; and which runs' records are slim."""
    said: dict[tuple[int, Key], dict[str, list[QueryOutcome]]] = {}
    slim: set[int] = set()
    wanted = sorted({run for of, names in zip(benchmarks, picked, strict=True) if names for run in _shown_runs(of)})
    for run in wanted:
        record = read(run)
        if record.slim_of:
            slim.add(run)
        for of, names in zip(benchmarks, picked, strict=True):
            if names and run in _shown_runs(of):
                grouped: dict[str, list[QueryOutcome]] = {name: [] for name in names}
                for _, outcome in sorted(outcomes_in(record, of.key).items()):
                    if outcome.item_id in grouped:
                        grouped[outcome.item_id].append(outcome)
                said[run, of.key] = grouped
    return said, slim


def _shown_runs(of: Answered) -> list[int]:
    return of.runs[:MOST_MODELS]


def _shared_out(limit: int, wanted: Sequence[int]) -> list[int]:
    """Shares of the limit, as even as they can be, none above what is wanted."""
    shares = [0] * len(wanted)
    left = limit
    while left > 0 and (open_ := [i for i, most in enumerate(wanted) if shares[i] < most]):
        each = max(1, left // len(open_))
        for i in open_[:left]:
            given = min(each, wanted[i] - shares[i], left)
            shares[i] += given
            left -= given
    return shares


@dataclass
class _Page:
    models: tuple[str, ...]
    slices: list[tuple[int, str]]
    thumbnails: Thumbnails

    def part(
        self,
        number: int,
        of: Answered,
        items: Mapping[str, Item],
        picked: Sequence[str],
        said: Mapping[tuple[int, Key], Mapping[str, list[QueryOutcome]]],
        slim: Collection[int],
    ) -> GalleryPart:
        try:
            shown = tuple(
                self._item(
                    number,
                    of,
                    items[name],
                    {
                        model: said[run, of.key][name]
                        for run, model in zip(of.runs, of.models, strict=True)
                        if said.get((run, of.key), {}).get(name)
                    },
                )
                for name in picked
            )
        except DataError as error:
            return GalleryPart(shown_text(of.title, NAME), of.synthetic, f"Not shown: {error}")
        note = f"{len(shown)} of {len(items)} items, failures first."
        if of.variant:
            note += f" Asked in the variant {shown_text(of.variant, NAME)}; texts and places are shown as released."
        if without := [model for run, model in zip(of.runs, of.models, strict=True) if run in slim]:
            note += f" Slim records hold no scores and replies: {shown_text(', '.join(without), NAME)}."
        return GalleryPart(shown_text(of.title, NAME), of.synthetic, note, shown)

    def _item(self, number: int, of: Answered, item: Item, said: Mapping[str, Sequence[QueryOutcome]]) -> GalleryItem:
        name = item.set_id if isinstance(item, CandidateSet) else item.question_id
        queries = _queries(item, of)
        letters = {
            model: letter
            for model, answers in zip(of.models, of.answers, strict=True)
            if (letter := answers.letter(name)) != NOT_ASKED
        }
        others = Counter(_WORDS[letter] for model, letter in letters.items() if model not in said)
        matrices = MOST_MODELS if len(item.images) <= 4 else MOST_MATRICES
        return GalleryItem(
            name=shown_text(name, NAME),
            subset=shown_text(item.subset, NAME),
            benchmark=number,
            slices=tuple(self._slice(number, part) for part in _slices(item, said)),
            outcomes="".join(letters.get(model, NOT_ASKED) for model in self.models),
            disagree=len({letter == RIGHT for letter in letters.values()}) > 1,
            pictures=self.thumbnails.of(item.images),
            question="" if isinstance(item, CandidateSet) else shown_text(item.question, TEXT),
            texts=_texts(item, queries),
            probes=_probes(item),
            asked=tuple(_heading(query) for query in queries.values()),
            answers=tuple(
                _answer(model, said[model], item, queries, letters[model], with_matrices=place < matrices)
                for place, model in enumerate(said)
            ),
            left_out=", ".join(f"{count} {word}" for word, count in sorted(others.items())),
        )

    def _slice(self, number: int, part: str) -> int:
        key = (number, shown_text(part, NAME))
        if key not in self.slices:
            self.slices.append(key)
        return self.slices.index(key)


def _picked(models: Sequence[Answers], items: Mapping[str, Item], quota: int) -> list[str]:
    """Ids of the items to show, failures first."""
    missed: dict[str, float] = {}
    mixed: dict[str, bool] = {}
    for name in items:
        asked = [(answers, answers.row[name]) for answers in models if name in answers.row]
        shares = [1 - answers.right_of[row] / answers.asked_of[row] for answers, row in asked]
        missed[name] = float(sum(shares) / len(shares))
        mixed[name] = len({share > 0 for share in shares}) > 1
    worst = sorted(items, key=lambda name: (-missed[name], name))
    failures = _in_turn([name for name in worst if missed[name] > 0], items)
    disagreed = _in_turn([name for name in worst if mixed[name]], items)
    right = _in_turn([name for name in worst if missed[name] == 0], items)
    chosen: dict[str, None] = {}
    for source, upto in ((failures, quota / 2), (disagreed, quota * 7 / 8), (right, quota), (failures, quota)):
        for name in source:
            if len(chosen) >= upto:
                break
            chosen[name] = None
    return sorted(chosen, key=lambda name: (-missed[name], name))


def _in_turn(names: Sequence[str], items: Mapping[str, Item]) -> list[str]:
    """One of each subset, then the next of each, the order within a subset kept."""
    turns: Counter[str] = Counter()
    keyed = []
    for place, name in enumerate(names):
        subset = items[name].subset
        keyed.append((turns[subset], place, name))
        turns[subset] += 1
    return [name for _, _, name in sorted(keyed)]


def _queries(item: Item, of: Answered) -> dict[str, Query]:
    """As released, by identity."""
    if isinstance(item, CandidateSet):
        found = queries_of_set(item)
    elif of.kind == "statements":
        found = (query_of_statement(item),)
    else:
        found = (query_of_question(item, as_released=of.variant == "raw"),)
    return {query.query_id: query for query in found}


def _slices(item: Item, said: Mapping[str, Sequence[QueryOutcome]]) -> list[str]:
    further = (part for lines in said.values() for line in lines for part in line.slices)
    return list(dict.fromkeys([item.subset, *further]))


def _texts(item: Item, queries: Mapping[str, Query]) -> tuple[tuple[tuple[Run, ...], bool], ...]:
    if isinstance(item, CandidateSet):
        return tuple((runs, False) for runs in _marked(item.captions))
    (query,) = queries.values()
    shown = query.texts[:MOST_OPTIONS]
    return tuple((((False, shown_text(text, TEXT)),), place in query.answers) for place, text in enumerate(shown))


def _probes(item: Item) -> tuple[tuple[Run, ...], ...]:
    """The captions by which images are asked for, where they are worded in another way."""
    if not isinstance(item, CandidateSet) or item.query_captions == item.captions:
        return ()
    return _marked(item.query_captions)


def _marked(captions: Sequence[str]) -> tuple[tuple[Run, ...], ...]:
    return tuple(tuple(runs) for runs in marked([shown_text(caption, TEXT) for caption in captions]))


def _heading(query: Query) -> str:
    number = query.query_id.rpartition("/")[2]
    if query.direction is Direction.IMAGE_TO_TEXT:
        return f"image {int(number) + 1} → caption"
    if query.direction is Direction.TEXT_TO_IMAGE:
        return f"caption {int(number) + 1} → image"
    return "chosen"


def _answer(
    model: str,
    lines: Sequence[QueryOutcome],
    item: Item,
    queries: Mapping[str, Query],
    letter: str,
    *,
    with_matrices: bool,
) -> ModelAnswer:
    of_query: dict[str, list[QueryOutcome]] = {query_id: [] for query_id in queries}
    for line in lines:
        if (query := queries.get(line.base_id)) and _fits(line, query):
            of_query[line.base_id].append(line)
    replies = [
        (_heading(queries[query_id]) if len(queries) > 1 else line.form, shown_text(line.text, REPLY))
        for query_id, forms in of_query.items()
        for line in forms
        if line.text is not None
    ]
    return ModelAnswer(
        model=shown_text(model, NAME),
        outcome=_WORDS[letter],
        chosen=tuple(_chosen(forms, item, queries[query_id]) for query_id, forms in of_query.items()),
        replies=tuple(replies[: 2 * MOST_OPTIONS]),
        matrices=_matrices(of_query, item, queries) if with_matrices else (),
    )


def _fits(line: QueryOutcome, query: Query) -> bool:
    """Whether a line of a record can be of this query; a record may say anything of ids that are in the store."""
    places = range(query.candidates)
    return (
        (line.direction, line.candidates) == (query.direction, query.candidates)
        and sorted(line.order) in ([], list(places))
        and (line.choice is None or line.choice in places)
        and (line.scores is None or len(line.scores) == query.candidates)
    )


def _chosen(forms: Sequence[QueryOutcome], item: Item, query: Query) -> Chosen:
    if not forms:
        return Chosen("not asked", right=False)
    if len(forms) > 1:
        hits = sum(form.hit for form in forms)
        return Chosen(f"{hits} of {len(forms)} right", right=hits == len(forms))
    (line,) = forms
    if line.unscored:
        return Chosen(f"no answer{f': {shown_text(line.reason, NAME)}' if line.reason else ''}", right=False)
    if line.tie or line.chosen is None:
        return Chosen("tie", right=line.hit)
    released = line.order[line.chosen] if line.order else line.chosen
    return Chosen(_names(item, query)[released], right=line.hit)


def _names(item: Item, query: Query) -> tuple[str, ...]:
    """What each candidate of a query is called on the page, in the released order."""
    if isinstance(item, CandidateSet):
        number = int(query.query_id.rpartition("/")[2])
        order = item.image_to_text if query.direction is Direction.IMAGE_TO_TEXT else item.text_to_image
        return tuple(str(place + 1) for place in order[number])
    if query.direction is Direction.STATEMENT:
        return query.texts
    return tuple(LETTERS[place] if place < len(LETTERS) else str(place + 1) for place in range(query.candidates))


def _matrices(
    of_query: Mapping[str, Sequence[QueryOutcome]], item: Item, queries: Mapping[str, Query]
) -> tuple[Matrix, ...]:
    """Scores by direction; none of a question in several forms, of which each has scores of its own."""
    found = []
    for direction, title in (
        (Direction.IMAGE_TO_TEXT, "captions of an image"),
        (Direction.TEXT_TO_IMAGE, "images of a caption"),
        (Direction.CHOICE, "options"),
        (Direction.STATEMENT, "false and true"),
    ):
        rows: list[tuple[str, tuple[Cell, ...]]] = []
        columns: tuple[str, ...] = ()
        for query_id, forms in of_query.items():
            query = queries[query_id]
            if (
                query.direction is direction
                and len(forms) == 1
                and forms[0].scores
                and query.candidates <= MOST_OPTIONS
            ):
                cells = dict(zip(_names(item, query), _cells(forms[0], query), strict=True))
                columns = tuple(sorted(cells)) if isinstance(item, CandidateSet) else tuple(cells)
                row = _heading(query).partition(" →")[0] if len(queries) > 1 else "score"
                rows.append((row, tuple(cells[column] for column in columns)))
        if rows:
            found.append(Matrix(f"Scores of {title}", columns, tuple(rows)))
    return tuple(found)


def _cells(line: QueryOutcome, query: Query) -> list[Cell]:
    """In the released order."""
    order = line.order or tuple(range(line.candidates))
    scores = line.scores or ()
    by_place = {
        released: Cell(
            "–" if scores[shown] is None else f"{scores[shown]:.4g}", shown in line.answers, shown == line.chosen
        )
        for shown, released in enumerate(order)
    }
    return [by_place[place] for place in range(query.candidates)]
