"""The arrows of the house: who may import whom, no circles between modules, none between rooms."""

import ast
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "prompts": {"prompts"},
    "training": {"prompts", "training"},
    "serving": {"prompts", "serving"},
    "deploy": {"prompts", "training", "serving", "deploy"},
}
# Libraries that only some files may touch, so that the rest stays quick to import and to test.
ONLY_IN = {
    "ray": (
        "prompts/cluster/",
        "serving/ray/app.py",
        "serving/ray/deployment.py",
        "serving/ray/hooks/",
        "serving/ray/remote.py",
        "serving/ray/shared_cluster.py",
        "training/workers/ray_pool.py",
        "deploy/bench/",
    ),
    "transformers": (
        "prompts/model/checkpoint.py",
        "prompts/model/full_size.py",
        "training/recipes/pocket/",
        "deploy/bench/",
    ),
    "lang2vec": ("training/recipes/languages.py",),
    "matplotlib": (
        "training/canvas.py",
        "training/study/",
        "training/recipes/ladder/figures.py",
        "training/selection/gains_figure.py",
        "training/selection/tailoring_figure.py",
        "deploy/bench/figures.py",
    ),
    "jinja2": ("training/study/report.py", "training/tailor/report/__init__.py"),
    "peft": ("deploy/bench/",),
    "fsspec": ("prompts/store/remote.py",),
    "opentelemetry": ("serving/telemetry/spans.py",),
}
SOURCES = sorted(path for name in ALLOWED for path in (ROOT / name).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module imported anywhere in a file, inside functions too; ours without `isogloss`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("isogloss.") for name in found}


def room(module: str) -> str:
    """The folder that a module lies in; a package is its own."""
    path = ROOT.joinpath(*module.split("."))
    return module if path.is_dir() else module.rpartition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_run_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[0] for name in imports(path)} & set(ALLOWED)
    assert ours <= ALLOWED[package], f"{path} may import only {sorted(ALLOWED[package])}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_keep_to_their_rooms(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    heavy = {name.split(".")[0] for name in imports(path)} & set(ONLY_IN)
    astray = {library for library in heavy if not place.startswith(ONLY_IN[library])}
    assert not astray, f"{place} imports {sorted(astray)}"


def test_no_circles_between_modules() -> None:
    modules = {module_name(path) for path in SOURCES}
    graph = {module_name(path): imports(path) & modules - {module_name(path)} for path in SOURCES}
    # `from package import module` names the package too; its __init__ imports nothing back.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


def test_no_circles_between_rooms() -> None:
    modules = {module_name(path) for path in SOURCES}
    rooms: dict[str, dict[str, str]] = {}
    for path in SOURCES:
        own = room(module_name(path))
        for module in imports(path) & modules:
            # `from package import module` names the package too, whose __init__ imports nothing.
            if room(module) not in (own, module):
                rooms.setdefault(own, {})[room(module)] = f"{module_name(path)} -> {module}"
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as error:
        circle = error.args[1]
        why = [rooms[to][here] for here, to in pairwise(circle)]
        pytest.fail(f"rooms import each other: {' -> '.join(circle)}; {'; '.join(why)}")
