"""The leaderboard as data: per benchmark models x slices, with everything that a reader needs beside a number.

Every renderer (page, Markdown, LaTeX, CSV, JSON) takes these tables, so that none of them can say more than another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Literal

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.metrics import FORM_METRICS, SET_METRICS, STATEMENT_METRICS, MetricValue
from minchange_eval.data.audit_results import AuditResult, BestRule, read_audit, read_balanced
from minchange_eval.data.benchmark_card import BenchmarkCard, benchmark_card, card_names
from minchange_eval.data.published_results import PublishedRow, published_rows
from minchange_eval.reports.comparability import MOST_UNSCORED
from minchange_eval.reports.pairing import level_with_best
from minchange_eval.reports.run_results import BenchmarkKey, Entry, Reading, RunResults, same_items

Role = Literal["model", "partial", "blind model", "blind rule", "chance", "human", "published"]
SIGNIFICANT = 0.05
MOST_SLICES = 12  # of one kind (`group: …`) as columns; all of them are in the records
_DRAWS = 10_000
_BLIND_VARIANTS = {"blank": "blank images", "otherpair": "another item's images"}
_VARIANTS = {
    "cyclic": "each question in every cyclic order of its candidates",
    "swapped": "images and candidates exchanged",
    "blank": "blank images in place of the item's own",
    "otherpair": "another item's images in place of the item's own",
    "raw": "options as released, with their letters and doubles",
    "templates": "each question in several wordings",
    "balanced": "the items on which an audit found no rule that solves them without looking",
}
# The number that people quote comes first; SPEC has two.
_SETS_FIRST: Mapping[str, tuple[str, ...]] = {
    "spec": ("i2t_accuracy", "t2i_accuracy", "group_score"),
    "vismin": ("pair_mean", "text_score", "image_score", "group_score"),
}
METRIC_TITLES: Mapping[str, str] = {
    "i2t_accuracy": "image-to-text accuracy",
    "t2i_accuracy": "text-to-image accuracy",
    "text_score": "text score",
    "image_score": "image score",
    "group_score": "group score",
    "pair_mean": "mean of text, image and group score",
    "macro": "macro accuracy",
    "micro": "micro accuracy",
    "accuracy": "accuracy",
    "accuracy_true": "accuracy on true statements",
    "accuracy_false": "accuracy on false statements",
    "yes_rate": "answers “true”",
    "answered": "answered",
    "consistency": "consistency over orders or wordings",
    "position_bias": "liking for a place",
    "spread": "spread over wordings",
    "bias": "right on true less right on false",
}
# more of these is no better model: nobody leads in them
NO_RANK = frozenset({"yes_rate", "position_bias", "spread", "bias"})


@dataclass(frozen=True)
class Cell:
    """One value with what it takes to judge it; fractions. Without an interval or chance where none is known."""

    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    n: int | None = None
    unscored: int | None = None
    ties: int | None = None
    printed: str | None = None


Cells = dict[tuple[str, str], Cell]


def _of_subsets(metric: str) -> str:
    """What a metric of the whole is called of one subset."""
    return "accuracy" if metric in ("macro", "micro") else metric


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        label: of the model, or what else it is.
        role: what the line is; only a `model` is ranked.
        about: how the model was asked, or where the numbers are from.
        marks: what a reader must know before the line is read beside others.
        cells: by metric and subset ("" for the whole).
        leads: metrics in which the best model is not significantly ahead of this one, or is this one.
        path: of the record; empty for what is no run.
        notes: where published numbers are from and what their source says of them; fit for footnotes.
    """

    label: str
    role: Role
    about: str
    cells: Mapping[tuple[str, str], Cell]
    marks: tuple[str, ...] = ()
    leads: frozenset[str] = frozenset()
    path: str = ""
    notes: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """What the line is, in words; nothing for a model."""
        published = bool(self.notes) and self.role != "published"
        return "" if self.role == "model" else f"{self.role}{', published' if published else ''}"


