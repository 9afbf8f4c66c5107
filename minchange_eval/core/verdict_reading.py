"""Whether a reply calls a statement true: yes and no, true and false, true and not."""

from __future__ import annotations

import re
from collections.abc import Sequence

# The words of each style for a false and a true statement.
_STYLES = {
    frozenset(("no", "yes")): (r"no", r"yes"),
    frozenset(("false", "true")): (r"false", r"true"),
    frozenset(("not", "true")): (r"not(?: true)?", r"true"),
}
_THING = r"(?:statement|claim|sentence|caption|description|assertion|answer|it|this|that)"
_QUOTED = r"(?:(?<=statement)|(?<=claim)|(?<=sentence)|(?<=caption)|(?<=description)) [^.!?\n:;]{1,150}?"
_IS = (
    r"(?:(?:is|would be|must be|should be)\b|['’]s\b)"
    r"(?: (?:clearly|definitely|indeed|therefore|thus|likely|probably))? ?:? ?"
)
_STATED = (
    rf"\b(?:(?:the|my|this|correct|right|final|given|best) ){{0,3}}{_THING}"
    rf"(?:\n| ?[:=\-–]+ ?|(?:{_QUOTED})? ?{_IS})[(\[]?"
)

# Verdicts of every style, in every reply: a `yes` that is followed by `the statement is wrong` is none.
_NEGATIVE = re.compile(
    r"\b(?:false|incorrect|wrong|untrue|inaccurate|invalid|no(?= ?[.,;!:]|$)|"
    r"(?:not|n['’]t)(?: \w{1,20})? (?:true|correct|accurate|right|the case|a match)|"
    r"does(?: not|n['’]t) (?:match|hold))\b",
    re.IGNORECASE,
)
_POSITIVE = re.compile(
    r"(?<!not )(?<!n't )(?<!n’t )\b(?:yes|true|correct|accurate)\b|\bnot (?:false|wrong|incorrect)\b", re.IGNORECASE
)
_DOUBTED = re.compile(
    r"\b(?:maybe|perhaps|actually|unsure|unclear|uncertain|hmm+|wait(?=[,.!…])|depends|partly|partially|however|"
    r"although|though|unless|(?:can|could)(?:not|n['’]t| not) (?:tell|say|determine|be)|"
    r"not (?:\w{1,20} )?(?:sure|certain|clear|possible|enough)|on second thought|let me|except|apart from|"
    r"(?:see|view|access) (?:the |any |an |this )?(?:image|picture|photo)s?|provided)\b|[❌❎🤔🤷❓]",
    re.IGNORECASE,
)
_DENIES = re.compile(r"(?<!, )\bnot\b|n['’]t\b|\bnever\b|\bno\b|\bbut\b", re.IGNORECASE)
_SET_APART = re.compile(r"[)\]}]{0,2} ?(?:$|[.,:;!\n]|[-–—] |(?:because|since|as)\b)")
_SENTENCE_FOLLOWS = re.compile(r" (?:it|there|they|the|this|that|these) ?(?!one\b)", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"[)\]\"]{0,2}[.,]? ?(?:(?:or|and|nor|if)\b|[/&|?]|but\b)", re.IGNORECASE)


def is_verdict(labels: Sequence[str]) -> bool:
    """Whether labels say no and yes, false and true, or not and true."""
    return frozenset(label.casefold() for label in labels) in _STYLES


def read_verdict(plain: str, labels: Sequence[str]) -> str | None:
    """The label, case folded, of the verdict that plain words give; None if they give none, or are of two minds.

    Only the labels' own words are read: `yes` says nothing where true or false was asked for, and `not true` is the
    label Not, but not the label False. What follows a verdict must agree with it: no verdict of the other kind, no
    doubt, and behind a positive one no denial in its own sentence.

    >>> [read_verdict(reply, ("No", "Yes")) for reply in ("No, the cat is not there.", "Yes and no", "True")]
    ['no', None, None]
    >>> [read_verdict(reply, ("Not", "True")) for reply in ("It is not.", "Not true", "The statement is true.")]
    ['not', 'not', 'true']
    """
    style = frozenset(label.casefold() for label in labels)
    negative, positive = _STYLES[style]
    verdicts = [_said(plain, negative), _said(plain, positive)]
    if (verdicts[0] is None) == (verdicts[1] is None):
        return None
    rest, is_true = (verdicts[0], False) if verdicts[0] is not None else (verdicts[1] or "", True)
    if not _agrees(rest, is_true=is_true):
        return None
    return ({"yes", "true"} if is_true else {"no", "false", "not"}).intersection(style).pop()


def _said(plain: str, word: str) -> str | None:
    """The words behind a verdict that opens a reply, or that it states; None without one."""
    opened = re.match(rf"[(\[]?(?i:{word})\b", plain)
    if opened:
        rest = plain[opened.end() :]
        return rest if _SET_APART.match(rest) or (word in ("no", "yes") and _SENTENCE_FOLLOWS.match(rest)) else None
    for found in re.finditer(rf"(?i:{_STATED}(?:{word}))\b(?!['’-])", plain):
        before = plain[max(0, found.start() - 200) : found.start()]
        rest = plain[found.end() :]
        if _stated_plainly(before) and (
            _SET_APART.match(rest)
            or re.match(r" that\b|[)\]]? (?:and\b|(?:in|for|based on) (?:the|this) (?:image|picture|photo))", rest)
        ):
            return rest
    return None


def _stated_plainly(before: str) -> bool:
    """Whether nothing before a statement of the answer supposes, denies or quotes it, in its sentence."""
    sentence = re.split(r"[.!?\n]|, (?:so|thus|hence|therefore)\b", before)[-1]
    doubted = (
        r"\b(?:if|whether|unless|suppose|assuming|maybe|perhaps|not|cannot|never|either|doubt|wonder|deny|false|wrong|"
        r"says?|said|form|format|like|as)\b|n['’]t\b"
    )
    return not re.search(doubted, sentence, re.IGNORECASE)


def _agrees(rest: str, *, is_true: bool) -> bool:
    if _ALTERNATIVE.match(rest) or _DOUBTED.search(rest) or re.match(r"[^.!\n]*\?", rest):
        return False
    if (_NEGATIVE if is_true else _POSITIVE).search(rest):
        return False
    sentence = re.split(r"[.!\n;]", rest.lstrip(" .,:;!)]-–—\n"), maxsplit=1)[0]
    return not (is_true and _DENIES.search(sentence))
