"""The page of a run: one small HTML file without pictures, scripts or requests; its numbers as JSON and Markdown."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from table3_claims import Conclusion, conclusions, p_value, percent, points, words
from table3_data import CENTRE_FIRST, HELD_OUT_SPEC, MOVED_FIRST, ROLES, SCENES, SPEC, TESTS, VISMIN
from table3_numbers import CLS, I2T, T2I, Places, Results, Runs, Value, places
from table3_variants import ROWS, TITLE, VARIANTS

from minchange_eval.core.items import CandidateSet
from minchange_eval.core.whole_files import write_whole
from minchange_eval.data.store import Store
from minchange_eval.reports.svg import element, line, text

HERE = Path(__file__).parent
HEADLINES = (
    ("CLS", SCENES, CLS),
    ("I2T", SPEC, I2T),
    ("T2I", SPEC, T2I),
    ("VisMin I2T", VISMIN, I2T),
    ("VisMin T2I", VISMIN, T2I),
    ("held out I2T", HELD_OUT_SPEC, I2T),
    ("held out T2I", HELD_OUT_SPEC, T2I),
)


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, chance, and a value for each row."""

    heading: str
    chance: float | None
    cells: Mapping[str, Value]


@dataclass(frozen=True)
class Table:
    """A table of all rows."""

    title: str
    note: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Curve:
    """Something that was noted now and then in each training.

    Attributes:
        lines: row -> seed -> (step, value).
    """

    title: str
    note: str
    lines: Mapping[str, Sequence[Sequence[tuple[float, float]]]]
    is_share: bool = False


def write_page(output: Path, runs: Runs, remark: str = "") -> None:
    """`index.html`, `numbers.json` and `table.md` of a run.

    Args:
        output: folder of the run, with its models and timing.
        runs: row -> a record for each seed.
        remark: on the times.
    """
    results = Results(runs)
    stored = (cast("CandidateSet", item) for item in Store.open(SPEC).items("relative_spatial"))
    sets = {item.set_id: item for item in stored}
    located = {row: places(records, SPEC, sets) for row, records in runs.items()}
    folders = {
        row.name: [output / "models" / f"{row.name}-{seed}" for seed in range(len(runs[row.name]))] for row in VARIANTS
    }
    curves = _curves(folders)
    found = conclusions(results, located, _rises(curves))
    tables = [*_tables(results), _roles(results)]
    about = {**_about(output, folders), "remark": remark}
    page = _html(tables, found, located, curves, about)
    write_whole(output / "index.html", [page.encode()])
    numbers = {
        "about": about,
        "tables": [_as_json(one) for one in tables],
        "conclusions": [_as_json(one) for one in found],
    }
    write_whole(output / "numbers.json", [json.dumps(numbers, indent=1, ensure_ascii=False).encode()])
    write_whole(output / "table.md", ["\n".join(_markdown(tables[0])).encode() + b"\n"])


def _tables(results: Results) -> Any:
    """Headline, then each test with its subsets in both directions."""
    columns = tuple(_column(results, heading, benchmark, metric, "") for heading, benchmark, metric in HEADLINES)
    yield Table("The table", "CLS on plain scenes; means over the subsets of each test.", columns)
    for title, benchmark in (
        ("By subset: the mini suite", SPEC),
        ("By subset: object categories held out of training", HELD_OUT_SPEC),
        ("By category: pairs of VisMin's kind", VISMIN),
    ):
        for metric, way in ((I2T, "image to text"), (T2I, "text to image")):
            parts = sorted(results.slices(benchmark, metric), key=lambda name: (not name, name))
            yield Table(
                f"{title}, {way}",
                "",
                tuple(_column(results, words(part) or "mean", benchmark, metric, part) for part in parts),
            )


def _roles(results: Results) -> Table:
    columns = tuple(
        _column(results, f"of the one {where}, {way}", ROLES, metric, part)
        for part, where in ((MOVED_FIRST, "off the centre"), (CENTRE_FIRST, "in the centre"))
        for metric, way in ((I2T, "I2T"), (T2I, "T2I"))
    )
    return Table("Relative position said of either object", "", columns)