@dataclass(frozen=True)
class Board:
    """The table of one benchmark.

    Attributes:
        key: of the benchmark.
        title: for people.
        synthetic: drawn by this project, no official benchmark.
        metrics: the one to look at first, then the others.
        subsets: columns beside the whole.
        whole: whether there is a mean over all subsets.
        facts: what the data is: number of items, paper, fingerprint.
        remarks: what is to be known of the table as a whole.
        rows: runs in the order given, then what they are read beside.
    """

    key: BenchmarkKey
    title: str
    synthetic: bool
    metrics: tuple[str, ...]
    subsets: tuple[str, ...]
    whole: bool
    facts: tuple[str, ...]
    remarks: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def headlines(self) -> tuple[str, ...]:
        """What people quote: one metric, for SPEC two."""
        return self.metrics[: 2 if self.metrics[0] == "i2t_accuracy" else 1]

    def columns(self, metric: str) -> tuple[tuple[str, str], ...]:
        """(metric, subset) of each column of one metric's table that any row has, the whole first."""
        shown = _of_subsets(metric)
        wanted = [(metric, "")] * self.whole + [(shown, subset) for subset in self.subsets if metric != "micro"]
        return tuple(at for at in wanted if any(at in row.cells for row in self.rows))

    def ordered(self, metric: str) -> list[Row]:
        """The rows by one metric, highest first; partial runs last, where nobody reads them as ranked."""
        columns = self.columns(metric)
        return sorted(self.rows, key=lambda row: _place(row, columns))


def leaderboards(runs: Sequence[RunResults], reading: Reading = "ours") -> tuple[Board, ...]:
    """One table for each benchmark that was asked: official ones first, variants behind what they vary.

    A benchmark is one data set with one fingerprint in one variant; other data of the same name stands apart. Blind
    variants (`med_blank`) are lines in the table of what they blind, where that is there.
    """
    labelled = list(zip(labels_of(runs), runs, strict=True))
    by_key: dict[BenchmarkKey, list[tuple[str, RunResults, Entry]]] = {}
    for label, run in labelled:
        for entry in run.entries:
            by_key.setdefault(entry.key, []).append((label, run, entry))
    boards = []
    for key in sorted(by_key, key=lambda key: (by_key[key][0][2].tasks[0].synthetic, key)):
        seeing = BenchmarkKey(key.dataset, key.fingerprint, "", key.kind)
        if key.variant in _BLIND_VARIANTS and seeing in by_key:
            continue
        blind = {
            variant: by_key[other]
            for variant in _BLIND_VARIANTS
            if not key.variant and (other := BenchmarkKey(key.dataset, key.fingerprint, variant, key.kind)) in by_key
        }
        alike = {other.fingerprint for other in by_key if (other.dataset, other.variant) == (key.dataset, key.variant)}
        boards.append(_board(key, by_key[key], blind, reading, several_data=len(alike) > 1))
    return tuple(boards)


# --- labels --------------------------------------------------------------------------------------------------------


def labels_of(runs: Sequence[RunResults]) -> list[str]:
    """What each run's model is called: its name, and what tells it from others of that name."""
    names = [model_name(run.model.name) for run in runs]
    facts = [_facts_of(run) for run in runs]
    asked = [{entry.key for entry in run.entries} for run in runs]
    labels = []
    for number, name in enumerate(names):
        same = [other for other, its in enumerate(names) if its == name]
        differ = {what for what in facts[number] if len({facts[other][what] for other in same}) > 1} - {"file"}
        told = [fact for what, fact in facts[number].items() if what in differ and fact][:2]
        # two runs of one model on different benchmarks never meet
        meets = [other for other in same if other != number and asked[other] & asked[number]]
        if any(all(facts[other][what] == facts[number][what] for what in differ) for other in meets):
            told.append(facts[number]["file"])
        labels.append(f"{name} ({', '.join(told)})" if told else name)
    return [_numbered(labels, number, asked) for number in range(len(labels))]


