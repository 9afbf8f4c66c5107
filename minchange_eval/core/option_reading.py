"""Which option a reply gives in the option's own words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from minchange_eval.core.reply_text import REJECTING, plain_words

Words = tuple[str, ...]

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def words_of(text: str) -> Words:
    """Its words, case folded, without punctuation."""
    return tuple(_folded(one[0]) for one in _WORD.finditer(text))


def _folded(word: str) -> str:
    return word.casefold().replace("’", "'")


_ANSWER_IS = re.compile(
    r"(?:(?:the|my) )?(?:(?:correct|right|best|final|most accurate) )?(?:answer|description|caption)"
    r"(?: is ?:?|:) ?",
    re.IGNORECASE,
)
# A question, a sign of rejection, or a walk through the options that breaks off at the next.
_DOUBTED = re.compile(rf"[?{REJECTING}]|^is (?:it|this|that)\b|[.;\n] ?(?:option|choice)\W*$", re.IGNORECASE)
# A reply may put these around an option; any other word could change what it says.
_AROUND = frozenset(
    words_of(
        "the a an answer option choice caption description statement is it it's this that image picture photo shows "
        "depicts describes described matches match best better correct right i think believe choose say would of in by "
        "with to most accurate accurately based on given shown following"
    )
)


def read_option(plain: str, options: Sequence[str], labels: Sequence[str]) -> tuple[int | None, str]:
    """The position of the option that plain words are, or name beside nothing but set phrases, and the words around it.

    Options that are equal without case, punctuation and blanks are never read, nor is one that is called like a label
    or consists of set phrases only; an option inside a longer one counts only where it stands alone.

    >>> read_option("The image shows two dogs.", ["Two dogs", "Dogs", "Two dogs and a cat"], "ABC")[0]
    0
    >>> read_option("There are no two dogs.", ["Two dogs", "Dogs"], "AB")[0] is None
    True
    """
    spoken = [words_of(plain_words(option)) for option in options]
    named = {label.casefold() for label in labels}
    unique = {
        words: position
        for position, words in enumerate(spoken)
        if words and spoken.count(words) == 1 and not (len(words) == 1 and words[0] in named)
    }
    stated = _ANSWER_IS.match(plain)
    for reply in (plain, plain[stated.end() :] if stated else plain):
        if "?" not in reply and words_of(reply) in unique:
            return unique[words_of(reply)], ""
    return (None, "") if len(plain) > 4000 or _DOUBTED.search(plain) else _named(plain, unique, set(spoken))


def _named(plain: str, unique: dict[Words, int], spoken: set[Words]) -> tuple[int | None, str]:
    """The one option that is named among set phrases; where one option is inside another, the longer is named."""
    found = list(_WORD.finditer(plain))
    words = tuple(_folded(one[0]) for one in found)
    lengths = sorted({len(option) for option in spoken if option}, reverse=True)
    place, named, around = 0, [], []
    while place < len(words):
        length = next((n for n in lengths if place + n <= len(words) and words[place : place + n] in spoken), 0)
        if length and not _is_set_phrase(words[place : place + length]):
            named.append(range(place, place + length))
        else:
            length = 1
            around.append(words[place])
        place += length
    if len(named) != 1 or not set(around) <= _AROUND:
        return None, ""
    option = words[named[0].start : named[0].stop]
    before, after = plain[: found[named[0].start].start()], plain[found[named[0].stop - 1].end() :]
    return unique.get(option), f"{before} , {after}"


def _is_set_phrase(words: Words) -> bool:
    """Whether beside other words these may be no option: `the right option`, `option 2`."""
    return set(words) <= _AROUND or all(word.isdigit() for word in words)


def starts_with(rest: str, options: Sequence[str]) -> int | None:
    """The position of the longest option with which the words after a label begin; None if none, or it is not alone."""
    words, spoken = words_of(rest), [words_of(plain_words(option)) for option in options]
    begun = [option for option in spoken if option and words[: len(option)] == option]
    longest = max(begun, key=len, default=())
    return spoken.index(longest) if spoken.count(longest) == 1 else None


def without_start(rest: str, option: str) -> str:
    """The words after a label without the option's own, if they begin with those.

    >>> without_start(": a cat, I think", "A cat.")
    ': , I think'
    """
    own = words_of(plain_words(option))
    found = [one for one, _ in zip(_WORD.finditer(rest), own, strict=False)]
    if not own or tuple(_folded(one[0]) for one in found) != own:
        return rest
    return rest[: found[0].start()] + rest[found[-1].end() :]
