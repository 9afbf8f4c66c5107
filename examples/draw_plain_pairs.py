"""Draw plain scenes with ordinary captions to train on: a webdataset tar, or a folder of pictures with a CSV.

    python examples/draw_plain_pairs.py --output plain.tar --n 4000
    python examples/draw_plain_pairs.py --output plain/pairs.csv --n 4000 --edge-px 64

The miniature of web captions for `minchange-eval train clip --plain plain.tar`: they say what is in a picture and not
where, how many or how large. Never shown: the categories that are held out of training. The same flags write the same
bytes of captions and pixels.
"""

from __future__ import annotations

import argparse
import csv
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from minchange_eval.generators.procedural.render import png_bytes
from minchange_eval.generators.procedural.suite import TRAIN_CATEGORIES, draw_scenes

SEED = 4_000_000  # the suite has 0, the bundled model's pictures 1,000,000, the training sets 2,000,000


def drawn(n: int, seed: int, edge_px: int) -> Iterator[tuple[str, bytes, str]]:
    """Name, PNG and caption of each scene."""
    for number, (pixels, caption, _) in enumerate(draw_scenes(seed, n, edge_px, TRAIN_CATEGORIES)):
        yield f"{number:06d}", png_bytes(pixels), caption


def write_tar(path: Path, pairs: Iterator[tuple[str, bytes, str]]) -> None:
    """Samples of webdataset: `000000.png`, `000000.txt`, …"""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, picture, caption in pairs:
            for suffix, data in (("png", picture), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{name}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def write_csv(path: Path, pairs: Iterator[tuple[str, bytes, str]]) -> None:
    """open_clip's columns, pictures in the folder `images` beside the table."""
    images = path.parent / "images"
    images.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filepath", "title"))
        for name, picture, caption in pairs:
            (images / f"{name}.png").write_bytes(picture)
            writer.writerow((f"images/{name}.png", caption))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a .tar or a .csv file")
    parser.add_argument("--n", type=int, default=4000, help="pairs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="another one gives other scenes (default: %(default)s)")
    parser.add_argument("--edge-px", type=int, default=128, help="of the square pictures (default: %(default)s)")
    chosen = parser.parse_args()
    write = {".tar": write_tar, ".csv": write_csv}.get(chosen.output.suffix)
    if write is None or chosen.n < 1:
        parser.error("expected --output with a name that ends in .tar or .csv, and --n of at least 1")
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    write(chosen.output, drawn(chosen.n, chosen.seed, chosen.edge_px))
    print(f"wrote {chosen.n:,} pairs to {chosen.output}")


if __name__ == "__main__":
    main()
