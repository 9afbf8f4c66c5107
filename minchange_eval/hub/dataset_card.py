"""The card (README.md) of a published data set: what it is, how to load it and evaluate on it.

Names, captions and reasons come from whoever made the data, so they are shown as text, never as Markdown or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import yaml

from minchange_eval.core.chance import chance, query_chance
from minchange_eval.core.errors import printable
from minchange_eval.core.items import CandidateSet, Item
from minchange_eval.data.audit_results import AuditResult
from minchange_eval.data.benchmark_card import card_names
from minchange_eval.data.parquet_layout import Manifest
from minchange_eval.hub.licences import Inherited

SAMPLES_FILE = "samples.png"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGEST = "1M<n<10M"
_TASK_CATEGORIES = {
    "sets": ["zero-shot-image-classification", "image-text-to-text"],
    "questions": ["visual-question-answering", "image-text-to-text"],
}
_ASKED = {
    "answer": "the right option",
    "match": "which caption is of which image",
    "caption": "which caption is the original",
    "image": "which image is the original",
    "i2t_place": "the right caption, by its place",
    "t2i_place": "the right image, by its place",
}
LONGEST_TEXT = 300
_MOST_SKIPPED = 10


@dataclass(frozen=True)
class Published:
    """What a card is made of.

    Attributes:
        manifest: what the data set says of itself.
        folders: subset -> name of its folder and configuration.
        choices: subset -> (right ones, candidates) of its queries; several where its items differ.
        to: `owner/name` on the Hub.
        licence: inherited from its sources.
        licence_reviewed: whoever publishes it has said that it was reviewed.
        examples: items to show.
        audit: what rules that do not look get on exactly this data; None where that is not known.
        samples: a picture of some items lies beside the card.
    """

    manifest: Manifest
    folders: dict[str, str]
    choices: Mapping[str, Set[tuple[int, int]]]
    to: str
    licence: Inherited
    licence_reviewed: bool
    examples: Sequence[Item]
    audit: AuditResult | None
    samples: bool


def dataset_card(published: Published) -> str:
    """The text of README.md, with its front matter for the Hub."""
    manifest = published.manifest
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(published), sort_keys=False, allow_unicode=True)}---",
        f"# {escaped(manifest.title or manifest.name)}",
        _what_it_is(published),
        *([f"![Some items of each subset with their texts]({SAMPLES_FILE})"] if published.samples else []),
        "## Subsets",
        _subsets(published),
        "## Items",
        "\n".join(map(_example, published.examples)),
        "## Load it",
        _loading(published),
        "## Evaluate on it",
        _evaluating(published),
        "## Can it be solved without looking?",
        _audited(published),
        "## Sources and licence",
        _licence(published),
        *(["## What a reader would not expect", _quirks(manifest)] if manifest.quirks or manifest.skipped else []),
    ]
    return "\n\n".join(parts) + "\n"


def code(text: str) -> str:
    """Text of others as a code span: nothing in it is markup, a link or a mention. Not for cells of a table.

    >>> code("<b>*a*</b>"), code("a `b` @c"), code("")
    ('`<b>*a*</b>`', '``a `b` @c``', '` `')
    """
    plain = printable(text[: LONGEST_TEXT + 1])
    plain = f"{plain[:LONGEST_TEXT]}…" if len(plain) > LONGEST_TEXT else plain
    fence = "`" * (max(map(len, re.findall("`+", plain)), default=0) + 1)
    blank = " " if not plain.strip() or plain[0] in "` " or plain[-1] in "` " else ""
    return f"{fence}{blank}{plain}{blank}{fence}" if plain.strip() else "` `"


def escaped(text: str) -> str:
    """Text of others in a line of prose: what could begin markup as entities; no links, no mentions.

    >>> escaped("a|b <i>"), escaped("1. *x*")
    ('a&#124;b &#60;i&#62;', '1&#46; &#42;x&#42;')
    """
    shown = printable(text).strip()
    # a word joiner, which is not seen, where an address or a name would be made a link of its own accord
    shown = re.sub(r"@(?=\w)|:(?=//)|(?<=www)\.", lambda found: f"{found[0]}\u2060", shown, flags=re.IGNORECASE)
    shown = re.sub(
        r"[\\`*{}\[\]()<>#&|~@!$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", lambda found: f"&#{ord(found[0])};", shown
    )
    return re.sub(r"^(\s*\d*)([-+=.:])", lambda found: f"{found[1]}&#{ord(found[2])};", shown)


def _front_matter(published: Published) -> dict[str, Any]:
    manifest = published.manifest
    split = split_of(manifest.name)
    configs = []
    # one that is called so is the default already, and there may be one only
    default = "default" if "default" in published.folders.values() else next(iter(published.folders.values()))
    for folder in published.folders.values():
        files = {"split": split, "path": f"data/{folder}/*.parquet"}
        marked = {"default": True} if folder == default else {}
        configs.append({"config_name": folder, **marked, "data_files": [files]})
    tags = ["minchange-eval", "vision-language", "minimal-change", "hard-negatives", "compositionality"]
    return {
        "pretty_name": printable(manifest.title or manifest.name),
        "license": published.licence.hub,
        "task_categories": _TASK_CATEGORIES[manifest.kind],
        "tags": tags + (["synthetic"] if manifest.synthetic else []),
        "size_categories": [next((name for limit, name in _SIZES if manifest.items < limit), _LARGEST)],
        "configs": configs,
    }


def split_of(name: str) -> str:
    """`test` for a benchmark, else `train`: what it is called in `datasets`.

    >>> split_of("spec_mini"), split_of("mine")
    ('test', 'train')
    """
    return "test" if name in card_names() else "train"


def _what_it_is(published: Published) -> str:
    manifest = published.manifest
    kind = (
        "candidate sets: K images and K captions that differ in one thing only; caption i is true of image i and of "
        "no other"
        if manifest.kind == "sets"
        else "choice questions: one or more images, a question, options, and which of them are right"
    )
    drawn = "Its pictures were drawn by a program; it is no official benchmark. " if manifest.synthetic else ""
    whole = (
        f" The whole release has {manifest.expected_items:,}; this is a part of it."
        if manifest.expected_items not in (None, manifest.items)
        else ""
    )
    return (
        f"{manifest.items:,} {kind}. {manifest.images:,} images, {_size(manifest.image_bytes)}.{whole} {drawn}"
        f"Published with minchange-eval, fingerprint `{manifest.fingerprint}`."
    )


def _subsets(published: Published) -> str:
    manifest = published.manifest
    sets = manifest.kind == "sets"
    chances = ("text / image score", "group score") if sets else ()
    head = ["configuration", "items", "K" if sets else "options", "by chance: accuracy", *chances]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for subset, folder in published.folders.items():
        choices = published.choices[subset]
        sizes = sorted({candidates for _, candidates in choices})
        size = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        rows.append([code(folder), f"{manifest.counts[subset]:,}", size, *_chances(choices, sets=sets)])
    named = [f"- {code(folder)}: {code(subset)}" for subset, folder in published.folders.items() if folder != subset]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "By chance: scores that know nothing and never tie" if sets else "By chance: any option alike"
    notes += (
        "" if all(len(choices) == 1 for choices in published.choices.values()) else "; none where items differ in it"
    )
    return "\n\n".join([table, f"{notes}.", *(["Subsets by their own name:", "\n".join(named)] if named else [])])


def _chances(choices: Set[tuple[int, int]], *, sets: bool) -> list[str]:
    if len(choices) > 1:
        return ["", "", ""] if sets else [""]
    ((right, k),) = choices
    if not sets:
        return [_percent(query_chance(right, k))]
    return [_percent(chance(metric, k, "scores")) for metric in ("i2t_accuracy", "text_score", "group_score")]


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def _example(item: Item) -> str:
    if isinstance(item, CandidateSet):
        lines = [code(item.set_id), *(f"{number}. {code(caption)}" for number, caption in enumerate(item.captions))]
    else:
        right = [code(item.options[answer]) for answer in item.answers]
        lines = [
            code(item.question_id),
            f"question: {code(item.question)}",
            *(f"option: {code(option)}" for option in item.options),
            f"right: {', '.join(right)}",
        ]
    first, *rest = lines
    return "\n".join([f"- {first}", *(f"  - {line}" for line in rest)])


def _loading(published: Published) -> str:
    manifest = published.manifest
    first = next(iter(published.folders.values()))
    image = 'row["image"]' if manifest.one_image else 'row["images"][0]'
    texts = 'row["captions"]' if manifest.kind == "sets" else 'row["question"], row["options"], row["answers"]'
    columns = (
        "`captions` (candidates of image-to-text) and `query_captions` (texts of text-to-image), in the order of the "
        "images; `image_to_text` and `text_to_image`: for each query the candidates in released order, as indices"
        if manifest.kind == "sets"
        else "`question`, `options`, `answers` (indices of the right options)"
    )
    pictures = "`image`" if manifest.one_image else "`images`"
    return f"""```python
from datasets import load_dataset

row = load_dataset("{published.to}", "{first}", split="{split_of(manifest.name)}")[0]
print({image}.size, {texts})
```