def model_name(name: str) -> str:
    """A model's name for readers elsewhere: of a folder on this machine its last part."""
    path = PurePath(name)
    name = name if name.strip() else "(no name)"
    # of two parts it may be a name on the Hub
    is_folder = path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2
    return path.name if is_folder else name


def _facts_of(run: RunResults) -> dict[str, str]:
    settings = run.model.settings
    return {
        "pretrained": str(settings.get("pretrained") or ""),
        "peft": str(settings.get("peft") or ""),
        "adapter": run.model.adapter,
        "scoring": str(settings.get("scoring") or ""),
        "dtype": str(settings.get("dtype") or ""),
        "activation": str(settings.get("activation") or ""),
        "images": f"images: {settings.get('images')}" if settings.get("images") else "",
        "weights": f"weights {run.model.weights_sha256[:8]}" if run.model.weights_sha256 else "",
        "file": run.path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix("_record"),
    }


def _numbered(labels: Sequence[str], number: int, asked: Sequence[set[BenchmarkKey]]) -> str:
    before = sum(labels[other] == labels[number] and bool(asked[other] & asked[number]) for other in range(number))
    return f"{labels[number]} #{before + 1}" if before else labels[number]


# --- one table -----------------------------------------------------------------------------------------------------


def _board(
    key: BenchmarkKey,
    asked: Sequence[tuple[str, RunResults, Entry]],
    blind: Mapping[str, Sequence[tuple[str, RunResults, Entry]]],
    reading: Reading,
    *,
    several_data: bool,
) -> Board:
    entries = [entry for _, _, entry in asked]
    card = benchmark_card(key.dataset) if key.dataset in card_names() else None
    subsets = _columns(entries, card)
    everything = frozenset(subset for entry in entries for subset in entry.subsets)
    usual = _usual(entries)
    first = entries[0].tasks[0]
    rows = [_row_of(label, run, entry, everything, usual, "model") for label, run, entry in asked]
    ranked = [(row, entry) for row, entry in zip(rows, entries, strict=True) if row.role == "model"]
    leads, untested = _leaders(ranked)
    rows = [
        replace(row, leads=leads.get(id(row), frozenset()), marks=(*row.marks, *[_UNTESTED] * (id(row) in untested)))
        for row in rows
    ]
    for variant, others in blind.items():
        rows += [_blind_row(variant, label, run, entry, everything, usual) for label, run, entry in others]
    references, remarks = _references(key, entries, card, everything, synthetic=first.synthetic)
    whole = any(subset == "" for row in rows for _, subset in row.cells)
    metrics = _metrics(key, entries)
    several = len(subsets) > 1 or not whole
    return Board(
        key=key,
        title=_title(key, card) + (f" [{key.fingerprint[:8]}]" if several_data else ""),
        synthetic=first.synthetic,
        metrics=metrics,
        subsets=subsets if several else (),
        whole=whole,
        facts=_facts(key, entries, card),
        remarks=(*_remarks(key, entries, card, reading, several_data=several_data), *remarks),
        rows=(*rows, *references),
    )


def _columns(entries: Sequence[Entry], card: BenchmarkCard | None) -> tuple[str, ...]:
    """Subsets in the benchmark's order, then slices of which there are few of a kind."""
    asked = dict.fromkeys(subset for entry in entries for subset in entry.subsets)
    ordered = [subset for subset in card.subsets if subset in asked] if card else []
    ordered += [subset for subset in asked if subset not in ordered]
    held = dict.fromkeys(subset for entry in entries for _, subset in entry.values if subset)
    slices = [name for name in held if name not in asked]
    kinds = Counter(name.split(": ")[0] for name in slices)
    return tuple(name for name in ordered if name in held) + tuple(
        name for name in slices if kinds[name.split(": ")[0]] <= MOST_SLICES
    )


