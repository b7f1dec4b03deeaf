"""What lang2vec cannot tell of each language: `language_sources.csv`, written by hand.

English names; under which code lang2vec files a language (its macrolanguage, or an older code);
and, where it has only a close relative, the last clade that the two share.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from isogloss.prompts.files.tables import Layout, read_table

SOURCES = Path(__file__).with_suffix(".csv")


class Source(TypedDict):
    """One row, of a language and script."""

    code: str
    name: str
    in_bloom: str
    in_xglm: str
    lang2vec_code: str
    last_shared_clade: str


def read_sources() -> list[Source]:
    """Read the table."""
    layout = Layout(tuple(Source.__annotations__), ",", filled=False)
    return [Source(**row.cells) for row in read_table(SOURCES, layout)]  # type: ignore[typeddict-item]
