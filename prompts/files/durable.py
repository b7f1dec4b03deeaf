"""Files that are there whole or not at all, even when the power fails.

A rename or a hard link is the moment a file appears; its bytes are on the disk before that (fsync
of the file) and its name soon after (fsync of the folder). Every call of the operating system that
changes the prompt store is in this file, so a test can fail each one in turn.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

_TEMPORARY_PREFIX = ".tmp-"


def temporary_name(folder: Path) -> Path:
    """A name in `folder` that nobody else uses."""
    return folder / f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}"


def write_atomically(path: Path, data: bytes, temporary_folder: Path | None = None) -> None:
    """Replace `path` by a file with these bytes: readers see the old file or the new one.

    `temporary_folder` (default: the file's own folder) must be on the same file system.

    Raises:
        OSError: nothing changed, or (if only the last fsync failed) the new file is in place.
    """
    temporary = temporary_name(temporary_folder or path.parent)
    try:
        _write_synced(temporary, data)
        os.replace(temporary, path)
    finally:
        _discard(temporary)
    sync_folder(path.parent)


def write_exclusively(path: Path, data: bytes, temporary_folder: Path) -> bool:
    """Create `path` with these bytes unless somebody else did; True if this call created it.

    Exactly one of any number of concurrent callers creates the file, on NFS too.

    Raises:
        OSError: nothing changed, or (if only the last fsync failed) the new file is in place.
    """
    temporary = temporary_name(temporary_folder)
    try:
        _write_synced(temporary, data)
        created = _link(temporary, path)
    finally:
        _discard(temporary)
    if created:
        sync_folder(path.parent)
    return created


def sync_existing(path: Path) -> None:
    """Put a file that somebody else wrote, and its name, on the disk."""
    _sync(path, os.O_RDONLY)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def create_folder(folder: Path) -> None:
    """Create a folder and its parents; no error if it is there."""
    if folder.is_dir():
        return
    create_folder(folder.parent)
    with contextlib.suppress(FileExistsError):  # another process was faster
        os.mkdir(folder)
    if not folder.is_dir():
        raise NotADirectoryError(20, "a file is in the way of the folder", str(folder))
    sync_folder(folder.parent)


def remove(path: Path) -> None:
    """Remove a file for good; no error if it is not there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sync_folder(path.parent)


def read_limited(path: Path, max_bytes: int) -> bytes:
    """Read a regular file after checking its size.

    Raises:
        OSError: it is missing, not a regular file, larger than `max_bytes` or unreadable.
    """
    facts = os.stat(path)
    if not stat.S_ISREG(facts.st_mode):  # a pipe or a device would be read for ever
        raise OSError(22, "not a regular file", str(path))
    if facts.st_size > max_bytes:
        raise OSError(27, f"oversized: {facts.st_size} bytes, at most {max_bytes} are accepted")
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(27, f"oversized: it grew beyond {max_bytes} bytes while it was read")
    return data


def clean(folder: Path, older_than_s: float, now_s: float) -> None:
    """Remove temporary files that a crashed writer left in `folder`; times as in `time.time()`."""
    for leftover in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        # Another process may clean at the same time; what stays is removed another day.
        with contextlib.suppress(OSError):
            if now_s - leftover.stat().st_mtime > older_than_s:
                os.unlink(leftover)


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS may repeat a request whose answer was lost: the second link then finds the first.
        # Only our own link gives our temporary file a second name.
        return os.stat(temporary).st_nlink == 2
    return True


def _discard(temporary: Path) -> None:
    """Remove a temporary file if it is still there; a leftover is harmless (see `clean`)."""
    with contextlib.suppress(OSError):
        os.unlink(temporary)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