def _metrics(key: BenchmarkKey, entries: Sequence[Entry]) -> tuple[str, ...]:
    """All that any entry has; the headline first."""
    protocol = next((task.protocol for entry in entries for task in entry.tasks if task.protocol != "ours"), "")
    first = {
        "sets": _SETS_FIRST.get(protocol, ("group_score", "text_score", "image_score")),
        "questions": ("macro", "micro"),
        "statements": STATEMENT_METRICS,
    }[key.kind]
    held = {metric for entry in entries for metric, subset in entry.values}
    wanted = dict.fromkeys([*first, *(SET_METRICS if key.kind == "sets" else ()), *FORM_METRICS])
    shown = tuple(metric for metric in wanted if metric in held)
    return shown or ("accuracy",)  # single tasks of questions have no mean


def _place(row: Row, columns: Sequence[tuple[str, str]]) -> tuple[bool, float, str]:
    cell = row.cells.get(columns[0]) if columns else None
    return row.role == "partial", -cell.value if cell else 1.0, row.label


def _row_of(
    label: str,
    run: RunResults,
    entry: Entry,
    everything: frozenset[str],
    usual: Mapping[tuple[str, str], str],
    role: Role,
) -> Row:
    whole = set(entry.subsets) == everything
    cells = {at: _cell(value) for at, value in entry.values.items() if at[1] or whole}
    if run.model.settings.get("images") == "none":
        role = "blind model"
    if entry.partial:
        role = "partial"
    return Row(label, role, _about(run, entry), cells, _marks(run, entry, usual), path=run.path.name)


def _blind_row(
    variant: str,
    label: str,
    run: RunResults,
    entry: Entry,
    everything: frozenset[str],
    usual: Mapping[tuple[str, str], str],
) -> Row:
    return _row_of(f"{label}, {_BLIND_VARIANTS[variant]}", run, entry, everything, usual, "blind model")


def _cell(value: MetricValue) -> Cell:
    return Cell(value.value, value.low, value.high, value.chance, value.n, value.unscored, value.ties)


def _about(run: RunResults, entry: Entry) -> str:
    model = run.model
    weights = f"weights {model.weights_sha256[:8]}" if model.weights_sha256 else "weights not seen"
    dtype = model.settings.get("dtype")
    said = [model.adapter, _ANSWERS.get(entry.answers, entry.answers), str(dtype) if dtype else "", weights]
    return " · ".join(part for part in said if part)


_ANSWERS = {
    "pairs": "similarity scores",
    "labels": "log-probability of labels",
    "options": "log-probability of options",
    "words": "answers in words",
}


def _asked_how(entry: Entry) -> dict[str, str]:
    """What decides how a model that reads a prompt was asked."""
    prompts = sorted({task.prompt_sha256 for task in entry.tasks if task.prompt_sha256})
    if not prompts:
        return {}
    return {
        "prompt": " ".join(prompts),
        "scoring": entry.answers,
        "decoding": str([sorted(task.generation_kwargs.items()) for task in entry.tasks]),
    }


def _usual(entries: Sequence[Entry]) -> dict[tuple[str, str], str]:
    """(what, "") -> how most models that read a prompt were asked."""
    counted: dict[str, Counter[str]] = {}
    for entry in entries:
        for what, how in _asked_how(entry).items():
            counted.setdefault(what, Counter())[how] += 1
    return {(what, ""): counter.most_common(1)[0][0] for what, counter in counted.items()}


