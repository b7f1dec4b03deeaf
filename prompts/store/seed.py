"""How a store begins, and where the default store is.

The prompts that ship with Isogloss lie in a store folder inside the package, which may be
read-only. A user's store begins as a copy of it, made aside and renamed into place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from importlib import metadata, resources
from pathlib import Path

from isogloss.prompts.files import durable
from isogloss.prompts.files.given_paths import from_environment, user_data

FOLDERS = ("objects", "tmp", "generations")
"""What a store's folder holds."""

KNOWN_FOLDERS = frozenset({*FOLDERS, "quarantine"})
"""And what it may hold: damaged files are moved aside."""

_CARRIED = ("objects", "generations")


def default_store_path() -> Path:
    """Return $ISOGLOSS_STORE, or `isogloss/store` in the user's data folder."""
    chosen = from_environment("ISOGLOSS_STORE")
    return Path(chosen) if chosen else user_data() / "store"


def shipped_store() -> Path:
    """Return the folder of the prompts that ship with Isogloss; it may be missing."""
    return Path(str(resources.files("isogloss.prompts").joinpath("shipped")))


def release() -> str:
    """Return this release's name, for people to read."""
    try:
        return f"isogloss {metadata.version('isogloss')}"
    except metadata.PackageNotFoundError:  # run from a bare checkout
        return "isogloss"


def remove_empty(path: Path) -> None:
    """Make room for a copy where a store was made but nothing ever published."""
    with contextlib.suppress(OSError):  # a folder that is not empty stays, and so does the store
        for name in ("tmp", *_CARRIED):
            os.rmdir(path / name)


def seed_from(shipped: Path, path: Path) -> None:
    """Copy a store to `path`, whole or not at all; whoever copies first wins.

    Raises:
        OSError: the copy could not be made; `path` is as it was.
    """
    durable.create_folder(path.parent)
    aside = durable.temporary_name(path.parent)
    try:
        _copy(shipped, aside)
        os.rename(aside, path)
    except OSError as error:
        # A folder cannot be renamed onto one that is not empty: another process was faster.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    durable.sync_folder(path.parent)


def _copy(shipped: Path, aside: Path) -> None:
    """Copy contents only: the shipped files may be read-only, their copies must not be."""
    for name in _CARRIED:
        durable.create_folder(aside / name)
        for source in sorted((shipped / name).iterdir()):
            durable.write_atomically(aside / name / source.name, source.read_bytes())
