"""Which tests are a module's own: those that import it, else those that import its importers."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

_MOST_FILES = 8


class Imports:
    """Who imports whom, in a checkout; `isogloss.` is left off the modules' names."""

    def __init__(self, root: Path, packages: Sequence[str]) -> None:
        self._root = root
        files = [
            path for name in (*packages, "tests") for path in sorted((root / name).rglob("*.py"))
        ]
        self._by_file = {path: self._imports(path) for path in files}

    def tests_of(self, path: Path) -> list[Path]:
        """Test files, the nearest first; those that are called like the module lead."""
        wanted, seen = {self._module(path)}, set[str]()
        while wanted - seen:
            seen |= wanted
            importers = {file for file, names in self._by_file.items() if names & wanted}
            if tests := [file for file in importers if file.name.startswith("test_")]:
                return sorted(tests, key=lambda test: self._rank(test, path))[:_MOST_FILES]
            wanted |= {self._module(file) for file in importers}
        return []

    def _rank(self, test: Path, path: Path) -> tuple[bool, bool, int]:
        """Alike in name, of the same package, and short, first."""
        other_name = path.stem not in test.stem and test.stem.removeprefix("test_") not in path.stem
        other_package = path.relative_to(self._root).parts[0] not in test.parts
        return other_name, other_package, test.stat().st_size

    def _module(self, path: Path) -> str:
        return ".".join(path.relative_to(self._root).with_suffix("").parts)

    def _imports(self, path: Path) -> set[str]:
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        return {name.removeprefix("isogloss.") for name in found}
