"""MED's eleven kinds of question about two pictures that differ in one thing.

The two pictures of a question are an original and one edit of it (`question_states`). Options are written before it is
decided which of them is true: four are made of the states; then the letter of the answer, fixed beforehand, picks the
one that the pictures are drawn for. Which picture comes first is fixed beforehand too; where that asks for it, the
whole question is turned round, all four options and the pictures. So each option is as likely as the others whatever
rule reads the text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.changes import Names
from minchange_eval.generators.procedural.question_states import KINDS, OPPOSITES_ONLY, State
from minchange_eval.generators.procedural.scene import Scene


@dataclass(frozen=True)
class Question:
    """A question before its pictures are drawn.

    Attributes:
        question: its wording.
        options: four sentences, without letters.
        answer: which of them is true.
        scenes: of the first and the second picture.
        clauses: what is true of the first and the second picture.
        edit_first: whether the first picture is the edited one and the second the original.
    """

    question: str
    options: tuple[str, ...]
    answer: int
    scenes: tuple[Scene, Scene]
    clauses: tuple[str, str]
    edit_first: bool


WORDINGS = (
    "What is the main difference between these two pictures?",
    "Which statement tells how the two images differ?",
    "In which way do the two images differ most?",
    "Which of these is true of the two images?",
    "Comparing both images, what is different?",
    "What sets the two photos apart?",
)
WORDINGS_WITH_ORDER = (
    *WORDINGS,
    "What has changed from the first image to the second?",
    "How does the second picture differ from the first?",
)

# Pairs of states (first picture, second picture) that four options may speak of; state 0 is the original.
_STAR = ((0, 1), (1, 0), (0, 2), (2, 0))
_FAN = ((0, 1), (0, 2), (0, 3), (1, 0))
_PAIRS = ((0, 1), (1, 0), (2, 3), (3, 2))


def ask(stream: BitStream, kind: str, answer: int, edit_first: bool, edge_px: int, categories: Names) -> Question:
    """A question of a kind whose answer is the option at a given place.

    Args:
        edit_first: whether the first picture is the edited one. Of a stream's two texts (as drawn, turned round) each
            has each of the four answers for one of the two orders, so that neither tells the answer.

    Raises:
        KeyError: no such kind.
    """
    states = KINDS[kind](stream, edge_px, categories)
    if kind not in OPPOSITES_ONLY:
        states = [states[0], *stream.shuffled(states[1:])]
        if len(states) == 4 and stream.below(10) < 3:
            return _about_one_picture(stream, states, answer, edit_first)
    forms = [_PAIRS] if kind in OPPOSITES_ONLY else [_STAR] if len(states) == 3 else [_STAR, _FAN]
    pairs = stream.shuffled(stream.choice(forms))
    if (states[pairs[answer][0]].scene != states[0].scene) != edit_first:
        pairs = [(second, first) for first, second in pairs]
    leads = stream.choice(("second", "second", "first", "either"))
    joint = stream.choice((", whereas", ", while", ", but"))
    options = tuple(
        _contrast(
            states[a].clause, states[b].clause, joint, leads == "first" or (leads == "either" and stream.one_in(2))
        )
        for a, b in pairs
    )
    question = stream.choice(WORDINGS_WITH_ORDER if leads == "second" else WORDINGS)
    first, second = (states[index] for index in pairs[answer])
    return Question(question, options, answer, (first.scene, second.scene), (first.clause, second.clause), edit_first)


def _contrast(first: str, second: str, joint: str, first_leads: bool) -> str:
    if first_leads:
        return f"In the first image, {first}{joint} in the second image, {second}."
    return f"In the second image, {second}{joint} in the first image, {first}."


def _about_one_picture(stream: BitStream, states: Sequence[State], answer: int, edit_first: bool) -> Question:
    """Options that all speak of the same picture; the other picture shows what another option claims of this one."""
    original, edit = states[0], stream.choice(states[1:])
    said = stream.shuffled(states)
    true = said[answer]
    of_original = true is original
    told = "first" if of_original != edit_first else "second"
    question = stream.choice(WORDINGS_WITH_ORDER if told == "second" else WORDINGS)
    options = tuple(f"In the {told} image, {state.clause}." for state in said)
    shown = (original, edit if of_original else true)
    first, second = reversed(shown) if edit_first else shown
    return Question(question, options, answer, (first.scene, second.scene), (first.clause, second.clause), edit_first)
