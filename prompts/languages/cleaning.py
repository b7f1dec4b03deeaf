"""What of a text a language detector reads: the beginning of its letters, in one form.

A text may begin with anything but words: blanks, addresses, markup, invisible characters. So it is
cut after it is cleaned. Most texts need no cleaning, which one look at a whole batch tells.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.languages import scripts as writing
from isogloss.prompts.languages.markup import (
    LONGEST_WORD,
    may_hold_markup,
    unescape,
    without_markup,
)

CHARACTERS = 1000  # more text does not change the answer, and a megabyte would stall a batch
MARKER, _SPACE = 0, 32
_NOT_LETTERS = (writing.INVISIBLE, writing.SYMBOL)
LONGEST = CHARACTERS + 3  # with a marker and two spaces around it
_ENOUGH = 500  # letters in a text's beginning; where there are fewer, more is read
_FURTHER = (4_000, 20_000, 100_000)  # characters to read then, long runs without words left out
_RUNS = re.compile(r"[\W\d_]{64,}")
_LONG_WORDS = re.compile(r"[!-%'-;=?-~]{200,}")
# UTF-8 that was read as Windows-1252, or as Latin-1: a first byte and one of those that follow it.
_WINDOWS = {
    ord(character): byte
    for byte in range(0x80, 0xA0)
    for character in bytes([byte]).decode("cp1252", "ignore")
}
_A_TILDE, _A_HAT = "Ã", "Â"  # the first bytes of the letters of Latin-1
_MISREAD = re.compile(f"[\u00c2-\u00f4][\u0080-\u00bf{''.join(map(chr, _WINDOWS))}]")
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
    beginnings = [text[:CHARACTERS].replace("\0", " ") for text in texts]
    composed = [unicodedata.normalize("NFKC", text) for text in beginnings]
    joined = _join(composed)
    lowered = joined.lower()
    points, kinds = _look_up(lowered)
    odd = _odd(texts, lowered, points, kinds)
    if composed != beginnings or _A_TILDE in joined or _A_HAT in joined:
        odd += [at for at, text in enumerate(beginnings) if _is_doubtful(text, composed[at])]
    if odd:
        for at in odd:
            composed[at] = _clean(texts[at])
        points, kinds = _look_up(_join(composed).lower())
        kinds[kinds >= writing.INVISIBLE] = 0
    return _cut(*_spaced(points, kinds))


def clean(texts: Sequence[str]) -> list[str]:
    """Return the beginning of each text in compatibility form, without what is of no language."""
    return [_clean(text) for text in texts]


def main_scripts(cleaned: Sequence[str]) -> NDArray[np.intp]:
    """Return each cleaned text's main script as an index into writing.NAMES; 0 for no letters."""
    points, kinds = _look_up(_join(cleaned).lower())
    kinds[kinds >= writing.INVISIBLE] = 0
    return writing.dominant(kinds, _bounds(points))


def _join(texts: Sequence[str]) -> str:
    return "".join([f"\0 {text} " for text in texts])


def _look_up(text: str) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return points, writing.kinds_of(points)


def _odd(
    texts: Sequence[str], joined: str, points: NDArray[np.uint32], kinds: NDArray[np.uint8]
) -> list[int]:
    """Return the texts that cleaning may change, given what composing makes of the batch."""
    ascii, held = joined.encode("ascii", "replace"), kinds.tobytes()
    long = any(len(text) > CHARACTERS for text in texts)
    hidden = any(kind in held for kind in _NOT_LETTERS)
    marked, run = may_hold_markup(ascii), _longest_run(points) >= LONGEST_WORD
    if not (long or hidden or marked or run):
        return []
    starts = np.flatnonzero(points == MARKER).tolist()
    return [
        at
        for at, (text, start, end) in enumerate(
            zip(texts, starts, [*starts[1:], len(points)], strict=True)
        )
        if (hidden and any(kind in held[start:end] for kind in _NOT_LETTERS))
        or (marked and may_hold_markup(ascii[start:end]))
        or (run and _longest_run(points[start:end]) >= LONGEST_WORD)
        or (len(text) > CHARACTERS and np.count_nonzero(kinds[start:end]) < _ENOUGH)
    ]


