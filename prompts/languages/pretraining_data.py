"""How much text of each language the models' makers trained them on.

`prompts/data/pretraining_data.csv`, a row per corpus and language, each with its source:

- **ROOTS** (BLOOM), bytes: Table 1 of the BLOOM paper. Three of its numbers are printed with
  misplaced commas (Akan "70,1554", Igbo "14078,521", Telugu "2993407,159"); their digits are taken
  as they stand. With the programming languages (174,700,245,772) they come to 1.61 TB, as there.
- **CC100-XL** (XGLM-564M and XGLM-1.7B), tokens before sampling: the model cards' table. Its
  Chinese is entered as simplified Chinese.

Sizes within a corpus compare; bytes and tokens do not.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from isogloss.prompts.files.tables import Layout, read_table

TABLE = Path(__file__).parents[1] / "data" / "pretraining_data.csv"
Architecture = Literal["bloom", "xglm"]
CORPORA: Mapping[str, str] = {"bloom": "ROOTS", "xglm": "CC100-XL"}


@dataclass(frozen=True, slots=True)
class CorpusSize:
    """One language's share of one corpus."""

    corpus: str  # "ROOTS" or "CC100-XL"
    code: str
    size: int
    unit: str  # "bytes" or "tokens"
    source: str  # where the number is printed


@functools.cache
def corpus_sizes() -> tuple[CorpusSize, ...]:
    """The whole table."""
    layout = Layout(("corpus", "code", "size", "unit", "source"), ",")
    return tuple(
        CorpusSize(row["corpus"], row["code"], int(row["size"]), row["unit"], row["source"])
        for row in (each.cells for each in read_table(TABLE, layout))
    )


def pretraining_sizes(architecture: str) -> Mapping[str, int]:
    """Size of each language in the corpus of BLOOM (bytes) or XGLM (tokens), by code.

    Languages that the corpus has only by accident are absent: nobody counted them.
    """
    corpus = CORPORA[architecture]
    return MappingProxyType({row.code: row.size for row in corpus_sizes() if row.corpus == corpus})
