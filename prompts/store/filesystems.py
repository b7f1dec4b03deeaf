"""Where a store's files are: a folder of this machine, or any address that fsspec knows.

A store needs little of its backend: files that are there whole or not at all, files that only one
of several writers can create, and names that can be listed. `prompts.files.durable` gives that with
renames and hard links on a local or network file system, `prompts.store.remote` on object stores,
which have neither. `explained` says what is wrong with either, and the remedy.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from isogloss.prompts.errors import StoreError
from isogloss.prompts.files import durable
from isogloss.prompts.store.seed import FOLDERS, KNOWN_FOLDERS

LEFTOVER_AGE_S = 3600.0
"""A file that nothing refers to may belong to a running publish until it is this old."""

_TICK_S = 2.0
"""No file system counts time more coarsely."""

# pathlib makes one slash of two, so an address that came as a Path has lost one.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)
_LOCAL_SCHEMES = ("file", "local")


class Folder(Protocol):
    """Files with plain names, each written whole; every method may raise OSError."""

    @property
    def location(self) -> str:
        """Path or address, for people."""

    def names(self) -> list[str]:
        """Every file's name, in any order; FileNotFoundError for a folder that should be there."""

    def written_s(self) -> dict[str, float]:
        """When each file was last written, as in `time.time()`."""

    @property
    def patience_s(self) -> float:
        """How long a reader may take what it saw there for what is there: asking costs."""

    def mark(self, name: str | None = None) -> str | None:
        """Return what differs once a file was replaced, None where there is no file.

        Without a name: what differs once any file came or went, None where nobody can tell. A mark
        that may not differ yet, for a change was a moment ago, equals no other.
        """

    def has(self, name: str) -> bool:
        """Tell whether a file is there."""

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's bytes; FileNotFoundError where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file: readers see the old one or the new one."""

    def create(self, name: str, data: bytes) -> bool:
        """Create a file unless somebody else did; True if this call created it."""

    def confirm(self, name: str) -> None:
        """Make sure that a file which somebody else wrote outlives a power failure."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


class Backend(Protocol):
    """Holds a store's folders; every method may raise OSError."""

    @property
    def location(self) -> str:
        """Path or address, for people."""

    def folder(self, name: str) -> Folder:
        """Return one of the store's folders."""

    def exists(self) -> bool:
        """Tell whether there is a store."""

    def make(self) -> None:
        """Make an empty store; StoreError where something else is there."""

    def prepare(self) -> None:
        """Make ready for a publish: folders that are missing, leftovers of a crash."""


class LocalFolder:
    """A folder of a file system with hard links. `temporary` is on the same file system."""

    patience_s = 0.0

    def __init__(self, path: Path, temporary: Path) -> None:
        self._path = path
        self._temporary = temporary
        self.location = str(path)

    def names(self) -> list[str]:
        """Every file's name, in any order."""
        return os.listdir(self._path)

    def written_s(self) -> dict[str, float]:
        """When each file was last written, as in `time.time()`."""
        written_s = {}
        for name in self.names():
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                written_s[name] = os.stat(self._path / name).st_mtime
        return written_s

    def mark(self, name: str | None = None) -> str | None:
        """Return what differs once a file was replaced, or any file came or went."""
        try:
            facts = os.stat(self._path / name if name else self._path)
        except FileNotFoundError:
            return None
        # File systems count time in ticks: two changes within one may leave the same facts.
        recent = abs(time.time() - facts.st_ctime) < _TICK_S
        mark = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        return f"{mark} {secrets.token_hex(8) if recent else ''}"

    def has(self, name: str) -> bool:
        """Tell whether a file is there."""
        try:
            os.stat(self._path / name)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's bytes; FileNotFoundError where there is none."""
        return durable.read_limited(self._path / name, max_bytes)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file by a rename."""
        durable.create_folder(self._path)
        durable.write_atomically(self._path / name, data, self._temporary)

    def create(self, name: str, data: bytes) -> bool:
        """Create a file by a hard link, which fails where somebody else did."""
        return durable.write_exclusively(self._path / name, data, self._temporary)

    def confirm(self, name: str) -> None:
        """Put a file that somebody else wrote, and its name, on the disk."""
        durable.sync_existing(self._path / name)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        durable.remove(self._path / name)


class LocalBackend:
    """A folder of this machine, or of a network file system it has mounted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = str(root)

    def folder(self, name: str) -> LocalFolder:
        """Return one of the store's folders."""
        return LocalFolder(self.root / name, self.root / "tmp")

    def exists(self) -> bool:
        """Tell whether there is a store."""
        return is_store(self.root)

    def make(self) -> None:
        """Make an empty store; StoreError where the folder holds something else."""
        _check_free(self.root)
        self._create_folders()

    def prepare(self) -> None:
        """Make folders that are missing, and remove what a crash left long ago."""
        self._create_folders()  # a copied store may lack the empty ones
        durable.clean(self.root / "tmp", LEFTOVER_AGE_S, time.time())

    def _create_folders(self) -> None:
        for name in FOLDERS:
            durable.create_folder(self.root / name)


def address_of(root: Path | str) -> str | None:
    """Return the address that a person named, `scheme://...`; None for a local folder."""
    address = _ADDRESS.fullmatch(str(root))
    if address is None or address[1] in _LOCAL_SCHEMES:
        return None
    return f"{address[1]}://{address[2].rstrip('/')}"


def backend_of(root: Path | str) -> Backend:
    """Return the backend of a path or an address.

    Raises:
        StoreError: no installed file system knows the address.
    """
    if (address := address_of(root)) is not None:
        from isogloss.prompts.store.remote import RemoteBackend  # fsspec, only for those who use it

        return RemoteBackend(address)
    local = _ADDRESS.fullmatch(str(root))
    return LocalBackend(Path(f"/{local[2]}") if local else Path(root))


def is_store(path: Path) -> bool:
    """Tell whether there is a prompt store at `path`."""
    return (path / "generations").is_dir()


def _check_free(root: Path) -> None:
    """Require that a new store would not be mixed with other files.

    Raises:
        StoreError: there are some.
    """
    foreign = sorted(set(os.listdir(root)) - KNOWN_FOLDERS) if root.is_dir() else []
    if foreign:
        raise StoreError(
            f"{root} is not a prompt store: it holds {foreign[0]!r}; give an empty or new folder "
            "as --store"
        )


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
