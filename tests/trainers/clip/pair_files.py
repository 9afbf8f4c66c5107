"""Small sets and pairs on disk, in every form that the readers know."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.data.store import Store, write_store
from tests.data.official_layouts import picture_bytes

Pair = tuple[str, bytes, str]  # file name, picture, caption


def pairs(count: int = 6) -> list[Pair]:
    """Pictures of different pixels with different captions."""
    return [(f"{n:06d}.jpg", picture_bytes(("pair", n)), f"a photo of thing {n}") for n in range(count)]


def write_tar(path: Path, samples: Iterable[Pair], more: Iterable[tuple[str, bytes]] = ()) -> Path:
    """A webdataset shard; `more` are further members at its end."""
    with tarfile.open(path, "w") as tar:
        for name, picture, caption in samples:
            for member, data in ((name, picture), (f"{Path(name).stem}.txt", caption.encode())):
                _add(tar, member, data)
        for member, data in more:
            _add(tar, member, data)
    return path


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def write_csv(path: Path, samples: Iterable[Pair], head: tuple[str, str] = ("filepath", "title")) -> Path:
    """A table with its pictures beside it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerow(head)
        for name, picture, caption in samples:
            (path.parent / name).write_bytes(picture)
            writer.writerow((name, caption))
    return path


def write_parquet(path: Path, samples: Iterable[Pair]) -> Path:
    """Image bytes as the Hub's data sets have them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"image": {"bytes": picture, "path": name}, "caption": caption} for name, picture, caption in samples]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def candidate_set(name: str, seeds: Iterable[object], captions: Iterable[str], subset: str = "count") -> CandidateSet:
    """A set whose pictures are of these seeds: equal seeds are equal pictures."""
    images = tuple(BytesImage(f"{name}/{i}.jpg", picture_bytes(seed)) for i, seed in enumerate(seeds))
    return CandidateSet(set_id=name, subset=subset, images=images, captions=tuple(captions))


def write_sets(name: str, count: int = 4, k: int = 3, first: int = 0) -> Store:
    """A store of sets with K members, no picture or caption of which stands twice."""
    numbers = range(first, first + count)
    sets = [
        candidate_set(
            f"{name}/{n}",
            [("set", n, i) for i in range(k)],
            [f"thing {n} in state {i}" for i in range(k)],
            "count" if n % 2 else "existence",
        )
        for n in numbers
    ]
    return write_store(name, sets)
