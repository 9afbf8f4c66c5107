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
        self._known: dict[tuple[str, ...], tuple[tuple[int, ...], ...] | None] = {}
        special = set(tokenizer.all_special_ids)
        for token, text in enumerate(tokenizer.batch_decode([[token] for token in range(len(tokenizer))])):
            word = text.strip()
            if word[:1] and word[0] in _OPENINGS:
                word = word[1:].strip()
            if word and token not in special:
                self._ids.setdefault(word, []).append(token)

    def of(self, labels: Sequence[str]) -> tuple[tuple[int, ...], ...] | None:
        """The tokens with which a reply can begin that names each label; no token is of two labels.

        A word also counts in small and in capital letters where that is no other label; a single letter only as it is,
        for ` a` begins any sentence. A label that is no single token is known by its first one, where no other label
        begins so.

        Returns:
            None where the first token does not tell every label from the others (`Fourth`, `Fifth`): such labels have
            to be scored to their ends.

        Raises:
            UsageError: a label that the vocabulary cannot write.
        """
        if tuple(labels) not in self._known:
            self._known[tuple(labels)] = self._told_apart(labels)
        return self._known[tuple(labels)]

    def _told_apart(self, labels: Sequence[str]) -> tuple[tuple[int, ...], ...] | None:
        found = [self._whole(label, labels) or self._first(label) for label in labels]
        begun = [tokens | self._first(label) for tokens, label in zip(found, labels, strict=True)]
        own = []
        for place, label in enumerate(labels):
            if not begun[place]:
                raise UsageError(
                    f"scoring=letters: label missing from the vocabulary: no token says {label!r}; "
                    "use scoring=generate or scoring=options"
                )
            others = {token for other, tokens in enumerate(begun) if other != place for token in tokens}
            own.append(tuple(sorted(found[place] - others)))
        return tuple(own) if all(own) else None

    def _whole(self, label: str, labels: Sequence[str]) -> set[int]:
        forms = {label}
        if len(label) > 1:
            forms |= {form for form in (label.lower(), label.upper(), label.capitalize()) if form not in labels}
        return {token for form in forms for token in self._ids.get(form, ())}

    def _first(self, label: str) -> set[int]:
        unknown = self._tokenizer.unk_token_id
        first = set()
        for text in (label, f" {label}"):
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            shown = [token for token in ids if token != unknown and self._tokenizer.decode([token]).strip()]
            whole = "".join(self._tokenizer.decode(ids).split()) == label
            first |= set(shown[:1]) if whole else set()
        return first
