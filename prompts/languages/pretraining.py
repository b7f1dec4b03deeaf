"""How much a model read of each language before it was frozen: what it can be expected to know.

A model's folder may say it in `pretraining.json`:

    {"format": 1, "source": "one sentence", "shares": {"eng_Latn": 1.0, "swh_Latn": 0.31},
     "hardly_known_below": 0.1}

`shares` are of the best-fed language's text; a language that is not listed was not read. Without
the file BLOOM's is ROOTS and XGLM's CC100-XL, which are told by their vocabularies; of any other
model nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isogloss.prompts.console.refusals import describe
from isogloss.prompts.errors import InvalidData
from isogloss.prompts.languages.languages import canonical
from isogloss.prompts.languages.pretraining_data import CORPORA, pretraining_sizes

FILE = "pretraining.json"
HARDLY_KNOWN_BELOW = 0.001
"""Of the best-fed language's text: of ROOTS, Swahili has 0.0005 and Kannada 0.004."""

_MOST_BYTES = 1 << 20
_VOCABULARIES: Mapping[str, int] = {"bloom": 250_880, "xglm": 256_008}
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Pretraining:
    """A model's diet."""

    source: str
    shares: Mapping[str, float]  # by code, of the best-fed language's text
    hardly_known_below: float = HARDLY_KNOWN_BELOW

    def known(self, code: str) -> float:
        """The language's share, from 0 to 1."""
        return self.shares.get(code, 0.0)

    def hardly_knows(self, code: str) -> bool:
        """Whether the model read so little of it that its answers rest on other languages."""
        return self.known(code) < self.hardly_known_below


class _Declared(BaseModel):
    """`pretraining.json`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    source: str = Field(min_length=1, max_length=1000)
    shares: dict[str, _Share] = Field(min_length=1, max_length=10_000)
    hardly_known_below: _Share = HARDLY_KNOWN_BELOW


def pretraining_of(folder: Path | None, architecture: str, vocabulary: int) -> Pretraining | None:
    """What a model read: as its folder says, else as its makers' papers do; None: unknown.

    Args:
        folder: of the model; None: it is on the hub.
        architecture: of the model.
        vocabulary: rows of its embedding table.

    Raises:
        InvalidData: the folder's file cannot be read; names the field and the remedy.
    """
    if folder is not None and (folder / FILE).is_file():
        return read_pretraining(folder / FILE)
    if vocabulary != _VOCABULARIES.get(architecture):
        return None
    sizes = pretraining_sizes(architecture)
    most = max(sizes.values())
    shares = {code: size / most for code, size in sizes.items()}
    return Pretraining(CORPORA[architecture], MappingProxyType(shares))


def read_pretraining(path: Path) -> Pretraining:
    """Read a model's own file; languages may be named by codes of any standard.

    Raises:
        InvalidData: it is no such file.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidData(f"{path}: over {_MOST_BYTES >> 20} MB is no list of languages")
        declared = _Declared.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidData(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise InvalidData(
            f"{path}: {describe(error)}; correct it, or delete the file if nothing is known"
        ) from error
    shares = {canonical(code): share for code, share in declared.shares.items()}
    return Pretraining(declared.source, MappingProxyType(shares), declared.hardly_known_below)
