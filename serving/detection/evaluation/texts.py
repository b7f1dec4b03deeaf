"""The texts on which detectors are measured: sentences, their first five words, and headlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.tables import Row, read_table
from isogloss.prompts.languages import ntrex
from isogloss.prompts.languages.languages import languages, named_languages
from isogloss.prompts.languages.sib200 import TEXTS, mislabelled

Kind = Literal["sentences", "five words", "headlines"]


@dataclass(frozen=True, slots=True)
class Example:
    """One text; `number` is its index in SIB-200, or its line in NTREX.

    `mislabelled`: its letters show that it is not in the language it is filed under.
    """

    code: str
    number: int
    text: str
    mislabelled: bool = False


Texts = Mapping[str, Sequence[Example]]
"""Examples by language code."""


def read_texts(sib200: Path, headlines: Path | None, split: str = "test") -> dict[Kind, Texts]:
    """Return all that detectors are measured on.

    Args:
        sib200: a folder for each language, `<code>/<split>.tsv`.
        headlines: NTREX, of which the headlines kept from training are taken; None: none are.
        split: of SIB-200.

    Raises:
        InvalidData: a folder holds no texts.
    """
    held = named_languages({p.parent.name for p in sib200.glob(f"*/{split}.tsv")}, str(sib200))
    present = [code for code in languages() if code in held]
    if not present:
        raise InvalidData(
            f"{sib200} has no <code>/{split}.tsv of any language; give a folder in SIB-200's layout"
        )
    whole = {code: read_split(sib200, code, split, held[code]) for code in present}
    short = {
        code: [Example(e.code, e.number, first_words(e.text), e.mislabelled) for e in examples]
        for code, examples in whole.items()
    }
    found: dict[Kind, Texts] = {"sentences": whole, "five words": short}
    if headlines is not None:
        found["headlines"] = _headlines(headlines)
    return found


def read_split(
    sib200: Path, code: str, split: str = "test", folder: str | None = None
) -> list[Example]:
    """Return the texts of one SIB-200 file; its folder is named by the code if not otherwise.

    Raises:
        InvalidData: it cannot be read, or an index is no number.
    """
    rows = read_table(sib200 / (folder or code) / f"{split}.tsv", TEXTS)
    return [
        Example(code, _number(row), text, mislabelled(code, text))
        for row in rows
        for text in (row.cells["text"],)
    ]


def _number(row: Row) -> int:
    name = row.cells["index_id"].strip()
    if not (name.isascii() and name.isdecimal()):
        raise InvalidData(f"{row.where}: index_id {name!r} is no number; SIB-200's are")
    return int(name)


def first_words(text: str, words: int = 5) -> str:
    """Return a text's first words; of one written without spaces, the first 15 characters."""
    parts = text.split()
    return " ".join(parts[:words]) if len(parts) > words else text[:15]


def _headlines(folder: Path) -> Texts:
    found = {
        code: [Example(code, number, text) for number, text in lines.items()]
        for code, lines in ntrex.headlines(folder).items()
    }
    if not found:
        raise InvalidData(f"{folder} has no newstest2019-*.txt; give a folder that holds NTREX-128")
    return found
