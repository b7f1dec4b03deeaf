"""Says what is wrong with a store's disk, where, and what a person can do about it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from isogloss.prompts.errors import StoreError


@contextlib.contextmanager
def explained(doing: str, path: Path | str, remedy: str | None = None) -> Iterator[None]:
    """Turn an OSError into a StoreError that names the path, the reason and the remedy."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(
            f"prompt store: cannot {doing} {path}: {reason}; {remedy or _remedy(error, str(path))}"
        ) from error


def _remedy(error: OSError, path: str) -> str:
    if "://" in path:
        return "check the address, the network and this user's credentials for it"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space on its disk"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "make it writable for this user or give another --store"
        case errno.ENOTDIR | errno.EEXIST:
            return "a file is in the way: give another --store"
        case errno.ENOTSUP | errno.EMLINK | errno.EXDEV:
            return "its file system has no hard links: give a --store on another"
        case _:
            return "check the folder and its disk, or give another --store"
