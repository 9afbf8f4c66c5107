"""Settings in a YAML file, read so that a slip is found: a key given twice, a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import UsageError

__all__ = ["meant", "read_settings"]


def read_settings(path: Path, what: str, key: str) -> dict[str, Any]:
    """The keys and values of a YAML file; none of an empty one.

    Args:
        what: how messages call the file before its path: `policy`, `--config`.
        key: one that such a file may have, for the message where it has none.

    Raises:
        UsageError: it cannot be read, is no YAML, has a key twice, or is no mapping.
    """
    import yaml

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())  # noqa: S506  # derived from the safe one
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{what} {path}: cannot be read ({reason})") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # a ValueError for the 99th of a month
        raise UsageError(f"{what} {path}: expected YAML, got {' '.join(str(error).split())}") from error
    if not isinstance(content, dict | None):
        raise UsageError(f"{what} {path}: expected keys such as {key}, got {str(content)[:40]!r}")
    return content or {}


def meant(name: str, known: Iterable[str]) -> str:
    """What a misspelt name was perhaps meant to be; empty where nothing is near.

    >>> meant("margn", ["margin", "slices"])
    'did you mean margin?'
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _loader() -> Any:
    """YAML's safe loader, which would let the second of two equal keys win in silence."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key that is given twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is given twice", node.start_mark)
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    return Loader
