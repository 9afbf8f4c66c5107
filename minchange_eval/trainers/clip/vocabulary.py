"""A smaller BPE vocabulary for a small CLIP: fewer merges, the same splitting of the words that matter.

CLIP's vocabulary has 49,408 tokens; at width 128 their embedding alone takes 12.6 MB in half precision, most of it
for tokens that a small model never meets. BPE applies merges by rank, so a subset of the merges in their old order
splits a word exactly as before whenever it holds each merge that the word uses. Any other word still has tokens,
only more of them.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

Merge = tuple[str, str]
_WORD = re.compile(r"[^\W\d_]+|\d|[^\s\w]+")


def clip_merges() -> list[Merge]:
    """The 48,894 merges of CLIP's tokenizer, by rank, as open_clip bundles them."""
    from open_clip.tokenizer import default_bpe

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as lines:
        ranked = lines.read().split("\n")[1 : 49152 - 256 - 2 + 1]
    return [_merge(line) for line in ranked]


def trimmed_merges(merges: Sequence[Merge], texts: Iterable[str], keep_first: int) -> list[Merge]:
    """The first `keep_first` merges and whatever else the words of `texts` need, in the old order.

    Args:
        merges: all merges, by rank.
        texts: captions or words; lower-cased as CLIP's tokenizer does.
        keep_first: how many of the most frequent merges to keep regardless, for words outside `texts`.
    """
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    words = {word for text in texts for word in _WORD.findall(text.lower())}
    used = {rank for word in words for rank in _ranks_used(word, ranks)}
    return [merge for rank, merge in enumerate(merges) if rank < keep_first or rank in used]


def merges_file(merges: Iterable[Merge]) -> bytes:
    """The bytes of a merges file that open_clip's `SimpleTokenizer(bpe_path=...)` reads; the same on every machine."""
    lines = ["#version: a subset of CLIP's merges, in their order", *(" ".join(merge) for merge in merges)]
    return gzip.compress("\n".join(lines).encode("utf-8"), mtime=0)


def vocabulary_size(merges: Sequence[Merge]) -> int:
    """Tokens of a tokenizer with these merges: 256 bytes, 256 bytes that end a word, merges, start and end of text."""
    return 2 * 256 + len(merges) + 2


def _merge(line: str) -> Merge:
    first, second = line.split()
    return first, second


def _ranks_used(word: str, ranks: dict[Merge, int]) -> list[int]:
    """Ranks of the merges that BPE applies to one word, as open_clip's `SimpleTokenizer.bpe` does."""
    from open_clip.tokenizer import bytes_to_unicode

    symbols = bytes_to_unicode()
    letters = [symbols[byte] for byte in word.encode("utf-8")]
    pieces = [*letters[:-1], letters[-1] + "</w>"]
    used: list[int] = []
    while len(pieces) > 1:
        rank, pair = min((ranks.get(pair, len(ranks)), pair) for pair in pairwise(pieces))
        if rank == len(ranks):
            break
        used.append(rank)
        pieces = _joined(pieces, pair)
    return used


def _joined(pieces: list[str], pair: Merge) -> list[str]:
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
