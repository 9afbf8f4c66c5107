"""How long two collections take to compare, once hashed: `python -m benchmarks.contamination`.

Hashes, colours and captions are made up: unrelated ones, a share of near copies planted at known distances, which must
all be found, and a share of crowded hashes, as drawings and blank backgrounds make them. Captions are words drawn with
Zipf's frequencies, a third of them in templates.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.process import Clock
from minchange_eval.audit.caption_overlap import normalised
from minchange_eval.audit.collection import Collection, SeenImage
from minchange_eval.audit.contamination import contamination
from minchange_eval.audit.hamming import HashIndex, distances
from minchange_eval.audit.image_hash import ImageHash
from minchange_eval.audit.near_images import RADIUS

VOCABULARY = 30_000
TEMPLATES = ("a photo of {} {}", "the {} is to the left of the {} in the picture", "there is a {} next to the {}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=100_000)
    parser.add_argument("--eval", type=int, default=15_000)
    parser.add_argument("--planted", type=int, default=1_000)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    train, evaluation = _hashes(rng, args.train), _hashes(rng, args.eval)
    train[: args.planted] = _near(rng, evaluation[: args.planted])
    for radius in (0, 4, RADIUS, 12):
        (i, _, _), spent = _timed(lambda radius=radius: HashIndex(train).within(evaluation, radius))
        print(f"hashes within {radius} bits: {len(i):,} pairs, {spent}")
    (i, j, _), _ = _timed(lambda: HashIndex(train).within(evaluation, RADIUS))
    assert set(range(args.planted)) <= {a for a, b in zip(i.tolist(), j.tolist(), strict=True) if a == b}
    count, spent = _timed(lambda: _brute_force(train, evaluation[:150], RADIUS))
    print(f"comparing every pair, {len(evaluation[:150])} of {args.eval:,} evaluation hashes: {count:,} pairs, {spent}")
    (first, second), spent = _timed(lambda: (_collection(rng, "train", train), _collection(rng, "eval", evaluation)))
    print(f"(making up the collections: {spent})")
    found, spent = _timed(lambda: contamination(first, second))
    print(f"everything, {args.train:,} x {args.eval:,} rows with image and caption: {spent}")
    for finding in found.findings:
        print(f"  {finding.kind}: {finding.matches:,} matches, {finding.evaluation_rows:,} evaluation rows")


def _timed(call: Callable[[], Any]) -> tuple[Any, str]:
    clock = Clock()
    result = call()
    spent = clock.spent()
    return result, f"{spent['seconds']:.1f} s (processor {spent['cpu_s']:.1f} s)"


def _hashes(rng: np.random.Generator, n: int) -> NDArray[np.uint64]:
    """Half of the bits set, as the median makes it; one in twenty is a small change of one of ten crowded ones."""
    bits = rng.permuted(np.tile(np.arange(64) % 2, (n, 1)), axis=1).astype(np.uint8)
    hashes = np.packbits(bits, axis=1).view(np.uint64).ravel()
    crowd = rng.choice(n, n // 20, replace=False)
    centres = np.random.default_rng(2).integers(0, 1 << 63, 10, dtype=np.uint64)  # the same ones on both sides
    hashes[crowd] = _near(rng, centres[rng.integers(0, 10, len(crowd))])
    return hashes


def _near(rng: np.random.Generator, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    flips = np.zeros(len(hashes), dtype=np.uint64)
    for _ in range(RADIUS):  # a bit drawn twice flips once or not at all: at most so many differ
        flips |= np.uint64(1) << rng.integers(0, 64, len(hashes)).astype(np.uint64)
    return hashes ^ flips


def _brute_force(first: NDArray[np.uint64], second: NDArray[np.uint64], radius: int) -> int:
    return sum(int((distances(first, one) <= radius).sum()) for one in second)


def _collection(rng: np.random.Generator, name: str, hashes: NDArray[np.uint64]) -> Collection:
    n = len(hashes)
    looks = np.random.default_rng(1).integers(0, 256, (n, 192), dtype=np.uint8)  # row r looks alike on both sides
    images = tuple(
        SeenImage(ImageHash(f"{name}/{row}.jpg", f"{name}{row:060d}", int(bits), looks[row].tobytes(), (640, 480)))
        for row, bits in enumerate(hashes)
    )
    written = [_caption(rng) for _ in range(n)]
    captions = list(dict.fromkeys(map(normalised, written)))
    number = {caption: place for place, caption in enumerate(captions)}
    entries = [(row, row, number[normalised(caption)]) for row, caption in enumerate(written)]
    ids = tuple(f"{name}-{row}" for row in range(n))
    return Collection(name, ids, True, images, tuple(captions), tuple(captions), np.array(entries, dtype=np.intp))


def _caption(rng: np.random.Generator) -> str:
    words = [f"w{min(rank, VOCABULARY)}" for rank in rng.zipf(1.3, 12)]
    if rng.random() < 1 / 3:
        return TEMPLATES[rng.integers(len(TEMPLATES))].format(*words[:2])
    return " ".join(words)


if __name__ == "__main__":
    main()
