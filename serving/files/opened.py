"""Files as they are opened, told apart and put into place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.durable import sync_folder

HEAD_BYTES = 1 << 16
MAX_LINE_BYTES = 64 << 20


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that is read.

    Raises:
        InvalidData: it is not there, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InvalidData(
            f"{path}: cannot be read ({error.strerror or error}); check the path"
        ) from error


def install(part: Path, out: Path) -> None:
    """Give a file that is wholly on the disk its name."""
    os.replace(part, out)
    sync_folder(out.parent)


def not_utf8(text: str) -> str | None:
    """What to say of a text with bytes that were none of UTF-8; None: it has none."""
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) & 0xFF
        return f"the text is not UTF-8 (byte 0x{byte:02x} at character {error.start + 1})"
    return None
