"""Folders and files that a command writes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files import durable


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what a person can do where the body cannot write `path`.

    Raises:
        InvalidInput: instead of the body's OSError.
    """
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"--out: {path} cannot be written ({error.strerror or error}); free space there or "
            "choose another --out"
        ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader, or a crash, finds the old content or the new.

    Raises:
        InvalidInput: it cannot be written.
    """
    with writing(path):
        durable.write_atomically(path, data)


def writable_folder(path: Path) -> Path:
    """Create a folder where needed and make sure that files can be written in it.

    Raises:
        InvalidInput: they cannot; said before hours of work, not after.
    """
    probe = durable.temporary_name(path)
    with writing(path):
        durable.create_folder(path)
        durable.write_atomically(probe, b"")
        probe.unlink()
    return path
