"""Options that several benchmarks have."""

from __future__ import annotations

import os
from pathlib import Path

from prompts.errors import InvalidInput


def parse_sizes(text: str, option: str = "--batch-sizes") -> tuple[int, ...]:
    """Sizes with commas between them, each once, ascending.

    Raises:
        InvalidInput: not whole numbers from 1.

    >>> parse_sizes("8,1,8")
    (1, 8)
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise InvalidInput(f"{option} {text!r}: give whole numbers from 1, as in 1,8,32")
    return tuple(sorted({int(part) for part in parts}))


def check_writable(out: Path | None) -> None:
    """Say so before the measurement rather than after it.

    Raises:
        InvalidInput: the file could not be written.
    """
    if out is None:
        return
    folder = out.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or out.is_dir():
        raise InvalidInput(f"--out {str(out)!r}: name a file in a folder that you may write to")
