"""Which candidate's label a reply gives as its answer: letters, and the ordinals of images."""

from __future__ import annotations

import re
from collections.abc import Sequence

from minchange_eval.core.doubt_words import DENIAL, DOUBT, REJECTION, SUPPOSITION
from minchange_eval.core.option_reading import without_start
from minchange_eval.core.reply_text import REJECTING
from minchange_eval.core.verdict_reading import agrees, is_verdict
from minchange_eval.core.withdrawal_reading import (
    NOUNS,
    is_denied,
    is_withdrawn,
    names_other_place,
    walks_through,
    without_explanation,
    without_rejected,
)

# In plain words one blank or one line break stands between words, so no pattern needs to repeat them.
_LEAD_IN = (
    r"(?:(?:the|option|choice|image|picture|photo|caption|description|statement|answer|candidate|letter) ){0,6}[(\[]? ?"
)
_NOUN = rf"(?: {NOUNS})?"
_THING = r"(?:answer|option|choice|match|image|picture|photo|caption|description|statement|letter|one)\b"
_IS = (
    r"(?:(?:is|would be|should be|must be)\b"
    r"(?: (?:clearly|definitely|indeed|therefore|thus|likely|most likely|probably)\b)?\s?[:\-–]?\s?)"
)

# What comes before a label that is stated to be the answer.
_STATED = "|".join(
    (
        # Answer: B; the answer is B; the answer to the question is B
        r"\b(?:answer|choice|selection|prediction|letter)\b(?: (?:to|for|based on|here)\b[^.,:;!?\n]{0,80}?)?"
        rf"\s?(?:{_IS}|[:=\-–]+\s?)",
        r"\banswer\n",
        # the correct option is B; the image that best matches is the second
        rf"\b(?:correct|right|best|better|closest|accurate|appropriate|suitable|matching|final) {_THING}"
        rf"(?: [^.:;!?\n]{{0,80}}?)?\s?(?:{_IS}|:\s?)",
        r"\b(?:image|picture|photo|one|option|caption|description) (?:that|which) (?:[^\W\d_]{1,20} ){0,3}"
        r"(?:match|align|fit|correspond|describ|satisf|best|better|most)"
        rf"[^.:;!?\n]{{0,120}}? {_IS}",
        # I would choose B
        r"\b(?:i|i['’]d|i['’]ll|we) (?:would |will )?"
        r"(?:choose|pick|select|go with|say|vote for|opt for|chose|picked|selected) ?:?\s?",
        r"\b(?:you|one|supervisor|they) should (?:choose|pick|select|answer|reply) ?:?\s?",
    )
)
# The same of what is shown: `the description matches the second image`, unless that compares two candidates.
_FITTING = (
    r"\b(?:matches|fits|(?:aligns|corresponds|agrees)(?: \w{1,20}){0,2} (?:with|to)|"
    r"is(?: (?:best|better|most accurately|accurately|correctly))? (?:described|depicted|represented|shown) (?:by|in))"
    r"(?: best| better)?:?\s?"
)
# Before a label that opens the reply, or its last sentence.
_OPENING = (
    r"(?:(?:clearly|obviously|definitely|certainly|surely|undoubtedly),? )?(?:(?:pick|choose|select|go with) )?"
    r"(?:(?:it is|it['’]s|that is|that['’]s|i think(?: it is| it['’]s)?|i believe(?: it is| it['’]s)?) )?"
)
_INTRODUCED = (
    r"(?:based on|looking at|from|according to|after|given|comparing|considering|judging|upon|examining|since|because)"
    r"\b[^.!?\n:;]{0,200}?, "
)
_CONCLUDED = r"(?:\b(?:therefore|thus|hence|so|in conclusion|in summary|overall|ultimately),? )"

# Words that follow a label but no article: `A is`, `A in the` name a candidate, `A cat`, `A better view` need not.
_AFTER_LABEL = (
    r"(?:is|isn['’]t|does|doesn['’]t|has|hasn['’]t|looks|seems|sounds|appears|shows|says|matches|aligns|fits|fails|also|too|"
    r"best(?= (?:describes|matches|fits|aligns|represents|corresponds))|"
    r"corresponds|describes|because|since|as|and|or|nor|but|than|if|so|which|that|the|this|it|in|on|at|for|with|to|from|by)(?![\w-])"
)
_VERB = (
    r"(?:is|was|does|has|looks|seems|shows|depicts|contains|says|can|cannot|could|may|might|would|(?:best |better )?"
    r"(?:matches|aligns|fits|corresponds|describes))\b"
)
_AGREES = (
    r"(?:(?:is|looks|seems) )?(?:(?:the|a|that|one|more|most|much|clearly|definitely|indeed|accurately|correctly) )*"
    r"(?:correct|right|true|best|better|answer|closest|closer|accurate|match|matches|aligns|fits|corresponds|describes)\b"
)
_PRAISE = rf"[)\]]?(?i:{_NOUN} {_AGREES})"
_SHOWS = r" (?:shows|depicts|contains|displays|features) [^.,:;!?\n]*\."
_REASON = r"(?:because|since|as)\b"
_EXPLAINS = r"(?:the|in|it|there|which|where|with|i think|i believe)\b"

