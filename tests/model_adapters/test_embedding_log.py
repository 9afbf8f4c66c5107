from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minchange_eval.core.errors import ModelError
from minchange_eval.model_adapters.embedding_log import EmbeddingLog, log_folder, text_key


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


def written(folder: Path, batches: int = 3) -> tuple[Path, np.ndarray]:
    """A closed log with batches of two rows, keys k0, k1, …"""
    log, vectors = EmbeddingLog(folder), rows(2 * batches)
    for batch in range(batches):
        keys = [f"k{2 * batch}", f"k{2 * batch + 1}"]
        log.append("image", keys, vectors[2 * batch : 2 * batch + 2], (False, True))
    log.close()
    (segment,) = folder.glob("*.jsonl")
    return segment, vectors


def test_what_was_appended_is_read_bit_for_bit(tmp_path: Path) -> None:
    _, vectors = written(tmp_path)
    found = EmbeddingLog(tmp_path).read("image", {"k1", "k4", "elsewhere"})
    assert set(found) == {"k1", "k4"}
    assert found["k1"][0].tobytes() == vectors[1].tobytes()
    assert (found["k1"][1], found["k4"][1]) == (True, False)
    assert EmbeddingLog(tmp_path).read("text", {"k1"}) == {}


def test_nan_survives(tmp_path: Path) -> None:
    log = EmbeddingLog(tmp_path)
    log.append("image", ["k"], np.array([[np.nan, 1]], dtype=np.float32), (False,))
    log.close()
    assert np.isnan(EmbeddingLog(tmp_path).read("image", {"k"})["k"][0][0])


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=10_000))
def test_a_log_cut_anywhere_loses_the_torn_line_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    segment, vectors = written(folder)
    whole = segment.read_bytes()
    kept = whole[: cut % (len(whole) + 1)]
    segment.write_bytes(kept)
    found = EmbeddingLog(folder).read("image", {f"k{i}" for i in range(6)})
    assert set(found) == {f"k{i}" for i in range(2 * kept.count(b"\n"))}
    assert all(found[key][0].tobytes() == vectors[int(key[1:])].tobytes() for key in found)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(min_value=0, max_value=10_000), byte=st.integers(min_value=0, max_value=255))
def test_a_damaged_byte_never_becomes_an_embedding(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    segment, vectors = written(folder)
    whole = bytearray(segment.read_bytes())
    whole[place % len(whole)] = byte
    segment.write_bytes(whole)
    found = EmbeddingLog(folder).read("image", {f"k{i}" for i in range(6)})
    assert len(found) >= 2
    assert all(found[key][0].tobytes() == vectors[int(key[1:])].tobytes() for key in found)


def test_two_writers_at_once_have_a_file_each_and_read_both(tmp_path: Path) -> None:
    first, second = EmbeddingLog(tmp_path), EmbeddingLog(tmp_path)
    first.append("text", ["a"], rows(1), (False,))
    second.append("text", ["b"], rows(1, 1), (False,))
    first.append("text", ["c"], rows(1, 2), (False,))
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert set(EmbeddingLog(tmp_path).read("text", {"a", "b", "c"})) == {"a", "b", "c"}
    first.close()
    second.close()


def test_a_run_that_encodes_nothing_leaves_no_file(tmp_path: Path) -> None:
    log = EmbeddingLog(tmp_path / "log")
    log.read("image", {"k"})
    log.close()
    assert not (tmp_path / "log").exists()


def test_a_full_disk_is_one_line_and_what_was_logged_stays(tmp_path: Path) -> None:
    fill = (
        "import numpy as np, pathlib, sys\n"
        "from minchange_eval.model_adapters.embedding_log import EmbeddingLog\n"
        "log = EmbeddingLog(pathlib.Path(sys.argv[1]))\n"
        "for n in range(100):\n"
        "    log.append('image', [f'k{n}'], np.full((1, 64), n, dtype=np.float32), (False,))\n"
    )

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    run = subprocess.run(
        [sys.executable, "-c", fill, str(tmp_path)], capture_output=True, text=True, preexec_fn=small_files
    )
    last = run.stderr.strip().splitlines()[-1]
    assert "ModelError: log" in last
    assert "free some space, set MINCHANGE_HOME to another disk, or run with log=false" in last
    (segment,) = tmp_path.glob("*.jsonl")
    whole = segment.read_bytes()
    assert whole.endswith(b"\n")
    assert len(EmbeddingLog(tmp_path).read("image", {f"k{n}" for n in range(100)})) == whole.count(b"\n") > 5


def test_a_log_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot append"):
        EmbeddingLog(tmp_path / "file" / "log").append("image", ["k"], rows(1), (False,))


def test_the_folder_depends_on_every_setting() -> None:
    settings = {"weights_sha256": "a", "settings": {"dtype": "fp32"}, "batch_size": 8}
    others = [
        {**settings, "weights_sha256": "b"},
        {**settings, "settings": {"dtype": "bf16"}},
        {**settings, "batch_size": 9},
    ]
    assert len({log_folder(each) for each in (settings, *others)}) == 4
    assert log_folder(dict(reversed(settings.items()))) == log_folder(settings)


def test_captions_that_no_codec_can_write_have_a_key() -> None:
    assert text_key("\ud800") != text_key("?")
