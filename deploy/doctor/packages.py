"""Versions of what is installed: against our ranges, and against what the server hooks into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from isogloss.deploy.doctor.finding import Asked, Finding, fail, ok

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

SERVER = "serve"


def packages(asked: Asked) -> Finding:
    """Every package that a server needs, in a version that it was made for."""
    needs = metadata.requires("isogloss") or []
    wrong, said = [], []
    for name, wanted, found in compared(needs, _installed):
        if found is None or not wanted.contains(found, prereleases=True):
            wrong.append(f"{name}{wanted} (is {found or 'missing'})")
        elif name in ("ray", "torch", "transformers", "fastapi"):
            said.append(f"{name} {found}")
    if wrong:
        return fail("packages", f"needed are {', '.join(wrong)}", "pip install 'isogloss[serve]'")
    return ok("packages", f"{', '.join(said)}; all are in the ranges that were tested")


def compared(
    needs: list[str], installed: Callable[[str], str | None]
) -> Iterator[tuple[str, SpecifierSet, str | None]]:
    """Package, range and installed version, of the core and of a server."""
    from packaging.requirements import Requirement

    for need in map(Requirement, needs):
        if need.marker is None or need.marker.evaluate({"extra": SERVER}):
            yield need.name, need.specifier, installed(need.name)


def hooks(asked: Asked) -> Finding:
    """What the server reaches into of Ray, HAProxy and uvicorn; also says what is known bad."""
    from isogloss.serving.ray.hooks.guard import HOOKS, HookMisfit, check_hooks

    try:
        check_hooks()
    except HookMisfit as misfit:
        said, _, remedy = str(misfit).partition("; ")
        return fail("hooks", said, remedy)
    return ok("hooks", f"Ray Serve and uvicorn are as the {len(HOOKS)} hooks into them expect")


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