_DENIED = re.compile(rf"\b(?:{DENIAL}|{DOUBT}|less|poorly|both|either|other)\b|n['’]t\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[.!?;:,\n]|\b(?:so|thus|hence|therefore|then|and|but)\b", re.IGNORECASE)
_SUPPOSED = re.compile(rf"\b(?:{SUPPOSITION}|{DOUBT})\b", re.IGNORECASE)
_NOT_SAID = re.compile(
    rf"{_DENIED.pattern}|{_SUPPOSED.pattern}|\b(?:{REJECTION}|could|might|missing|told|most would|opposite|why|people|"
    rf"someone)\b|[{REJECTING}]",
    re.IGNORECASE,
)
# On a statement: what calls it false says the same as the label for false.
_CALLS_FALSE = re.compile(
    r"^[)\]]?[.:,;]? ?[(]?(?:false|incorrect|wrong|untrue|no)\b|\b(?:statement|sentence|claim|caption|description|"
    r"report|relation|assertion|it|this|that)(?:['’]s| is| was)(?: \w{1,20})? "
    r"(?:false|incorrect|wrong|untrue|inaccurate)\b",
    re.IGNORECASE,
)
# The prompt's own words: `in the form Answer: A` shows how to answer, and is none.
_EXAMPLE = re.compile(
    r"\b(?:form|format|example|e\.g\.|such as|like|template|respond with|reply with|answer with|write)\b[^.\n]{0,40}\Z",
    re.IGNORECASE,
)

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PICTURE = r"(?:image|picture|photo|photograph|pic|figure)"


def labels_named(plain: str, labels: Sequence[str]) -> set[str]:
    """The labels, case folded, that plain words name anywhere."""
    return {found.casefold() for found in re.findall(_label_patterns(labels)[1], with_ordinals(plain, labels))}


def read_label(plain: str, labels: Sequence[str], options: Sequence[str] = ()) -> tuple[str, str] | None:
    """The label that plain words give as their answer, case folded, and the words after it; None if none or several.

    Args:
        plain: a reply as `reply_text.plain_words` gives it.
        labels: letters or words that differ in more than case.
        options: the candidates' own words, one a candidate, or none: behind a label its own words cast no doubt on it,
            and behind a label for false or true it is the verdict on the statement that must agree.
    """
    plain = with_ordinals(plain, labels)
    answer, mention = _label_patterns(labels)
    stated, refused = _stated(plain, answer, mention)
    alone = re.match(rf"(?i:{_LEAD_IN}){answer}[)\]]?\.?(?=\n)", plain)
    if refused or (stated and alone and alone[1].casefold() != stated[stated.re.groups].casefold()):
        return None
    own = {name.casefold(): option for name, option in zip(labels, options, strict=False)}
    of_statement = is_verdict(options)
    for found in [stated] if stated else _openings(plain, answer, mention):
        place = found.re.groups
        label, rest = found[place], plain[found.end() :]
        if not stated and not _opens(rest, is_letter=len(label) == 1, of_statement=of_statement):
            continue
        behind, option = rest, own.get(label.casefold(), "")
        if of_statement:
            stands = _agrees_on_statement(rest, is_true=option.casefold() == "true")
        else:
            behind = without_explanation(without_start(rest, option), mention)
            behind = without_rejected(behind, label, labels, mention) if stated else behind
            remark = not stated and option and behind == rest and _is_remark(rest)
            stands = (
                not remark
                and _stands_alone(label, behind)
                and not (not stated and _is_walk(plain[: found.start(place)], behind))
            )
        named = {other.casefold() for other in (label, *re.findall(mention, behind))}
        return (named.pop(), rest) if stands and len(named) == 1 else None
    return _last_line(plain, answer, mention)


