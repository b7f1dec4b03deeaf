"""The fenced blocks of Markdown pages, and what is said of them behind the fence."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)
"""The pages whose blocks are run; other Markdown files lie beside data and have no commands."""
_FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|\| |&& |`)(?:\S*/)?isogloss (?!\.)([^|#`]*)")


@dataclass(frozen=True)
class Block:
    """One fenced block; `not_run` is why it cannot run here, `run` how it is run instead."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None
    run: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match[1],
            match[3],
            _note(match[2], "not-run"),
            _note(match[2], "run"),
        )
        for match in _FENCE.finditer(text)
    ]


def _note(notes: str, name: str) -> str | None:
    found = re.search(rf'(?:^| ){name}="([^"]*)"', notes)
    return found[1] if found else None


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page)]


def commands(text: str) -> Iterator[list[str]]:
    """The words of every `isogloss` command in shell or in inline code, without `isogloss`."""
    for line in text.replace("\\\n", " ").splitlines():
        for match in _COMMAND.finditer(line):
            yield shlex.split(match[1])


def prose(page: str) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