def _marks(run: RunResults, entry: Entry, usual: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    marks = []
    if entry.partial:
        asked, full = (sum(getattr(task, name) for task in entry.tasks) for name in ("items", "items_in_full"))
        options = {"--limit": entry.tasks[0].limit, "--offset": entry.tasks[0].offset}
        given = " ".join(f"{name} {value:g}" for name, value in options.items() if value)
        marks.append(f"{asked} of {full} items{f' ({given})' if given else ''}: not ranked, not a score to publish")
    if entry.unscored > MOST_UNSCORED:
        marks.append(f"incomplete: {entry.unscored:.0%} of its queries are unscored and count as misses")
    for what, how in _asked_how(entry).items():
        if how != usual.get((what, ""), how):
            marks.append(f"asked with another {what} than most here{_short(what, how, entry)}")
    if run.model.settings.get("images") == "none":
        marks.append("no image was sent")
    return tuple(marks)


def _short(what: str, how: str, entry: Entry) -> str:
    """How, where few words say it."""
    if what == "scoring":
        return f": {_ANSWERS.get(how, how)}"
    sources = ", ".join(sorted({task.prompt_source for task in entry.tasks}))
    return f": {how[:8]}, {sources}" if what == "prompt" else ""


# --- who leads -----------------------------------------------------------------------------------------------------


_UNTESTED = "not tested against the best model: they were asked other items"


def _leaders(ranked: Sequence[tuple[Row, Entry]]) -> tuple[dict[int, frozenset[str]], set[int]]:
    """By identity of the row: the metrics in which the best is not significantly ahead of it; and who was not tested.

    By `level_with_best`, among the models that were asked the same items as the best.
    """
    leads: dict[int, set[str]] = {}
    untested: set[int] = set()
    for metric in dict.fromkeys(name for _, entry in ranked for name in entry.results):
        held = [(row, entry.results[metric]) for row, entry in ranked if (metric, "") in row.cells]
        if metric in NO_RANK or len(held) < 2:
            continue
        held.sort(key=lambda pair: -pair[0].cells[metric, ""].value)
        best = held[0][1]
        same = [(row, result) for row, result in held if same_items(best, result)]
        untested |= {id(row) for row, _ in held} - {id(row) for row, _ in same}
        (_, _, every), *_ = best.parts()
        _, level = level_with_best([result for _, result in same], every, draws=_DRAWS)
        for (row, _), leading in zip(same, level, strict=True):
            if leading:
                leads.setdefault(id(row), set()).add(metric)
    return {row: frozenset(metrics) for row, metrics in leads.items()}, untested


# --- what models are read beside ------------------------------------------------------------------------------------


def _references(
    key: BenchmarkKey,
    entries: Sequence[Entry],
    card: BenchmarkCard | None,
    everything: frozenset[str],
    *,
    synthetic: bool,
) -> tuple[list[Row], list[str]]:
    rows, remarks = _chance_rows(entries, everything), []
    if key.variant in ("", "cyclic", "raw"):
        try:
            audit = read_audit(key.dataset, key.fingerprint)
        except DataError as error:
            audit = None
            remarks.append(f"Blind rules: {error}")
        else:
            if audit is None:
                remarks.append(
                    f"Blind rules are not shown: no audit of this data yet. Run: minchange-eval audit {key.dataset}"
                )
        if audit:
            rows += _rule_rows(audit, entries, key.variant, everything)
    if not key.variant and not synthetic and card and card.kind == key.kind:
        published, said = _published(key, entries, card, everything)
        rows += published
        remarks += said
    return rows, remarks


def _beside(cells: Cells, known: Iterable[str], asked: frozenset[str]) -> Cells:
    """The cells that may stand beside runs of `asked`: the mean over all `known` subsets is no mean of some of them.

    Where one subset alone was asked, its value is the whole.
    """
    if asked.issuperset(known):
        return cells
    parts = {at: cell for at, cell in cells.items() if at[1]}
    if len(asked) > 1:
        return parts
    (only,) = asked
    alone = {(metric, ""): parts.get((_of_subsets(metric), only)) for metric, subset in cells if not subset}
    return parts | {at: cell for at, cell in alone.items() if cell}


def _chance_rows(entries: Sequence[Entry], everything: frozenset[str]) -> list[Row]:
    """One, or one for each kind of answer where guessing gets another number; of partial runs where there is no other.

    The chance of a mean is that of a run of every subset.
    """
    by_answers: dict[str, dict[tuple[str, str], Cell]] = {}
    for entry in [entry for entry in entries if not entry.partial] or entries:
        how = "pairs" if entry.answers == "pairs" else "answers"
        cells = by_answers.setdefault(how, {})
        for at, value in entry.values.items():
            if value.chance is not None and (at[1] or set(entry.subsets) == everything):
                cells.setdefault(at, Cell(value.chance))
    kinds = {how: {at: round(cell.value, 4) for at, cell in cells.items()} for how, cells in by_answers.items()}
    if len({tuple(sorted(cells.items())) for cells in kinds.values()}) <= 1:
        return [Row("Chance", "chance", "", cells) for cells in list(by_answers.values())[:1] if cells]
    titles = {"pairs": "Chance, similarity scores", "answers": "Chance, single answers"}
    return [Row(titles[how], "chance", "", cells) for how, cells in sorted(by_answers.items()) if cells]


def _rule_rows(audit: AuditResult, entries: Sequence[Entry], variant: str, everything: frozenset[str]) -> list[Row]:
    """One for each thing that rules are asked: their chance is their own, so it stands beside them.

    Whoever matches all of a set at once is right by chance more often than who answers query by query. A rule that
    goes by the place of an option gets chance where each stands in every place, so `cyclic` has no line of it.
    """
    by_place = {(rule.asks, rule.name) for rule in audit.rules if rule.sees == "place"}
    found = [
        (*blind, at)
        for at in dict.fromkeys(at for entry in entries for at in entry.values)
        if (blind := audit.blind(*at, variant="raw" if variant == "raw" else ""))
        and not (variant == "cyclic" and any((blind[0].asks, name) in by_place for name in blind[0].chosen))
    ]
    rows = []
    for best in audit.bests:
        shares = {at: share for rule, share, at in found if rule is best}
        known = [share.subset for share in best.shares if share.subset]
        cells = {at: Cell(share.value, share.low, share.high, share.chance, share.n) for at, share in shares.items()}
        if cells := _beside(cells, known, everything):
            about = "compares no image with a text"
            if everything.issuperset(known):  # its p is of the whole
                chance = next(iter(sorted(shares.items(), key=lambda pair: pair[0][1] != "")))[1].chance
                better = "above" if best.p < SIGNIFICANT and _beyond(best) else "not significantly above"
                about += f" · {better} its own chance of {100 * chance:.1f} (p = {best.p:.2g})"
            rows.append(Row(f"Best blind rule: {best.name}", "blind rule", about, cells))
    return rows


def _beyond(best: BestRule) -> bool:
    return best.shares[0].value > best.shares[0].chance


def _published(
    key: BenchmarkKey, entries: Sequence[Entry], card: BenchmarkCard, everything: frozenset[str]
) -> tuple[list[Row], list[str]]:
    try:
        numbers = published_rows(key.dataset)
    except UsageError:
        return [], []
    metrics = {at[0] for entry in entries for at in entry.values}
    lines: dict[tuple[str, str, str], dict[tuple[str, str], PublishedRow]] = {}
    for row in numbers:
        if row.metric in metrics and row.unit != "score" and row.role != "chance":
            taken = lines.setdefault((row.role, row.model, row.source), {})
            taken.setdefault((row.metric, row.subset), row)
    roles: Mapping[str, Role] = {"human": "human", "blind": "blind rule"}
    rows = []
    for (role, model, source), held in lines.items():
        cells = {
            at: Cell(row.value / 100, printed=f"{row.value:.{row.decimals}f}{'≈' if row.approximate else ''}")
            for at, row in held.items()
        }
        said = tuple(dict.fromkeys(row.note for row in held.values() if row.note))
        if cells := _beside(cells, card.subsets, everything):
            rows.append(Row(model, roles.get(role, "published"), "", cells, notes=(source, *said)))
    if not rows:
        return [], []
    released, prepared = _sizes(entries)
    part = ""
    if released is not None and prepared < released:
        part = f" They are of all {released:,} items, of which {prepared:,} are prepared here."
    return rows, [f"Published results stand as printed, without intervals, and are never ranked.{part}"]


# --- what is said of the table --------------------------------------------------------------------------------------


def _sizes(entries: Sequence[Entry]) -> tuple[int | None, int]:
    """Items of a complete release where that is known, and those prepared, over the entry with the most."""
    sizes = []
    for entry in entries:
        known = [task.items_released for task in entry.tasks]
        released = None if None in known else sum(number or 0 for number in known)
        sizes.append((sum(task.items_in_full + task.left_out for task in entry.tasks), released))
    prepared, released = max(sizes, key=lambda size: size[0])
    return released, prepared


def _title(key: BenchmarkKey, card: BenchmarkCard | None) -> str:
    base = card.title if card and card.kind == key.kind else f"{key.dataset} ({key.kind})"
    return f"{base} — {key.variant}" if key.variant else base


def _facts(key: BenchmarkKey, entries: Sequence[Entry], card: BenchmarkCard | None) -> tuple[str, ...]:
    released, prepared = _sizes(entries)
    noun = "sets" if key.kind == "sets" else key.kind
    size = f"{prepared:,} {noun}" if released in (None, prepared) else f"{prepared:,} of {released:,} {noun}"
    paper = [card.paper] if card and card.paper and not card.synthetic else []
    return (key.dataset, size, *paper, f"data {key.fingerprint[:12]}")


def _remarks(
    key: BenchmarkKey,
    entries: Sequence[Entry],
    card: BenchmarkCard | None,
    reading: Reading,
    *,
    several_data: bool,
) -> list[str]:
    released, prepared = _sizes(entries)
    said = []
    if entries[0].tasks[0].synthetic:
        like = f" in the form of {card.made_like}" if card and card.made_like else ""
        said.append(f"Drawn by this package's generator{like}: no official benchmark, never to be quoted as one.")
    if key.variant:
        said.append(f"Variant {key.variant}: {_VARIANTS.get(key.variant, key.variant)}.")
    if released is not None and prepared < released:
        said.append(f"{prepared:,} of the {released:,} released items are prepared here: not a score to publish.")
    skipped = max(sum(task.rows_skipped for task in entry.tasks) for entry in entries)
    if skipped:
        said.append(f"{skipped} broken rows of the release were left out when it was prepared.")
    left_out = max(sum(task.left_out for task in entry.tasks) for entry in entries)
    if left_out:
        said.append(
            _balanced_remark(key, left_out)
            if key.variant == "balanced"
            else f"{left_out} items whose wording cannot be exchanged are not asked."
        )
    if several_data:
        said.append("Other data of the same name stands in a table of its own: its fingerprint differs.")
    asked = frozenset(subset for entry in entries for subset in entry.subsets)
    if card and card.kind == key.kind and set(card.subsets) - asked:
        missing = ", ".join(subset for subset in card.subsets if subset not in asked)
        said.append(f"Not asked of any model here: {missing}.")
    if reading == "published":
        said.append("Read as the paper reads answers, where it has its own way; our own reading is the default.")
    if any(entry.answers == "pairs" for entry in entries) and any(entry.answers != "pairs" for entry in entries):
        said.append(
            "Dual encoders and chat models are asked in different ways, and guessing may get them other scores."
        )
    return said


def _balanced_remark(key: BenchmarkKey, left_out: int) -> str:
    try:
        subset = read_balanced(key.dataset, key.fingerprint)
    except DataError:  # the scores stand without it
        subset = None
    said = f"{left_out} items are not asked, which give the answer away to who does not look"
    if subset is None or not subset.reasons:
        return f"{said}."
    return f"{said}; rules above chance that solve them, or below chance that fail them: {subset.reasons}."


@dataclass(frozen=True)
class Report:
    """All tables of one report."""

    boards: tuple[Board, ...]
    reading: Reading
    runs: int
    remarks: tuple[str, ...] = field(default=())


def distinct(runs: Iterable[RunResults]) -> tuple[list[RunResults], list[str]]:
    """Runs without those that say the same to the last byte as an earlier one, and a line on each that was left out."""
    kept: dict[str, RunResults] = {}
    said = []
    for run in runs:
        first = kept.setdefault(run.digest, run)
        if first is not run:
            said.append(f"{run.path.name} says the same as {first.path.name} and is shown once.")
    return list(kept.values()), said
