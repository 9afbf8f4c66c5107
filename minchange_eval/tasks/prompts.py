"""The wordings of the benchmarks, by name: what `wordings/*.toml` holds.

A file is one prompt, or a bank: many wordings of the same question, of which a task asks several. A bank has `name`,
`origin` and `source` like a prompt, its `direction`, a `frame` (and a `frame_without_options`) with `{wording}` where
the words of each go, and tables of wordings: `[<table>.<name>]` with `text`, and `labels` where they are no letters.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from minchange_eval.core.prompts import Prompt

_FOLDER = files(__package__) / "wordings"
_OF_A_BANK = ("name", "origin", "source", "direction", "reply_prefix", "frame", "frame_without_options")


@cache
def prompt(name: str) -> Prompt:
    """The wording of that name: of a file, or `<bank>/<wording>`.

    Raises:
        KeyError: there is none.
    """
    file, _, wording = name.partition("/")
    content = _content(file)
    if not wording:
        return Prompt.read(content)
    of_bank = {found: words for table in bank_tables(file).values() for found, words in table.items()}
    if wording not in of_bank:
        raise KeyError(f"bank {file} has no wording {wording}; known: {', '.join(of_bank)}")
    return _of_bank(content, wording, of_bank[wording])


def bank_tables(name: str) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The tables of a bank: `short` and `long`, say, each with its wordings by name, in the order of the file.

    Raises:
        KeyError: there is no bank of that name.
    """
    content = _content(name)
    if "frame" not in content:
        raise KeyError(f"{name} is one prompt, not a bank of wordings")
    return {table: dict(words) for table, words in content.items() if table not in _OF_A_BANK}


def prompt_names() -> tuple[str, ...]:
    """The names of all prompts, sorted; those of banks as `<bank>/<wording>`."""
    names = []
    for file in sorted(file.name for file in _FOLDER.iterdir() if file.name.endswith(".toml")):
        name = file.removesuffix(".toml")
        if "frame" in _content(name):
            names += [f"{name}/{wording}" for table in bank_tables(name).values() for wording in table]
        else:
            names.append(name)
    return tuple(sorted(names))


@cache
def _content(name: str) -> dict[str, Any]:
    file = _FOLDER / f"{name}.toml"
    if not file.is_file():
        raise KeyError(f"no wording is called {name}; known: {', '.join(prompt_names())}")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _of_bank(bank: Mapping[str, Any], name: str, words: Mapping[str, Any]) -> Prompt:
    template = {**words, "text": bank["frame"].replace("{wording}", words["text"])}
    if "reply_prefix" in bank:
        template["reply_prefix"] = bank["reply_prefix"]
    content = {
        "name": f"{bank['name']}/{name}",
        "origin": bank["origin"],
        "source": bank["source"],
        "templates": {bank["direction"]: template},
    }
    if "frame_without_options" in bank:
        open_question = bank["frame_without_options"].replace("{wording}", words["text"])
        content["without_options"] = {bank["direction"]: {"text": open_question}}
    return Prompt.read(content)
