"""Which tokens name a label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.model_adapters.multi_image.labels import Spellings


class Words:
    """A tokenizer of whole words, some with what stands before them; `_` is a blank."""

    unk_token_id = 0

    def __init__(self, *words: str) -> None:
        self.words = ["?", *words]
        self.all_special_ids = [0]

    def __len__(self) -> int:
        return len(self.words)

    def batch_decode(self, rows: list[list[int]]) -> list[str]:
        return [self.decode(row) for row in rows]

    def decode(self, tokens: list[int]) -> str:
        return "".join(self.words[token].replace("_", " ") for token in tokens)

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        tokens, left = [], text.replace(" ", "_")
        while left:
            found = max((word for word in self.words[1:] if left.startswith(word)), key=len, default="")
            tokens.append(self.words.index(found) if found else 0)
            left = left[max(1, len(found)) :]
        return {"input_ids": tokens}


def spelled(tokenizer: Words, *labels: str) -> list[set[str]] | None:
    found = Spellings(tokenizer).of(labels)
    return None if found is None else [{tokenizer.words[token] for token in tokens} for tokens in found]


def test_all_spellings_of_a_letter_count_but_never_the_article() -> None:
    words = Words("A", "_A", "(A", '"A', "a", "_a", "B", "_B", "A.", "AB")
    assert spelled(words, "A", "B") == [{"A", "_A", "(A", '"A'}, {"B", "_B"}]


def test_words_count_in_small_and_capital_letters() -> None:
    words = Words("Yes", "_yes", "YES", "No", "_no", "not", "yesterday")
    assert spelled(words, "No", "Yes") == [{"No", "_no"}, {"Yes", "_yes", "YES"}]


def test_a_label_of_several_tokens_is_known_by_its_first_where_that_is_its_own() -> None:
    words = Words("First", "_First", "Sec", "_Sec", "ond")
    assert spelled(words, "First", "Second") == [{"First", "_First"}, {"Sec", "_Sec"}]
    assert spelled(Words("F", "_F", "irst", "ourth"), "First", "Fourth") is None


def test_a_label_that_cannot_be_written_is_named() -> None:
    with pytest.raises(UsageError, match="label missing from the vocabulary: no token says 'C'"):
        spelled(Words("A", "B"), "A", "B", "C")


def test_a_real_tokenizer_tells_letters_and_verdicts_apart(chat_checkpoint: Callable[..., Path]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(chat_checkpoint("qwen2_vl"))
    spellings = Spellings(tokenizer)
    for labels in (tuple("ABCDEFGHI"), ("No", "Yes"), ("False", "True"), ("First", "Second")):
        found = spellings.of(labels)
        assert found is not None
        assert len({token for tokens in found for token in tokens}) == sum(len(tokens) for tokens in found)
        for label, tokens in zip(labels, found, strict=True):
            assert {tokenizer.decode([token]).strip().lower() for token in tokens} == {label.lower()}