def _column(results: Results, heading: str, benchmark: str, metric: str, part: str) -> Column:
    return Column(heading, results.chance(benchmark, metric, part), results.column(benchmark, metric, part))


def _curves(folders: Mapping[str, Sequence[Path]]) -> list[Curve]:
    losses = {row: [_lines(folder / "losses.jsonl") for folder in of] for row, of in folders.items()}
    looks = {row: [_looks(folder) for folder in of] for row, of in folders.items()}
    curves = []
    for name, title, note in (
        (
            "clip",
            "L_clip",
            "Rows have other candidates to be told apart, so the height of one says nothing of another.",
        ),
        ("hard_negative", "L_hn", "Of an anchor among the other anchors and its own hard negatives."),
    ):
        lines = {
            row: [[(step["step"], step[name]) for step in seed] for seed in seeds]
            for row, seeds in losses.items()
            if all(name in seed[0] for seed in seeds)
        }
        curves.append(Curve(f"Loss: {title}", f"Means over {SMOOTHED} steps. {note}", lines))
    for name, title, note in (
        ("table3_validation/i2t_accuracy", "I2T", "Sets of another draw than the tests, mean over six kinds."),
        ("table3_validation/t2i_accuracy", "T2I", "The same sets, from text to image."),
        ("zero_shot", "naming things", "Pictures of one thing each, 53 trained categories; another draw than CLS."),
    ):
        lines = {
            row: [[(int(step), values[name]) for step, values in sorted(seed.items(), key=_step)] for seed in seeds]
            for row, seeds in looks.items()
        }
        curves.append(Curve(f"Validation: {title}", note, lines, is_share=True))
    return curves


def _rises(curves: Sequence[Curve]) -> dict[str, float]:
    """Of validation I2T from the last look but one to the last, mean over the seeds."""
    looks = next(curve for curve in curves if curve.title == "Validation: I2T")
    return {row: sum(seed[-1][1] - seed[-2][1] for seed in of) / len(of) for row, of in looks.lines.items()}


SMOOTHED = 8


def _step(item: tuple[str, Any]) -> int:
    return int(item[0])


def _lines(file: Path) -> list[dict[str, float]]:
    """Means over some steps of each value that was noted."""
    steps = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    groups = [steps[start : start + SMOOTHED] for start in range(0, len(steps), SMOOTHED)]
    means = ({name: sum(step[name] for step in group) / len(group) for name in group[0]} for group in groups)
    return [{**mean, "step": group[-1]["step"]} for mean, group in zip(means, groups, strict=True)]


def _looks(folder: Path) -> dict[str, dict[str, float]]:
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return dict(record["evaluations"])


def _about(output: Path, folders: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """How the run was made."""
    records = {row: json.loads((of[0] / "training.json").read_text(encoding="utf-8")) for row, of in folders.items()}
    times = output / "timing.json"
    return {
        "settings": {
            row: {name: record["config"][name] for name in SETTINGS}
            | ({} if record["config"]["objective"] == "spec" else {"hard_negative_weight": "–"})
            | {"pictures a step": round(record["images"] / record["steps"])}
            for row, record in records.items()
        },
        "parameters": f"{_parameters() / 1e6:.1f}",
        "seeds": max(map(len, folders.values())),
        "data": [
            {"name": Path(one["name"]).name, "items": one["items"], "fingerprint": one["fingerprint"]}
            for one in records["both"]["data"]
        ],
        "tests": {name: Store.open(name).card.fingerprint for name in TESTS},
        "packages": records["both"]["packages"],
        "times": json.loads(times.read_text()) if times.exists() else {},
    }


def _parameters() -> int:
    """Of the bundled model."""
    from safetensors import safe_open

    from minchange_eval.model_adapters import minchange_tiny

    with safe_open(next(Path(minchange_tiny.__path__[0]).glob("*.safetensors")), "np") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118


SETTINGS = (
    "objective",
    "hard_negative_weight",
    "sets_per_batch",
    "pairs_per_batch",
    "steps",
    "learning_rate",
    "warmup_steps",
    "weight_decay",
)


def _html(
    tables: Sequence[Table],
    found: Sequence[Conclusion],
    located: Mapping[str, Places],
    curves: Sequence[Curve],
    about: Mapping[str, Any],
) -> str:
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "points": points, "p_value": p_value, "words": words}
    style = (HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        style=Markup(style),  # noqa: S704  # our own file
        digest=digest,
        tables=tables,
        roles=tables[-1],
        conclusions=found,
        places=located,
        curves=[(curve, drawn(number, curve)) for number, curve in enumerate(curves)],
        rows=ROWS,
        title=TITLE,
        about=about,
    )


