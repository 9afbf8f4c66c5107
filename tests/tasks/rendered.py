"""Every wording in every direction, on items that do not change: what the snapshot holds.

`python -m tests.tasks.rendered` writes `prompts.txt` anew, for whoever means to change the words.
"""

from __future__ import annotations

from pathlib import Path

from minchange_eval.core.items import BytesImage, CandidateSet, ChoiceQuestion
from minchange_eval.core.prompts import Part, Prompt, render, render_match, render_without_options
from minchange_eval.core.queries import Direction, Query, queries_of_set, query_of_question, query_of_statement
from minchange_eval.data.vsr_relations import statement_fields
from minchange_eval.tasks.prompts import prompt, prompt_names

SNAPSHOT = Path(__file__).with_name("prompts.txt")

IMAGES = tuple(BytesImage(f"image {i}", bytes([i])) for i in range(9))
PAIR = CandidateSet("s", "object", IMAGES[:2], ("A cat on a mat.", "A dog on a mat."))
QUESTION = ChoiceQuestion(
    "q", "Object", IMAGES[:2], "What is different?", ("A. The cat is gone.  ", "B. A dog came.", "C. x", "C.y"), (1,)
)
BOXES = {"relation": "under", "subject_box": [0.1, 0.2, 0.3, 0.4], "object_box": [0.1, 0.1, 0.5, 0.2]}
STATEMENT = ChoiceQuestion(
    "v", "zeroshot_test", IMAGES[:1], "The cat is under the car.", ("false", "true"), (1,), BOXES
)


def query(direction: Direction, wording: Prompt) -> Query:
    """The fixed query of a direction."""
    if direction is Direction.STATEMENT:
        return query_of_statement(STATEMENT, statement_fields(STATEMENT))
    if direction is Direction.CHOICE:
        return query_of_question(QUESTION, as_released=wording.name == "med_raw")
    return queries_of_set(PAIR)[1 if direction is Direction.IMAGE_TO_TEXT else 3]


def all_rendered() -> str:
    """Every prompt under a headline, images as `<image 0>`."""
    return "\n".join(block for name in prompt_names() for block in _blocks(prompt(name)))


def _blocks(wording: Prompt) -> list[str]:
    blocks = []
    for direction, template in wording.templates.items():
        asked = query(direction, wording)
        blocks.append(f"=== {wording.name} {direction} {template.labels}\n{shown(render(asked, wording))}\n")
        if direction in wording.without_options:
            blocks.append(f"=== {wording.name} {direction} open\n{shown(render_without_options(asked, wording))}\n")
    if wording.match:
        blocks.append(f"=== {wording.name} match\n{shown(render_match(IMAGES[0], PAIR.captions[0], wording))}\n")
    return blocks


def shown(parts: tuple[Part, ...]) -> str:
    """A turn as text."""
    return "".join(part if isinstance(part, str) else f"<{part.name}>" for part in parts)


if __name__ == "__main__":
    SNAPSHOT.write_text(all_rendered(), encoding="utf-8")
