"""What ours is compared with, written as one would without this package: the ideal, and the authors' way.

Only torch, open_clip and Pillow; nothing of the package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

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
    loader = torch.utils.data.DataLoader(
        _Pictures(paths, prepare), batch_size, num_workers=workers, multiprocessing_context="fork"
    )
    embeddings = [_unit(model.encode_image(batch)) for batch in loader]
    embeddings += [
        _unit(model.encode_text(tokenizer(texts[start : start + batch_size])))
        for start in range(0, len(texts), batch_size)
    ]
    assert all(torch.isfinite(rows).all() for rows in embeddings)
    return {**clock.spent(), "images": len(paths), "texts": len(texts)}


def per_query(release: str, model_folder: str, batch_size: int, workers: int, threads: int) -> dict[str, float]:
    """Every query's own picture or text and each of its candidates encoded for that query, as SPEC's evaluator does."""
    torch.set_num_threads(threads)
    model, prepare, tokenizer = _loaded(model_folder)
    images = texts = hits = 0
    clock = Clock()
    batches = list(_batches_of_queries(Path(release), batch_size))
    for batch, pictures in zip(batches, _loader_of_queries(batches, prepare, workers), strict=True):
        candidates = list(zip(*(query.row["keys"] for query in batch), strict=True))
        if batch[0].asks_for_text:
            left = _unit(model.encode_image(pictures[:, 0]))
            right = [_unit(model.encode_text(tokenizer(list(column)))) for column in candidates]
            images, texts = images + len(batch), texts + len(batch) * len(right)
        else:
            left = _unit(model.encode_text(tokenizer([query.row["query"] for query in batch])))
            right = [_unit(model.encode_image(pictures[:, place])) for place in range(len(candidates))]
            images, texts = images + len(batch) * len(right), texts + len(batch)
        choices = torch.stack([(left * one).sum(-1) for one in right]).argmax(0)
        hits += sum(int(choice) == query.row["label"] for choice, query in zip(choices, batch, strict=True))
    return {**clock.spent(), "images": images, "texts": texts, "hits": hits}


class _Query(NamedTuple):
    row: dict[str, Any]
    pictures: list[Path]
    asks_for_text: bool


def _batches_of_queries(release: Path, batch_size: int) -> Iterator[list[_Query]]:
    """Queries of one subset and direction together, so that all of a batch have as many candidates."""
    for subset in SUBSETS:
        folder = release / subset
        rows = json.loads((folder / "image2text.json").read_text())
        yield from _chunks([_Query(row, [folder / row["query"]], True) for row in rows], batch_size)
        rows = json.loads((folder / "text2image.json").read_text())
        yield from _chunks([_Query(row, [folder / key for key in row["keys"]], False) for row in rows], batch_size)


def _chunks(queries: list[_Query], size: int) -> Iterator[list[_Query]]:
    return (queries[start : start + size] for start in range(0, len(queries), size))


class _Pictures(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, paths: list[Path], prepare: Callable[[Image.Image], torch.Tensor]) -> None:
        self.paths, self.prepare = paths, prepare

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        with Image.open(self.paths[number]) as picture:
            return self.prepare(picture.convert("RGB"))


class _PicturesOfQuery(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, queries: list[_Query], prepare: Callable[[Image.Image], torch.Tensor]) -> None:
        self.pictures = [_Pictures(query.pictures, prepare) for query in queries]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> torch.Tensor:
        pictures = self.pictures[number]
        return torch.stack([pictures[place] for place in range(len(pictures))])


def _loader_of_queries(batches: list[list[_Query]], prepare: Any, workers: int) -> Iterable[torch.Tensor]:
    queries = [query for batch in batches for query in batch]
    numbers = iter(range(len(queries)))
    return torch.utils.data.DataLoader(
        _PicturesOfQuery(queries, prepare),
        batch_sampler=[[next(numbers) for _ in batch] for batch in batches],
        num_workers=workers,
        multiprocessing_context="fork",
    )


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
