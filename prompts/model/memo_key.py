"""What a model that was loaded once depends on: another key, and it is loaded in full again.

Files are told by size, times and inode, not by their bytes: reading two gigabytes is what is to be
saved. The time of a file's last change of any kind (`ctime`) is among them, which no program sets.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path

import safetensors
import tokenizers
import torch
from pydantic import BaseModel, ConfigDict

from isogloss import __version__

_FORMAT = 1
_SOURCES = Path(__file__).parent
# Read anew by every start, or by nobody.
_APART = frozenset({"pretraining.json", "README.md", ".gitattributes"})

FileFacts = tuple[int, int, int, int]
"""Bytes, `mtime` and `ctime` in nanoseconds, inode."""


class MemoKey(BaseModel):
    """Where the files are, what they are like, and who read them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = _FORMAT
    folder: str
    dtype: str
    """That the model was asked in: numbers are checked for it."""
    files: dict[str, FileFacts]
    isogloss: str
    sources: str
    """Digest of the code that reads and checks models."""
    packages: dict[str, str]

    @property
    def stem(self) -> str:
        """What its files are called: the next key of the same folder and precision replaces it."""
        digest = hashlib.sha256(f"{self.folder}\0{self.dtype}".encode())
        return digest.hexdigest()[:32]


def key_of(folder: Path, dtype: torch.dtype) -> MemoKey:
    """The key of a model's folder as it is now.

    Raises:
        OSError: the folder, or our own source, cannot be read.
    """
    return MemoKey(
        folder=str(folder.absolute()),
        dtype=str(dtype).removeprefix("torch."),
        files=_files(folder),
        isogloss=__version__,
        sources=_digest_of_sources(),
        packages={
            "torch": torch.__version__,
            "transformers": version("transformers"),  # which is not to be imported
            "tokenizers": tokenizers.__version__,
            "safetensors": safetensors.__version__,
        },
    )


def _files(folder: Path) -> dict[str, FileFacts]:
    """Facts of the files in a folder; the hub's links are followed to what they name."""
    with os.scandir(folder) as entries:
        found = {each.name: each.stat() for each in entries if each.is_file()}
    return {
        name: (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
        for name, facts in sorted(found.items())
        if name not in _APART
    }


@cache
def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.rglob("*.py")):
        digest.update(f"{path.relative_to(_SOURCES)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
