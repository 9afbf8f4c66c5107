"""`minchange-eval list`: what is prepared, and how to get what is not."""

from __future__ import annotations

import argparse

from minchange_eval.core.errors import DataError, ExitCode, printable

EXAMPLES = """examples:
  minchange-eval list
  MINCHANGE_HOME=/data/minchange minchange-eval list
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No flags."""


def run(args: argparse.Namespace) -> int:
    """Print both lists; a damaged store is one line of the first."""
    from minchange_eval.core.home import home
    from minchange_eval.data.releases import OFFICIAL, generated
    from minchange_eval.data.store_card import prepared_names

    prepared = prepared_names()
    print(f"prepared in {home() / 'store'}:" if prepared else f"nothing is prepared in {home() / 'store'}")
    if prepared:
        rows = [("name", "items", "size", "revision", "licence", "")] + [_row(name) for name in prepared]
        for line in _aligned(rows):
            print(f"  {line}")
    missing = {name: release().how_to_get for name, release in OFFICIAL.items() if name not in prepared}
    missing |= {name: "synthetic: drawn here, no download" for name in generated() if name not in prepared}
    if missing:
        print("not prepared:")
        for line in _aligned([(f"minchange-eval prepare {name}", how) for name, how in missing.items()]):
            print(f"  {line}")
    return ExitCode.OK


def _row(name: str) -> tuple[str, ...]:
    from minchange_eval.data.store_card import read_card, store_folder

    try:
        card = read_card(store_folder(name))
    except DataError as error:
        return (name, "damaged", "", "", "", str(error))
    size = sum(file.size_bytes for file in card.files)
    notes = ["synthetic"] * card.synthetic + ["not verified"] * (not card.verified)
    if card.expected_items and card.items != card.expected_items:
        notes.append(f"of {card.expected_items:,}")
    if card.skipped:
        notes.append(f"{len(card.skipped)} broken rows left out")
    counts = ", ".join(f"{subset} {count:,}" for subset, count in card.counts.items())
    return (
        name,
        f"{card.items:,} {card.kind}",
        _bytes(size),
        printable(card.revision[:19]) or "unknown",
        printable(card.licence),
        printable("; ".join([*notes, counts])),
    )


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
