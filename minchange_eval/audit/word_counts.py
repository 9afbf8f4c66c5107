"""Words of a text, and how alike texts are by the words that they share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

MOST_CHARACTERS = 20_000  # of one text; what follows cannot matter to a rule, and a page-long option stays quick
# Marks and joiners stand inside words (Hindi, Arabic, Hebrew), but Python's \w leaves them out.
MARKS = "\u200c\u200d" + "".join(chr(code) for code in range(0x300, 0x2100) if category(chr(code)).startswith("M"))
_NO_BLANKS = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTERS = rf"(?:[^\W{_NO_BLANKS}]|[{MARKS}])+"
_WORD = re.compile(rf"[{_NO_BLANKS}][{MARKS}]*|{_LETTERS}(?:'{_LETTERS})?")


@lru_cache(maxsize=200_000)
def words_of(text: str) -> tuple[str, ...]:
    """Words in lower case, in their order; where a script has no blanks between words (Chinese, Thai), characters.

    >>> words_of("The cat isn't on Mat 3.")
    ('the', 'cat', "isn't", 'on', 'mat', '3')
    >>> words_of("两只cat。"), len(words_of("बिल्ली सो रही है"))
    (('两', '只', 'cat'), 4)
    """
    return tuple(_WORD.findall(text[:MOST_CHARACTERS].lower()))


def alike(texts: Sequence[str]) -> NDArray[np.float64]:
    """[texts, texts] Dice's coefficient of their words, counted as often as they stand: 1 for the same words.

    Two texts without words are as alike as can be.
    """
    counts = [Counter(words_of(text)) for text in texts]
    sizes = [counter.total() for counter in counts]
    matrix = np.ones((len(texts), len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            both = sizes[i] + sizes[j]
            shared = sum(min(n, counts[j][word]) for word, n in counts[i].items())
            matrix[i, j] = matrix[j, i] = 2 * shared / both if both else 1.0
    return matrix
