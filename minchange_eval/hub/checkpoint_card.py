"""The card of a checkpoint: what it was trained with and on, and honest numbers before and after.

Names of data and models come from others; whatever stands in them is shown as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minchange_eval import __version__
from minchange_eval.core.errors import printable
from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.record import RunRecord
from minchange_eval.hub.address import HubAddress
from minchange_eval.hub.checkpoint import Checkpoint, Source, Training
from minchange_eval.hub.licences import Inherited

_PER_SUBSET = frozenset({"i2t_accuracy", "t2i_accuracy", "accuracy"})
_SHOWN_SETTINGS = (
    "objective",
    "loss",
    "hard_negative_weight",
    "sets_per_batch",
    "pairs_per_batch",
    "mix",
    "learning_rate",
    "warmup_steps",
    "schedule",
    "weight_decay",
    "beta1",
    "beta2",
    "epsilon",
    "max_scale",
    "precision",
    "accumulate",
    "local_loss",
    "lock_image",
    "lock_text",
    "freeze_batch_norm",
    "seed",
)


@dataclass(frozen=True)
class Difference:
    """After less before of one value, paired: fractions, with a two-sided 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Judged:
    """What comparing the runs before and after gave.

    Attributes:
        differences: by benchmark, metric and subset ("" for the whole).
        gate: Markdown of the gate's decision, after against before.
        model_index: what stands under `model-index`; empty where no whole benchmark was asked.
    """

    differences: Mapping[tuple[str, str, str], Difference]
    gate: str
    model_index: Sequence[Mapping[str, Any]]


def checkpoint_card(
    checkpoint: Checkpoint, address: HubAddress, licence: Inherited, judged: Judged | None, *, reviewed: bool
) -> str:
    """The text of README.md.

    Args:
        licence: inherited from what it was trained on.
        judged: None where nothing was evaluated.
        reviewed: a person has said that it may be published although a licence is unstated.
    """
    import yaml

    training = checkpoint.training
    front = yaml.safe_dump(
        _front_matter(checkpoint, address, licence, judged), sort_keys=False, allow_unicode=True, width=1_000
    )
    parts = [
        f"---\n{front}---\n",
        f"# {address.name}\n",
        _opening(training),
        "## Before and after\n",
        *_results(checkpoint, judged),
        "## Trained on\n",
        *_data(training, licence, reviewed=reviewed),
        "## Recipe\n",
        *_recipe(training),
        "## How to use it\n",
        _use(checkpoint, address),
        f"Written by minchange-eval {__version__}; all numbers come from the records in `records/`.\n",
    ]
    return "\n".join(parts)


def _front_matter(
    checkpoint: Checkpoint, address: HubAddress, licence: Inherited, judged: Judged | None
) -> dict[str, Any]:
    front: dict[str, Any] = {"license": licence.hub}
    if licence.hub == "other":
        front["license_name"] = "of-the-training-data"
    both = "open_clip_model.safetensors" in checkpoint.content
    front["library_name"] = "open_clip" if both else "transformers"
    front["pipeline_tag"] = "zero-shot-image-classification"
    front["tags"] = ["minchange-eval", "clip", "hard-negatives"]
    if base := _on_the_hub(checkpoint.training):
        front["base_model"] = base
    if judged and judged.model_index:
        front["model-index"] = [{**entry, "name": address.name} for entry in judged.model_index]
    return front


