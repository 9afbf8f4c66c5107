"""A vision transformer of a few thousand weights, drawn sets to train it on, and trainings as processes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.data.store import write_store
from minchange_eval.data.store_card import StoreCard
from minchange_eval.model_adapters.open_clip_models import BUNDLED
from tests.cli.runs import Run, Runner

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 200), "white": (230, 230, 230)}


def make_model(folder: Path) -> Path:
    """A random open_clip ViT without batch norms, with the bundled tokenizer."""
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    bundled = BUNDLED["minchange-tiny"]
    config = json.loads((bundled / "open_clip_config.json").read_text())
    cfg = config["model_cfg"]
    cfg["embed_dim"] = 16
    cfg["vision_cfg"] = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
    cfg["text_cfg"] |= {"width": 32, "heads": 2, "layers": 1}
    config["preprocess_cfg"]["size"] = [32, 32]
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bundled / name, folder)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    sizes = {name: cfg["text_cfg"][name] for name in ("context_length", "vocab_size", "width", "heads", "layers")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIP(cfg["embed_dim"], cfg["vision_cfg"], sizes, quick_gelu=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def make_store(name: str = "colours", sets: int = 24) -> None:
    """Candidate sets that differ in one colour each, of two subsets."""
    write_store(name, _sets(sets), card=StoreCard(name=name, licence="CC0-1.0"))


def _sets(count: int) -> Iterator[CandidateSet]:
    names = list(COLOURS)
    for number in range(count):
        k = 2 + number % 3
        chosen = [names[(number + place) % 4] for place in range(k)]
        yield CandidateSet(
            set_id=f"s{number}",
            subset=("few", "many")[number % 2],
            images=tuple(BytesImage(f"{number}-{place}.png", _png(c, number)) for place, c in enumerate(chosen)),
            captions=tuple(f"a {colour} picture number {number}" for colour in chosen),
        )


def _png(colour: str, number: int) -> bytes:
    pixels = np.full((32, 32, 3), COLOURS[colour], np.uint8)
    pixels[: 1 + number % 30, :4] = number * 7 % 256
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def make_pictures(folder: Path) -> Path:
    """Four pictures of each colour, in a folder for each."""
    for colour in COLOURS:
        (folder / colour).mkdir(parents=True)
        for number in range(4):
            (folder / colour / f"{number}.png").write_bytes(_png(colour, number))
    return folder


@dataclass(frozen=True)
class Trainings:
    """Starts `minchange-eval train clip` as processes of their own."""

    runner: Runner
    home: Path
    settings: Mapping[str, object]

    def run(self, output: Path, *flags: str, before: str = "", processes: int = 1) -> Run:
        """Train to the end, or until what `before` lets go wrong.

        Args:
            before: Python source, run in each process first.
            processes: ranks over gloo on CPU.
        """
        import torch

        given = {**self.settings, "output": output}
        argv = ["train", "clip", *(f"--{name}={value}" for name, value in given.items()), *flags]
        env = {"OMP_NUM_THREADS": "1"}
        if torch.cuda.is_available():  # ranks on CPU are what these tests are of
            env["ACCELERATE_USE_CPU"] = "true"
        program = f"{_RANKS}\nworld({processes}, {str(output)!r})\n{before}\n{_MAIN}main({argv!r})\nleave(code)"
        return self.runner.run([], self.home, env=env, before=program)


_MAIN = "from minchange_eval.cli.main import main\ncode = "
_RANKS = """
import os, sys, tempfile, socket
others = []

def world(size, output):
    if size == 1:
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(WORLD_SIZE=str(size), LOCAL_WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    rank = 0
    for number in range(1, size):
        pid = os.fork()
        if pid == 0:
            rank = number
            break
        others.append(pid)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))

def leave(code):
    sys.stdout.flush(), sys.stderr.flush()
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in others]
    if any(codes) and not code:
        code = max(map(abs, codes))
    os._exit(code)
"""
