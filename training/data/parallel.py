"""Parallel text: the same sentences in a teacher's language and in a student's.

A folder is laid out in one of three ways:

    <code>.txt                      parallel by line
    <code>/train.tsv                SIB-200: `index_id text`, matched by index_id; categories are
                                    not looked at, and dev and test are never opened
    newstest2019-ref.<name>.txt     NTREX-128 as it is handed out, parallel by line

Sentences are known by their text in the teacher's language: one that stands in two folders, or
twice in one, is one sentence with the translations of all places.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.texts import read_lines, without_ends
from isogloss.prompts.languages import ntrex
from isogloss.prompts.languages.languages import named_languages
from isogloss.training.data.labelled import load_texts
from isogloss.training.data.shots import Sample

_HELD_OUT_SHARE = 0.1  # of the sentences; what chooses the best epoch
_MOST_HELD_OUT = 200  # sentences

Columns = dict[str, dict[str, str]]  # language -> key of a sentence -> text


@dataclass(frozen=True, slots=True)
class Translation:
    """One sentence in a student's language, and in the teacher's."""

    code: str
    text: str
    original: str


@dataclass(frozen=True, slots=True)
class ParallelText:
    """What some folders hold of some languages: each sentence's translations, in a fixed order."""

    sentences: Mapping[str, tuple[Translation, ...]]  # by the sentence in the teacher's language
    folders: tuple[tuple[str, int], ...]  # name, and how many sentences with a translation

    @classmethod
    def load(cls, folders: Sequence[Path], original: str, sources: Sequence[str]) -> ParallelText:
        """Read every folder.

        Args:
            folders: read in turn; each has the teacher's language.
            original: code of the teacher's language.
            sources: codes of the student's. Each is in at least one of the folders.

        Raises:
            InvalidData: a folder has no known layout or lacks the teacher's language, files do not
                match line by line, a language is in none of the folders, or no sentence is common.
        """
        columns = {folder: _read_folder(folder, original, sources) for folder in folders}
        _check_had(folders, columns, sources)
        pairs = {
            folder: list(_translations(columns[folder], original, sources)) for folder in columns
        }
        sentences: dict[str, dict[Translation, None]] = {}  # each translation once
        for pair in itertools.chain.from_iterable(pairs.values()):
            sentences.setdefault(pair.original, {})[pair] = None
        _check_common(folders, {p.code for once in sentences.values() for p in once}, sources)
        return cls(
            {text: tuple(once) for text, once in sentences.items()},
            tuple(
                (folder.resolve().name, len({pair.original for pair in translated}))
                for folder, translated in pairs.items()
            ),
        )


def languages_of_folder(folder: Path) -> tuple[str, ...]:
    """Codes of the languages that a folder has text of, sorted.

    Raises:
        InvalidData: it has no known layout, or two names for one language.
    """
    read = _layout(folder)
    if read is _read_ntrex:
        return tuple(sorted(ntrex.files(folder)))
    pattern = "*/train.tsv" if read is _read_sib200 else "*.txt"
    names = {
        path.parent.name if read is _read_sib200 else path.stem for path in folder.glob(pattern)
    }
    return tuple(sorted(named_languages(names, f"--parallel {folder}")))


def draw_pairs(text: ParallelText, pairs: int | None, seed: int) -> Sample[Translation]:
    """A run's sentences, the same for the same seed, with all their translations.

    A tenth of them (at most 200) is held out to choose by; no sentence is on both sides in any
    language.

    Args:
        text: what there is.
        pairs: how many sentences to use; None: all.
        seed: of the run.

    Raises:
        InvalidData: fewer sentences than wanted, or fewer than two.
    """
    sentences = sorted(text.sentences)
    wanted = len(sentences) if pairs is None else pairs
    if not 2 <= wanted <= len(sentences):
        raise InvalidData(
            f"--pairs {wanted}: the parallel text has {len(sentences)} sentences and at least 2 "
            "are needed; lower --pairs or add a --parallel folder"
        )
    drawn = random.Random(f"{seed} pairs").sample(sentences, wanted)
    held_out = min(_MOST_HELD_OUT, max(1, round(_HELD_OUT_SHARE * wanted)))
    validation, train = drawn[:held_out], drawn[held_out:]
    return Sample(
        tuple(pair for sentence in sorted(train) for pair in text.sentences[sentence]),
        tuple(pair for sentence in sorted(validation) for pair in text.sentences[sentence]),
    )


