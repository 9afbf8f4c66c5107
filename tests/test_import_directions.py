"""Who may import whom: read from the source, so that an import inside a function counts too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minchange_eval"
ALLOWED = {
    "core": set(),
    "data": {"core"},
    "audit": {"core", "data"},
    "reports": {"core", "data"},
    "generators": {"core", "data"},
    "hub": {"core", "data"},
    "model_adapters": {"core"},
    "tasks": {"core", "data"},
    "trainers": {"core", "data", "model_adapters", "audit"},
    "cli": {"core", "data", "audit", "reports", "generators", "hub", "model_adapters", "tasks", "trainers"},
}
CORE_LIBRARIES = {"numpy", "pydantic", "PIL", "scipy", "platformdirs"}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported_modules(source: Path) -> list[str]:
    """Full names of everything that a file imports, relative imports resolved."""
    names = []
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import; write it in full"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_folder_imports_only_the_folders_below_it(source: Path) -> None:
    folder = source.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = ALLOWED.get(folder, set()) | {folder, "__version__", "_version"}
    ours = [name.split(".")[1] for name in imported_modules(source) if name.startswith("minchange_eval.")]
    assert not set(ours) - allowed


@pytest.mark.parametrize("source", sorted((PACKAGE / "core").rglob("*.py")), ids=lambda path: path.name)
def test_core_stands_on_the_standard_library_and_a_few_light_packages(source: Path) -> None:
    import sys

    outside = {name.split(".")[0] for name in imported_modules(source)} - {"minchange_eval"}
    assert outside - set(sys.stdlib_module_names) <= CORE_LIBRARIES


def test_every_folder_of_the_package_has_its_rule() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders <= set(ALLOWED)