Columns: `position` (place in the whole data set), `id`, `subset`, {pictures} (bytes as released) with `image_sha256`;
{columns}; `facts`: whatever else is released, JSON text."""


def _evaluating(published: Published) -> str:
    manifest = published.manifest
    has_task = manifest.name in card_names()
    if not has_task:
        last = f"minchange-eval audit {manifest.name}"
        after = "No task of minchange-eval asks this data set; it can be audited, and trained on."
    else:
        after = "It also says whether the fingerprint is one that is known of a data set of this name."
        last = f"lmms_eval {_model(manifest)} --tasks {manifest.name}"
    return f"""```
pip install 'minchange-eval[eval]'
minchange-eval prepare {manifest.name} --source hub:{published.to}@main
{last}
```

A commit in place of `main` gets these very bytes. `prepare` compares them with the fingerprint above. {after}"""


def _model(manifest: Manifest) -> str:
    if manifest.kind == "questions":
        return "--model hf_multi_image --model_args pretrained=Qwen/Qwen2.5-VL-7B-Instruct,scoring=letters"
    name = "minchange-tiny" if manifest.synthetic else "ViT-B-32,pretrained=openai"
    return f"--model open_clip --model_args model_name={name}"


def _audited(published: Published) -> str:
    audit, name = published.audit, published.manifest.name
    if audit is None:
        return (
            "It was not audited when it was published. After `prepare`, this tells:\n\n"
            f"```\nminchange-eval audit {name}\n```"
        )
    head = ["what is to be found", "best rule", "gets", "95 % interval", "by chance"]
    rows = [head, ["---", "---", "---:", "---:", "---:"]]
    for best in audit.bests:
        whole = best.shares[0]
        asked = f"{_ASKED[best.asks]}{f' ({best.variant})' if best.variant else ''}"
        rows.append(
            [
                escaped(asked),
                code(best.name),
                _percent(whole.value),
                f"{100 * whole.low:.1f} to {100 * whole.high:.1f}",
                _percent(whole.chance),
            ]
        )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    unread = f"\n\nNot tried: {escaped(audit.unread)}." if audit.unread else ""
    return (
        f"What the best of {len(audit.rules)} rules gets that read texts, places or looks and never compare a text "
        f"with an image, chosen by nested cross-validation:\n\n{table}{unread}\n\n"
        f"From `minchange-eval audit {name}` on exactly this data."
    )


def _licence(published: Published) -> str:
    manifest, licence = published.manifest, published.licence
    lines = []
    source = " at ".join(code(part) for part in (manifest.source, manifest.revision) if part)
    if source:
        lines.append(f"- {'Drawn' if manifest.synthetic and not manifest.source else 'Prepared'} from {source}.")
    if manifest.paper:
        lines.append(f"- Paper: {_paper(manifest.paper)}.")
    for name, stated in licence.stated.items():
        lines.append(f"- {code(name)}: {code(stated) if stated else 'states no licence'}.")
    words = {"unknown": "none is stated", "other": "in its own words"}
    held = ", ".join(one.spdx or words[one.hub] for one in licence.licences)
    lines.append(f"- The whole inherits the strictest of these: **{escaped(held)}** ({licence.strictness.shown}).")
    if licence.to_review and published.licence_reviewed:
        reasons = "; ".join(map(escaped, licence.to_review))
        lines.append(f"- Whoever published this says to have reviewed that it may be published, although {reasons}.")
    return "\n".join(lines)


def _paper(paper: str) -> str:
    arxiv = paper.removeprefix("arXiv:")
    return f"[{paper}](https://arxiv.org/abs/{arxiv})" if re.fullmatch(r"\d{4}\.\d{4,5}", arxiv) else code(paper)


def _quirks(manifest: Manifest) -> str:
    lines = [f"- {escaped(quirk)}" for quirk in manifest.quirks]
    if manifest.skipped:
        lines.append(f"- {len(manifest.skipped):,} broken rows of the source are not in it:")
        lines += [f"  - {code(row.where)}: {code(row.reason)}" for row in manifest.skipped[:_MOST_SKIPPED]]
    return "\n".join(lines)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
