"""Immutable files named by the SHA-256 of their content, and those of stores that are far away.

What a digest names never changes, so a cache of this machine never grows stale: a replica that
starts anew asks its store only for what it never saw. Cached files are checked when they are read;
without room or permission the cache is left out.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidInput, InvalidPrompt, StoreError
from isogloss.prompts.files import durable
from isogloss.prompts.files.given_paths import cache_folder
from isogloss.prompts.format.prompt import read_prompt
from isogloss.prompts.format.safetensors_header import MAX_FILE_BYTES
from isogloss.prompts.format.soft_prompt import digest_of
from isogloss.prompts.store.filesystems import Folder, LocalFolder, explained

logger = logging.getLogger(__name__)

KEPT_BYTES = 2**30
"""What a cache keeps; the longest unused goes first."""

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_FILE = re.compile(r"([0-9a-f]{64})\.safetensors")
_REMEDY = "publish the prompt again to restore it"


class Objects:
    """A folder of prompt files, each written whole.

    With a cache, a store far away is asked for each once. Every method raises InvalidInput for a
    malformed digest, and StoreError where the folder cannot be read or written.
    """

    def __init__(self, folder: Folder, cache: ObjectCache | None = None) -> None:
        self._folder = folder
        self._cache = cache

    def read(self, digest: str) -> bytes:
        """Return an object's bytes, verified against the digest.

        Raises:
            InvalidInput: `digest` is malformed.
            StoreError: the object is missing, unreadable or damaged.
        """
        name = file_of(digest)
        if self._cache and (kept := self._cache.get(digest, name)) is not None:
            return kept
        data = self.read_unchecked(digest)
        if (content := digest_of(data)) != digest:
            raise StoreError(
                f"object {self.location_of(digest)} is damaged: its content is {content}"
                f"{_what_is_wrong(data)}; {_REMEDY}"
            )
        if self._cache:
            self._cache.put(name, data)
        return data

    def read_unchecked(self, digest: str) -> bytes:
        """Return what lies under a digest in the store itself, whatever it is."""
        with explained("read", self.location_of(digest), _REMEDY):
            return self._folder.read(file_of(digest), MAX_FILE_BYTES)

    def write(self, digest: str, data: bytes) -> None:
        """Store bytes under their digest; a damaged object is replaced.

        One that is there is written again: collection sees that somebody needs it now.
        """
        with explained("write", self.location_of(digest)):
            self._folder.write(file_of(digest), data)

    def restore(self, digest: str, data: bytes) -> None:
        """Write an object unless it is there: it was collected while it was being published."""
        if not self.has(digest):
            self.write(digest, data)

    def has(self, digest: str) -> bool:
        """Tell whether the store itself holds an object, whole or not."""
        with explained("look for", self.location_of(digest)):
            return self._folder.has(file_of(digest))

    def remove(self, digest: str) -> None:
        """Remove an object, here and from the cache."""
        name = file_of(digest)
        with explained("remove", self.location_of(digest)):
            self._folder.remove(name)
            if self._cache:
                self._cache.remove(name)

    def written_s(self) -> dict[str, float]:
        """When each object was last written, by digest, as in `time.time()`."""
        with explained("read", self._folder.location):
            files = self._folder.written_s()
        return {f"sha256:{m[1]}": s for name, s in files.items() if (m := _FILE.fullmatch(name))}

    def location_of(self, digest: str) -> str:
        """Path or address of an object, for people."""
        return f"{self._folder.location}/{file_of(digest)}"


def file_of(digest: str) -> str:
    """Return the name of an object's file.

    Raises:
        InvalidInput: `digest` is malformed.
    """
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise InvalidInput(f"digest {shown(digest, 80)} is not 'sha256:' and 64 hex digits")
    return f"{match.group(1)}.safetensors"


class ObjectCache:
    """A folder of files by digest. Any number of processes may share it."""

    def __init__(self, path: Path, kept_bytes: int = KEPT_BYTES) -> None:
        self._path = path
        self._folder = LocalFolder(path, path)
        self._kept_bytes = kept_bytes

    def get(self, digest: str, name: str) -> bytes | None:
        """Return the bytes of a digest; None where they are not here, or damaged."""
        try:
            data = self._folder.read(name, MAX_FILE_BYTES)
            if digest_of(data) == digest:
                os.utime(self._path / name)  # the longest unused go first
                return data
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("prompt cache %s cannot be used: %s", self._path, error)
        return None

    def put(self, name: str, data: bytes) -> None:
        """Keep bytes, and make room for them."""
        try:
            durable.create_folder(self._path)
            self._folder.write(name, data)
            self._make_room()
        except OSError as error:
            logger.warning("prompt cache %s cannot keep a prompt: %s", self._path, error)

    def remove(self, name: str) -> None:
        """Forget a file; an OSError says that it is still there."""
        if self._folder.has(name):
            self._folder.remove(name)

    def _make_room(self) -> None:
        kept = 0
        for name, _ in sorted(self._folder.written_s().items(), key=lambda named: -named[1]):
            kept += (self._path / name).stat().st_size
            if kept > self._kept_bytes:
                self._folder.remove(name)


def default_cache() -> ObjectCache:
    """Return the cache in $ISOGLOSS_CACHE, or in the user's cache folder."""
    return ObjectCache(cache_folder() / "objects")


def _what_is_wrong(data: bytes) -> str:
    """What a reader says of a damaged file, such as which member of an ensemble it is."""
    try:
        read_prompt(data)
    except InvalidPrompt as broken:
        return f" ({broken})"
    return ""
