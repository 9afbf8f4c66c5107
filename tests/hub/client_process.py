"""Processes of their own that speak with a `LocalHub` through the real huggingface_hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.hub.server import LocalHub

REPOSITORY = Path(__file__).parents[2]


def python(hub: LocalHub, source: str, token: str | None, home: Path, **environment: str) -> str:
    """Run Python source with the Hub's environment; what it printed.

    Raises:
        AssertionError: it failed, with its output.
    """
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, **hub.environment(token, home), "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
