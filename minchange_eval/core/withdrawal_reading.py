"""Whether what follows a label leaves it as the answer: nothing takes it back, doubts it or rejects it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from minchange_eval.core.doubt_words import CORRECTION, DENIAL, DOUBT, REJECTION
from minchange_eval.core.reply_text import REJECTING

NOUNS = r"(?:image|picture|photo|photograph|option|choice|caption|description|one)\b"
_SENTENCE_END = re.compile(r"([.!;\n]+)")

# Anywhere after an answer these take it back or doubt it; right behind it, a few more do.
_WITHDRAWN = re.compile(
    rf"\b(?:{DOUBT}|{CORRECTION}|{REJECTION}|neither|no(?= ?[.,;!?)]|$)|others|remaining|"
    rf"(?<!each )other(?= {NOUNS}| (?:options|choices|answers|ones)\b| ?[.,;!?]|$))\b|[{REJECTING}]",
    re.IGNORECASE,
)
_WITHHELD = re.compile(
    r"[)\]]? ?[(]?(?:(?:or|nor|if|unless|to)\b|\w{2,6}n['’]t\b|[/&|+]|[.:,;–-]? ?(?:not|never)\b)|.*\?",
    re.IGNORECASE | re.DOTALL,
)

# A sentence of these about the answer itself denies it.
_DENIES = re.compile(rf"\b(?:{DENIAL}|lacks?|misses|missing|absent|should|out|too|silly)\b|n['’]t\b", re.IGNORECASE)
_OPTION = r"(?:option|answer|choice|letter)"
_ABOUT_OPTION = re.compile(rf"\b(?:this|that|the|such an?) (?:one|{_OPTION})\b", re.IGNORECASE)
_ABOUT_IT = re.compile(
    rf"\b(?:this|i|we)\b|{_ABOUT_OPTION.pattern}|\b(?:the|that) (?:statement|claim|caption|description|sentence)\b|"
    r"(?:\b(?:so|but|and|as|because|since) |, |^\W{0,5})that\b|^\W{0,5}(?:(?:so|but|and|as|because|since) )?it\b",
    re.IGNORECASE,
)
_FRAGMENT = re.compile(
    r"\W{0,5}(?:\w{2,6}n['’]t\b|(?:does|do|is|are|can|will) not\b|cannot\b|not\b|(?:\w{1,20} ){1,2}not\W*$|"
    r"(?:pass|negative|absent|out)\W*$|too \w|(?:without|missing|lacks|lacking|misses|mentions|"
    r"describes|applies|would|could|should|only|next)\b|(?:none|nothing) (?:of|like)(?! the above)\b|no (?:such|"
    r"differences?|changes?|match|evidence|signs?)\b)",
    re.IGNORECASE,
)
_UNFIT = re.compile(
    r"(?:\b(?:not|cannot|never|no|hardly|nothing|none)|n['’]t)(?! other\b)(?: \w{1,20}){0,3} "
    r"(?:evidence|hint|supports?|match(?:es|ed|ing)?|fit(?:s|ting)?|case|correct|true|accurate|answer|difference|describe[sd]?|aligns?|aligned|"
    r"corresponds?|supported|appl(?:y|ies)|changed|different|(?<!the )right(?! (?:side|of|hand|half|edge|corner)))\b",
    re.IGNORECASE,
)
_UNCHANGED = re.compile(
    r"\b(?:still|unchanged|identical|remains?|same in both|no change|(?:in|for|of) both (?:images|pictures|photos))\b",
    re.IGNORECASE,
)
_CONTRASTS = re.compile(r"\b(?:but|while|whereas|except)\b", re.IGNORECASE)
_OTHER_PLACE = re.compile(
    r"(?<!\bin the )\b(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|last|final|next|previous|"
    r"[1-9](?:st|nd|rd|th)) (?:option|choice|one)\b",
    re.IGNORECASE,
)

_THE_OTHERS = (
    r"(?:all |both )?(?:of )?(?:the )?(?:(?:other|remaining) (?:(?:two|three|four) )?"
    r"(?:options?|choices?|descriptions?|captions?|answers?|images?|pictures?|ones?)|others|rest)"
)
_ARE_WRONG = (
    r"(?:(?:is|are)(?: (?:all|both|clearly|also|simply))? (?:wrong|incorrect|false|inaccurate|"
    r"not (?:correct|right|accurate|true|supported))|(?:do|does)(?: not|n['’]t) (?:match|fit|describe|align|apply))\b"
)
_EXPLANATION = re.compile(r"[)\]]?\.?\n(?:explanation|reason|reasoning|rationale|justification)\b", re.IGNORECASE)

_FITS = re.compile(r"\b(?:match|fit|align|correspond|describ|exact|correct|right|better|best|the one\b)", re.IGNORECASE)


def is_withdrawn(rest: str) -> bool:
    """Whether words behind an answer take it back, doubt it or ask, in whatever they speak of."""
    return bool(_WITHHELD.match(rest) or _WITHDRAWN.search(rest))


def is_denied(rest: str, *, of_statement: bool = False) -> bool:
    """Whether a sentence behind an answer denies it: `this does not match`, `that cannot be right`, `doesn't fit`.

    Args:
        rest: the words behind the label.
        of_statement: the labels say whether a statement is true, so `it is not` may be what the label says; then only
            what is said of the option or the answer denies it.
    """
    about = _ABOUT_OPTION if of_statement else _ABOUT_IT
    for sentence in _SENTENCE_END.split(rest)[::2]:
        subject = about.search(sentence)
        if subject and _DENIES.search(sentence, subject.end()):
            return True
        if not of_statement and (_FRAGMENT.match(sentence) or _UNFIT.search(sentence)):
            return True
    return False


def walks_through(rest: str) -> bool:
    """Whether words behind a letter may discuss it on the way to another: nothing has changed, it is in both images."""
    sentences = _SENTENCE_END.split(rest)[::2]
    return any(_UNCHANGED.search(sentence) and not _CONTRASTS.search(sentence) for sentence in sentences)


def names_other_place(rest: str) -> bool:
    """Whether words behind a letter name a candidate by its place, `the third option`; `in the first one` is an image.

    >>> names_other_place(". But the third option is right"), names_other_place(". In the first one, a cat")
    (True, False)
    """
    return bool(_OTHER_PLACE.search(rest))


def without_rejected(rest: str, label: str, labels: Sequence[str], mention: str) -> str:
    """The words behind a stated answer without sentences that call the other candidates wrong.

    >>> without_rejected(". A is wrong, as the dog is grey. So.", "B", "AB", "[AB]")
    '. . So.'
    """
    names = "|".join(re.escape(name) if len(name) == 1 else f"(?i:{re.escape(name)})" for name in labels)
    name = rf"[(]?(?:{names})[)]?(?i: (?:image|picture|photo))?"
    listed = (
        rf"(?i:(?:the )?(?:(?:option|choice|caption|description)s? )?){name}(?:(?:, and |, | and | or ){name}){{0,8}}"
    )
    rejected = re.compile(rf"\s?(?i:both )?({listed}|(?i:{_THE_OTHERS})) (?i:{_ARE_WRONG})(.*)")
    first, *others = _SENTENCE_END.split(rest)
    for place, sentence in enumerate(others):
        found = rejected.fullmatch(sentence)
        own = found and re.search(rf"\b{re.escape(label)}\b", found[1], re.IGNORECASE if len(label) > 1 else 0)
        if found and not own and not re.search(mention, found[2]) and not is_withdrawn(found[2]):
            others[place] = " "
    return "".join((first, *others))


def without_explanation(rest: str, mention: str) -> str:
    """Where an explanation is headed as one, without the names of the images that it describes."""
    if not _EXPLANATION.match(rest) or _FITS.search(rest):
        return rest
    shown = rf"{mention}(?i: (?:image|picture|photo) (?:shows|has|contains|depicts|features|displays)\b)"
    return re.sub(shown, "picture", rest)
