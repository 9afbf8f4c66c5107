"""Texts as a page may show them: bounded, and without characters that act on the text around them.

Markup is the business of the template's escaping. What escaping leaves alone is made visible here: control characters,
overrides of the writing direction (a U+202E turns round all that follows) and lone surrogates, which no UTF-8 file can
hold.
"""

from __future__ import annotations

import re

from minchange_eval.core.errors import printable

# C0 without tab and newline, DEL and C1, zero-width and direction marks, embeddings, overrides and isolates, surrogates
# and what is no character at all; joiners (U+200C, U+200D) stay, as Persian, Hindi and emoji are spelt with them.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\ufffe\uffff]"
)
_MARKS_IN_A_ROW = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)

BOUND = 600
_LONGEST_NAME = 80


def shown_text(text: object, bound: int = BOUND) -> str:
    """The text with acting characters as `⟨U+202E⟩`, cut to `bound` characters and saying so.

    More than four combining marks on one letter, which would be drawn over the lines around it, are cut as well.

    >>> shown_text("a\\u202eb", 80), shown_text("abcdef", 4)
    ('a⟨U+202E⟩b', 'abcd… (2 more characters)')
    """
    whole = str(text)
    kept = _MARKS_IN_A_ROW.sub(r"\1", whole[:bound])
    shown = _ACTING.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", kept)
    left = len(whole) - bound
    return f"{shown}… ({left:,} more characters)" if left > 0 else shown


def shown_name(name: str) -> str:
    """A name for terminals and tables: on one line, control characters as escapes, and cut where it is very long.

    >>> shown_name("a\\n"), len(shown_name("z" * 1000))
    ('a\\\\n', 80)
    """
    text = printable(name[: _LONGEST_NAME + 1])
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
