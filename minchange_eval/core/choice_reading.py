"""Which candidate a reply in words chooses: by its label, by its verdict, or in the option's own words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from minchange_eval.core.label_reading import labels_named, read_label
from minchange_eval.core.option_reading import read_option, starts_with
from minchange_eval.core.reply_text import plain_words
from minchange_eval.core.verdict_reading import is_verdict, read_verdict


def read_choice(text: str, labels: Sequence[str], options: Sequence[str] = ()) -> int | None:
    """The position of the candidate that a reply chooses; None for none, for several, and for any doubt.

    First the label, in the form asked for or another that can mean nothing else, then the option's own words. A label
    beside the words of another option is unreadable, whichever of the two was meant.

    Args:
        text: the reply.
        labels: one a candidate, that differ in more than case.
        options: the candidates' own words, where they are texts; one a candidate.
    """
    plain = plain_words(text)
    if not plain:
        return None
    positions = {label.casefold(): position for position, label in enumerate(labels)}
    if is_verdict(labels):
        verdict = read_verdict(plain, labels)
        by_label, rest = (None if verdict is None else positions[verdict]), ""
    else:
        found = read_label(_without_verdicts(plain, labels, options), labels, options)
        by_label, rest = (None, "") if found is None else (positions[found[0]], found[1])
    if len(options) != len(labels):
        return by_label
    if by_label is not None:
        other = starts_with(rest, options)
        return by_label if other in (None, by_label) else None
    by_option, around = _by_option(plain, labels, options)
    if by_option is None or any(positions.get(named) != by_option for named in labels_named(around, labels)):
        return None
    return by_option


def _without_verdicts(plain: str, labels: Sequence[str], options: Sequence[str]) -> str:
    """Where options are false and true, without the own word beside a label: `B. False`, `False (B)`."""
    if not is_verdict(options) or len(options) != len(labels):
        return plain
    for label, option in zip(labels, options, strict=True):
        label, option = re.escape(label), re.escape(option)
        plain = re.sub(rf"(?<!\w)({label}[)\]]?)[.:,]? [(]?(?i:{option})\b[)]?", r"\1", plain)
        plain = re.sub(rf"^(?i:{option})[.:,]? ([(\[]?{label}[)\]]?)(?!\w)", r"\1", plain)
    return plain


def _by_option(plain: str, labels: Sequence[str], options: Sequence[str]) -> tuple[int | None, str]:
    if is_verdict(options):  # a statement's candidates are the words false and true, whatever the prompt calls them
        verdict = read_verdict(plain, options)
        folded = [option.casefold() for option in options]
        return (None, "") if verdict is None else (folded.index(verdict), plain)
    return read_option(plain, options, labels)