def with_ordinals(plain: str, labels: Sequence[str]) -> str:
    """Where the labels are ordinals, the other names of the images as ordinals: `image 2`, `2nd`, of two also `left`.

    A reply that counts from zero gets no answer, so none of its words is left.

    >>> with_ordinals("Image 2", ("First", "Second")), with_ordinals("the left image", ("First", "Second"))
    ('second image', 'the first image')
    """
    if not {label.casefold() for label in labels} <= set(_ORDINALS):
        return plain
    if re.search(rf"\b{_PICTURE} ?(?:0|zero)\b", plain, re.IGNORECASE):
        return ""
    plain = re.sub(
        r"\b([1-9])(?:st|nd|rd|th)\b", lambda found: _ORDINALS[int(found[1]) - 1], plain, flags=re.IGNORECASE
    )
    plain = re.sub(
        rf"\b(?:{_PICTURE}|option|choice) ?(?:(?:number|no\.?) )?([1-9]|{'|'.join(_NUMBERS)})\b(?!\.\d| ?%)",
        lambda found: f"{_numbered(found[1])} image",
        plain,
        flags=re.IGNORECASE,
    )
    alone = re.fullmatch(r"((?:the )?(?:final )?answer(?: is|:) )?[(\[]?([1-9])[)\].]{0,2}", plain, re.IGNORECASE)
    if alone:
        return _numbered(alone[2])
    if len(labels) == 2 and not re.search(rf"\b(?:{'|'.join(_ORDINALS)})\b", plain, re.IGNORECASE):
        return _with_sides(plain)
    return plain


def _numbered(number: str) -> str:
    return _ORDINALS[int(number) - 1 if number.isdigit() else _NUMBERS.index(number.lower())]


def _with_sides(plain: str) -> str:
    """Of two images: the left one, the former. `The right one` may be the correct one, and is nothing."""
    alone = re.fullmatch(
        r"(?:(?:the )?(?:final )?answer(?: is|:) )?(?:(?:the|on the) )?(left|right|former|latter)\.?",
        plain,
        re.IGNORECASE,
    )
    if alone:
        return _side(alone[1])
    return re.sub(
        rf"\b(?:(left|right)(?:-?hand|most)?(?: side)? {_PICTURE}|{_PICTURE} (?:on|to|at) the (left|right)"
        rf"(?:-?hand)?(?: side)?|(?:(left)|(right)(?:-?hand|most)) one|(former|latter)(?: {_PICTURE}| one)?)\b",
        lambda found: f"{_side(next(filter(None, found.groups())))} image",
        plain,
        flags=re.IGNORECASE,
    )


def _side(word: str) -> str:
    return "first" if word.lower() in ("left", "former") else "second"


def _label_patterns(labels: Sequence[str]) -> tuple[str, str]:
    """Two patterns with one group each: a label that can be an answer, and any mention of a label.

    All letters are read by the same rule, or scores would depend on where the truth stands: `A cat` may begin with an
    article, so neither it nor `B cat` is an answer. A mention is also a letter that is called one (`option A sounds
    odd`), and a word anywhere.
    """
    upper = "".join(re.escape(label.upper()) for label in labels if len(label) == 1)
    lower = "".join(re.escape(label.lower()) for label in labels if len(label) == 1)
    words = "|".join(re.escape(label) for label in labels if len(label) > 1)
    answers, mentions = [], []
    if upper:
        letter = rf"[{upper}](?! (?!(?i:{_AFTER_LABEL}))\w)|(?<!\w\.)[{lower}](?=\s?(?:[.)\]:,;!?/](?!\w)|$))"
        answers.append(letter)
        mentions.append(rf"{letter}|(?i:(?<=option )|(?<=choice )|(?<=caption ))[{upper}]")
    if words:
        answers.append(rf"(?ai:{words})(?!,(?! (?:{_REASON}))| (?!(?i:{_AFTER_LABEL}))(?!(?i:{NOUNS}))\w)")
        mentions.append(rf"(?ai:{words})")
    answer, mention = (
        rf"(?<![\w'’])({'|'.join(parts)})(?!['’\u0300-\u036f]|-?\w|\.\w\b)" for parts in (answers, mentions)
    )
    return answer, mention


def _stated(plain: str, answer: str, mention: str) -> tuple[re.Match[str] | None, bool]:
    """The first place that states an answer, and whether none may be looked for: one is denied or supposed."""
    said = list(re.finditer(rf"(?i:(?:{_STATED}){_LEAD_IN}){answer}", plain))
    said = [one for one in said if not _EXAMPLE.search(plain[max(0, one.start() - 100) : one.start()])]
    for one in re.finditer(rf"(?i:{_FITTING}{_LEAD_IN}){answer}", plain):
        if not re.search(mention, _clause_before(plain, one)):
            said.append(one)
    if any(_is_withheld(plain, one) for one in said):
        return None, True
    return min(said, key=lambda one: one.start(1), default=None), False


def _is_withheld(plain: str, one: re.Match[str]) -> bool:
    """Whether a statement of the answer is denied or doubted in its clause, or its sentence begins with an if."""
    sentence = re.split(r"[.!?\n] ?", plain[max(0, one.start() - 200) : one.start()])[-1]
    if re.match(r"(?:if|unless|suppose|assuming)\b", sentence, re.IGNORECASE):
        return True
    return bool(_NOT_SAID.search(_clause_before(plain, one) + plain[one.start() : one.start(1)]))


