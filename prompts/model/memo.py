"""What is remembered of models that were loaded and checked in full, in the user's cache folder.

A memo is one JSON file, with at most two files beside it that it names by their digests: tables
that are computed from a configuration, and a tokenizer that transformers makes of other files than
`tokenizer.json`. A file that is damaged, or of another key, is no memo: the model is loaded in full
and the memo replaced. A folder that cannot be written costs every start a full load, and nothing
else.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from isogloss.prompts.files import durable
from isogloss.prompts.files.given_paths import cache_folder
from isogloss.prompts.model.decoder.sizes import Sizes
from isogloss.prompts.model.memo_key import MemoKey

logger = logging.getLogger(__name__)

TABLES, TOKENIZER = ".safetensors", ".tokenizer.json"
"""What stands beside a memo, by the ends of its names."""

_MOST_BYTES = 1 << 24
_MOST_BYTES_BESIDE = 1 << 26
_MOST_MEMOS = 64


class Stored(NamedTuple):
    """Where a tensor is, and what it becomes."""

    file: str
    name: str
    dtype: str


class Memo(BaseModel):
    """A model, but for its weights' values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: MemoKey
    architecture: str
    revision: str | None
    fingerprint: str
    max_positions: int
    sizes: Sizes
    turned: int
    step: int
    tensors: dict[str, Stored]
    """By the names of the model's state dict, a tied head left out."""
    config: dict[str, Any]
    roles: dict[str, int | None]
    """Ids of the tokenizer's special tokens."""
    beside_tokenizer: dict[str, str]
    """Texts of the files that a saved tokenizer has beside its tokenizer.json."""
    beside: dict[str, str] = {}
    """Digests of the files beside the memo."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    memo: Memo


def memo_folder() -> Path:
    """The user's, or the one in $ISOGLOSS_CACHE."""
    return cache_folder() / "models"


def read(key: MemoKey) -> Memo | None:
    """The memo of this key; None where there is none that can be used."""
    path = memo_folder() / f"{key.stem}.json"
    try:
        file = _File.model_validate_json(durable.read_limited(path, _MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as problem:
        reason = str(problem).partition("\n")[0]
        logger.warning("the memo %s is of no use, the model is loaded in full: %s", path, reason)
        return None
    if file.memo.key != key:
        return None
    if file.sha256 != _digest(_bytes_of(file.memo)):
        logger.warning("the memo %s is damaged, the model is loaded in full", path)
        return None
    return file.memo


def read_beside(memo: Memo, end: str) -> bytes | None:
    """A file beside a memo; None where it has none.

    Raises:
        OSError: it is missing, or is not the one that the memo means.
    """
    if end not in memo.beside:
        return None
    path = memo_folder() / f"{memo.key.stem}{end}"
    data = durable.read_limited(path, _MOST_BYTES_BESIDE)
    if _digest(data) != memo.beside[end]:
        raise OSError(22, "not the file that its memo means", str(path))
    return data


def write(memo: Memo, beside: Mapping[str, bytes]) -> None:
    """Keep a memo for the next start, where the folder can be written."""
    memo = memo.model_copy(update={"beside": {end: _digest(data) for end, data in beside.items()}})
    if not _can_be_read(memo) or max(map(len, beside.values()), default=0) > _MOST_BYTES_BESIDE:
        return
    folder = memo_folder()
    written = _File(sha256=_digest(_bytes_of(memo)), memo=memo).model_dump_json(indent=1)
    try:
        durable.create_folder(folder)
        for end, data in beside.items():
            durable.write_atomically(folder / f"{memo.key.stem}{end}", data)
        durable.write_atomically(folder / f"{memo.key.stem}.json", written.encode())
    except OSError as problem:
        reason = problem.strerror or problem
        logger.warning("the model is not remembered in %s: %s", folder, reason)
    else:
        _forget_the_oldest(folder)


def _can_be_read(memo: Memo) -> bool:
    """Whether it says the same when it is read again: what JSON cannot hold is not remembered."""
    written = _bytes_of(memo)
    return len(written) <= _MOST_BYTES // 2 and Memo.model_validate_json(written) == memo


def _forget_the_oldest(folder: Path) -> None:
    """Folders come and go, and no memo knows of its own that nobody will ask for it."""
    with contextlib.suppress(OSError):  # another process may forget the same ones
        memos = sorted(
            (path for path in folder.glob("*.json") if not path.name.endswith(TOKENIZER)),
            key=lambda path: path.stat().st_mtime_ns,
        )
        for path in memos[:-_MOST_MEMOS]:
            for end in (".json", TABLES, TOKENIZER):
                path.with_name(path.stem + end).unlink(missing_ok=True)


def _bytes_of(memo: Memo) -> bytes:
    return memo.model_dump_json().encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
