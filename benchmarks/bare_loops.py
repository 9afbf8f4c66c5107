"""What ours is compared with, written as one would without this package: the ideal, and the authors' way.

Only torch, open_clip and Pillow; nothing of the package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image

from benchmarks.process import Clock

SUBSETS = ("absolute_size", "relative_size", "absolute_spatial", "relative_spatial", "existence", "count")


def ideal(release: str, model_folder: str, batch_size: int, workers: int, threads: int) -> dict[str, float]:
    """Every distinct picture and text encoded once, in full batches, loaded ahead by a DataLoader."""
    torch.set_num_threads(threads)
    model, prepare, tokenizer = _loaded(model_folder)
    paths, texts = sorted(Path(release).rglob("*.jpg")), sorted(_texts(Path(release)))
    clock = Clock()
    loader = torch.utils.data.DataLoader(_Pictures(paths, prepare), batch_size, num_workers=workers)
    embeddings = [_unit(model.encode_image(batch)) for batch in loader]
    embeddings += [
        _unit(model.encode_text(tokenizer(texts[start : start + batch_size])))
        for start in range(0, len(texts), batch_size)
    ]
    assert all(torch.isfinite(rows).all() for rows in embeddings)
    return {**clock.spent(), "images": len(paths), "texts": len(texts)}


def per_query(release: str, model_folder: str, batch_size: int, workers: int) -> dict[str, float]:
    """Every query's own picture or text and each of its candidates encoded for that query, as SPEC's evaluator does."""
    model, prepare, tokenizer = _loaded(model_folder)
    images = texts = hits = 0
    clock = Clock()
    for subset in SUBSETS:
        folder = Path(release) / subset
        rows = json.loads((folder / "image2text.json").read_text())
        loader = _queries(rows, [[folder / row["query"]] for row in rows], prepare, batch_size, workers)
        for asked, pictures in loader:
            left = _unit(model.encode_image(pictures[:, 0]))
            right = [
                _unit(model.encode_text(tokenizer(list(column))))
                for column in zip(*(row["keys"] for row in asked), strict=True)
            ]
            hits += _hits(asked, torch.stack([(left * one).sum(-1) for one in right]))
            images, texts = images + len(asked), texts + len(asked) * len(right)
        rows = json.loads((folder / "text2image.json").read_text())
        loader = _queries(rows, [[folder / key for key in row["keys"]] for row in rows], prepare, batch_size, workers)
        for asked, pictures in loader:
            left = _unit(model.encode_text(tokenizer([row["query"] for row in asked])))
            right = [_unit(model.encode_image(pictures[:, place])) for place in range(pictures.shape[1])]
            hits += _hits(asked, torch.stack([(left * one).sum(-1) for one in right]))
            images, texts = images + len(asked) * len(right), texts + len(asked)
    return {**clock.spent(), "images": images, "texts": texts, "hits": hits}


class _Pictures(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, paths: list[Path], prepare: Callable[[Image.Image], torch.Tensor]) -> None:
        self.paths, self.prepare = paths, prepare

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        with Image.open(self.paths[number]) as picture:
            return self.prepare(picture.convert("RGB"))


class _PicturesOfQuery(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, paths: list[list[Path]], prepare: Callable[[Image.Image], torch.Tensor]) -> None:
        self.paths, self.pictures = paths, [_Pictures(one, prepare) for one in paths]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.stack([self.pictures[number][place] for place in range(len(self.paths[number]))])


def _queries(
    rows: list[dict[str, Any]], paths: list[list[Path]], prepare: Any, batch_size: int, workers: int
) -> Iterator[tuple[list[dict[str, Any]], torch.Tensor]]:
    loader: Iterable[torch.Tensor] = torch.utils.data.DataLoader(
        _PicturesOfQuery(paths, prepare), batch_size, num_workers=workers
    )
    for number, pictures in enumerate(loader):
        yield rows[number * batch_size : (number + 1) * batch_size], pictures


def _hits(rows: list[dict[str, Any]], scores: torch.Tensor) -> int:
    return sum(int(choice) == row["label"] for choice, row in zip(scores.argmax(0), rows, strict=True))


def _texts(release: Path) -> set[str]:
    found: set[str] = set()
    for subset in SUBSETS:
        found.update(*(row["keys"] for row in json.loads((release / subset / "image2text.json").read_text())))
        found.update(row["query"] for row in json.loads((release / subset / "text2image.json").read_text()))
    return found


def _loaded(folder: str) -> tuple[Any, Any, Any]:
    torch.set_grad_enabled(False)
    name = f"local-dir:{folder}"
    model, _, prepare = open_clip.create_model_and_transforms(name)
    return model.eval(), prepare, open_clip.get_tokenizer(name)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    unit: torch.Tensor = rows / rows.norm(dim=-1, keepdim=True)
    return unit
