"""The words of a chat model's reply: without its reasoning, its marks of format and what cannot be seen."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 20_000  # characters; no reply that answers is longer, and each pattern reads that many in linear time

# Signs by which a reply rejects what it names; every other emoji is decoration.
REJECTING = "❌❎✗✘✖🚫⛔👎🤔🤷❓"

_REASONING = r"(?:think(?:ing)?|thought|reasoning|analysis)"
_OPENED = re.compile(rf"<{_REASONING}>|◁think▷", re.IGNORECASE)
_CLOSED = re.compile(rf"</{_REASONING}>|◁/think▷", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[^<>|]{1,40}\|>|</?s>|<(?:eos|end_of_turn|end_of_utterance)>")
_MARKS = r"[\s*`_#\"$]*"  # bold type may begin before the words that introduce an answer
_SPEAKER = re.compile(rf"{_MARKS}(?:assistant|model) ?:", re.IGNORECASE)
_ANSWER_TAG = re.compile(r"<answer>|<\|begin_of_box\|>", re.IGNORECASE)
_CHINESE_ANSWER = re.compile(rf"{_MARKS}(?:正确)?答案(?:[是为] ?:?|:) ?")

# Letters and signs of another shape, one of ours each: full-width, mathematical, circled, bracketed. No roman numerals:
# Ⅰ is a one, no I.
_SHAPED = re.compile("[\uff01-\uff5e\U0001d400-\U0001d7ff\u24b6-\u24e9\u249c-\u24b5]")
_SQUARED = {0x1F170 + place: letter for place, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
_SIGNS = _SQUARED | str.maketrans("。、“”„‘’【】「」", '.,"""\'\'[]""')


def plain_words(text: str) -> str:
    """A reply as its reader sees it: one blank or line break between words, no marks of format.

    Empty when the reply ends while it still reasons, and when more than 20,000 characters are left.

    >>> plain_words("<think>A? No.</think> **Answer:**  `B`")
    'Answer: B'
    """
    spoken = _CLOSED.split(text)[-1]
    if len(spoken) > LONGEST or _OPENED.search(spoken):
        return ""
    spoken = _seen(spoken)
    spoken = _ANSWER_TAG.sub("\nanswer: ", spoken)
    spoken = _SPECIAL.sub(" ", re.sub("</answer>", "\n", spoken, flags=re.IGNORECASE))
    spoken = _without_tex(spoken)
    spoken = _SPEAKER.sub("", spoken, count=1) if _SPEAKER.match(spoken) else spoken
    spoken = _CHINESE_ANSWER.sub("answer: ", spoken, count=1) if _CHINESE_ANSWER.match(spoken) else spoken
    spoken = re.sub(r"[*`_#\"$]+", "", spoken)
    spoken = re.sub(r"(?<![\w'])'([^'\n]{1,40})'(?!\w)", r"\1", spoken)
    spoken = re.sub(r"(?m)^[^\S\n]*[>•‣–-] +", "", spoken)
    spoken = re.sub(r"[^\S\n]+", " ", spoken)
    return re.sub(r" ?\n[ \n]*", "\n", spoken).strip()


def _without_tex(text: str) -> str:
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf) ?\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\boxed ?\{([^{}]*)\}", r"\nanswer: \1\n", text)
    return re.sub(r"\\[()\[\]]", " ", text)


def _seen(text: str) -> str:
    """Without control characters and decoration; letters of another shape as ours."""
    if text.isascii() and text.isprintable():
        return text
    text = _SHAPED.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text.translate(_SIGNS))
    return "".join(map(_seen_character, text))


def _seen_character(character: str) -> str:
    if character.isspace() or character in REJECTING:
        return character
    category = unicodedata.category(character)
    if category == "So":
        return " "
    return "" if category in ("Cc", "Cf") or "\ufe00" <= character <= "\ufe0f" else character
