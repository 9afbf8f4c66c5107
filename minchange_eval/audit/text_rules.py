"""Rules that need no data: which candidate a reader of the text alone would take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from minchange_eval.audit.puzzles import Floats, Pile, Puzzle
from minchange_eval.audit.word_counts import MARKS, alike, words_of
from minchange_eval.data.audit_results import Sees

_MOST_PLACES = 10  # constant places beyond the tenth are no rule that anybody follows
_ABSENCE = re.compile(
    r"\b(?:no|not|none|nothing|nobody|never|without|lacks?|lacking|missing|absent|absence|removed|gone|disappear\w*|"
    r"vanish\w*|unseen|unmentioned|excludes?|omits?|omitted|cannot|no longer|\w+n't)\b",
    re.IGNORECASE,
)
_PUNCTUATION = re.compile(rf"[^\w\s{MARKS}]")
_LETTER = re.compile(r"^\s*\(?[A-Z][.):]")

Score = Callable[[Pile], Floats]


@dataclass(frozen=True)
class FixedRule:
    """A rule: its name, what it sees, what it says in one line, and the score that it gives each candidate."""

    name: str
    sees: Sees
    says: str
    score: Score


def fixed_rules(pile: Pile) -> tuple[FixedRule, ...]:
    """Every fixed rule that has something to read in these puzzles."""
    rules = list(_place_rules(pile)) if pile.ordered else []
    if pile.puzzles and pile.puzzles[0].texts:
        rules += TEXT_RULES
        rules += RELEASED_RULES if any(_stray(text) for p in pile.puzzles for text in p.released) else ()
    return tuple(rules)


def _place_rules(pile: Pile) -> Iterator[FixedRule]:
    for place in range(min(int(pile.sizes.max()), _MOST_PLACES)):
        letter = chr(ord("A") + place)
        name, says = (f"always_{letter}", f"the option {letter}")
        if pile.asks != "answer":
            name, says = (f"always_{place + 1}", f"the candidate at place {place + 1}")
        yield FixedRule(name, "place", says, partial(_at_place, place))


def _at_place(place: int, pile: Pile) -> Floats:
    return np.asarray(pile.place == place, dtype=np.float64)


def _each(score: Callable[[str], float]) -> Score:
    return lambda pile: np.array([score(text) for puzzle in pile.puzzles for text in puzzle.texts], dtype=np.float64)


def _each_released(score: Callable[[str], float]) -> Score:
    return lambda pile: np.array([score(text) for puzzle in pile.puzzles for text in puzzle.released], dtype=np.float64)


def _minus(score: Score) -> Score:
    return lambda pile: -score(pile)


def _likeness(pile: Pile) -> Floats:
    return np.concatenate([_mean_likeness(puzzle) for puzzle in pile.puzzles])


def _mean_likeness(puzzle: Puzzle) -> Floats:
    matrix = alike(puzzle.texts)
    mean: Floats = (matrix.sum(axis=1) - 1) / max(1, len(matrix) - 1)
    return mean


def _echo(pile: Pile) -> Floats:
    scores = []
    for puzzle in pile.puzzles:
        asked = set(words_of(puzzle.context))
        said = [set(words_of(text)) for text in puzzle.texts]
        scores += [len(words & asked) / max(1, len(words)) for words in said]
    return np.array(scores, dtype=np.float64)


def absence_words(text: str) -> int:
    """How often a text says that something is not there.

    >>> absence_words("The cat is not there, no dog is mentioned."), absence_words("A cat on a mat.")
    (2, 0)
    """
    return len(_ABSENCE.findall(text))


def punctuation(text: str) -> int:
    """Characters that are neither letters, digits, blanks nor marks of letters.

    >>> punctuation("It's a cat, a dog."), punctuation("बिल्ली।")
    (3, 1)
    """
    return len(_PUNCTUATION.findall(text))


def _stray(released: str) -> bool:
    """Whether blanks stand at an end of it, or none behind its letter."""
    body = _LETTER.sub("", released)
    return body != body.rstrip() or (body != released and not body.startswith(" "))


def stray_blanks(released: str) -> int:
    """Blanks behind the text as released, and a missing one behind its letter.

    >>> stray_blanks("A. a cat  "), stray_blanks("B.a dog"), stray_blanks("C. a cow")
    (2, 1, 0)
    """
    body = _LETTER.sub("", released)
    return len(body) - len(body.rstrip()) + (body != released and not body.startswith(" "))


TEXT_RULES = (
    FixedRule("longest", "text", "the longest", _each(len)),
    FixedRule("shortest", "text", "the shortest", _minus(_each(len))),
    FixedRule("most_alike", "text", "the one most like the others", _likeness),
    FixedRule("least_alike", "text", "the one least like the others", _minus(_likeness)),
    FixedRule("most_punctuation", "text", "the one with the most punctuation", _each(punctuation)),
    FixedRule("least_punctuation", "text", "the one with the least punctuation", _minus(_each(punctuation))),
    FixedRule("absence", "text", "the one that most often says that something is not there", _each(absence_words)),
    FixedRule("no_absence", "text", "the one that least often says so", _minus(_each(absence_words))),
    FixedRule("echo", "text", "the one that shares most words with the question", _echo),
)
RELEASED_RULES = (
    FixedRule(
        "clean_ends", "released text", "the one without stray blanks as released", _minus(_each_released(stray_blanks))
    ),
    FixedRule("stray_blanks", "released text", "the one with most stray blanks", _each_released(stray_blanks)),
)
