"""A model's folder on this machine, and what its files say, without loading it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

LARGEST_HEAD = 100 << 20


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Where the hub's library keeps downloads, by its own variables."""
    if named := environ.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    caches = Path(environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(environ.get("HF_HOME") or caches / "huggingface").expanduser() / "hub"


def folder_of(model: str, cache: Path | None = None) -> Path | None:
    """The folder that a model's name stands for; None: it is to be downloaded.

    Raises:
        NotFound: that is no name of a model.
    """
    from isogloss.prompts.model.names import resolve

    source = resolve(model)
    if Path(source).is_dir():
        return Path(source)
    kept = (cache or hub_cache(os.environ)) / f"models--{source.replace('/', '--')}"
    named = kept / "refs" / "main"
    if not named.is_file():
        return None
    folder = kept / "snapshots" / named.read_text(encoding="utf-8").strip()
    return folder if (folder / "config.json").is_file() and _has_weights(folder) else None


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))


class Parameters(NamedTuple):
    """How many numbers a model's files hold."""

    tables: int
    """In those with a row for each token: they are looked up, not multiplied with."""
    layers: int
    """In all others."""


def parameters(folder: Path) -> Parameters | None:
    """Count the numbers in its safetensors files; None where there are none such."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return None
    tokens = configured(folder, "vocab_size")
    shapes = [shape for file in files for shape in _shapes(file)]
    tables = [shape for shape in shapes if len(shape) == 2 and str(shape[0]) == tokens]
    total, of_tables = (sum(map(prod, each)) for each in (shapes, tables))
    return Parameters(of_tables, total - of_tables)


def _shapes(file: Path) -> list[list[int]]:
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        head = json.loads(opened.read(min(size, LARGEST_HEAD)))
    return [each["shape"] for name, each in head.items() if name != "__metadata__"]


def licence(folder: Path) -> str | None:
    """What its card or its configuration calls its licence."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    head = text.split("---")[1] if text.startswith("---") and text.count("---") > 1 else ""
    if found := re.search(r"^license:\s*['\"]?([\w.+-]+)", head, re.MULTILINE):
        return found[1]
    return configured(folder, "license")


def configured(folder: Path, name: str) -> str | None:
    """What its configuration says of something; None where it says nothing."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config[name]) if config.get(name) else None
