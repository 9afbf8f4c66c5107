"""How a query is put to a chat model: the words around the images, and the names of its candidates."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from minchange_eval.core.items import ImageSource
from minchange_eval.core.queries import Direction, Query

ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth")
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

Part = str | ImageSource


@dataclass(frozen=True)
class Prompt:
    """The wording of one benchmark, a template for each direction.

    Fields of a template: `{images}` (where the images stand), `{caption}`, `{question}`, `{options}` (`(A) …, or
    (B) …`), `{lines}` (`A. …`, one a line) and `{labels}` (`A, B`).

    Attributes:
        name: how records call it.
        templates: by direction; a direction without one cannot be asked.
    """

    name: str
    templates: tuple[tuple[Direction, str], ...]

    @property
    def sha256(self) -> str:
        """Digest of the wording; two records with another digest are not comparable."""
        return hashlib.sha256(repr(self.templates).encode()).hexdigest()

    def template(self, direction: Direction) -> str:
        """The template of a direction.

        Raises:
            ValueError: this benchmark does not ask in that direction.
        """
        for known, template in self.templates:
            if known is direction:
                return template
        raise ValueError(f"prompt {self.name}: has no template for {direction}")


def candidate_labels(query: Query) -> tuple[str, ...]:
    """The name of each candidate in the prompt and in the answer: `First`, `Second` for images, `A`, `B` for texts.

    Raises:
        ValueError: more candidates than names; such a question is for encoders only.
    """
    names = ORDINALS if query.direction is Direction.TEXT_TO_IMAGE else LETTERS
    if query.candidates > len(names):
        raise ValueError(f"{query.query_id}: {query.candidates} candidates are more than a prompt can name")
    return names[: query.candidates]


def render(query: Query, prompt: Prompt) -> tuple[Part, ...]:
    """The query as a chat turn: text and images in the order in which the model is to see them."""
    labels = candidate_labels(query)
    before, after = prompt.template(query.direction).split("{images}")
    named = [f"({label}) {text}" for label, text in zip(labels, query.texts, strict=False)]
    fields = {
        "caption": query.texts[0],
        "question": query.question,
        "options": ", or ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else "".join(named),
        "lines": "\n".join(f"{label}. {text}" for label, text in zip(labels, query.texts, strict=False)),
        "labels": ", ".join(labels),
    }
    parts: list[Part] = [before.format(**fields), *query.images, after.format(**fields)]
    return tuple(part for part in parts if not isinstance(part, str) or part)
