"""Where everything lies that is kept between runs: prepared data, logged embeddings, run records."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`$MINCHANGE_HOME`, else the user's cache folder; it need not exist yet."""
    chosen = os.environ.get("MINCHANGE_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("minchange-eval"))
