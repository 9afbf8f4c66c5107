"""Draw pictures of one thing each, in a folder for each class: what zero-shot accuracy is measured on in a training.

    python examples/draw_labelled_pictures.py --output runs/labelled --each 10

All 58 categories of the mini suite, those that the training recipes show, or those that none does. The same seed
draws the same pictures on every machine; it is another one than the suite and the recipes use, so that none was trained
on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from minchange_eval.generators.procedural.suite import CATEGORIES, HELD_OUT, TRAIN_CATEGORIES, draw_scenes

SEED = 3_000_000  # far from the suite's own seed and from those of the training recipes
CHOICES = {"all": CATEGORIES, "trained": TRAIN_CATEGORIES, "held-out": HELD_OUT}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    parser.add_argument("--each", type=int, default=10, help="pictures of each category")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--edge-px", type=int, default=128)
    parser.add_argument("--categories", choices=list(CHOICES), default="all", help="all, trained on, or held out")
    chosen = parser.parse_args()
    if chosen.output.exists():
        parser.error(f"{chosen.output}: is there already; name a new folder")
    names = CHOICES[chosen.categories]
    for place, name in enumerate(names):
        folder = chosen.output / name.replace(" ", "_")
        folder.mkdir(parents=True)
        # one category to choose from: every scene holds that one thing, and each class has scenes of its own
        drawn = draw_scenes(chosen.seed + place, chosen.each, chosen.edge_px, (name,))
        for number, (pixels, _, _) in enumerate(drawn):
            Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    print(f"drew {chosen.each * len(names):,} pictures of {len(names)} categories into {chosen.output}")


if __name__ == "__main__":
    main()