def _clause_before(plain: str, one: re.Match[str]) -> str:
    return _CLAUSE.split(plain[max(0, one.start() - 200) : one.start()])[-1]


def _openings(plain: str, answer: str, mention: str) -> list[re.Match[str]]:
    """A label with which the reply begins, at once or after words that name none, and one that it concludes with."""
    opened = re.match(rf"(?i:({_INTRODUCED})?{_OPENING}{_LEAD_IN}){answer}", plain)
    concluded = re.search(rf"(?i:({_CONCLUDED}){_OPENING}{_LEAD_IN}){answer}", plain)
    found = []
    if opened and not (opened[1] and re.search(mention, opened[1])):
        found.append(opened)
    if concluded and not _SUPPOSED.search(re.split(r"[.!\n]", plain[: concluded.start()])[-1]):
        found.append(concluded)
    return found


def _last_line(plain: str, answer: str, mention: str) -> tuple[str, str] | None:
    """A label that stands alone on the last line, below a finished sentence and no other line that a label begins."""
    *above, last = plain.split("\n")
    alone = re.fullmatch(rf"(?i:{_LEAD_IN}){answer}[)\]]?(?i:{_NOUN})\.?", last)
    if not above or alone is None or above[-1][-1:] not in (".", "!", ")", '"'):
        return None
    if any(_EXAMPLE.search(line) or re.match(rf"(?i:{_LEAD_IN}){mention}[)\].:]", line) for line in above):
        return None
    return alone[1].casefold(), ""


def _stands(rest: str) -> bool:
    """Whether what follows a label leaves it as it was said."""
    if is_withdrawn(rest):
        return False
    if not re.match(rf"[)\]]?(?i:{_NOUN} {_VERB})", rest):
        return True
    # a sentence about the candidate: it must say that it is right, or be the whole reply
    return _praises(_PRAISE, rest) or _shows(rest)


def _agrees_on_statement(rest: str, *, is_true: bool) -> bool:
    """Whether what follows a label for false or true judges the statement as the label does."""
    judged = rest if is_true else _CALLS_FALSE.sub("", rest)
    praise = re.match(_PRAISE, rest)
    return (
        _stands(judged)
        and not is_denied(rest, of_statement=True)
        and agrees(rest[praise.end() :] if praise else rest, is_true=is_true)
    )


def _stands_alone(label: str, rest: str) -> bool:
    """Whether what follows a label leaves it as the answer, and names no other candidate by its place."""
    return _stands(rest) and not is_denied(rest) and not (len(label) == 1 and names_other_place(rest))


def _is_remark(rest: str) -> bool:
    """Whether behind a letter only a word or two stand, that are not its option's own: `B. Weak.`"""
    return bool(re.fullmatch(r"[)\]]?[ .:,–(-]{1,3}[^\W\d]+(?: [^\W\d]+){0,2}\W*", rest))


def _is_walk(before: str, rest: str) -> bool:
    """Whether a label with which a reply opens may be the first of several that it discusses: `Option A: …`."""
    headed = re.search(r"\b(?:option|choice) ?[(\[]? ?\Z", before, re.IGNORECASE)
    return walks_through(rest) or bool(headed and re.match(r"[)\]]? ?[.:]", rest) and re.search(r"\w", rest))


def _praises(praise: str, rest: str) -> bool:
    first_claim = re.split(rf"(?<=\w)[.!,\n]|\b{_REASON}", rest, maxsplit=1)[0]
    return bool(re.match(praise, rest)) and not _DENIED.search(first_claim)


def _shows(rest: str) -> bool:
    return bool(re.fullmatch(rf"[)\]]?(?i:{_NOUN}{_SHOWS})", rest)) and not _NOT_SAID.search(rest)


def _opens(rest: str, *, is_letter: bool, of_statement: bool) -> bool:
    """Whether a label that opens a reply is its answer: alone, set apart, or followed by a reason or by praise."""
    if re.fullmatch(rf"[)\]]?(?i:{_NOUN})[\s.,:;!)\]]*", rest) or _shows(rest):
        return True
    if re.match(r"[)\]]|\s?[.:]|\n| [-–—(]" if is_letter else rf"[)\]]?(?i:{_NOUN})?(?: ?\.|\n)", rest):
        return True
    if of_statement and re.match(rf",? (?i:{_REASON})|, \w", rest):
        return True
    apart = rf", (?:{_REASON}|{_EXPLAINS})" if is_letter else rf" {NOUNS},"
    return _praises(rf"(?i:{_NOUN},? {_REASON}|{_NOUN} {_AGREES}|{apart})", rest)
