"""`minchange-eval tasks-path`: where the task files are, for `lmms-eval --include_path`."""

from __future__ import annotations

import argparse
from pathlib import Path

from minchange_eval.core.errors import ExitCode

EXAMPLES = """examples:
  minchange-eval tasks-path
  lmms-eval tasks list --include_path "$(minchange-eval tasks-path)"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> ExitCode:
    """Print the folder."""
    print(Path(__file__).parents[1] / "tasks")
    return ExitCode.OK
