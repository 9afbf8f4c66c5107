import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from minchange_eval.trainers.clip.checkpoint import load_tokenizer, write_tokenizer
from minchange_eval.trainers.clip.vocabulary import clip_merges, tokenizer_files, trimmed_merges, vocabulary

CAPTIONS = ["Two refrigerators, a teddy bear and a broccoli.", "The giraffe isn't to the left of the café's door!"]
MERGES = trimmed_merges(clip_merges(), CAPTIONS, keep_first=1000)
CONTEXT = 16

Pieces = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Pieces:
    """The pieces of a text under the trimmed vocabulary, start and end included, padding left out."""
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, MERGES, CONTEXT)
    tokenizer: HFTokenizer = load_tokenizer(folder, CONTEXT)
    names = {number: token for token, number in vocabulary(MERGES).items()}

    def split(text: str) -> list[str]:
        return [names[number] for number in tokenizer(text)[0].tolist() if names[number] != "<pad>"]

    return split


def _split_by(tokenizer: SimpleTokenizer, text: str) -> list[str]:
    ids: Any = tokenizer(text)[0].tolist()
    end = ids.index(tokenizer.eot_token_id)
    return [tokenizer.decoder[number] for number in ids[: end + 1]]


@pytest.fixture(scope="module")
def simple(tmp_path_factory: pytest.TempPathFactory) -> SimpleTokenizer:
    """open_clip's own tokenizer over the same merges, the slow reference."""
    path: Path = tmp_path_factory.mktemp("merges") / "merges.txt.gz"
    path.write_bytes(gzip.compress("\n".join(["#version", *map(" ".join, MERGES)]).encode()))
    return SimpleTokenizer(bpe_path=str(path), context_length=CONTEXT)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_the_words_it_was_made_for_split_as_with_clips_whole_vocabulary(caption: str, pieces: Pieces) -> None:
    assert pieces(caption) == _split_by(SimpleTokenizer(context_length=CONTEXT), caption)


@settings(max_examples=100, deadline=None)
@example(text="")
@example(text="word " * 40)
@example(text="ein Wort, 日本 🙂 _under_ 12ab &amp; it's")
@given(text=st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cc", "Cs"]), max_size=30))
def test_any_other_text_splits_as_open_clips_tokenizer_does_with_the_same_merges(
    text: str, pieces: Pieces, simple: SimpleTokenizer
) -> None:
    assert pieces(text) == _split_by(simple, text)


def test_the_end_of_text_has_the_largest_id_where_open_clip_pools() -> None:
    ids = vocabulary(MERGES)
    assert list(ids.values()) == list(range(len(ids)))
    assert ids["<end_of_text>"] == len(ids) - 1 == 512 + len(MERGES) + 2


def test_all_merges_kept_is_clips_own_vocabulary_and_a_pad() -> None:
    every = trimmed_merges(clip_merges(), [], keep_first=48894)
    assert list(vocabulary(every))[:-3] == list(SimpleTokenizer().encoder)[:-2]


def test_the_files_have_the_same_bytes_each_time() -> None:
    assert tokenizer_files(MERGES, CONTEXT) == tokenizer_files(list(MERGES), CONTEXT)
