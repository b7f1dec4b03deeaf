"""Where the files of a running server or job lie: private, and with a name that is short enough.

Ray and HAProxy talk through sockets in the file system, whose paths the kernel limits; a batch
system's TMPDIR is often longer than that leaves room for, and may be gone or read-only.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from isogloss.prompts.console.refusals import plain
from isogloss.prompts.errors import Unavailable

_SOCKET_BYTES = 107
_SOCKET_OF_RAY = "/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"
LONGEST_RAY_FOLDER = _SOCKET_BYTES - len(_SOCKET_OF_RAY)
"""Bytes that the path of Ray's folder may have."""

_ELSEWHERE = ("/tmp", "/var/tmp", "/dev/shm")
_OWNER_ONLY = 0o700


def private_folder(environment: Mapping[str, str], elsewhere: Iterable[str] = _ELSEWHERE) -> Path:
    """Return this user's own folder in TMPDIR, or in the first other folder that will do.

    Nobody else may write to it: what lies in a folder that others can write to is not ours.

    Raises:
        Unavailable: none will do; says why, for each.
    """
    return _first((environment.get("TMPDIR"), *elsewhere), _users_folder)


def scratch_folder(
    environment: Mapping[str, str], longest: int, elsewhere: Iterable[str] = _ELSEWHERE
) -> Path:
    """Make a folder for one server, in the first parent where its path has at most so many bytes.

    Raises:
        Unavailable: none will do; says why, for each.
    """

    def make(parent: Path) -> Path:
        _check_length(parent / "isogloss-xxxxxxxx", longest)
        return _new_folder(parent)

    return _first((environment.get("TMPDIR"), *elsewhere), make)


def ray_folder(environment: Mapping[str, str], private: Path) -> Path:
    """Return where Ray started by us puts its files: in RAY_TMPDIR where that is set.

    Raises:
        Unavailable: RAY_TMPDIR cannot be used.
    """
    chosen = environment.get("RAY_TMPDIR", "").strip()
    folder = Path(chosen).absolute() / "ray" if chosen else private / "ray"
    try:
        _check_length(folder, LONGEST_RAY_FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Unavailable(
            f"{f'RAY_TMPDIR {plain(chosen)}' if chosen else folder}: Ray cannot keep its files "
            f"there ({error.strerror or error}); choose a folder that you can write to, with a "
            f"path of at most {LONGEST_RAY_FOLDER - len('/ray')} bytes"
        ) from error
    return folder


def _first(parents: Iterable[str | None], make: Callable[[Path], Path]) -> Path:
    """Make a folder in the first parent that will do."""
    refusals = []
    for parent in filter(None, parents):
        try:
            return make(Path(parent).absolute())
        except OSError as error:
            refusals.append(f"{plain(parent)} ({error.strerror or error})")
    raise Unavailable(
        f"no folder for temporary files: {', '.join(refusals)}; set TMPDIR to a folder with room "
        "that you can write to, with a short path"
    )


def _new_folder(parent: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="isogloss-", dir=parent))


def _users_folder(parent: Path) -> Path:
    """Make this user's folder there, or one under another name where somebody took ours."""
    folder = parent / f"isogloss-{os.geteuid()}"
    _check_length(folder / "ray", LONGEST_RAY_FOLDER)
    try:
        folder.mkdir(_OWNER_ONLY)
    except FileExistsError:
        if not _is_ours(folder):
            return _new_folder(parent)
        folder.chmod(_OWNER_ONLY)
    with tempfile.TemporaryFile(dir=folder):  # a file system may be read-only, or full
        return folder


def _is_ours(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _check_length(folder: Path, longest: int) -> None:
    if len(os.fsencode(folder)) > longest:
        raise OSError("its path is too long for the sockets in it")