HEIGHT, TOP, BOTTOM = 200.0, 12.0, 24.0  # pixels
LEFT, WIDE = 12.0, 86.0  # per cent


def drawn(number: int, curve: Curve) -> Markup:
    """The curve as inline SVG that keeps its letters readable at any width: the lines alone are stretched."""
    seeds = [seed for of in curve.lines.values() for seed in of]
    most_steps = max((step for seed in seeds for step, _ in seed), default=1)
    most = 1.0 if curve.is_share else max((value for seed in seeds for _, value in seed), default=1.0) * 1.05
    plot = HEIGHT - TOP - BOTTOM
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = TOP + plot * (1 - share)
        parts.append(line(f"{LEFT}%", y, f"{LEFT + WIDE}%", y, "grid"))
        said = f"{100 * share:.0f} %" if curve.is_share else f"{most * share:.1f}"
        parts.append(text(f"{LEFT - 1}%", y + 4, said, "tick", "end"))
        parts.append(text(f"{LEFT + WIDE * share}%", HEIGHT - 6, f"{most_steps * share:.0f}", "tick", "middle"))
    lines = []
    for row, of in curve.lines.items():
        lines += [_polyline(seed, most_steps, most, f"seed row-{row}") for seed in of]
        mean = [(of[0][place][0], sum(seed[place][1] for seed in of) / len(of)) for place in range(len(of[0]))]
        lines.append(_polyline(mean, most_steps, most, f"mean row-{row}"))
    inner = element(
        "svg",
        *lines,
        x=f"{LEFT}%",
        y=TOP,
        width=f"{WIDE}%",
        height=plot,
        viewBox="0 0 1000 1000",
        preserveAspectRatio="none",
    )
    name = f"curve-{number}"
    return element(
        "svg",
        element("title", curve.title, id=f"{name}-title"),
        element("desc", _described(curve), id=f"{name}-desc"),
        *parts,
        inner,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_="chart",
        width="100%",
        height=f"{HEIGHT:g}",
    )


def _polyline(points_: Iterable[tuple[float, float]], most_steps: float, most: float, class_: str) -> Markup:
    places_ = " ".join(f"{1000 * step / most_steps:.0f},{1000 * (1 - value / most):.0f}" for step, value in points_)
    return element("polyline", points=places_, class_=class_, vector_effect="non-scaling-stroke")


def _described(curve: Curve) -> str:
    """The last values in words."""
    said = []
    for row, of in curve.lines.items():
        last = sum(seed[-1][1] for seed in of) / len(of)
        said.append(f"{TITLE[row]} {percent(last) if curve.is_share else f'{last:.2f}'}")
    return f"At the end, mean over the seeds: {', '.join(said)}."


def _as_json(one: Any) -> Any:
    return asdict(one)


def _markdown(table: Table) -> list[str]:
    """The table for a README: values and intervals in per cent."""
    lines = [f"| | {' | '.join(column.heading for column in table.columns)} |", "|---" * (len(table.columns) + 1) + "|"]
    for row in ROWS:
        cells = [column.cells[row.name] for column in table.columns]
        shown = (f"{100 * cell.value:.1f} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]" for cell in cells)
        lines.append(f"| {row.title} | {' | '.join(shown)} |")
    chance = ("-" if column.chance is None else f"{100 * column.chance:.1f}" for column in table.columns)
    return [*lines, f"| chance | {' | '.join(chance)} |"]
