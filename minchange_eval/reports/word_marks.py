"""Which words of captions that differ in one thing are the ones that differ, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

Run = tuple[bool, str]  # whether it is marked, and the text

# Scripts that write without blanks between words are compared letter by letter.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u2e80-\u2fff\u3005-\u3007\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_JOINING = "\u200c\u200d\ufe0e\ufe0f"  # joiners and variation selectors belong to the letter before them


def tokens(text: str) -> list[str]:
    """The text in words, blanks and signs; joined they are the text again.

    >>> tokens("A dog's bed."), tokens("左边的猫")
    (['A', ' ', "dog's", ' ', 'bed', '.'], ['左', '边', '的', '猫'])
    """
    found: list[str] = []
    last = ""
    for place, sign in enumerate(text):
        kind = _kind(sign)
        if sign in "'’" and last == "word" and _kind(text[place + 1 : place + 2]) == "word":
            kind = "word"
        if found and (kind == "mark" or (kind == last and kind in ("word", "blank"))):
            found[-1] += sign
        else:
            found.append(sign)
            last = "sign" if kind == "mark" else kind
    return found


def _kind(sign: str) -> str:
    if not sign or sign.isspace():
        return "blank"
    category = unicodedata.category(sign)
    if category[0] == "M" or sign in _JOINING:
        return "mark"
    if category[0] not in "LN" and sign != "_":
        return "sign"
    return "letter" if _UNSPACED.match(sign) else "word"


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