def _check_had(
    folders: Sequence[Path], read: Mapping[Path, Columns], sources: Sequence[str]
) -> None:
    for code in sources:
        if not any(code in columns for columns in read.values()):
            raise InvalidData(
                f"--source {code}: no text of it in --parallel {', '.join(map(str, folders))}; add "
                "a folder that has it, or leave it out"
            )


def _check_common(folders: Sequence[Path], common: Collection[str], sources: Sequence[str]) -> None:
    for code in sources:
        if code not in common:
            raise InvalidData(
                f"--source {code}: no sentence in common with the teacher's language in --parallel "
                f"{', '.join(map(str, folders))}; their index_id, or lines, must match"
            )


def _read_folder(folder: Path, original: str, sources: Sequence[str]) -> Columns:
    """What a folder has of these languages; the teacher's is there."""
    read = _layout(folder)
    columns: Columns = {}
    for code in dict.fromkeys((original, *sources)):
        if (column := read(folder, code)) is not None:
            columns[code] = column
    if original not in columns:
        raise InvalidData(
            f"--parallel {folder}: no {original}, the teacher's language; choose another folder, "
            "or name the language it should read with --teacher-language"
        )
    if read is not _read_sib200:
        _check_lines(folder, columns, original)
    return columns


def _check_lines(folder: Path, columns: Columns, original: str) -> None:
    """Refuse files of different lengths; blank lines at the end do not count."""
    wanted = len(columns[original])
    for code, column in columns.items():
        if len(column) != wanted and _last(column) != _last(columns[original]):
            raise InvalidData(
                f"--parallel {folder}: {code} has {len(column)} lines and {original} {wanted}; "
                "line n of every file must be the same sentence"
            )


def _last(column: Mapping[str, str]) -> int:
    """Number of the last line that is not blank."""
    return max((int(number) for number, text in column.items() if text), default=0)


def _layout(folder: Path) -> Callable[[Path, str], dict[str, str] | None]:
    if not folder.is_dir():
        raise InvalidData(f"--parallel {folder}: no such folder")
    if any(folder.glob("newstest2019-*.txt")):
        return _read_ntrex
    if any(folder.glob("*/train.tsv")):
        return _read_sib200
    if any(folder.glob("*.txt")):
        return _read_lines
    raise InvalidData(
        f"--parallel {folder}: holds neither <code>.txt, nor <code>/train.tsv, nor NTREX-128's "
        "newstest2019-*.txt"
    )


def _read_sib200(folder: Path, code: str) -> dict[str, str] | None:
    held = {path.parent.name for path in folder.glob("*/train.tsv")}
    known = code in named_languages(held, f"--parallel {folder}")
    return load_texts(folder, code) if known else None


def _read_ntrex(folder: Path, code: str) -> dict[str, str] | None:
    path = ntrex.files(folder).get(code)
    return None if path is None else _lines(path)


def _read_lines(folder: Path, code: str) -> dict[str, str] | None:
    held = {path.stem for path in folder.glob("*.txt")}
    name = named_languages(held, f"--parallel {folder}").get(code)
    return None if name is None else _lines(folder / f"{name}.txt")


def _lines(path: Path) -> dict[str, str]:
    """Lines by number."""
    lines = without_ends(read_lines(path))
    return {str(number): line.strip() for number, line in enumerate(lines, start=1)}


def _translations(columns: Columns, original: str, sources: Sequence[str]) -> Iterator[Translation]:
    """Sentence by sentence, and within one language by language; empty lines are left out."""
    for key, sentence in columns[original].items():
        for code in sources:
            text = columns.get(code, {}).get(key, "")
            if sentence.strip() and text.strip():
                yield Translation(code, text, sentence)