def _is_doubtful(text: str, composed: str) -> bool:
    """Whether composing may have made letters of symbols, or the text may have been misread.

    For the latter there are signs that are no letters, or those that Latin letters become.
    """
    if text == composed and _A_TILDE not in text and _A_HAT not in text:
        return False
    return bool((_look_up(text)[1] == writing.SYMBOL).any()) or bool(_MISREAD.search(text))


def _longest_run(points: NDArray[np.uint32]) -> int:
    """Return the length of the longest run of printable ASCII."""
    others = np.flatnonzero(points - np.uint32(0x21) >= 0x5E)  # what is less becomes large
    return int((others[1:] - others[:-1]).max(initial=1)) - 1


def _clean(text: str) -> str:
    beginning, letters = _clean_piece(text[:CHARACTERS], cut=len(text) > CHARACTERS)
    if len(text) <= CHARACTERS or letters >= _ENOUGH:
        return beginning
    text = _RUNS.sub(_shortened, text[: _FURTHER[-1]])
    text = _LONG_WORDS.sub(" ", text)
    for size in _FURTHER:
        piece, letters = _clean_piece(text[:size], cut=len(text) > size)
        if len(text) <= size or letters >= _ENOUGH:
            break
    return _to_text(_spaced(*_look_up(piece))[0][:CHARACTERS])


def _shortened(run: re.Match[str]) -> str:
    """Leave a run's ends: a tag, a comment or code may begin or end there."""
    return f"{run[0][:4]} {run[0][-4:]}"


def _clean_piece(text: str, *, cut: bool) -> tuple[str, int]:
    """Return the piece of a text cleaned, and how many letters there are in it."""
    text = without_markup(_visible(_reread(unescape(text.replace("\0", " ")))), cut=cut)
    text = unicodedata.normalize("NFKC", text)
    return text, int(np.count_nonzero(_look_up(text.lower())[1])) if cut else 0


def _reread(text: str) -> str:
    """Return the text as UTF-8 where all of it was read as something else."""
    if not _MISREAD.search(text):
        return text
    try:
        data = text.translate(_WINDOWS).encode("latin-1")
        read = codecs.getincrementaldecoder("utf-8")().decode(data)  # its end may be cut
    except UnicodeError:
        return text
    # One may be chance, but these two begin no word with a sign behind them.
    sure = len(data) - len(read) > 1 or _A_TILDE in text or _A_HAT in text
    return read if sure else text


def _visible(text: str) -> str:
    """Return the text without invisible characters, and with spaces for symbols."""
    points, kinds = _look_up(text)
    if kinds.max(initial=0) < writing.INVISIBLE:
        return text
    if "\u200c" in text:
        points, kinds = _look_up(_PARTED.sub(" ", text))
    points = np.where(kinds == writing.SYMBOL, np.uint32(_SPACE), points)
    return _to_text(points[kinds != writing.INVISIBLE])


def _to_text(points: NDArray[np.uint32]) -> str:
    return bytes(points.tobytes()).decode("utf-32-le", "surrogatepass")


def _spaced(
    points: NDArray[np.uint32], kinds: NDArray[np.uint8]
) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Put one space for anything between words."""
    blank = (kinds == 0) & (points != MARKER)
    kept = np.ones(len(points), np.bool_)
    np.logical_not(blank[1:] & blank[:-1], out=kept[1:])
    return np.where(blank, np.uint32(_SPACE), points)[kept], kinds[kept]


def _cut(points: NDArray[np.uint32], scripts: NDArray[np.uint8]) -> Letters:
    """Leave each text at most CHARACTERS: compatibility forms may be many times longer."""
    bounds = _bounds(points)
    lengths = bounds[1:] - bounds[:-1]
    if len(points) <= LONGEST or lengths.max() <= LONGEST:
        return Letters(points, scripts, bounds)
    kept = np.arange(len(points)) - np.repeat(bounds[:-1], lengths) < LONGEST
    return Letters(points[kept], scripts[kept], _bounds(points[kept]))


def _bounds(points: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Return where each text begins, and where the last one ends."""
    starts = np.flatnonzero(points == MARKER)
    bounds = np.full(len(starts) + 1, len(points))
    bounds[:-1] = starts
    return bounds
