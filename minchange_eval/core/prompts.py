"""How a query is put to a chat model: the words around the images, and the names of its candidates.

A prompt is data: `tasks/wordings/*.toml` holds one file a benchmark, with the source of its words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from types import MappingProxyType
from typing import Any, Literal, Self

from minchange_eval.core.items import ImageSource
from minchange_eval.core.queries import Direction, Query

ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth")
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

# What the candidates are called. The last four are for statements, whose candidates are false and true, in this order.
LabelStyle = Literal["letters", "ordinals", "yes/no", "true/false", "true/not", "A/B"]
LABELS: Mapping[LabelStyle, tuple[str, ...]] = MappingProxyType(
    {
        "letters": LETTERS,
        "ordinals": ORDINALS,
        "yes/no": ("No", "Yes"),
        "true/false": ("False", "True"),
        "true/not": ("Not", "True"),
        "A/B": ("B", "A"),
    }
)

# Whose words a prompt has: the authors' own; our words for what the authors' prompt says, part by part; or ours.
Origin = Literal["published", "rebuilt", "ours"]

Part = str | ImageSource
_IMAGE_PLACE = re.compile(r"\s*<image(?:_(\d+))?>\s*")


@dataclass(frozen=True)
class Template:
    """One question in words.

    Fields of `text`: `{images}` (where the images stand), `{caption}`, `{question}`, `{statement}` (as released),
    `{claim}` (the same inside a sentence: small first letter, no full stop), `{options}` (`(A) …, or (B) …`), `{lines}`
    (`A. …`, one a line), `{texts}` (the candidates as they are, one a line), `{labels}` (`A, B`), and whatever stands
    in the query's `fields`.

    Attributes:
        text: the words.
        labels: how the candidates are called in it, and so in the answer.
        reply_prefix: with what the form asked for begins (`Answer:`); scoring of labels looks behind it.
    """

    text: str
    labels: LabelStyle = "letters"
    reply_prefix: str = ""

    @property
    def fields(self) -> frozenset[str]:
        """The names in its text."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.text) if name)


