"""Unlabelled text by language: what a prompt says of it shows what it would say anyway.

A folder is laid out in one of three ways:

    <code>.txt                      a text a line
    <code>/train.tsv                SIB-200: `index_id text`; categories are not looked at, and dev
                                    and test are never opened
    newstest2019-ref.<name>.txt     NTREX-128 as it is handed out
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.texts import read_lines, without_ends
from isogloss.prompts.languages import ntrex
from isogloss.prompts.languages.languages import languages, named_languages
from isogloss.training.data.labelled import load_texts

Texts = dict[str, tuple[str, ...]]
"""Code -> texts."""

_Read = Callable[[], Mapping[str, str]]  # one language's texts by their keys


def load_unlabelled(folders: Sequence[Path], codes: Collection[str] | None, most: int) -> Texts:
    """Read up to `most` texts of each language, drawn alike in every language.

    Where texts are parallel, the same ones are drawn of all: what they are about then differs
    between no two languages.

    Args:
        folders: a language's texts are those of all of them; blank ones and repeats are left out.
        codes: languages of the table; None: all that the folders have.
        most: texts of a language.

    Returns:
        The languages there is text of.

    Raises:
        InvalidData: a folder has no known layout, a file cannot be read, or no language has text.
    """
    held = {folder: _layout(folder) for folder in folders}
    present = {code for readers in held.values() for code in readers}
    wanted = sorted(present & (languages().keys() if codes is None else set(codes)))
    texts = {code: _drawn(_texts(held, code), most) for code in wanted}
    if not any(texts.values()):
        asked = "any language of the table" if codes is None else ", ".join(sorted(codes))
        raise InvalidData(
            f"--unlabelled {', '.join(map(str, folders))}: no text of {asked}; name a folder that "
            "has some"
        )
    return {code: drawn for code, drawn in texts.items() if drawn}


def _texts(held: Mapping[Path, Mapping[str, _Read]], code: str) -> dict[str, str]:
    """Text -> its key, folder after folder; each text once."""
    keys: dict[str, str] = {}
    for number, readers in enumerate(held.values()):
        if code in readers:
            for key, text in readers[code]().items():
                if text.strip():
                    keys.setdefault(text.strip(), f"{number} {key}")
    return keys


def _drawn(keys: Mapping[str, str], most: int) -> tuple[str, ...]:
    """In the order of their keys' digests: any texts, and the same for the same keys."""
    ranked = sorted(keys, key=lambda text: hashlib.sha256(keys[text].encode()).digest())
    return tuple(ranked[:most])


def _layout(folder: Path) -> dict[str, _Read]:
    """How each language that a folder has is read."""
    if not folder.is_dir():
        raise InvalidData(f"--unlabelled {folder}: no such folder")
    if paths := ntrex.files(folder):
        return {code: _lines(path) for code, path in paths.items()}
    if names := {path.parent.name for path in folder.glob("*/train.tsv")}:
        return {code: _sib200(folder, code) for code in _codes(names, folder)}
    if names := {path.stem for path in folder.glob("*.txt")}:
        by_code = _codes(names, folder)
        return {code: _lines(folder / f"{name}.txt") for code, name in by_code.items()}
    raise InvalidData(
        f"--unlabelled {folder}: holds neither <code>.txt, nor <code>/train.tsv, nor NTREX-128's "
        "newstest2019-*.txt"
    )


def _codes(names: Collection[str], folder: Path) -> dict[str, str]:
    return named_languages(names, f"--unlabelled {folder}")


def _sib200(folder: Path, code: str) -> _Read:
    return lambda: load_texts(folder, code)


def _lines(path: Path) -> _Read:
    return lambda: {str(n): line for n, line in enumerate(without_ends(read_lines(path)))}
