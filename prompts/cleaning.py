"""What of a text a language detector reads: the beginning of its letters, in one form.

A text may begin with anything but words: blanks, addresses, markup, invisible characters. So it is
cut after it is cleaned. Most texts need no cleaning, which one look at a whole batch tells.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompts import writing
from prompts.markup import LONGEST_WORD, SIGNS, unescape, without_markup

CHARACTERS = 1000  # more text does not change the answer, and a megabyte would stall a batch
MARKER, _SPACE = 0, 32
LONGEST = CHARACTERS + 3  # with a marker and two spaces around it
_ENOUGH = 500  # letters in a text's beginning; where there are fewer, more is read
_FURTHER = (4_000, 20_000)  # characters to read then, once long runs without words are gone
_MOST = 100_000  # characters in which such runs are looked for
_RUNS = re.compile(r"[\W\d_]{64,}|[!-;=?-~]{200,}")
# In Persian this joiner parts what other languages of its script write as two words.
_PARTED = re.compile(r"(?<=[\u0620-\u06ff]{2})\u200c(?=[\u0620-\u06ff]{2})")


@dataclass(frozen=True, slots=True)
class Letters:
    """The letters of a batch, lower-case, each text behind a MARKER and between single spaces.

    `points`: code points. `scripts`: of each, an index into writing.NAMES. `bounds`: (texts + 1,),
    where each text begins, and the end of the last.
    """

    points: NDArray[np.uint32]
    scripts: NDArray[np.uint8]
    bounds: NDArray[np.intp]


def read(texts: Sequence[str]) -> Letters:
    """Return the letters that the texts begin with. Never fails."""
    joined = _join([text[:CHARACTERS] for text in texts])
    lowered = joined.lower()
    points, kinds = _look_up(lowered)
    if not _is_plain(texts, lowered, points, kinds):
        joined = _join(clean(texts))
        points, kinds = _look_up(joined.lower())
        kinds[kinds >= writing.INVISIBLE] = 0
    elif (composed := unicodedata.normalize("NFKC", joined)) != joined:
        points, kinds = _look_up(composed.lower())
    return _cut(*_spaced(points, kinds))


def clean(texts: Sequence[str]) -> list[str]:
    """Return the beginning of each text in compatibility form, without what is of no language."""
    return [_clean(text) for text in texts]


def main_scripts(cleaned: Sequence[str]) -> NDArray[np.intp]:
    """Return each cleaned text's main script as an index into writing.NAMES; 0 for no letters."""
    points, kinds = _look_up(_join(cleaned).lower())
    kinds[kinds >= writing.INVISIBLE] = 0
    return writing.dominant(kinds, np.append(np.flatnonzero(points == MARKER), len(points)))


def _join(texts: Sequence[str]) -> str:
    return "".join([f"\0 {text} " for text in texts])


def _look_up(text: str) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return points, writing.kinds_of(points)


def _is_plain(
    texts: Sequence[str], lowered: str, points: NDArray[np.uint32], kinds: NDArray[np.uint8]
) -> bool:
    """Whether cleaning would change none of the texts but by composing it."""
    starts = np.flatnonzero(points == MARKER)
    if len(starts) != len(texts) or kinds.max(initial=0) >= writing.INVISIBLE:
        return False
    if any(sign in lowered for sign in SIGNS) or _longest_run(points) >= LONGEST_WORD:
        return False
    long = [len(text) > CHARACTERS for text in texts]
    return not any(long) or bool((np.add.reduceat(kinds > 0, starts)[long] >= _ENOUGH).all())


def _longest_run(points: NDArray[np.uint32]) -> int:
    """Return the length of the longest run of printable ASCII."""
    others = np.flatnonzero(points - np.uint32(0x21) >= 0x5E)  # what is less becomes large
    return int(np.diff(others).max(initial=1)) - 1


def _clean(text: str) -> str:
    beginning, letters = _clean_piece(text[:CHARACTERS], cut=len(text) > CHARACTERS)
    if len(text) <= CHARACTERS or letters >= _ENOUGH:
        return beginning
    text = _RUNS.sub(" ", text[:_MOST])
    for size in _FURTHER:
        piece, letters = _clean_piece(text[:size], cut=len(text) > size)
        if len(text) <= size or letters >= _ENOUGH:
            break
    points, _ = _spaced(*_look_up(piece))
    return points[:CHARACTERS].tobytes().decode("utf-32-le", "surrogatepass")


def _clean_piece(text: str, *, cut: bool) -> tuple[str, int]:
    """Return the piece of a text cleaned, and how many letters there are in it."""
    text = without_markup(_visible(unescape(text.replace("\0", " "))), cut=cut)
    letters = int(np.count_nonzero(_look_up(text.lower())[1])) if cut else 0
    return unicodedata.normalize("NFKC", text), letters


def _visible(text: str) -> str:
    """Return the text without invisible characters, and with spaces for symbols."""
    points, kinds = _look_up(text)
    if kinds.max(initial=0) < writing.INVISIBLE:
        return text
    if "\u200c" in text:
        points, kinds = _look_up(_PARTED.sub(" ", text))
    points = np.where(kinds == writing.SYMBOL, np.uint32(_SPACE), points)
    visible = points[kinds != writing.INVISIBLE]
    return visible.tobytes().decode("utf-32-le", "surrogatepass")


def _spaced(
    points: NDArray[np.uint32], kinds: NDArray[np.uint8]
) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Put one space for anything between words."""
    letters = np.where((kinds == 0) & (points != MARKER), np.uint32(_SPACE), points)
    blank = letters == _SPACE
    kept = np.flatnonzero(~(blank & np.concatenate(([False], blank[:-1]))))
    return letters[kept], kinds[kept]


def _cut(points: NDArray[np.uint32], scripts: NDArray[np.uint8]) -> Letters:
    """Leave each text at most CHARACTERS: compatibility forms may be many times longer."""
    bounds = np.append(np.flatnonzero(points == MARKER), len(points))
    lengths = np.diff(bounds)
    if lengths.max(initial=0) <= LONGEST:
        return Letters(points, scripts, bounds)
    place = np.arange(len(points)) - np.repeat(bounds[:-1], lengths)
    kept = place < LONGEST
    shorter = np.minimum(lengths, LONGEST)
    return Letters(points[kept], scripts[kept], np.concatenate(([0], np.cumsum(shorter))))
