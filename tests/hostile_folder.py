"""A working folder with modules named like ours and everybody's, which nobody may import."""

from __future__ import annotations

from pathlib import Path

MODULES = (
    "prompts/__init__.py",
    "serving/__init__.py",
    "training/__init__.py",
    "deploy/__init__.py",
    "isogloss/__init__.py",
    "yaml.py",
    "torch.py",
    "ray.py",
    "numpy/__init__.py",
    "logging.py",
    "typing.py",
    "sitecustomize.py",
)
_TRAP = """\
with open({marker!r}, "a") as file:
    file.write(__name__ + "\\n")
raise ImportError("imported from the working folder")
"""


def fill(folder: Path, besides: tuple[str, ...] = ()) -> Path:
    """Lay the traps, but none of a name in `besides`; returns where one that was sprung says so."""
    marker = folder / "imported.txt"
    for name in MODULES:
        if name in besides:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_TRAP.format(marker=str(marker)), encoding="utf-8")
    return marker


def imported(marker: Path) -> list[str]:
    """Names of the modules that were imported."""
    return marker.read_text(encoding="utf-8").split() if marker.exists() else []
