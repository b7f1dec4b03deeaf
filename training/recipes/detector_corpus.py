"""What a language detector learns from: sentences by language, and their n-grams.

SIB-200's train splits (all languages), NTREX and Tatoeba, where their languages are of the table.
SIB-200's dev and test splits are never opened: its sentences are parallel, so one of them in any
language would give away the same sentence in every other.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.files.tables import read_table
from isogloss.prompts.files.texts import read_lines, without_ends
from isogloss.prompts.languages import ngrams, ntrex
from isogloss.prompts.languages import scripts as writing
from isogloss.prompts.languages.languages import canonical, languages
from isogloss.prompts.languages.sib200 import TEXTS, mislabelled

ROWS = 65_535  # n-grams kept; row 0 stands for all others, so an index fits 16 bits

_MIXED = frozenset(["cmn"])  # Chinese, which has its two scripts mixed in Tatoeba
_CHUNK = 2000  # sentences whose n-grams are extracted at once
_KANA = re.compile("[\u3040-\u30ff]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence; `held_out` ones, the same in every language, are for calibration alone."""

    text: str
    code: str
    held_out: bool


def sentences(data: Path) -> Iterator[Sentence]:
    """Yield all sentences under `data` (`sib200/`, `ntrex/`, `tatoeba/`), in a fixed order."""
    yield from _sib200(data / "sib200")
    yield from _ntrex(data / "ntrex")
    yield from _tatoeba(data / "tatoeba")


def _sib200(folder: Path) -> Iterator[Sentence]:
    for code in filter(lambda code: (folder / code).is_dir(), languages()):
        for row in read_table(folder / code / "train.tsv", TEXTS):
            text = row.cells["text"]
            if mislabelled(code, text):
                continue
            held_out = int(row.cells["index_id"]) % 20 == 0
            yield Sentence(text, code, held_out)
            if code == "jpn_Jpan":  # how Japanese looks in a headline of Han alone
                yield Sentence(_KANA.sub("", text), code, held_out)


def _ntrex(folder: Path) -> Iterator[Sentence]:
    for line in ntrex.lines(folder):
        if not line.measured:
            yield Sentence(line.text, line.code, line.number % 20 == 0)


def _tatoeba(folder: Path) -> Iterator[Sentence]:
    english: set[str] = set()
    for path in sorted(folder.glob("tatoeba.*-eng.eng")):
        iso = path.name.split(".")[1].removesuffix("-eng")
        english.update(itertools.islice(_lines(path), 200))
        code = canonical(iso)
        if code in languages() and iso not in _MIXED:
            texts = _lines(path.with_suffix(f".{iso}"))
            yield from (Sentence(text, code, False) for text in texts)
    yield from (Sentence(text, "eng_Latn", False) for text in _some(english, 2000))


def _lines(path: Path) -> Iterator[str]:
    return without_ends(read_lines(path))


def _some(texts: set[str], number: int) -> list[str]:
    """Return up to so many of the texts, spread over the alphabet, in its order."""
    every = sorted(texts)
    return every[:: max(-(-len(every) // number), 1)]


@dataclass(frozen=True, slots=True)
class Corpus:
    """All sentences' n-grams, end to end.

    `rows`: (characters, FEATURES), slots or, once selected, kept rows. `starts`: (sentences + 1,).
    `words`: (characters,), where the word that a character belongs to starts, the space before it
    included. `labels`, `scripts`, `held_out`: (sentences,).
    """

    rows: NDArray[np.int32] | NDArray[np.uint16]
    starts: NDArray[np.intp]
    words: NDArray[np.int32]
    labels: NDArray[np.intp]
    scripts: NDArray[np.intp]
    held_out: NDArray[np.bool_]


def read_corpus(data: Path) -> Corpus:
    """Extract every sentence that is mainly in its language's script."""
    codes = list(languages())
    allowed = writing.candidates([entry.script for entry in languages().values()])
    every = list(sentences(data))
    rows, lengths, scripts = [], [], []
    for at in range(0, len(every), _CHUNK):
        extracted = ngrams.extract([s.text for s in every[at : at + _CHUNK]])
        rows.append(extracted.slots)
        lengths.append(np.diff(extracted.starts))
        scripts.append(extracted.scripts)
    length, script = np.concatenate(lengths), np.concatenate(scripts)
    label = np.array([codes.index(s.code) for s in every])
    kept = allowed[script, label] & (allowed[script].sum(axis=1) > 1)
    joined = np.concatenate(rows)[np.repeat(kept, length)]
    starts = np.concatenate(([0], np.cumsum(length[kept])))
    return Corpus(
        rows=joined,
        starts=starts,
        words=_word_starts(joined[:, -1] >= 0, starts),
        labels=label[kept],
        scripts=script[kept],
        held_out=np.array([s.held_out for s in every])[kept],
    )


def _word_starts(begins: NDArray[np.bool_], starts: NDArray[np.intp]) -> NDArray[np.int32]:
    """Return for each character the index of the space before its word."""
    marks = np.zeros(len(begins), np.int32)
    spaces = np.flatnonzero(begins[1:])
    marks[spaces] = spaces
    marks[starts[:-1]] = starts[:-1]
    return np.maximum.accumulate(marks)


def informative(corpus: Corpus, classes: int) -> NDArray[np.int32]:
    """Return the ROWS slots that tell most about the language, ascending.

    A slot's worth is the mutual information of its n-gram with the language, each language
    weighing the same however much text it has.
    """
    size = 1 << ngrams.SLOT_BITS
    label = np.repeat(corpus.labels, np.diff(corpus.starts))
    total, entropy, seen = np.zeros(size), np.zeros(size), np.zeros(size, np.int64)
    for one in np.unique(corpus.labels):
        slots = corpus.rows[label == one].ravel()
        counts = np.bincount(slots[slots >= 0], minlength=size)
        rate = counts / max(counts.sum(), 1)
        seen += counts
        total += rate
        entropy += rate * np.log(np.maximum(rate, 1e-30))
    worth = entropy - total * np.log(np.maximum(total, 1e-30)) + total * np.log(classes)
    worth[seen < 4] = 0
    return np.sort(np.argpartition(-worth, ROWS)[:ROWS]).astype(np.int32)


def select(corpus: Corpus, slots: NDArray[np.int32]) -> Corpus:
    """Return the corpus with kept slots as rows 1..ROWS and all others as row 0."""
    row_of = np.zeros((1 << ngrams.SLOT_BITS) + 1, np.uint16)  # the last is slot -1
    row_of[slots] = np.arange(1, len(slots) + 1)
    return Corpus(
        row_of[corpus.rows],
        corpus.starts,
        corpus.words,
        corpus.labels,
        corpus.scripts,
        corpus.held_out,
    )
