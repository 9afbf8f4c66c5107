"""Which words of captions that differ in one thing are the ones that differ, in any script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

Run = tuple[bool, str]  # whether it is marked, and the text

# Scripts that write without blanks between words are compared letter by letter, marks and joiners staying with theirs.
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u2e80-\u2fff\u3005-\u3007\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_ABOVE = (
    "\u0300-\u036f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u102b-\u103e\u17b4-\u17d3"
    "\u3099\u309a\u200c\u200d\ufe00-\ufe0f"
)
_TOKEN = re.compile(
    rf"[{_UNSPACED}][{_ABOVE}]*"
    rf"|(?:(?![{_UNSPACED}])[\w{_ABOVE}])+(?:['’](?:(?![{_UNSPACED}])[\w{_ABOVE}])+)*"
    rf"|\s+|[^\w\s][{_ABOVE}]*"
)


def tokens(text: str) -> list[str]:
    """The text in words, blanks and signs; joined they are the text again.

    >>> tokens("A dog's bed."), tokens("左边的猫")
    (['A', ' ', "dog's", ' ', 'bed', '.'], ['左', '边', '的', '猫'])
    """
    return _TOKEN.findall(text)


def marked(texts: Sequence[str]) -> list[list[Run]]:
    """Each text as runs; marked is what is not matched in every one of the others.

    Words are matched whatever their case. Cost: texts squared times their lengths multiplied; bound both before.

    >>> marked(["a red cat", "a blue cat"])[0]
    [(False, 'a '), (True, 'red'), (False, ' cat')]
    """
    parts = [tokens(text) for text in texts]
    folded = [[token.casefold() for token in part] for part in parts]
    same = [[True] * len(part) for part in parts]
    for i, one in enumerate(folded):
        for j, other in enumerate(folded[:i]):
            found_i: set[int] = set()
            found_j: set[int] = set()
            for match in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks():
                found_i.update(range(match.a, match.a + match.size))
                found_j.update(range(match.b, match.b + match.size))
            same[i] = [was and place in found_i for place, was in enumerate(same[i])]
            same[j] = [was and place in found_j for place, was in enumerate(same[j])]
    return [_runs(part, kept) for part, kept in zip(parts, same, strict=True)]


def _runs(part: Sequence[str], same: Sequence[bool]) -> list[Run]:
    """Neighbours of one kind together; a blank is marked only between marked words."""
    marks = [not kept for kept in same]
    for place, token in enumerate(part):
        if token.isspace():
            inside = 0 < place < len(part) - 1
            marks[place] = inside and not same[place - 1] and not same[place + 1]
    runs: list[Run] = []
    for mark, token in zip(marks, part, strict=True):
        if runs and runs[-1][0] == mark:
            runs[-1] = (mark, runs[-1][1] + token)
        else:
            runs.append((mark, token))
    return runs
