"""Unicode scripts: which one a text is mainly written in.

The script narrows a language down before a single n-gram is looked at. The ranges are Unicode's
blocks of letters and marks for every script of the language table, no more; anything outside them
(digits, punctuation, emoji, scripts that no known language uses) counts as "no letter". So do
symbols that only look like letters, such as ™; and what has no look at all is told apart, since it
stands between the letters of one word.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# (script, first, last code point). Han and Kana are apart: Japanese mixes them, Chinese does not.
_BLOCKS: tuple[tuple[str, int, int], ...] = (
    ("Latn", 0x0041, 0x02AF),
    ("Zinh", 0x0300, 0x036F),  # combining marks: tones of Fon, Yoruba, ...; stress in Cyrillic
    ("Latn", 0x1D00, 0x1DBF),
    ("Latn", 0x1E00, 0x1EFF),
    ("Latn", 0x2C60, 0x2C7F),
    ("Latn", 0xA720, 0xA7FF),
    ("Grek", 0x0370, 0x03FF),
    ("Grek", 0x1F00, 0x1FFF),
    ("Cyrl", 0x0400, 0x052F),
    ("Armn", 0x0530, 0x058F),
    ("Hebr", 0x0590, 0x05FF),
    ("Arab", 0x0600, 0x06FF),
    ("Arab", 0x0750, 0x077F),
    ("Arab", 0x0870, 0x08FF),
    ("Nkoo", 0x07C0, 0x07FF),
    ("Deva", 0x0900, 0x097F),
    ("Deva", 0xA8E0, 0xA8FF),
    ("Beng", 0x0980, 0x09FF),
    ("Guru", 0x0A00, 0x0A7F),
    ("Gujr", 0x0A80, 0x0AFF),
    ("Orya", 0x0B00, 0x0B7F),
    ("Taml", 0x0B80, 0x0BFF),
    ("Telu", 0x0C00, 0x0C7F),
    ("Knda", 0x0C80, 0x0CFF),
    ("Mlym", 0x0D00, 0x0D7F),
    ("Sinh", 0x0D80, 0x0DFF),
    ("Thai", 0x0E00, 0x0E7F),
    ("Laoo", 0x0E80, 0x0EFF),
    ("Tibt", 0x0F00, 0x0FFF),
    ("Mymr", 0x1000, 0x109F),
    ("Mymr", 0xA9E0, 0xA9FF),
    ("Mymr", 0xAA60, 0xAA7F),
    ("Geor", 0x10A0, 0x10FF),
    ("Geor", 0x1C90, 0x1CBF),
    ("Geor", 0x2D00, 0x2D2F),
    ("Ethi", 0x1200, 0x139F),
    ("Ethi", 0x2D80, 0x2DDF),
    ("Khmr", 0x1780, 0x17FF),
    ("Olck", 0x1C50, 0x1C7F),
    ("Tfng", 0x2D30, 0x2D7F),
    ("Kana", 0x3040, 0x30FF),
    ("Hang", 0x1100, 0x11FF),
    ("Hang", 0x3130, 0x318F),
    ("Hang", 0xAC00, 0xD7AF),
    ("Hani", 0x3400, 0x4DBF),
    ("Hani", 0x4E00, 0x9FFF),
    ("Hani", 0x20000, 0x2A6DF),
)
NONE = 0
NAMES: tuple[str, ...] = ("", *dict.fromkeys(name for name, _, _ in _BLOCKS))
_KANA, _HANI = NAMES.index("Kana"), NAMES.index("Hani")
# One of these is about a word's worth of meaning, where a Latin letter is a fifth of one. A mark
# is in the script of the letter under it.
_WEIGHT = {"Hani": 3, "Kana": 2, "Hang": 2, "Zinh": 0}
WEIGHTS = np.array([0, *(_WEIGHT.get(name, 1) for name in NAMES[1:])])

INVISIBLE, SYMBOL = 254, 255
"""What `kinds_of` says of code points that have no look, and of symbols that are no letters."""
# Unicode's Default_Ignorable_Code_Point: joiners, soft hyphens, variation selectors, fillers, ...
_INVISIBLE: tuple[tuple[int, int], ...] = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5)),
    *((0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8)),
    *((0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
# Where symbols and numbers are whose compatibility form has letters: ™, ℃, ⅷ, ⓐ, ㎞, ﷼, 🅰.
_SYMBOLS: tuple[tuple[int, int], ...] = (
    *((0x20A0, 0x20CF), (0x2100, 0x218F), (0x2460, 0x24FF), (0x3200, 0x33FF)),
    *((0xFDFC, 0xFDFC), (0x1F100, 0x1F2FF)),
)
_NO_LETTERS = frozenset([0x00B5, 0x2139])  # micro sign, information sign: letters by category only
_END = 1 + max(last for _, last in _INVISIBLE)


@functools.cache
def _table() -> NDArray[np.uint8]:
    """Return what `kinds_of` says of each code point."""
    table = np.zeros(_END + 1, np.uint8)
    for name, first, last in _BLOCKS:
        for point in range(first, last + 1):
            if unicodedata.category(chr(point))[0] in "LM":
                table[point] = NAMES.index(name)
    for first, last in _INVISIBLE:
        table[first : last + 1] = INVISIBLE
    for first, last in _SYMBOLS:
        table[[point for point in range(first, last + 1) if _looks_like_letters(point)]] = SYMBOL
    table[list(_NO_LETTERS)] = SYMBOL
    return table


def _looks_like_letters(point: int) -> bool:
    """Whether this is no letter, but its compatibility form has one."""
    form = unicodedata.normalize("NFKC", chr(point))
    return unicodedata.category(chr(point))[0] not in "LM" and any(map(str.isalpha, form))


def kinds_of(points: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return each code point's script as an index into NAMES; 0 for what is not a letter.

    Or INVISIBLE, or SYMBOL.
    """
    return _table()[np.minimum(points, _END)]


def dominant(scripts: NDArray[np.uint8], bounds: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return each text's main script, (texts,), as an index into NAMES; 0 for no letters at all.

    `bounds` are where each text's characters start, and where the last one's end. An eighth of
    kana makes Han Japanese.
    """
    texts = len(bounds) - 1
    rows = np.arange(0, texts * len(NAMES), len(NAMES))
    cells = np.repeat(rows, bounds[1:] - bounds[:-1]) + scripts
    counts = np.bincount(cells, minlength=texts * len(NAMES)).reshape(texts, -1) * WEIGHTS
    kana, han = counts[:, _KANA], counts[:, _HANI]
    japanese = kana * 8 > han
    if japanese.any():
        kana += np.where(japanese, han, 0)
        han[japanese] = 0
    main: NDArray[np.intp] = counts.argmax(axis=1)
    return main


def group_of(script: str) -> tuple[str, ...]:
    """Return the NAMES whose text may be a language of this ISO 15924 script."""
    return {"Hans": ("Hani",), "Hant": ("Hani",), "Jpan": ("Hani", "Kana")}.get(script, (script,))


def candidates(scripts: Sequence[str]) -> NDArray[np.bool_]:
    """Return (NAMES, languages): whether a text mainly in a script may be that language."""
    return np.array([[name in group_of(script) for script in scripts] for name in NAMES])