def _on_the_hub(training: Training) -> str:
    """The base model's name on the Hub; empty where it has none there, or names a folder such as `runs/mini`."""
    given = str(training.base_model.get("name", ""))
    name = given.removeprefix("hf-hub:")
    if name == given and (training.base_model.get("adapter") == "open_clip" or Path(name).exists()):
        return ""
    return name if re.fullmatch(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*", name) else ""


def _opening(training: Training) -> str:
    base = training.base_model
    weights = _text(str(base.get("weights_sha256") or "")[:12])
    named = f"{_text(base.get('name', 'a CLIP model'))}{f' (weights {weights})' if weights else ''}"
    drawn = [source for source in training.data if source.synthetic]
    said = f"{named}, fine-tuned on candidate sets: images and captions that differ in one thing only.\n"
    if drawn:
        said += (
            "\nIts training data were drawn by a program, they are no photographs.\n"
            * (len(drawn) == len(training.data))
            or "\nPart of its training data were drawn by a program, they are no photographs.\n"
        )
    if training.stopped:
        said += f"\n**The training ended early**, at step {training.steps} of {training.planned_steps}: "
        said += f"{_text(training.stopped)}.\n"
    return said


def _results(checkpoint: Checkpoint, judged: Judged | None) -> Iterator[str]:
    if checkpoint.before is None or checkpoint.after is None or judged is None:
        yield "Nothing was evaluated before and after this training, so nothing is claimed for it.\n"
        return
    yield "In percent, with 95 % intervals over sets that share no image; the difference is paired.\n"
    for name in asked(checkpoint.after):
        rows = list(_rows(name, checkpoint.after.metrics[name], checkpoint.before, judged))
        if rows:
            yield f"### {_text(name)}{_partial(name, checkpoint.after)}\n"
            yield "| metric | before | after | difference | chance | n |\n|---|---|---|---|---|---|"
            yield "\n".join(rows) + "\n"
    yield "The gate asks one thing: has a value fallen by more than the margin? That it passes is no claim of a gain.\n"
    # a heading of its own would end the section
    yield re.sub(r"^## ", "### ", judged.gate, flags=re.MULTILINE)


def asked(record: RunRecord) -> list[str]:
    """What was asked for: groups, and tasks that are in none."""
    inside = {member for members in record.groups.values() for member in members}
    return [name for name in record.metrics if name in record.groups or name not in inside]


def _partial(name: str, record: RunRecord) -> str:
    members = record.groups.get(name, (name,))
    tasks = [task for task in record.tasks if task.name in members]
    asked, full = sum(task.items for task in tasks), sum(task.items_in_full for task in tasks)
    drawn = ", drawn by a program" if any(task.synthetic for task in tasks) else ""
    return f" ({asked} of {full} items: no score to publish{drawn})" if asked < full else f" ({asked} items{drawn})"


def _rows(name: str, values: Sequence[MetricValue], before: RunRecord, judged: Judged) -> Iterator[str]:
    first = {(value.name, value.subset): value for value in before.metrics.get(name, ())}
    wholes = [value for value in values if not value.subset]
    subsets = [value for value in values if value.subset and value.name in _PER_SUBSET]
    if len({value.subset for value in subsets}) < 2:
        subsets = []
    for value in [*wholes, *subsets]:
        difference = judged.differences.get((name, value.name, value.subset))
        old = first.get((value.name, value.subset))
        label = f"{value.name}, {_text(value.subset)}" if value.subset else f"**{value.name}**"
        chance = "-" if value.chance is None else f"{100 * value.chance:.1f}"
        unread = f" ({value.unscored} unscored)" if value.unscored else ""
        paired = "-"
        if difference is not None:
            paired = f"{_signed(difference.value)} [{_signed(difference.low)}, {_signed(difference.high)}]"
        first_cell = _interval(old) if old else "-"
        yield f"| {label} | {first_cell} | {_interval(value)} | {paired} | {chance} | {value.n}{unread} |"


def _interval(value: MetricValue) -> str:
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _signed(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _data(training: Training, licence: Inherited, *, reviewed: bool) -> Iterator[str]:
    yield "| data | items | fingerprint | licence |\n|---|---|---|---|"
    yield "\n".join(map(_source, training.data)) + "\n"
    names = licence.hub if isinstance(licence.hub, str) else ", ".join(licence.hub)
    yield f"The weights carry the strictest licence of these, {names}; the licence of the base model holds beside it.\n"
    if licence.to_review:
        yield "\n".join(f"- {_text(reason)}" for reason in licence.to_review)
        if reviewed:
            yield "\nWhoever published this has looked into it and said that it may be published.\n"
    yield _guard(training)


def _source(source: Source) -> str:
    kind = {"sets": "candidate sets", "pairs": "plain pairs"}.get(source.kind, source.kind)
    fingerprint = re.sub(r"\W", "", source.fingerprint)[:16]
    cells = [
        _text(source.name) + (" (synthetic)" if source.synthetic else ""),
        f"{source.items:,} {_text(kind)}".strip(),
        f"`{fingerprint}`" if fingerprint else "-",
        _text(source.licence) or "none stated",
    ]
    return "| " + " | ".join(cells) + " |"


def _guard(training: Training) -> str:
    """What the contamination guard found; all of what its record lists where it found something."""
    guard = training.overlap
    if not guard.benchmarks:
        if training.config.get("evaluate"):
            return "The record does not tell whether the training data were compared with what was evaluated.\n"
        return "Nothing was to be evaluated, so the training data were compared with no benchmark.\n"
    kinds = list(dict.fromkeys(kind for benchmark in guard.benchmarks for kind in benchmark.overlaps))
    head = ["evaluated", "items", *(f"shared: {_text(kind)}" for kind in kinds)]
    lines = [
        f"Before the first step, {guard.images:,} training images, their ids and captions were compared with what is "
        "evaluated, images by content and by looks.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for benchmark in guard.benchmarks:
        counts = [f"{benchmark.overlaps.get(kind, 0):,}" for kind in kinds]
        lines.append("| " + " | ".join([_text(benchmark.name), f"{benchmark.items:,}", *counts]) + " |")
    if guard.allowed and guard.first:
        lines += ["", "**Trained in spite of it (`--allow-overlap`)**, so the numbers above are too good. For example:"]
        lines += [f"- {_text(f'{one.training} ~ {one.benchmark} {one.item}: {one.kind}')}" for one in guard.first]
    return "\n".join(lines) + "\n"


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return (
            ", ".join(_text(entry) for entry in value[:8]) + (f" and {len(value) - 8} more" if len(value) > 8 else "")
            or "none"
        )
    if isinstance(value, dict):
        return ", ".join(f"{_text(name)} {_brief(entry)}" for name, entry in value.items()) or "none"
    return _text(value)


def _recipe(training: Training) -> Iterator[str]:
    unused = {"hard_negative_weight"} if training.config.get("objective") != "spec" else set()
    known = {name: training.config.get(name) for name in _SHOWN_SETTINGS if name not in unused}
    settings = {name: value for name, value in known.items() if value not in (None, {})}
    yield "| setting | value |\n|---|---|"
    yield "\n".join(f"| {name} | {_brief(value)} |" for name, value in settings.items())
    epochs = f", each candidate set {training.epochs:.3g} times" if training.epochs is not None else ""
    yield f"| steps | {training.steps:,} of {training.planned_steps:,}{epochs} |"
    yield f"| images | {training.images:,} |"
    workers = _count(training.processes, "process", "processes")
    yield f"| time | {training.seconds:,.0f} s on {_text(training.device)}, {workers} |"
    for part, last in training.last_losses.items():
        yield f"| {_text(part)} | {training.first_losses.get(part, float('nan')):.4f} at first, {last:.4f} at the end |"
    packages = ", ".join(f"{_text(name)} {_text(version)}" for name, version in training.packages.items())
    yield f"| packages | {packages} |\n"
    yield "All settings are in `training.json`, the loss of every step in `losses.jsonl`.\n"


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _use(checkpoint: Checkpoint, address: HubAddress) -> str:
    names = asked(checkpoint.after) if checkpoint.after else []
    tasks = ",".join(name for name in names if re.fullmatch(r"\w+", name)) or "spec_mini"  # for a shell
    openclip = "open_clip_model.safetensors" in checkpoint.content
    model = "open_clip --model_args model_name" if openclip else "hf_dual_encoder --model_args pretrained"
    python = (
        f"""
```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("hf-hub:{address.repo_id}")
tokenizer = open_clip.get_tokenizer("hf-hub:{address.repo_id}")
```
"""
        if openclip
        else ""
    )
    return f"""```sh
minchange-eval pull checkpoint {address.repo_id} --out {address.name}
lmms_eval --model {model}={address.name} --tasks {tasks}
minchange-eval gate --baseline {address}/records/after.jsonl --candidate another_record.jsonl
```
{python}"""


def _text(value: object) -> str:
    """Words of others: on one line, not at any length, and no markup."""
    return re.sub(r"([|\\`*_<>\[\]#])", r"\\\1", printable(str(value))[:200])
