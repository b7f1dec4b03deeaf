"""Dataclasses whose fields are all arrays, kept on disk: what takes minutes is done once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Protocol, TypeVar, cast

from safetensors.numpy import load_file, save_file


class _Arrays(Protocol):
    __dataclass_fields__: dict[str, object]


A = TypeVar("A")


def kept(path: Path, kind: type[A], make: Callable[[], A]) -> A:
    """What is at `path`, or what `make` makes, then put there."""
    if path.is_file():
        return kind(**load_file(path))
    made = make()
    names = [field.name for field in fields(cast("type[_Arrays]", kind))]  # type: ignore[arg-type]
    aside = path.with_suffix(".part")
    save_file({name: getattr(made, name) for name in names}, aside)
    aside.replace(path)
    return made
