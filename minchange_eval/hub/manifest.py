"""`pushed.json`: what a repository on the Hub holds, each file with its SHA-256.

It is written by the last commit of a push, so it never promises what is not there, and it tells files that were pushed
from files that somebody else put beside them. Whoever pulls reads the kind and checks every file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from minchange_eval import __version__
from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.hub.address import HubAddress

MANIFEST = "pushed.json"
CARD = "README.md"
VERSION = 1
LARGEST = 20_000_000  # bytes; some 100,000 files
Kind = Literal["checkpoint", "dataset", "records"]
REPOSITORY_TYPES: Mapping[Kind, str] = {"checkpoint": "model", "dataset": "dataset", "records": "dataset"}
KIND_NAMES: Mapping[Kind, str] = {"checkpoint": "a checkpoint", "dataset": "a data set", "records": "run records"}


class Held(BaseModel):
    """One file."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a repository holds.

    Attributes:
        minchange_hub: version of this format.
        kind: what was pushed.
        made_by: program and version.
        files: by path; all but this file itself and what the Hub adds.
        facts: what that kind of push wants to find again.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    minchange_hub: int = Field(default=VERSION, ge=1)
    kind: Kind
    made_by: str = f"minchange-eval {__version__}"
    files: dict[str, Held]
    facts: dict[str, JsonValue] = Field(default_factory=dict)

    def content(self) -> bytes:
        """The file's bytes: the same for the same push."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"


def read_manifest(content: bytes, address: HubAddress) -> Manifest:
    """The manifest of a repository.

    Raises:
        DataError: it is broken, or a newer version's.
    """
    try:
        if len(content) > LARGEST:
            raise ValueError(f"{len(content):,} bytes")
        held = Manifest.model_validate(json.loads(content))
    except (ValueError, RecursionError, ValidationError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"{address}: its {MANIFEST} is no list of what was pushed ({first}); push it again") from error
    if held.minchange_hub > VERSION:
        raise DataError(
            f"{address}: its {MANIFEST} is of version {held.minchange_hub}, this program reads up to {VERSION}; "
            "update minchange-eval"
        )
    return held


def require_kind(address: HubAddress, held: Manifest, expected: Kind) -> None:
    """The repository holds what is asked for.

    Raises:
        UsageError: it holds something else.
    """
    if held.kind != expected:
        raise UsageError(
            f"{address}: holds {KIND_NAMES[held.kind]}, not {KIND_NAMES[expected]}; "
            f"name another repository, or say {held.kind} in place of {expected}"
        )
