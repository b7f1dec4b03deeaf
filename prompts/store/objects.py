"""Immutable files named by the SHA-256 of their content."""

from __future__ import annotations

import re

from isogloss.prompts.errors import InvalidInput, StoreError
from isogloss.prompts.format.safetensors_header import MAX_FILE_BYTES
from isogloss.prompts.format.soft_prompt import digest_of
from isogloss.prompts.store.faults import explained
from isogloss.prompts.store.filesystems import Folder
from isogloss.prompts.store.object_cache import ObjectCache

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_FILE = re.compile(r"([0-9a-f]{64})\.safetensors")
_REMEDY = "publish the prompt again to restore it"


class Objects:
    """A folder of prompt files, each written whole.

    With a cache, whose files are as immutable, a store far away is asked for each once.
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
        found = digest_of(data)
        if found != digest:
            raise StoreError(
                f"object {self.location_of(digest)} is damaged: its content is {found}; {_REMEDY}"
            )
        if self._cache:
            self._cache.put(name, data)
        return data

    def read_unchecked(self, digest: str) -> bytes:
        """Return what lies under a digest in the store itself, whatever it is.

        Raises:
            InvalidInput: `digest` is malformed.
            StoreError: it is missing or unreadable.
        """
        with explained("read", self.location_of(digest), _REMEDY):
            return self._folder.read(file_of(digest), MAX_FILE_BYTES)

    def write(self, digest: str, data: bytes) -> None:
        """Store bytes under their digest; a damaged object is replaced.

        One that is there is written again: collection sees that somebody needs it now.

        Raises:
            StoreError: they could not be written.
        """
        with explained("write", self.location_of(digest)):
            self._folder.write(file_of(digest), data)

    def restore(self, digest: str, data: bytes) -> None:
        """Write an object unless it is there: it was collected while it was being published.

        Raises:
            StoreError: it could not be written.
        """
        if not self.has(digest):
            self.write(digest, data)

    def has(self, digest: str) -> bool:
        """Tell whether the store itself holds an object, whole or not.

        Raises:
            StoreError: the store cannot be reached.
        """
        with explained("look for", self.location_of(digest)):
            return self._folder.has(file_of(digest))

    def remove(self, digest: str) -> None:
        """Remove an object, here and from the cache.

        Raises:
            StoreError: it could not be removed.
        """
        name = file_of(digest)
        with explained("remove", self.location_of(digest)):
            self._folder.remove(name)
            if self._cache:
                self._cache.remove(name)

    def written_s(self) -> dict[str, float]:
        """When each object was last written, by digest, as in `time.time()`.

        Raises:
            StoreError: the folder cannot be read.
        """
        with explained("read", self._folder.location):
            found = self._folder.written_s()
        return {f"sha256:{m[1]}": s for name, s in found.items() if (m := _FILE.fullmatch(name))}

    def location_of(self, digest: str) -> str:
        """Path or address of an object, for people.

        Raises:
            InvalidInput: `digest` is malformed.
        """
        return f"{self._folder.location}/{file_of(digest)}"


def file_of(digest: str) -> str:
    """Return the name of an object's file.

    Raises:
        InvalidInput: `digest` is malformed.
    """
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise InvalidInput(f"digest {digest[:80]!r} is not 'sha256:' and 64 hex digits")
    return f"{match.group(1)}.safetensors"
