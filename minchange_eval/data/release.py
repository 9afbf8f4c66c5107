"""A release: what a benchmark is, and how its rows are read from what its authors (or a generator) hand out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from minchange_eval.core.items import Item

Kind = Literal["sets", "questions"]


@dataclass(frozen=True)
class BrokenRow:
    """A row of a release that makes no item; a reader yields it in the row's place and goes on.

    Attributes:
        where: which row, as a person would look it up (`count/image2text.json row 7`).
        reason: what was expected and what came.
    """

    where: str
    reason: str


@dataclass(frozen=True)
class HubSource:
    """A data set on the Hugging Face Hub at a revision that is known to work.

    Attributes:
        repo_id: `owner/name`.
        revision: 40 hexadecimal digits, so that the data cannot change under a name; `main` only where the content
            is checked otherwise, or the card says that it was not.
        patterns: which files of it are needed.
    """

    repo_id: str
    revision: str
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """One data set that `prepare` can put into the store.

    Attributes:
        name: the name in the store and on the command line.
        kind: candidate sets or choice questions.
        title: for people.
        licence: SPDX identifier, or what the authors say of it.
        paper: arXiv identifier or address; empty for a generated data set without one.
        subsets: subset -> K of its candidate sets, or number of options of its questions.
        read: from the source (None for generated data) the items in released order, pixels not held in memory;
            called with the folder of images too when one is given apart from the source.
        revision: commit or digest of the data this reader was written for; for generated data its seed and version.
        synthetic: drawn by a generator of ours; fingerprinted over pixels, and marked wherever it is listed.
        quirks: what stays in the store as released although a reader would not expect it.
        items: how many items a complete release has, for the remaining time; None when it is not known.
        how_to_get: one sentence: where the data is, for a user who has nothing yet.
        hub: where `prepare` downloads it when no source is given.
        images_hub: where `prepare` downloads the images of a release whose source holds only the questions.
        needs_images: whether a source comes without its images.
        identify: revision of the source at hand where it can be told (a zip by its digest), else `revision` is taken.
    """

    name: str
    kind: Kind
    title: str
    licence: str
    subsets: Mapping[str, int]
    read: Callable[..., Iterable[Item | BrokenRow]]
    paper: str = ""
    revision: str = ""
    synthetic: bool = False
    quirks: tuple[str, ...] = field(default=())
    items: int | None = None
    how_to_get: str = ""
    hub: HubSource | None = None
    images_hub: HubSource | None = None
    needs_images: Callable[[Path], bool] = lambda source: False
    identify: Callable[[Path], str] | None = None
