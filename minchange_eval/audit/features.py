"""Numbers that learned rules read: of each candidate, and of each candidate beside the others of its puzzle.

The place of a candidate is none of them. Where answers are dealt out evenly over the places, as they should be, whoever
learns from four fifths of them expects the wrong place in the last fifth, and such a rule would be far below chance on
the best of data. Places are judged by fixed rules, subset by subset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from minchange_eval.audit.puzzles import Floats, Pile, Puzzle
from minchange_eval.audit.text_rules import absence_words, punctuation, stray_blanks
from minchange_eval.audit.word_counts import alike, words_of


@dataclass(frozen=True)
class Features:
    """Named columns: [candidates, columns], dense or sparse."""

    names: tuple[str, ...]
    matrix: object


def beside_others(pile: Pile, columns: Mapping[str, Floats]) -> Features:
    """Each column as it is, less the mean of its puzzle, and as its rank there (0 lowest, 1 highest, ties in between).

    Columns that never vary within a puzzle keep only their own value.
    """
    names: list[str] = []
    made: list[Floats] = []
    for name, column in columns.items():
        names.append(name)
        made.append(column)
        apart = column - (np.add.reduceat(column, pile.starts) / pile.sizes)[pile.owner]
        if np.abs(apart).max(initial=0.0) > 0:
            names += [f"{name} less the others'", f"rank of {name}"]
            made += [apart, _ranks(pile, column)]
    return Features(tuple(names), np.column_stack(made).astype(np.float32))


def _ranks(pile: Pile, column: Floats) -> Floats:
    order = np.lexsort((column, pile.owner))
    first = np.diff(column[order], prepend=np.nan) != 0  # of equal values
    first[pile.starts] = True
    run = np.cumsum(first) - 1
    begin, length = np.flatnonzero(first), np.bincount(run)
    ranks = np.empty(len(column))
    ranks[order] = (begin + (length - 1) / 2)[run] - pile.starts[pile.owner]
    return np.asarray(ranks / np.maximum(pile.sizes - 1, 1)[pile.owner])


def shape_of_texts(pile: Pile, *, as_released: bool = False) -> Features:
    """Generic features of question and candidates: lengths, words, signs, likeness, what only one of them says.

    Args:
        as_released: with the stray blanks that the released texts have.
    """
    rows = [row for puzzle in pile.puzzles for row in _shapes(puzzle)]
    columns = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
    if as_released:
        columns["stray blanks"] = np.array(
            [stray_blanks(text) for puzzle in pile.puzzles for text in puzzle.released], dtype=np.float64
        )
    return beside_others(pile, columns)


def _shapes(puzzle: Puzzle) -> list[dict[str, float]]:
    likeness = alike(puzzle.texts)
    np.fill_diagonal(likeness, np.nan)
    said = [words_of(text) for text in puzzle.texts]
    asked = set(words_of(puzzle.context))
    everywhere = set.intersection(*map(set, said))
    rows = []
    for number, (text, words) in enumerate(zip(puzzle.texts, said, strict=True)):
        own = set(words)
        elsewhere = set().union(*(other for place, other in enumerate(said) if place != number))
        in_all_others = set.intersection(*(set(other) for place, other in enumerate(said) if place != number))
        rows.append(
            {
                "characters": len(text),
                "words": len(words),
                "characters a word": sum(map(len, words)) / max(1, len(words)),
                "different words": len(own) / max(1, len(words)),
                "words of its own": len(own - elsewhere),
                "words that all others have": len(in_all_others - own),
                "shared words": len(everywhere) / max(1, len(own)),
                "mean likeness": float(np.nanmean(likeness[number])),
                "nearest other": float(np.nanmax(likeness[number])),
                "farthest other": float(np.nanmin(likeness[number])),
                "words of the question": len(own & asked) / max(1, len(own)),
                "absence words": absence_words(text),
                "punctuation": punctuation(text),
                "commas": text.count(","),
                "full stop": float(text.endswith(".")),
                "capitals": sum(map(str.isupper, text)),
                "begins with a capital": float(text[:1].isupper()),
                "digits": sum(map(str.isdigit, text)),
                "candidates": puzzle.places,
                "words of question": len(asked),
            }
        )
    return rows


def words_of_texts(pile: Pile) -> Features:
    """TF-IDF of words, pairs of words, words that only this candidate has, and words that only it lacks.

    Where the same few options come again and again (true and false), the words of the question are joined to them:
    there the question is all that there is to read. Weights of words are taken from all texts, no answer is looked at.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    options = {text for puzzle in pile.puzzles for text in puzzle.texts}
    few = len(options) <= 20 and len(pile) > len(options)
    documents = [document for puzzle in pile.puzzles for document in _documents(puzzle, few)]
    vectorizer = TfidfVectorizer(
        analyzer=_as_is,
        min_df=2 if len(documents) > 400 else 1,
        max_features=20_000,
        sublinear_tf=True,
        dtype=np.float64,
    )
    try:
        matrix = vectorizer.fit_transform(documents)
    except ValueError:  # no word at all, or none that stands twice
        return Features(("nothing",), np.zeros((len(documents), 1)))
    return Features(tuple(vectorizer.get_feature_names_out()), matrix)


def _as_is(tokens: list[str]) -> list[str]:
    return tokens


def _documents(puzzle: Puzzle, with_question: bool) -> list[list[str]]:
    said = [words_of(text) for text in puzzle.texts]
    asked = words_of(puzzle.context) if with_question else ()
    documents = []
    for number, words in enumerate(said):
        others = [set(other) for place, other in enumerate(said) if place != number]
        alone = sorted(set(words) - set().union(*others))
        lacking = sorted(set.intersection(*others) - set(words))
        documents.append(
            [
                *words,
                *map(" ".join, pairwise(words)),
                *(f"only here: {word}" for word in alone),
                *(f"only not here: {word}" for word in lacking),
                *(f"{puzzle.texts[number]} | {word}" for word in asked),
            ]
        )
    return documents


def looks_of_images(pile: Pile, looks: Mapping[str, Sequence[float]], names: Sequence[str]) -> Features:
    """What `image_looks` measured of each candidate, and beside the others.

    Args:
        looks: by SHA-256 of the image.
        names: of what was measured.
    """
    rows = np.array([looks[image.sha256] for puzzle in pile.puzzles for image in puzzle.images], dtype=np.float64)
    columns = {name: rows[:, column] for column, name in enumerate(names)}
    return beside_others(pile, columns)
