"""The words first and second of two images, exchanged; a text where that could change what it says is refused.

A text about two images may also speak of an order in time (what was added, removed, replaced, is no longer there),
of the images' roles (the original, the edit), or of other things that come first and second (a row). Such a text is
not exchanged, as in none of these cases would the exchanged words be true of the exchanged images for certain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_IMAGE = r"(?:image|picture|photo(?:graph)?|visual)"
_OTHER = {
    "first": "second",
    "second": "first",
    "1st": "2nd",
    "2nd": "1st",
    "left": "right",
    "right": "left",
    "1": "2",
    "2": "1",
    "one": "two",
    "two": "one",
}
_ORDINAL = r"(?:first|second|1st|2nd)"
# Behind a bare "the second": the sentence goes on about the image, or ends.
_NO_NOUN = r"(?=\s*(?:$|[.,;:?!)]|(?:shows?|depicts?|displays?|features?|has|is|does|and|or|but|while|whereas)\b))"
_OF_IMAGES = re.compile(
    rf"\b(?P<ordinal>{_ORDINAL})(?= {_IMAGE}s?\b)"
    rf"|\b(?P<side>left|right)(?=(?:-hand)? {_IMAGE}\b)"
    rf"|(?<=\bthe )(?P<bare>{_ORDINAL}){_NO_NOUN}"
    rf"|\b{_IMAGE} on the (?P<placed>left|right)\b"
    rf"|\b{_IMAGE} (?P<number>[12]|one|two)\b",
    re.IGNORECASE,
)
_POSITION = re.compile(rf"\b{_ORDINAL}s?\b", re.IGNORECASE)
_OF_BOTH = re.compile(rf"\b(?:both|either|neither|each|{_IMAGE}s|identical|same|difference)\b", re.IGNORECASE)
_UNSAFE = re.compile(
    r"\b(?:original\w*|initial\w*|edit(?:s|ed|ing)?|modif\w+|alter(?:s|ed|ing|ation\w*)|add(?:s|ed|ing|ition|itions)"
    r"|remov\w+|replac\w+|delet\w+|introduc\w+|insert\w*|no longer|any ?more|gone|vanish\w*|disappear\w*|appeared"
    r"|swap\w*|mov(?:ed|es)|shift\w*|rearrang\w+|transform\w*|convert\w*|becom\w+|became|turn(?:s|ed) (?:in)?to"
    r"|chang(?:es|ed) (?:in)?to|grow[ns]|increas\w+|decreas\w+|reduc\w+|remain\w*|unchanged|now|new|newly|already|yet"
    r"|before\w*|after\w*|then|earlier|later|previous\w*|prior|next image|last|former|latter|(?:has|have|had) been"
    rf"|(?<!standing )(?<!sitting )(?<!lying )still|the one on the (?:left|right)|the (?:left|right) one|{_IMAGE} [ab]"
    rf"|(?:top|bottom|upper|lower) {_IMAGE})\b",
    re.IGNORECASE,
)


def exchanged(question: str, options: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """A question about two images and its options, with the images' names exchanged.

    Returns:
        None where some text cannot be exchanged, or an option says of neither image what it is about.

    >>> exchanged("How does the second picture differ from the first?", ["In the second image, a cat is seen."])
    ('How does the first picture differ from the second?', ('In the first image, a cat is seen.',))
    >>> exchanged("What differs?", ["In the second row of the first image, a cat is seen."]) is None
    True
    """
    texts = [exchanged_text(text) for text in (question, *options)]
    speaks_of_images = all(_OF_IMAGES.search(option) or _OF_BOTH.search(option) for option in options)
    if not speaks_of_images or any(text is None for text in texts):
        return None
    first, *rest = (text for text in texts if text is not None)
    return first, tuple(rest)


def exchanged_text(text: str) -> str | None:
    """One text with the images' names exchanged; None where it cannot be.

    >>> exchanged_text("Its wings are open in the first image, but closed in the second.")
    'Its wings are open in the second image, but closed in the first.'
    >>> exchanged_text("In image 1, the car is to the left of the bus.")
    'In image 2, the car is to the left of the bus.'
    >>> exchanged_text("In the second image, the cat was removed.") is None
    True
    """
    if _UNSAFE.search(text) or _POSITION.search(_OF_IMAGES.sub("", text)):
        return None
    return _OF_IMAGES.sub(_other, text)


def _other(found: re.Match[str]) -> str:
    word = next(value for value in found.groupdict().values() if value)
    other = _OTHER[word.lower()]
    return found[0][: len(found[0]) - len(word)] + (other.capitalize() if word[0].isupper() else other)
