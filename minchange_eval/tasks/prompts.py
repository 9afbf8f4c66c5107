"""The wordings of the benchmarks, by name: what `wordings/*.toml` holds."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from minchange_eval.core.prompts import Prompt

_FOLDER = files(__package__) / "wordings"


@cache
def prompt(name: str) -> Prompt:
    """The wording of that name.

    Raises:
        KeyError: there is none.
    """
    file = _FOLDER / f"{name}.toml"
    if not file.is_file():
        raise KeyError(f"no wording is called {name}; known: {', '.join(prompt_names())}")
    return Prompt.read(tomllib.loads(file.read_text(encoding="utf-8")))


def prompt_names() -> tuple[str, ...]:
    """The names of all wordings, sorted."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _FOLDER.iterdir() if file.name.endswith(".toml")))
