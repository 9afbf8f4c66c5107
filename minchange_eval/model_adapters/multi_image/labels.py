"""The tokens with which a reply can begin that names a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minchange_eval.core.errors import UsageError

_OPENINGS = "([{<\"'*`“‘「"  # what may stand before a label within one token


class Spellings:
    """All single tokens that spell a word, over the whole vocabulary of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}
        special = set(tokenizer.all_special_ids)
        for token, text in enumerate(tokenizer.batch_decode([[token] for token in range(len(tokenizer))])):
            word = text.strip()
            if word[:1] and word[0] in _OPENINGS:
                word = word[1:].strip()
            if word and token not in special:
                self._ids.setdefault(word, []).append(token)

    def of(self, labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """The tokens of each label; no token is of two labels.

        A word also counts in small and in capital letters where that is no other label; a single letter only as it is,
        for ` a` begins any sentence. A label that is no single token is known by its first one, where it alone begins
        so.

        Raises:
            UsageError: a label that the vocabulary cannot tell from the others.
        """
        whole = {label: self._whole(label, labels) for label in labels}
        if not all(whole.values()):
            whole = {label: self._first(label) for label in labels}
        for label in labels:
            others = {token for other in labels if other != label for token in whole[label] & whole[other]}
            if not whole[label] - others:
                raise UsageError(
                    f"scoring=letters: label missing from the vocabulary: no token says {label!r} and none of "
                    f"{', '.join(other for other in labels if other != label)}; use scoring=generate or scoring=options"
                )
        return tuple(
            tuple(sorted(whole[label] - {t for other in labels if other != label for t in whole[other]}))
            for label in labels
        )

    def _whole(self, label: str, labels: Sequence[str]) -> set[int]:
        forms = {label}
        if len(label) > 1:
            forms |= {form for form in (label.lower(), label.upper(), label.capitalize()) if form not in labels}
        return {token for form in forms for token in self._ids.get(form, ())}

    def _first(self, label: str) -> set[int]:
        unknown = self._tokenizer.unk_token_id
        texts = (label, f" {label}")
        first = [self._tokenizer(text, add_special_tokens=False)["input_ids"][:1] for text in texts]
        known = {ids[0] for ids in first if ids and ids[0] != unknown}
        return {token for token in known if self._tokenizer.decode([token]).strip()}
