"""Prompt files of stores that are far away, kept on this machine by their digest.

What a digest names never changes, so nothing here grows stale: a replica that starts anew asks its
store only for what it never saw. Files are checked when they are read; without room or permission
the cache is left out.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from isogloss.prompts.files import durable
from isogloss.prompts.files.given_paths import cache_folder
from isogloss.prompts.format.safetensors_header import MAX_FILE_BYTES
from isogloss.prompts.format.soft_prompt import digest_of
from isogloss.prompts.store.filesystems import LocalFolder

logger = logging.getLogger(__name__)

KEPT_BYTES = 2**30


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
        for name, _ in sorted(self._folder.written_s().items(), key=lambda own: -own[1]):
            kept += (self._path / name).stat().st_size
            if kept > self._kept_bytes:
                self._folder.remove(name)


def default_cache() -> ObjectCache:
    """Return the cache in $ISOGLOSS_CACHE, or in the user's cache folder."""
    return ObjectCache(cache_folder() / "objects")
