"""What is written so far of a file, and how far it is good: OUT.part and OUT.progress.

The part is written first and put on the disk, the progress after it. Whatever lies in the part
beyond what the progress tells was cut off by an end that nobody chose, and is written again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.prompts.files.durable import write_atomically
from isogloss.serving.files.opened import opened

_SAVED_EVERY_S = 1.0
_HASHED_BYTES = 1 << 20


class Progress(BaseModel):
    """How far a part is good."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    """Of the input and the options."""
    rows: int = 0
    refused: int = 0
    """Of the rows: those without an answer."""
    part_bytes: int = 0


def digest_of(path: Path, options: Mapping[str, Any]) -> str:
    """Of a file's bytes, and of options by name."""
    found = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode())
    with opened(path) as file:
        while data := file.read(_HASHED_BYTES):
            found.update(data)
    return f"sha256:{found.hexdigest()}"


class Part:
    """The part of one file; a context that saves how far it is, however it is left."""

    def __init__(
        self,
        out: Path,
        digest: str,
        head: bytes,
        *,
        restart: bool = False,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.out = out
        self.path = out.with_name(f"{out.name}.part")
        self._progress_path = out.with_name(f"{out.name}.progress")
        self._now_s = now_s
        self._saved_s = now_s()
        self._head = head
        self._file = self._locked(restart)
        try:
            self._refuse_existing(restart)  # a run that has ended since may have installed it
            self.progress = self._begin(digest, restart)
            self.save()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._file.closed:
            self.save()
            self._file.close()

    def append(self, lines: bytes, rows: int, refused: int) -> None:
        """Write rows that are done."""
        self._file.write(lines)
        before = self.progress
        self.progress = before.model_copy(
            update={
                "rows": before.rows + rows,
                "refused": before.refused + refused,
                "part_bytes": before.part_bytes + len(lines),
            }
        )
        if self._now_s() - self._saved_s >= _SAVED_EVERY_S:
            self.save()

    def save(self) -> None:
        """Put what is written on the disk, then how much it is."""
        self._file.flush()
        os.fsync(self._file.fileno())
        write_atomically(self._progress_path, self.progress.model_dump_json(indent=1).encode())
        self._saved_s = self._now_s()

    def finish(self, install: Callable[[Path, Path], None]) -> None:
        """Save, hand the part over to be made the file, and forget how far it was.

        The part stays locked until all of that is done: no other run writes what is installed.
        """
        self.save()
        try:
            install(self.path, self.out)
            self._progress_path.unlink()
        finally:
            self._file.close()

    def _refuse_existing(self, restart: bool) -> None:
        if self.out.exists() and not restart:
            raise InvalidInput(
                f"--out {self.out}: the file is there already; name another one, or replace it "
                "with --restart"
            )

    def _locked(self, restart: bool) -> BinaryIO:
        """Open the part and lock it; again where another run has installed it in between."""
        while True:
            self._refuse_existing(restart)
            file = self._opened_and_locked()
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(file.fileno()).st_ino == self.path.stat().st_ino:
                    return file
            file.close()

    def _opened_and_locked(self) -> BinaryIO:
        try:
            file = self.path.open("ab")
        except OSError as error:
            raise InvalidInput(
                f"--out {self.out}: cannot be written ({error.strerror or error}); name a file in "
                "a folder that is there"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise InvalidInput(
                f"{self.path}: another run writes it; wait for that run, or name another --out"
            ) from None
        return file

    def _begin(self, digest: str, restart: bool) -> Progress:
        """Go on from where the last run was, or begin."""
        found = None if restart else self._found()
        if found is None and not restart and os.fstat(self._file.fileno()).st_size > 0:
            raise InvalidInput(
                f"{self.path}: the file is there already, and no {self._progress_path.name} says "
                "what is in it; move it away, or write over it with --restart"
            )
        if found is None or (found.rows == 0 and found.digest != digest):
            self._file.truncate(0)
            self._file.write(self._head)
            return Progress(digest=digest, part_bytes=len(self._head))
        if found.digest != digest:
            raise InvalidInput(
                f"{self._progress_path}: {found.rows} rows are of another input or of other "
                "options; give those of that run to go on, or begin again with --restart"
            )
        if os.fstat(self._file.fileno()).st_size < found.part_bytes:
            raise InvalidData(
                f"{self.path}: shorter than the {found.part_bytes} bytes that its progress tells; "
                "begin again with --restart"
            )
        self._file.truncate(found.part_bytes)
        return found

    def _found(self) -> Progress | None:
        try:
            return Progress.model_validate_json(self._progress_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise InvalidData(
                f"{self._progress_path}: cannot be read; begin again with --restart"
            ) from error
