"""A smaller BPE vocabulary for a small CLIP: fewer merges, the same splitting of the words that matter.

CLIP's vocabulary has 49,408 tokens; at width 128 their embedding alone takes 12.6 MB in half precision, most of it
for tokens that a small model never meets. BPE applies merges by rank, so a subset of the merges in their old order
splits a word exactly as before whenever it holds each merge that the word uses. Any other word still has tokens,
only more of them.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

Merge = tuple[str, str]
SPECIAL = ("<pad>", "<start_of_text>", "<end_of_text>")
_WORDS_OF_CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
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


def vocabulary(merges: Iterable[Merge]) -> dict[str, int]:
    """Token ids: bytes, bytes that end a word, what each merge makes, then pad, start and end of text.

    The end of text has the largest id, which is where open_clip pools the text.
    """
    from open_clip.tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *("".join(merge) for merge in merges), *SPECIAL]
    return {token: number for number, token in enumerate(tokens)}


def tokenizer_files(merges: Sequence[Merge], context: int) -> dict[str, bytes]:
    """What a folder needs for open_clip (and transformers) to build this tokenizer; the same bytes on every machine.

    It splits as open_clip's `SimpleTokenizer` over the same merges does, if texts are cleaned and lower-cased as there
    (`tokenizer_kwargs: {"clean": "lower"}`).
    """
    pad, start, end = SPECIAL
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad,
        "bos_token": start,
        "eos_token": end,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
    return {
        "tokenizer.json": _json(_tokenizer(merges, vocabulary(merges))),
        "tokenizer_config.json": _json(settings),
    }


def _tokenizer(merges: Sequence[Merge], ids: dict[str, int]) -> dict[str, Any]:
    """The `tokenizers` library's own format, version 1.0."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    _, start, end = SPECIAL
    ends = {token: {"SpecialToken": {"id": token, "type_id": 0}} for token in (start, end)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": ids[token], "content": token, **flags} for token in SPECIAL],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": _WORDS_OF_CLIP}, "behavior": "Removed", "invert": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [ends[start], {"Sequence": {"id": "A", "type_id": 0}}, ends[end]],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (start, end)},
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": ids,
            "merges": [" ".join(merge) for merge in merges],
        },
    }


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=0) + "\n").encode()


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
