"""SPEC (arXiv:2312.00081): `data.zip` of the Hub data set wjpoom/SPEC, or its unpacked folder.

Each subset folder holds two lists. `text2image.json` asks for one of K images, `image2text.json` for one of K texts;
neither names the set that a query belongs to. Sets are recovered by the images that a text-to-image query chooses
from (an image is part of one set, a text may be part of many), and image-to-text is joined by image path. The texts
of the two directions may be worded differently: those of image-to-text are the captions, those of text-to-image the
query captions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import CandidateSet, Item
from minchange_eval.data.benchmark_card import benchmark_card, release_of
from minchange_eval.data.json_rows import BadRowError, as_row, json_list, label, text, texts
from minchange_eval.data.release import BrokenRow, HubSource, Release
from minchange_eval.data.row_paths import path_inside
from minchange_eval.data.source_tree import SourceTree, file_sha256, open_source

SUBSETS = {name: subset.k for name, subset in benchmark_card("spec").subsets.items()}
T2I_FILE, I2T_FILE = "text2image.json", "image2text.json"


def release() -> Release:
    """SPEC as `prepare` knows it."""
    return release_of(
        "spec",
        read,
        # the authors' commit is not pinned; the digest of the one file is
        hub=HubSource("wjpoom/SPEC", "main", ("data.zip",)),
        identify=identify,
    )


def identify(source: Path) -> str:
    """`sha256:…` of the zip; nothing for a folder, which cannot be told from an altered one."""
    source = _zip_of(source)
    return f"sha256:{file_sha256(source)}" if source.is_file() else ""


def read(source: Path | None) -> Iterator[Item | BrokenRow]:
    """The sets of every subset folder, in the order in which `text2image.json` first names them.

    Raises:
        UsageError: the source is the folder of one subset.
        DataError: no subset folder, one that lacks a list, or a JSON file of another shape.
    """
    assert source is not None
    tree = open_source(_zip_of(source))
    paths = [PurePosixPath(path) for path in tree.files]
    folders = {str(path.parent) for path in paths if path.name in {T2I_FILE, I2T_FILE}}
    if "." in folders:
        raise UsageError(f"--source {source}: holds the lists of one subset; name the folder above it, which holds all")
    if not folders:
        raise DataError(
            f"{source}: expected folders {', '.join(SUBSETS)}, each with {T2I_FILE} and {I2T_FILE}; got none"
        )
    order = {name: place for place, name in enumerate(SUBSETS)}
    for folder in sorted(folders, key=lambda path: (order.get(PurePosixPath(path).name, len(order)), path)):
        subset = PurePosixPath(folder).name
        if subset in SUBSETS:
            yield from _read_subset(tree, folder, subset)
        else:
            yield BrokenRow(folder, f"unknown subset {subset!r}; SPEC has {', '.join(SUBSETS)}")


def _zip_of(source: Path) -> Path:
    inside = source / "data.zip"  # the folder of a Hub download
    return inside if source.is_dir() and inside.is_file() else source


def _read_subset(tree: SourceTree, folder: str, subset: str) -> Iterator[Item | BrokenRow]:
    k = SUBSETS[subset]
    sets: dict[frozenset[str], list[tuple[str, tuple[str, ...], int]]] = {}
    for _, query in _queries(tree, f"{folder}/{T2I_FILE}", k):
        if isinstance(query, BrokenRow):
            yield query
        else:
            sets.setdefault(frozenset(query[1]), []).append(query)
    by_image: dict[str, tuple[tuple[str, ...], int]] = {}
    for row, query in _queries(tree, f"{folder}/{I2T_FILE}", k):
        if isinstance(query, BrokenRow):
            yield query
        elif query[0] in by_image:
            yield BrokenRow(f"{folder}/{I2T_FILE} row {row}", f"image {query[0]!r} is asked for a second time")
        else:
            by_image[query[0]] = query[1:]
    for number, queries in enumerate(sets.values()):
        try:
            yield _candidate_set(tree, folder, f"{subset}/{number}", subset, queries, by_image)
        except (BadRowError, ValueError) as error:
            yield BrokenRow(f"{folder} set {number} (image {queries[0][1][0]})", f"cannot be made {k} x {k}: {error}")
    left_over = by_image.keys() - {name for names in sets for name in names}
    for image in sorted(left_over):
        yield BrokenRow(f"{folder}/{I2T_FILE} image {image}", f"is in no candidate set of {T2I_FILE}")


def _queries(tree: SourceTree, path: str, k: int) -> Iterator[tuple[int, tuple[str, tuple[str, ...], int] | BrokenRow]]:
    if path not in tree.files:
        raise DataError(f"{path}: is missing; a subset folder needs {T2I_FILE} and {I2T_FILE}")
    for number, row in enumerate(json_list(tree.read(path), path), 1):
        try:
            fields: Mapping[str, Any] = as_row(row)
            keys = texts(fields, "keys")
            if len(keys) != k:
                raise BadRowError(f"expected {k} keys, got {len(keys)}")
            query, right = text(fields, "query"), label(fields, "label", k)
            if path.endswith(T2I_FILE):
                yield number, (query, tuple(map(path_inside, keys)), right)
            else:
                yield number, (path_inside(query), keys, right)
        except BadRowError as error:
            yield number, BrokenRow(f"{path} row {number}", str(error))


def _candidate_set(
    tree: SourceTree,
    folder: str,
    set_id: str,
    subset: str,
    queries: list[tuple[str, tuple[str, ...], int]],
    by_image: Mapping[str, tuple[tuple[str, ...], int]],
) -> CandidateSet:
    images = queries[0][1]
    k = len(images)
    asked = {keys[right]: (query, keys) for query, keys, right in queries}
    if len(set(images)) != k or len(queries) != k or set(asked) != set(images):
        raise BadRowError(
            f"expected one text-to-image query for each of {k} images, got {len(queries)} for {len(asked)}"
        )
    missing = [image for image in images if image not in by_image]
    if missing:
        raise BadRowError(f"image {missing[0]!r} has no image-to-text query")
    captions = tuple(by_image[image][0][by_image[image][1]] for image in images)
    return CandidateSet(
        set_id=set_id,
        subset=subset,
        images=tuple(tree.image(_released_path(tree, folder, image), image) for image in images),
        captions=captions,
        query_captions=tuple(asked[image][0] for image in images),
        image_to_text=tuple(
            _released_order(captions, by_image[image][0], by_image[image][1], i) for i, image in enumerate(images)
        ),
        text_to_image=tuple(tuple(images.index(key) for key in asked[image][1]) for image in images),
    )


def _released_order(captions: tuple[str, ...], keys: tuple[str, ...], right: int, answer: int) -> tuple[int, ...]:
    """Keys as indices into the captions; a text that stands twice takes its places in turn, the right one its own."""
    free = {index for index in range(len(captions)) if index != answer}
    order = []
    for place, key in enumerate(keys):
        index = answer if place == right else min((j for j in free if captions[j] == key), default=None)
        if index is None:
            raise BadRowError(f"text {key!r} is a candidate of one image, but no image's caption")
        free.discard(index)
        order.append(index)
    return tuple(order)


def _released_path(tree: SourceTree, folder: str, image: str) -> str:
    path = f"{folder}/{image}"
    if path not in tree.files:
        raise BadRowError(f"image {image!r} is missing")
    return path
