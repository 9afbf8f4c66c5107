"""Train the tiny CLIP that the package bundles, from nothing but drawn scenes; about five minutes on one core.

    python examples/train_minchange_tiny.py --output runs/minchange-tiny

A base CLIP in small: it learns to name what is in a picture and, like the large ones, has read too few captions that
say where, how many or how large. The same command on the same machine writes the same bytes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.core.images import open_image
from minchange_eval.generators.procedural.bits import BitStream
from minchange_eval.generators.procedural.captions import plain_caption
from minchange_eval.generators.procedural.suite import CATEGORIES, TRAIN_CATEGORIES, draw_scenes, draw_spec
from minchange_eval.trainers.clip.checkpoint import load_tokenizer, write_checkpoint, write_tokenizer
from minchange_eval.trainers.clip.model import new_model
from minchange_eval.trainers.clip.training import ClipTraining, PixelScale, StepReport, TrainingPairs, train
from minchange_eval.trainers.clip.vocabulary import clip_merges, trimmed_merges, vocabulary

EDGE_PX = 64
CONTEXT = 16  # tokens
DRAWN_EDGE_PX = 128  # drawn at twice the size and scaled down, as the suite's pictures of 224 px are
SCENE_SEED = 1_000_000  # far from the suite's own seed, so that no scene of the suite is trained on
SCENES = 14_000
SET_PICTURES = 6_000  # pictures as candidate sets have them, so that small and many things are seen too
MEMBERS_OF_A_SET = 3  # the smallest set has no more, and each kind of set shall give as many pictures
FINE_GRAINED_ONE_IN = 30  # of those, one in thirty keeps its fine-grained caption: about 160 of 20,000 pairs
NOT_FINE_GRAINED = "relative_size"  # a few dozen captions that compare sizes would teach it to; web captions rarely do
KEEP_FIRST_MERGES = 4096
# What the suite's captions say beside the categories' names; they split into words as with the full vocabulary.
CAPTION_WORDS = (
    "a an the of in on at to is are there no not photo picture image with and than as same size placed shown seen can "
    "left right above below top bottom center middle corner side first second small medium sized large larger smaller "
    "bigger higher lower up down next one two three four five six seven eight nine "
    "red orange yellow green blue purple pink brown black white gray"
)
PREPROCESSING = {
    "size": [EDGE_PX, EDGE_PX],
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
PIXEL_SCALE = PixelScale((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

Example = tuple[NDArray[np.uint8], str]


def architecture(tokens: int) -> dict[str, object]:
    """open_clip's `CLIP` with a ResNet of one block a stage and two text layers."""
    return {
        "embed_dim": 128,
        "quick_gelu": False,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "image_size": EDGE_PX},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": tokens,
            "width": 128,
            "heads": 4,
            "layers": 2,
            "hf_tokenizer_name": "minchange-tiny",  # that the folder has a tokenizer; open_clip takes the folder's
            "tokenizer_kwargs": {"clean": "lower"},
        },
    }


def examples(scenes: int, set_pictures: int) -> Iterator[Example]:
    """Pictures of trained categories only, most of them with a caption that says no more than what is there."""
    for pixels, caption, _ in draw_scenes(SCENE_SEED, scenes, DRAWN_EDGE_PX, TRAIN_CATEGORIES):
        yield scaled(Image.fromarray(pixels)), caption
    yield from islice(_members_of_sets(set_pictures), set_pictures)


def _members_of_sets(count: int) -> Iterator[Example]:
    stream = BitStream(SCENE_SEED, "captions")
    sets_per_subset = -(-count // (5 * MEMBERS_OF_A_SET))
    for item in draw_spec(SCENE_SEED, sets_per_subset, DRAWN_EDGE_PX, TRAIN_CATEGORIES):
        if item.subset == "existence":
            continue  # what such a set names is gone from half of its pictures
        for member in stream.sample(range(item.k), MEMBERS_OF_A_SET):
            plain = plain_caption(stream, item.facts["names"])
            fine_grained = stream.one_in(FINE_GRAINED_ONE_IN) and item.subset != NOT_FINE_GRAINED
            yield scaled(open_image(item.images[member])), item.captions[member] if fine_grained else plain


def scaled(picture: Image.Image) -> NDArray[np.uint8]:
    """[edge, edge, RGB] as the model's own preprocessing scales it."""
    return np.asarray(picture.resize((EDGE_PX, EDGE_PX), Image.Resampling.BICUBIC))


def in_memory(drawn: Sequence[Example], tokenizer_folder: Path) -> TrainingPairs:
    pixels = torch.from_numpy(np.stack([pixels for pixels, _ in drawn])).permute(0, 3, 1, 2).contiguous()
    return TrainingPairs(pixels, load_tokenizer(tokenizer_folder, CONTEXT)([caption for _, caption in drawn]))


def show(report: StepReport) -> None:
    if report.step % 25 == 0 or report.step == 1:
        print(report, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the order of the data")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--set-pictures", type=int, default=SET_PICTURES)
    chosen = parser.parse_args()

    merges = trimmed_merges(clip_merges(), [*CATEGORIES, CAPTION_WORDS], KEEP_FIRST_MERGES)
    write_tokenizer(chosen.output, merges, CONTEXT)
    start_s = time.perf_counter()
    drawn = list(examples(chosen.scenes, chosen.set_pictures))
    pairs = in_memory(drawn, chosen.output)
    print(f"drew {len(drawn):,} pairs in {time.perf_counter() - start_s:.0f} s", flush=True)

    start_s = time.perf_counter()
    model_cfg = architecture(len(vocabulary(merges)))
    model = new_model(model_cfg, chosen.seed)
    config = ClipTraining(
        steps=chosen.steps,
        learning_rate=2e-3,
        pairs_per_step=256,
        warmup_steps=chosen.steps // 10,
        seed=chosen.seed,
    )
    train(model, config, PIXEL_SCALE, pairs=pairs, on_step=show)
    write_checkpoint(chosen.output, model, model_cfg, PREPROCESSING)
    print(f"trained in {time.perf_counter() - start_s:.0f} s; wrote {chosen.output}")


if __name__ == "__main__":
    main()
