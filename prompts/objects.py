"""Immutable files named by the SHA-256 of their content."""

from __future__ import annotations

import re
from pathlib import Path

from prompts import durable
from prompts.errors import InvalidInput, StoreError
from prompts.soft_prompt import digest_of
from prompts.store_faults import explained
from prompts.tensor_file import MAX_FILE_BYTES

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_REMEDY = "publish the prompt again to restore it"


class Objects:
    """A folder of prompt files, each written once; a file that is there is whole."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self._folder = folder
        self._temporary = temporary

    def read(self, digest: str) -> bytes:
        """Return an object's bytes, verified against the digest.

        Raises:
            InvalidInput: `digest` is malformed.
            StoreError: the object is missing, unreadable or damaged.
        """
        path = self._path(digest)
        with explained("read", path, _REMEDY):
            data = durable.read_limited(path, MAX_FILE_BYTES)
        found = digest_of(data)
        if found != digest:
            raise StoreError(f"object {path} is damaged: its content is {found}; {_REMEDY}")
        return data

    def write(self, digest: str, data: bytes) -> None:
        """Store bytes under their digest; a damaged object is replaced.

        Raises:
            StoreError: they could not be written.
        """
        path = self._path(digest)
        with explained("write", path):
            if path.exists() and path.read_bytes() == data:
                durable.sync_existing(path)  # its writer may not have come that far
            else:
                durable.write_atomically(path, data, self._temporary)

    def _path(self, digest: str) -> Path:
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise InvalidInput(f"digest {digest[:80]!r} is not 'sha256:' and 64 hex digits")
        return self._folder / f"{match.group(1)}.safetensors"
