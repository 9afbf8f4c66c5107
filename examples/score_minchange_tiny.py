"""Score a CLIP folder on freshly drawn sets, without lmms-eval: a plain script to check the tasks against.

    python examples/score_minchange_tiny.py minchange_eval/model_adapters/minchange_tiny

Prints I2T and T2I accuracy per subset of SPEC, and zero-shot object classification (CLS) over the names of all
categories, on pictures of trained and of held-out categories apart. A tie counts as wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.core.images import open_image
from minchange_eval.generators.procedural.categories import CATEGORY
from minchange_eval.generators.procedural.suite import (
    CATEGORIES,
    EDGE_PX,
    HELD_OUT,
    SPEC_K,
    TRAIN_CATEGORIES,
    draw_scenes,
    draw_spec,
)
from minchange_eval.trainers.clip.checkpoint import load_checkpoint

Similarity = NDArray[np.float32]


class Encoder:
    """Unit vectors of pictures and texts."""

    def __init__(self, folder: Path) -> None:
        self._model, self._preprocess, self._tokenizer = load_checkpoint(folder)

    @torch.no_grad()
    def images(self, pictures: Iterable[Image.Image]) -> Similarity:
        batch = torch.stack([self._preprocess(picture) for picture in pictures])
        return self._model.encode_image(batch, normalize=True).numpy()

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Similarity:
        return self._model.encode_text(self._tokenizer(list(texts)), normalize=True).numpy()


def hits(similarity: Similarity) -> list[bool]:
    """Per row, whether the diagonal is larger than everything else in it."""
    others = np.where(np.eye(len(similarity), dtype=bool), -np.inf, similarity).max(axis=1)
    return (similarity.diagonal() > others).tolist()


def sets_table(encoder: Encoder, seed: int, sets_per_subset: int) -> list[str]:
    right: dict[str, tuple[list[bool], list[bool], list[bool]]] = {name: ([], [], []) for name in SPEC_K}
    names = encoder.texts([f"a photo of {CATEGORY[name].a_name}" for name in CATEGORIES])
    for item in draw_spec(seed, sets_per_subset, EDGE_PX, TRAIN_CATEGORIES):
        images = encoder.images(open_image(image) for image in item.images)
        i2t, t2i, cls = right[item.subset]
        i2t += hits(images @ encoder.texts(item.captions).T)
        t2i += hits(encoder.texts(item.query_captions) @ images.T)
        cls += _named(images @ names.T, [item.facts["names"]] * item.k)
    rows = ["| subset | K | queries | I2T | T2I | chance | CLS |", "|---|---|---|---|---|---|---|"]
    for subset, (i2t, t2i, cls) in right.items():
        shown = "" if subset == "existence" else _percent(cls)  # the captions of existence name what is gone
        k = SPEC_K[subset]
        rows.append(f"| {subset} | {k} | {len(i2t)} | {_percent(i2t)} | {_percent(t2i)} | {100 / k:.1f} | {shown} |")
    known = [answers for name, answers in right.items() if name != "existence"]
    means = [np.mean([np.mean(answers[i]) for answers in right.values()]) * 100 for i in (0, 1)]
    chance = np.mean([100 / k for k in SPEC_K.values()])
    cls_mean = np.mean([np.mean(answers[2]) for answers in known]) * 100
    return [*rows, f"| mean | | | {means[0]:.1f} | {means[1]:.1f} | {chance:.1f} | {cls_mean:.1f} |"]


def scenes_row(encoder: Encoder, seed: int, count: int, label: str, categories: Sequence[str]) -> str:
    names = encoder.texts([f"a photo of {CATEGORY[name].a_name}" for name in CATEGORIES])
    drawn = list(draw_scenes(seed, count, EDGE_PX, categories))
    images = encoder.images(Image.fromarray(pixels) for pixels, _, _ in drawn)
    right = _named(images @ names.T, [shown for _, _, shown in drawn])
    chance = np.mean([len(shown) for _, _, shown in drawn]) / len(CATEGORIES)
    return f"| {label} | {len(categories)} | {count} | {_percent(right)} | {100 * chance:.1f} |"


def _named(similarity: Similarity, shown: Sequence[Any]) -> list[bool]:
    best = similarity.argmax(axis=1)
    return [CATEGORIES[i] in names for i, names in zip(best, shown, strict=True)]


def _percent(right: Sequence[bool]) -> str:
    return f"{100 * np.mean(right):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="as train_minchange_tiny.py writes it")
    parser.add_argument("--seed", type=int, default=3_000_000, help="of the drawn sets and scenes")
    parser.add_argument("--sets", type=int, default=100, help="a subset")
    parser.add_argument("--scenes", type=int, default=1000, help="for classification")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    encoder = Encoder(chosen.folder)
    print("\n".join(sets_table(encoder, chosen.seed, chosen.sets)))
    print("\n| scenes of | categories | n | CLS | chance |\n|---|---|---|---|---|")
    print(scenes_row(encoder, chosen.seed, chosen.scenes, "trained categories", TRAIN_CATEGORIES))
    print(scenes_row(encoder, chosen.seed, chosen.scenes, "held-out categories", HELD_OUT))


if __name__ == "__main__":
    main()
