"""Cost tables of earlier starts, in the user's cache folder: a restart need not measure again.

A table is found again under the digest of everything it depends on. A file that is damaged, or of
another key, is no table: it is measured again and replaced. A folder that cannot be written costs
every start its measuring, and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files import durable
from isogloss.prompts.files.given_paths import cache_folder
from isogloss.serving.batching.costs import CostTable

logger = logging.getLogger(__name__)

_FORMAT = 1
_MAX_BYTES = 1 << 16


class CostKey(BaseModel):
    """What the seconds of a batch depend on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = _FORMAT
    fingerprint: str
    device: str
    """The GPU's or the processor's name."""
    dtype: str
    threads: int
    torch: str
    isogloss: str

    @property
    def file_name(self) -> str:
        """Where its table is."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()
        return f"{digest[:32]}.json"


class KeptCosts(BaseModel):
    """A cost table's file, which says of what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: CostKey
    fixed_s: float = Field(ge=0, allow_inf_nan=False)
    token_s: float = Field(ge=0, allow_inf_nan=False)
    square_s: float = Field(ge=0, allow_inf_nan=False)
    most_tokens: int | None = Field(ge=1)

    @property
    def table(self) -> CostTable:
        """The table itself."""
        return CostTable(self.fixed_s, self.token_s, self.square_s, self.most_tokens)


def cost_folder() -> Path:
    """The user's, or the one in $ISOGLOSS_CACHE."""
    return cache_folder() / "costs"


def read(path: Path) -> KeptCosts:
    """A table that any replica kept, of this machine or another.

    Raises:
        InvalidInput: the file is none; the message says what is wrong with it.
    """
    try:
        file = KeptCosts.model_validate_json(durable.read_limited(path, _MAX_BYTES))
    except (OSError, ValidationError) as problem:
        raise InvalidInput(
            f"{str(path)!r} cannot be read as a cost table ({_first_line(problem)}); name a file "
            f"that a replica kept, as in {cost_folder()}"
        ) from problem
    if not _says_anything(file):
        raise InvalidInput(f"{str(path)!r}: its texts cost nothing; name a table that was measured")
    return file


def recall(folder: Path, key: CostKey) -> CostTable | None:
    """The table that was kept for this key; None where there is none that can be used."""
    path = folder / key.file_name
    try:
        file = KeptCosts.model_validate_json(durable.read_limited(path, _MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as problem:
        logger.warning("the cost table %s is measured anew: %s", path, _first_line(problem))
        return None
    if file.key != key or not math.isfinite(file.fixed_s) or not _says_anything(file):
        return None
    return file.table


def keep(folder: Path, key: CostKey, table: CostTable) -> None:
    """Keep a table for the next start, where the folder can be written."""
    file = KeptCosts(
        key=key,
        fixed_s=table.fixed_s,
        token_s=table.token_s,
        square_s=table.square_s,
        most_tokens=table.most_tokens,
    )
    try:
        durable.create_folder(folder)
        durable.write_atomically(folder / key.file_name, file.model_dump_json(indent=1).encode())
    except OSError as problem:
        logger.warning("the cost table is not kept in %s: %s", folder, problem.strerror or problem)


def _says_anything(file: KeptCosts) -> bool:
    """Whether a text costs anything: else no batch would ever be full."""
    return file.token_s > 0 or file.square_s > 0


def _first_line(problem: Exception) -> str:
    return str(problem).partition("\n")[0]
