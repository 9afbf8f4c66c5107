"""Rasterise the bundled sprites from Google's Noto emoji art; run once, whenever a sprite is added.

    npm pack @iconify-json/noto && tar xzf iconify-json-noto-*.tgz
    pip install resvg_py pillow
    python examples/build_sprites.py package/icons.json minchange_eval/generators/procedural/assets/sprites

The package needs the finished PNG files only. They are vendored, so that every machine has the same pixels whatever
its rasteriser would draw. A sprite is cut to its own outline and its longer side is 256 px.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path

import resvg_py
from PIL import Image

LONGER_SIDE_PX = 256

GLYPHS = {  # sprite -> glyph of the Noto set
    "person": "person-standing",
    "person_walking": "person-walking",
    "person_running": "person-running",
    "person_kneeling": "person-kneeling",
    "bicycle": "bicycle",
    "car": "automobile",
    "motorcycle": "motorcycle",
    "airplane": "airplane",
    "bus": "bus",
    "train": "locomotive",
    "truck": "delivery-truck",
    "boat": "sailboat",
    "traffic_light": "vertical-traffic-light",
    "bird": "bird",
    "cat": "cat",
    "dog": "dog",
    "horse": "horse",
    "sheep": "ewe",
    "cow": "cow",
    "elephant": "elephant",
    "zebra": "zebra",
    "giraffe": "giraffe",
    "backpack": "backpack",
    "umbrella": "umbrella",
    "handbag": "handbag",
    "suitcase": "luggage",
    "frisbee": "flying-disc",
    "sports_ball": "soccer-ball",
    "kite": "kite",
    "skateboard": "skateboard",
    "bottle": "lotion-bottle",
    "wine_glass": "wine-glass",
    "cup": "hot-beverage",
    "knife": "kitchen-knife",
    "spoon": "spoon",
    "banana": "banana",
    "apple": "red-apple",
    "sandwich": "sandwich",
    "orange": "tangerine",
    "broccoli": "broccoli",
    "carrot": "carrot",
    "hot_dog": "hot-dog",
    "pizza": "pizza",
    "donut": "doughnut",
    "cake": "birthday-cake",
    "chair": "chair",
    "couch": "couch-and-lamp",
    "potted_plant": "potted-plant",
    "bed": "bed",
    "toilet": "toilet",
    "tv": "television",
    "laptop": "laptop",
    "mouse": "computer-mouse",
    "cell_phone": "mobile-phone",
    "keyboard": "keyboard",
    "book": "closed-book",
    "clock": "alarm-clock",
    "vase": "amphora",
    "scissors": "scissors",
    "teddy_bear": "teddy-bear",
    "toothbrush": "toothbrush",
    # parts and look-alikes, for questions only
    "top_hat": "top-hat",
    "crown": "crown",
    "bow": "ribbon",
    "tiger": "tiger",
    "leopard": "leopard",
    "goat": "goat",
}

LEFT_OUT = {  # elements that begin with one of these paths are no part of the object
    "couch-and-lamp": ('fill="#ffd600" d="M110.93', "<ellipse", 'fill="url(#SVG9Lve6djm)"'),
    "flying-disc": ('fill="#c9c9c9" d="M34.06',),
    "hot-beverage": ('fill="#b8ced4" d="M82.9',),
}


def body_of(icons: dict[str, dict[str, str]], glyph: str) -> str:
    """The SVG elements of a glyph, without those that draw something else (the lamp beside the couch)."""
    body = icons[glyph]["body"]
    for start in LEFT_OUT.get(glyph, ()):
        tag = r"<ellipse[^>]*/>" if start == "<ellipse" else rf"<path {re.escape(start)}[^>]*/>"
        body, found = re.subn(tag, "", body, count=1)
        if not found:
            raise SystemExit(f"{glyph}: no element begins with {start}; the release of the glyphs has changed")
    return body


def rasterise(body: str) -> Image.Image:
    """The glyph cut to its outline, its longer side `LONGER_SIDE_PX`."""
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {names} viewBox="0 0 128 128">{body}</svg>'
    width = 512
    for _ in range(4):  # the outline's size is known only after drawing; a few rounds meet the wanted pixel
        drawn = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=width, height=width))))
        drawn = drawn.convert("RGBA")
        box = drawn.getchannel("A").point(lambda value: 255 if value >= 8 else 0).getbbox()
        longer = max(box[2] - box[0], box[3] - box[1])
        if longer == LONGER_SIDE_PX:
            break
        width = round(width * LONGER_SIDE_PX / longer)
    return drawn.crop(box)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("icons", type=Path, help="icons.json of @iconify-json/noto")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    icons = json.loads(arguments.icons.read_text(encoding="utf-8"))["icons"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for sprite, glyph in GLYPHS.items():
        rasterise(body_of(icons, glyph)).save(arguments.out / f"{sprite}.png", optimize=True)
    size = sum(path.stat().st_size for path in arguments.out.glob("*.png"))
    print(f"{len(GLYPHS)} sprites, {size:,} bytes")


if __name__ == "__main__":
    main()
