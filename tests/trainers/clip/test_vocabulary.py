import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from minchange_eval.trainers.clip.vocabulary import clip_merges, merges_file, trimmed_merges, vocabulary_size

CAPTIONS = ["Two refrigerators, a teddy bear and a broccoli.", "The giraffe isn't to the left of the café's door!"]


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory: pytest.TempPathFactory) -> SimpleTokenizer:
    path: Path = tmp_path_factory.mktemp("vocabulary") / "merges.txt.gz"
    path.write_bytes(merges_file(trimmed_merges(clip_merges(), CAPTIONS, keep_first=1000)))
    return SimpleTokenizer(bpe_path=str(path), context_length=16)


@pytest.fixture(scope="module")
def full() -> SimpleTokenizer:
    return SimpleTokenizer()


def _pieces(tokenizer: SimpleTokenizer, text: str) -> list[str]:
    return [tokenizer.decoder[token] for token in tokenizer.encode(text)]


@pytest.mark.parametrize("caption", CAPTIONS)
def test_the_words_it_was_made_for_split_as_with_the_full_vocabulary(
    caption: str, trimmed: SimpleTokenizer, full: SimpleTokenizer
) -> None:
    assert _pieces(trimmed, caption) == _pieces(full, caption)


@settings(max_examples=50)
@given(text=st.text(max_size=30))
def test_any_other_text_still_reads_back_the_same(text: str, trimmed: SimpleTokenizer, full: SimpleTokenizer) -> None:
    assert trimmed.decode(trimmed.encode(text)) == full.decode(full.encode(text))


def test_the_size_is_that_of_the_tokenizer_and_the_end_of_text_is_the_last_token(trimmed: SimpleTokenizer) -> None:
    merges = trimmed_merges(clip_merges(), CAPTIONS, keep_first=1000)
    assert vocabulary_size(merges) == trimmed.vocab_size
    assert trimmed.eot_token_id == trimmed.vocab_size - 1  # open_clip pools the text at the largest token


def test_all_merges_kept_is_clips_own_vocabulary() -> None:
    assert vocabulary_size(trimmed_merges(clip_merges(), [], keep_first=48894)) == 49408


def test_the_file_has_the_same_bytes_each_time_and_no_time_stamp() -> None:
    merges = clip_merges()[:10]
    assert merges_file(merges) == merges_file(merges)
    assert merges_file(merges)[4:8] == b"\0\0\0\0"
    assert gzip.decompress(merges_file(merges)).decode().split("\n")[1] == " ".join(merges[0])
