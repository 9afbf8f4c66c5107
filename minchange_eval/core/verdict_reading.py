"""Whether a reply calls a statement true: yes and no, true and false, true and not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from minchange_eval.core.doubt_words import CORRECTION, DENIAL, DOUBT, REJECTION, SUPPOSITION

# The words of each style for a false and a true statement.
_STYLES = {
    frozenset(("no", "yes")): (r"no", r"yes"),
    frozenset(("false", "true")): (r"false", r"true"),
    frozenset(("not", "true")): (r"not(?: true| so)?", r"true"),
}
# Own words of our wordings, which can mean nothing else in any style.
_TOLD = r"(?:(?:that|this|the) person was told )?something"
_OWN_WORDS = (
    rf"(?:(?:it is|it['’]s|that is|that['’]s|clearly) not|(?:it|that) isn['’]t) (?:the case|so)|{_TOLD} false",
    rf"(?:it is|it['’]s|that is|that['’]s)(?: indeed)? (?:the case|so)|{_TOLD} true",
)
_LEAD = r"(?:(?:clearly|definitely|certainly|obviously),? )?(?:i(?:['’]d| would) say:? )?"
_THING = r"(?:statement|claim|sentence|caption|description|assertion|answer|it|this|that)"
_QUOTED = r"(?:(?<=statement)|(?<=claim)|(?<=sentence)|(?<=caption)|(?<=description)) [^.!?\n:;]{1,150}?"
_IS = (
    r"(?:(?:is|would be|must be|should be|(?:appears|seems)(?: to be)?)\b|['’]s\b)"
    r"(?: (?:clearly|definitely|indeed|therefore|thus|likely|probably))? ?:? ?"
)
_STATED = (
    rf"\b(?:(?:the|my|this|correct|right|final|given|best) ){{0,3}}{_THING}"
    rf"(?:\n| ?[:=\-–]+ ?|(?:{_QUOTED})? ?{_IS})[(\[]?"
)

# Verdicts of every style, in every reply: a `yes` that is followed by `the statement is wrong` is none.
_ENDS = r"(?= ?[.,;!:)]|$| because\b| that\b| here\b)"
_NEGATIVE = re.compile(
    rf"\b(?:{REJECTION}|opposite (?:is|was)|no(?= ?[.,;!:]|$)|does(?: not|n['’]t) (?:match|hold|fit))\b|"
    r"(?:\bnot|n['’]t)(?: \w{1,20})? (?:true|correct|accurate|right|the case|a match)\b",
    re.IGNORECASE,
)
_POSITIVE = re.compile(
    r"(?<!not )(?<!n't )(?<!n’t )\b(?:yes|true|correct|accurate|valid|fine|indeed|undeniabl[ye]|agreed?|"
    r"as (?:stated|claimed|described|the (?:statement|claim|caption))|a fact|is confirmed)\b|"
    r"(?:\bnot|n['’]t) (?:false|wrong|incorrect|a lie)\b|\b(?:exactly|quite|absolutely|all) right\b|"
    r"\bdoes (?:match|hold|fit)\b|"
    r"\b(?:i think so|i believe so|(?:it|this|that|you|they|there) (?:is|does|can|are|do))(?= ?[.,;!]|$)|"
    rf"(?:\b(?:is|are|be|seems)|['’](?:s|re))(?: \w{{1,20}}ly| quite)? right\b{_ENDS}|"
    r"(?:\bis|['’]s)(?: indeed)? (?:the case|so)\b|"
    r"\b(?:statement|claim|sentence|caption|description|report|relation|it|this|that)(?: \w{1,20}ly)? "
    r"(?:holds|fits|matches)\b(?= ?[.,;!)]|$| (?:true|up|well|here|there)\b| the (?:image|picture|photo)\b)",
    re.IGNORECASE,
)
_PICTURES = r"(?:image|picture|photo|photograph)s?"
_DOUBTED = re.compile(
    rf"\b(?:{DOUBT}|{CORRECTION}|depends|partly|partially(?! (?:hidden|obscured|covered|visible))|although|though|"
    r"possible|likely(?= ?[.,;!]|$)|almost|nearly|at first glance|technically|other image|as if|a bit|"
    r"could(?= ?[.,;!]|$)|it was(?= ?[.,;!]|$)|(?:no|enough) information|refuse|language model|n/a|not applicable|"
    r"cropped|unless|except|apart from|provided|unable|missing|blur\w*|(?:sort|kind) of|kinda|sorta|"
    r"(?:might|may|could) (?:not )?be|(?:hard|difficult|tough) to|"
    r"(?:can|could)(?:not|n['’]t| not) (?:tell|say|see|view|judge|determine|answer|be|help)|"
    r"(?:do|did|does|would)(?: not|n['’]t) (?:know|load)|no idea|"
    r"not (?:\w{1,20} )?(?:clear|possible|enough)|resolution|low[ -]quality|too (?:dark|small|far|low|unclear)|"
    r"(?:it )?seems(?= ?[.,;!]|$)|presumably|in a way|more or less|somewhat|to some (?:extent|degree)|half|debatable|"
    rf"arguabl[ye]|no {_PICTURES}|{_PICTURES} not|nothing was|links?|"
    rf"(?:see|view|access) (?:the |any |an |this |your )?{_PICTURES}|"
    rf"{_PICTURES} (?:\w{{1,20}} ){{0,3}}(?:blank|empty|corrupt\w*|attached|available|uploaded|included|loaded))\b|"
    r"[❌❎🤔🤷❓]",
    re.IGNORECASE,
)
# Of the one who answers, or to the one who asked, and not of the statement.
_COURTESY = re.compile(
    r"\b(?:i|we)\b(?! (?:would |can |do |also |certainly |clearly |don['’]t |do not |would not |wouldn['’]t )?"
    r"(?:think|believe|agree|accept|confirm|say|hope|see (?:that|a|an|the|it|them|one|two)\b))|"
    r"\b(?:let['’]?s|let us|please|thanks?|thank you|understood|here (?:is|are)|my|me|sir|ask|"
    r"analy[sz]\w{1,5}|questions?|received|worries|go on|continue|got it|go ahead|ready|welcome|(?:happy|glad) to|"
    r"(?:can|could|will|to) help)\b",
    re.IGNORECASE,
)
_BUT = r"\bbut\b(?! (?:it is )?(?:only )?(?:\w{1,20}ly )?(?:hidden|obscured|covered|occluded|visible|small|far away)\b)"
_DENIES = re.compile(rf"(?<!, )(?<!\band )\bnot\b|n['’]t\b|\bnever\b|\bno\b|{_BUT}", re.IGNORECASE)
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
    verdicts = [_said(plain, word, own) for word, own in zip((negative, positive), _OWN_WORDS, strict=True)]
    if (verdicts[0] is None) == (verdicts[1] is None):
        return None
    rest, is_true = (verdicts[0], False) if verdicts[0] is not None else (verdicts[1] or "", True)
    if not agrees(rest, is_true=is_true):
        return None
    return ({"yes", "true"} if is_true else {"no", "false", "not"}).intersection(style).pop()


def _said(plain: str, word: str, own_words: str) -> str | None:
    """The words behind a verdict that opens a reply, or that it states; None without one."""
    if own := re.match(rf"(?i:{_LEAD}(?:{own_words}))\b(?=$|[.,:;!\n]| (?:that|because|since|as)\b)", plain):
        rest = plain[own.end() :]
        return None if rest.startswith(" that") and (_NEGATIVE.search(rest) or _DENIES.search(rest)) else rest
    if opened := re.match(rf"[(\[]?(?i:{_LEAD}(?:{word}))\b(?![.:]? ?(?:\d|of\b))", plain):
        rest = plain[opened.end() :]
        return rest if _SET_APART.match(rest) or (word in ("no", "yes") and _SENTENCE_FOLLOWS.match(rest)) else None
    for found in re.finditer(rf"(?i:({_STATED})(?:{word}))\b(?!['’-])", plain):
        before = plain[max(0, found.start() - 200) : found.start()] + found[1]
        rest = plain[found.end() :]
        if _stated_plainly(before) and (
            _SET_APART.match(rest)
            or re.match(r" that\b|[)\]]? (?:and\b|(?:in|for|based on) (?:the|this) (?:image|picture|photo))", rest)
        ):
            return rest
    return None


def _stated_plainly(before: str) -> bool:
    """Whether nothing before a verdict supposes, denies or quotes it, in its sentence."""
    sentence = re.split(r"[.!?\n](?! ?\Z)|, (?:so|thus|hence|therefore)\b", before)[-1]
    doubted = (
        rf"\b(?:{SUPPOSITION}|{DENIAL}|{DOUBT}|{REJECTION}|"
        r"either|wonder|deny|says?|said|form|format|like|as)\b|n['’]t\b"
    )
    return not re.search(doubted, sentence, re.IGNORECASE)


def agrees(rest: str, *, is_true: bool) -> bool:
    """Whether what follows a verdict leaves it as it was said: no verdict of the other kind, no doubt, no courtesy."""
    if _ALTERNATIVE.match(rest) or _DOUBTED.search(rest) or _COURTESY.search(rest) or "?" in rest:
        return False
    if (_NEGATIVE if is_true else _POSITIVE).search(rest):
        return False
    sentence = re.split(r"[.!\n;]", rest.lstrip(" .,:;!)]-–—\n"), maxsplit=1)[0]
    return not (is_true and _DENIES.search(sentence))
