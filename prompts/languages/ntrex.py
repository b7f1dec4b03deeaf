"""NTREX-128: news sentences in 128 languages, by document; which of it detectors may learn from.

A folder of `newstest2019-*.<code>.txt`, parallel by line, and `DOCUMENT_IDS.tsv`, which names each
line's document. A document's first line is its headline. Every fourth document is for measuring
detectors: none that ships has seen a line of it in any language.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.texts import read_lines, without_ends
from isogloss.prompts.languages.languages import canonical, languages

_EVERY = 4  # the share of documents that are for measuring is one in so many
_PREFIX, _SUFFIX = "newstest2019-", ".txt"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one language; `measured` ones are never learnt from."""

    code: str
    number: int  # from 0, the same in every language
    text: str
    headline: bool
    measured: bool


def lines(folder: Path) -> Iterator[Line]:
    """Yield every line of every language of the table, file after file, in a fixed order.

    Raises:
        InvalidData: the documents' ids are missing, or a file has not one line for each.
    """
    paths = sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))
    if not paths:
        return
    documents = _documents(folder / "DOCUMENT_IDS.tsv")
    for path in paths:
        if code := _code(path):
            texts = _filled(read_lines(path), len(documents))
            if len(texts) != len(documents):
                raise InvalidData(
                    f"{path} has {len(texts)} lines where DOCUMENT_IDS.tsv has {len(documents)}; "
                    "copy both from one release of NTREX"
                )
            for number, (document, text) in enumerate(zip(documents, texts, strict=True)):
                first = number == 0 or documents[number - 1] != document
                yield Line(code, number, text, first, document % _EVERY == 0)


def files(folder: Path) -> dict[str, Path]:
    """Return each language's file, by its code: the source where it is one, else a translation."""
    # English is "src"; longer names are second translations ("ref2") and varieties ("fra-CA").
    ranked = sorted(
        folder.glob(f"{_PREFIX}*{_SUFFIX}"),
        key=lambda path: (not path.name.startswith(f"{_PREFIX}src."), len(path.name), path.name),
    )
    by_code: dict[str, Path] = {}
    for path in ranked:
        by_code.setdefault(_code(path), path)
    by_code.pop("", None)
    return by_code


def headlines(folder: Path) -> dict[str, dict[int, str]]:
    """Return the headlines for measuring, by language code and line; of English, the first file's.

    Raises:
        InvalidData: see lines.
    """
    by_language: dict[str, dict[int, str]] = {}
    for line in lines(folder):
        if line.headline and line.measured:
            by_language.setdefault(line.code, {}).setdefault(line.number, line.text)
    return by_language


def _documents(path: Path) -> list[int]:
    """Return each line's document as a number from 0, in the order in which they begin."""
    remedy = "it comes with NTREX and tells which lines are headlines"
    ids = _filled(read_lines(path, missing=remedy))
    numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
    return [numbers[name] for name in ids]


def _filled(lines: Iterator[str], least: int = 0) -> list[str]:
    """Lines without their ends, and without blank ones at the end beyond the number due."""
    filled = list(without_ends(lines))
    while len(filled) > least and not filled[-1].strip():
        filled.pop()
    return filled


def _code(path: Path) -> str:
    """Return the language of a file; "" where the table lacks it."""
    name = path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX).split(".")[1]
    code = canonical(name)
    return code if code in languages() else ""
