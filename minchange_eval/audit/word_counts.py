"""Words of a text, and how alike texts are by the words that they share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST_CHARACTERS = 20_000  # of one text; what follows cannot matter to a rule, and a page-long option stays quick
_WORD = re.compile(r"\w+(?:'\w+)?")


@lru_cache(maxsize=200_000)
def words_of(text: str) -> tuple[str, ...]:
    """Words in lower case, in their order.

    >>> words_of("The cat isn't on Mat 3.")
    ('the', 'cat', "isn't", 'on', 'mat', '3')
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
