"""Stores on S3 and whatever else fsspec knows: no hard links, no renames, no folders.

An object store shows a file whole or not at all, so writing is one upload. A generation's number is
taken by a conditional upload (S3: `If-None-Match: *`; Google's and Azure's stores have the like),
which one of several publishers wins. Where a file system has none, or a server ignores the
condition, a warning says so: then only one publisher at a time may use the store.

A poll is one request for the next generation, and every few seconds one whether the one before is
still the same. Prompt files never change, so they are kept on this machine by digest (see
`prompts.store.objects`).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs

from isogloss.prompts.errors import StoreError
from isogloss.prompts.store.seed import KNOWN_FOLDERS

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_PATIENCE_S = 5.0
_CREATE_ATTEMPTS = 3
_RETRY_AFTER_S = 0.2
_PROBE = "exclusive-create"
# botocore's own minute for each attempt would hold up a swap for longer than a swap may take.
_S3_OPTIONS: Final = {"config_kwargs": {"connect_timeout": 5, "read_timeout": 30}}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {"s3": _S3_OPTIONS, "s3a": _S3_OPTIONS}


class RemoteFolder:
    """Files below one address."""

    patience_s = _PATIENCE_S

    def __init__(self, files: Any, path: str, location: str) -> None:
        self._files = files
        self._path = path
        self.location = location

    def names(self) -> list[str]:
        """Every file's name, in any order; none where there is no folder."""
        return list(self._listed())

    def written_s(self) -> dict[str, float]:
        """When each file was last written, as in `time.time()`; now, where nobody can tell."""
        return {name: _written_s(facts) for name, facts in self._listed().items()}

    def mark(self, name: str | None = None) -> str | None:
        """Return what differs once a file was replaced: its facts, with the server's own mark."""
        if name is None:
            return None
        try:
            return str(self._call(lambda: self._files.info(self._at(name))))
        except FileNotFoundError:
            return None

    def has(self, name: str) -> bool:
        """Tell whether a file is there: one request."""
        try:
            # `exists` would list the folder too where the file is not there.
            self._call(lambda: self._files.cat_file(self._at(name), start=0, end=1))
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's bytes; FileNotFoundError where there is none."""
        data: bytes = self._call(
            lambda: self._files.cat_file(self._at(name), start=0, end=max_bytes + 1)
        )
        if len(data) > max_bytes:
            raise OSError(errno.EFBIG, f"oversized: at most {max_bytes} bytes are accepted")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Upload a file: readers see the old one or the new one."""
        self._call(lambda: self._files.pipe_file(self._at(name), data))

    def create(self, name: str, data: bytes) -> bool:
        """Upload a file unless somebody else did; True if this call did.

        An upload that failed may have arrived, and one that was repeated finds itself there: what
        lies under the name decides.
        """
        for attempt in itertools.count(1):
            try:
                self._call(lambda: self._files.pipe_file(self._at(name), data, mode="create"))
            except OSError:
                if (ours := self._holds(name, data)) is not None:
                    return ours
                # Two uploads at once may both be refused (S3: 409, "try again").
                if attempt == _CREATE_ATTEMPTS:
                    raise
                time.sleep(_RETRY_AFTER_S)
            else:
                break
        return True

    def confirm(self, name: str) -> None:
        """Make sure that a file is there: an upload that was answered outlives a failure."""
        if not self.has(name):
            raise FileNotFoundError(errno.ENOENT, "it is not there", f"{self.location}/{name}")

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._call(lambda: self._files.rm_file(self._at(name)))

    def _holds(self, name: str, data: bytes) -> bool | None:
        """Tell whether a file has exactly these bytes; None where there is no file."""
        try:
            return self.read(name, len(data)) == data
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EFBIG:
                return False
            raise

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _listed(self) -> dict[str, dict[str, Any]]:
        try:
            listed = self._call(lambda: self._files.ls(self._path, detail=True, refresh=True))
        except FileNotFoundError:
            return {}
        return {
            str(facts["name"]).rpartition("/")[2]: facts
            for facts in listed
            if facts["type"] == "file"
        }

    def _call(self, work: Callable[[], Answer]) -> Answer:
        with only_os_errors(self.location):
            return work()


class RemoteBackend:
    """A prefix of a bucket, or a folder of another file system that fsspec knows."""

    def __init__(self, address: str) -> None:
        scheme = address.partition(":")[0]
        try:
            with only_os_errors(address):
                self._files, self._path = url_to_fs(
                    address, use_listings_cache=False, **_OPTIONS.get(scheme, {})
                )
        except ImportError as error:
            extra = "pip install 'isogloss[s3]'" if scheme in _OPTIONS else "install what it names"
            raise StoreError(f"prompt store {address}: {error}; {extra}") from error
        except OSError as error:
            known = "s3://, gs://, abfs:// or memory"
            raise StoreError(
                f"prompt store {address}: {error}; give a folder, or an address such as {known}://"
            ) from error
        self._path = self._path.rstrip("/")
        self.location = address
        self._prepared = False

    def folder(self, name: str) -> RemoteFolder:
        """Return one of the store's folders."""
        return RemoteFolder(self._files, f"{self._path}/{name}", f"{self.location}/{name}")

    def exists(self) -> bool:
        """Tell whether anything was ever published here: there are no empty folders."""
        return bool(self.folder("generations").names())

    def make(self) -> None:
        """Require that a new store would not be mixed with other files."""
        with only_os_errors(self.location):
            try:
                listed = self._files.ls(self._path, detail=False, refresh=True)
            except FileNotFoundError:
                return
        foreign = {str(name).rstrip("/").rpartition("/")[2] for name in listed} - KNOWN_FOLDERS
        if foreign := foreign - {""}:
            raise StoreError(
                f"{self.location} is not a prompt store: it holds {min(foreign)!r}; give an empty "
                "or new prefix as --store"
            )

    def prepare(self) -> None:
        """Find out, once, whether several publishers may use this store, and say if not."""
        if self._prepared:
            return
        if not self._creates_exclusively():
            logger.warning(
                "prompt store %s: its file system cannot refuse to overwrite a file; let only one "
                "publisher at a time use it",
                self.location,
            )
        self._prepared = True

    def _creates_exclusively(self) -> bool:
        """Tell whether the second of two creations is refused by the server itself."""
        overrides = type(self._files).pipe_file is not fsspec.AbstractFileSystem.pipe_file
        if not overrides and not isinstance(self._files, AsyncFileSystem):
            return False  # fsspec's default looks first and then writes: another may come between
        probe = self.folder("tmp")
        probe.create(_PROBE, b"1")
        return not probe.create(_PROBE, b"2")


@contextlib.contextmanager
def only_os_errors(location: str) -> Iterator[None]:
    """Make every library's own errors (no network, no credentials) OSErrors."""
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}", location) from error


def _written_s(facts: dict[str, Any]) -> float:
    """Return when a file was written; the names of the fact differ between file systems."""
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        match facts.get(key):
            case datetime() as moment:
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            case int() | float() as moment:
                return float(moment)
            case str() as moment:
                return datetime.fromisoformat(moment).timestamp()
    return time.time()
