"""What is visibly broken in a text, in any script, without a dictionary."""

from __future__ import annotations

import re
from collections.abc import Callable

from minchange_eval.core.queries import option_text

_HTML = re.compile(r"&(?:[A-Za-z]{2,8}|#\d{1,6}|#[xX][0-9A-Fa-f]{1,5});|</?[A-Za-z][^<>]{0,80}>")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]{2,}")
# Unicode's overrides of direction and its invisible spaces; the joiners that scripts need are no fault
_UNSEEN = re.compile("[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INNER_BLANKS = re.compile(r"\S[ \u00a0]{2,}\S")
_GLUED_LETTER = re.compile(r"^\s*\(?[A-Z][.):](?=\w)")
_CAPTIONS = re.compile(
    r"\b(?:captions?|descriptions?|not\s+(?:\w+\s+)?(?:mentioned|described|specified|stated|noted|referenced))\b", re.I
)
# a word's last letter and what sound texts set behind it would often be UTF-8, were they bytes: Spaß“, « café »
_END_OF_WORD = re.compile("[Éß-öø-ÿ][\u00a0«»“”‘’…–—‹›]+")
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_OPENING = set(_BRACKETS.values())
# „so“, “so”, ”so”, »so«, « so »: which of them opens is a matter of language
_QUOTES = (re.compile("[„“”]"), re.compile("[«»]"))
_NUMBER = re.compile(r"^\s*\w{1,2}\)")


def is_empty(text: str) -> bool:
    """Nothing but blanks, or an option of a letter only."""
    return not option_text(text)


def has_edge_blanks(text: str) -> bool:
    """It begins or ends with blanks."""
    return bool(text) and text != text.strip()


def has_inner_blanks(text: str) -> bool:
    """Two blanks or more between words."""
    return bool(_INNER_BLANKS.search(text))


def has_control_characters(text: str) -> bool:
    """Control characters, line breaks among them, or invisible ones that turn the direction."""
    return bool(_CONTROL.search(text.strip()) or _UNSEEN.search(text))


def is_mojibake(text: str) -> bool:
    """UTF-8 that was read as Windows-1252 or Latin-1, or a character that was replaced since it could not be read.

    >>> is_mojibake("the childâ€™s toy"), is_mojibake("déjà vu")
    (True, False)
    """
    return "\ufffd" in text or any(
        _was_utf8(run) and not _END_OF_WORD.fullmatch(run) for run in _NOT_ASCII.findall(text)
    )


def _was_utf8(run: str) -> bool:
    try:
        b"".join(map(_byte_of, run)).decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return False
    return True


def _byte_of(character: str) -> bytes:
    # as browsers read Windows-1252: bytes that it leaves undefined become control characters of Latin-1
    return character.encode("latin-1" if "\x80" <= character <= "\x9f" else "cp1252")


def has_html(text: str) -> bool:
    """An entity (`&amp;`) or a tag."""
    return bool(_HTML.search(text))


def is_unbalanced(text: str) -> bool:
    """Quotes or brackets that are opened and not closed, or the other way round.

    >>> is_unbalanced('the sign "stop'), is_unbalanced("the cat (left) and the dog's bowl")
    (True, False)
    """
    text = _NUMBER.sub("", option_text(text))
    if text.count('"') % 2 and not re.search(r'\d"', text):  # inches
        return True
    if any(len(quote.findall(text)) % 2 for quote in _QUOTES):
        return True
    open_ones: list[str] = []
    for character in text:
        if character in _OPENING:
            open_ones.append(character)
        elif character in _BRACKETS and (not open_ones or open_ones.pop() != _BRACKETS[character]):
            return True
    return bool(open_ones)


def has_glued_letter(option: str) -> bool:
    """An option whose text follows its letter without a blank (`A.The cat`)."""
    return bool(_GLUED_LETTER.match(option))


def speaks_of_captions(text: str) -> bool:
    """It speaks of a caption or of what is (not) mentioned, where only images are shown; English only."""
    return bool(_CAPTIONS.search(text))


Fault = Callable[[str], bool]
# name -> what it counts, and how a text is judged
TEXT_FAULTS: dict[str, tuple[str, Fault]] = {
    "empty_texts": ("empty text", is_empty),
    "edge_blanks": ("text that begins or ends with blanks", has_edge_blanks),
    "inner_blanks": ("several blanks between words", has_inner_blanks),
    "control_characters": ("control or invisible characters, line breaks", has_control_characters),
    "mojibake": ("mojibake: text decoded in a wrong encoding", is_mojibake),
    "html": ("HTML entity or tag", has_html),
    "unbalanced": ("quotes or brackets not closed", is_unbalanced),
}
