"""Minimal-change vision-language understanding: evaluate, trust, generate, train."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("minchange-eval")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