@dataclass(frozen=True)
class Prompt:
    """The wording of one benchmark, a template for each direction.

    Attributes:
        name: how records call it.
        source: where the words come from.
        origin: whose words they are.
        templates: by direction; a direction without one cannot be asked.
        without_options: the same questions with no options named, for scoring the options' own words.
        match: does one image show one caption? Yes or no; for scoring pairs.
        released: names of the item's facts that hold the published question, one a query, in their order.
    """

    name: str
    source: str
    origin: Origin
    templates: Mapping[Direction, Template]
    without_options: Mapping[Direction, Template] = field(default_factory=dict)
    match: Template | None = None
    released: tuple[str, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """From plain values, as a TOML file holds them.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, unknown, or of another kind.
        """
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(content) - known):
            raise ValueError(f"unknown fields {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return cls(
            name=content["name"],
            source=content["source"],
            origin=content["origin"],
            templates=_templates(content["templates"]),
            without_options=_templates(content.get("without_options", {})),
            match=Template(**content["match"]) if "match" in content else None,
            released=tuple(content.get("released", ())),
        )

    @property
    def sha256(self) -> str:
        """Digest of the wording; two records with another digest are not comparable."""
        parts = [
            *(f"{direction}:{template}" for direction, template in sorted(self.templates.items())),
            *(f"{direction}?{template}" for direction, template in sorted(self.without_options.items())),
            repr(self.match),
            repr(self.released),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def template(self, direction: Direction) -> Template:
        """The template of a direction.

        Raises:
            ValueError: this benchmark does not ask in that direction.
        """
        if direction not in self.templates:
            raise ValueError(f"prompt {self.name}: has no template for {direction}")
        return self.templates[direction]


def _templates(content: Mapping[str, Any]) -> dict[Direction, Template]:
    return {Direction(direction): Template(**template) for direction, template in content.items()}


def applies(query: Query, prompt: Prompt) -> bool:
    """Whether the query has all that the prompt's template names; not every item has boxes."""
    return prompt.template(query.direction).fields <= _fields(query, ()).keys() | {"images"}


def placed_images(question: str) -> int:
    """How many images a released question says the place of."""
    return len(_IMAGE_PLACE.findall(question))


def candidate_labels(query: Query, prompt: Prompt) -> tuple[str, ...]:
    """The name of each candidate in the prompt and in the answer, in the query's order.

    Raises:
        ValueError: more candidates than names; such a question is for encoders only.
    """
    names = LABELS[prompt.template(query.direction).labels]
    if query.candidates > len(names):
        raise ValueError(f"{query.query_id}: {query.candidates} candidates are more than a prompt can name")
    return names[: query.candidates]


def render(query: Query, prompt: Prompt) -> tuple[Part, ...]:
    """The query as a chat turn: text and images in the order in which the model is to see them.

    A candidate set's question as released takes the place of the template; `<image_0>` in it, or `<image>`, is where
    an image stands, and without any the images come first.
    """
    labels = candidate_labels(query, prompt)
    if query.question and query.direction in (Direction.IMAGE_TO_TEXT, Direction.TEXT_TO_IMAGE):
        return _released(query)
    return _filled(prompt.template(query.direction), query, labels)


def render_without_options(query: Query, prompt: Prompt) -> tuple[Part, ...]:
    """The question alone; each of the query's texts could be the reply.

    Raises:
        ValueError: the prompt has no such wording for this direction.
    """
    if query.direction not in prompt.without_options:
        raise ValueError(f"prompt {prompt.name}: has no wording without options for {query.direction}")
    return _filled(prompt.without_options[query.direction], query, ())


def render_match(image: ImageSource, caption: str, prompt: Prompt) -> tuple[Part, ...]:
    """Whether one image shows one caption, to be answered with yes or no.

    Source: VQAScore, arXiv:2404.01291.

    Raises:
        ValueError: the prompt has no such wording.
    """
    if prompt.match is None:
        raise ValueError(f"prompt {prompt.name}: has no wording for one image and one caption")
    before, after = prompt.match.text.split("{images}")
    return _without_blanks(before.format(caption=caption), image, after.format(caption=caption))


def _filled(template: Template, query: Query, labels: tuple[str, ...]) -> tuple[Part, ...]:
    fields = _fields(query, labels)
    before, after = template.text.split("{images}")
    return _without_blanks(before.format(**fields), *query.images, after.format(**fields))


def _fields(query: Query, labels: tuple[str, ...]) -> dict[str, str]:
    named = [f"({label}) {text}" for label, text in zip(labels, query.texts, strict=False)]
    return {
        **dict(query.fields),
        "caption": query.texts[0],
        "question": query.question,
        "statement": query.question,
        "claim": _claim(query.question),
        "options": ", or ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else "".join(named),
        "lines": "\n".join(f"{label}. {text}" for label, text in zip(labels, query.texts, strict=False)),
        "texts": "\n".join(query.texts),
        "labels": ", ".join(labels),
    }


def _claim(statement: str) -> str:
    text = statement.strip().rstrip(".")
    return text[:1].lower() + text[1:]


def _released(query: Query) -> tuple[Part, ...]:
    pieces = _IMAGE_PLACE.split(query.question.strip())  # text, number, text, number, …, text
    texts, numbers = pieces[::2], pieces[1::2]
    if not numbers:
        return _without_blanks(*query.images, texts[0])
    if len(numbers) != len(query.images):
        raise ValueError(
            f"{query.query_id}: its released question places {len(numbers)} images, it has {len(query.images)}"
        )
    order = [int(number) for number in numbers if number is not None]
    if sorted(order) != list(range(len(query.images))):  # one image is often called by its number in the set
        order = list(range(len(query.images)))
    images = [query.images[place] for place in order]
    shown = [part for text, image in zip(texts, images, strict=False) for part in (text, image)]
    return _without_blanks(*shown, texts[-1])


def _without_blanks(*parts: Part) -> tuple[Part, ...]:
    return tuple(part for part in parts if not isinstance(part, str) or part)
