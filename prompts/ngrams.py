"""Texts to hashed n-grams, a whole batch at a time.

Every text becomes lower-case letters with one space for anything between them. From each character
on, its 1- to 5-grams (and, where a word starts, the word) are hashed into 2^22 slots. All texts lie
in one array behind markers, so numpy runs over the batch once instead of once per character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompts import writing

SLOT_BITS = 22
CHARACTERS = 1000  # more text does not change the answer, and a megabyte would stall a batch
ORDERS = 5
FEATURES = ORDERS + 1  # per character: five n-grams, and the word that starts there
_MARKER, _SPACE = 0, 32
_PRIME, _GOLDEN = np.uint32(0x01000193), np.uint32(0x9E3779B1)
_POWERS = np.array([pow(0x01000193, k + 1, 2**32) for k in range(32)], np.uint32)
# Web and mail addresses: runs of ASCII, since Thai or Chinese may follow without a space.
_ADDRESS = re.compile(
    r"(?:https?://|www\.)[!-~]+"
    r"|(?<![!-~])[!-~]+(?:@[!-~]+\.[!-~]+|\.(?:com|org|net|gov|edu|io)\b[!-~]*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Features:
    """A batch's hashed n-grams, text after text.

    `slots`: (characters, FEATURES) in 0..2^SLOT_BITS-1, -1 for none. `starts`: (texts + 1,), where
    each text's characters begin. `scripts`: (texts,), index into writing.NAMES.
    """

    slots: NDArray[np.int32]
    starts: NDArray[np.intp]
    scripts: NDArray[np.intp]


def normalize(text: str) -> str:
    """Return the start of a text in lower case, in compatibility form, without addresses."""
    text = text[:CHARACTERS]
    if "." in text:
        text = _ADDRESS.sub(" ", text)
    return unicodedata.normalize("NFKC", text).lower()


def extract(texts: Sequence[str]) -> Features:
    """Hash the n-grams of every text. Never fails: a text without letters has no features."""
    joined = "".join(f"\0 {normalize(text).replace(chr(0), ' ')} " for text in texts)
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    scripts = writing.scripts_of(points)
    letters = np.where((scripts == 0) & (points != _MARKER), np.uint32(_SPACE), points)
    blank = letters == _SPACE
    kept = ~(blank & np.concatenate(([False], blank[:-1])))
    letters, scripts = letters[kept], scripts[kept]
    marker = letters == _MARKER
    owner = np.cumsum(marker) - 1
    return Features(
        slots=_slots(letters, owner, marker),
        starts=np.append(np.flatnonzero(marker), len(letters)),
        scripts=writing.dominant(scripts, owner, len(texts)),
    )


def _slots(
    letters: NDArray[np.uint32], owner: NDArray[np.intp], marker: NDArray[np.bool_]
) -> NDArray[np.int32]:
    slots = np.full((len(letters), FEATURES), -1, np.int32)
    rolling = np.zeros(len(letters), np.uint32)
    for order in range(1, ORDERS + 1):
        length = len(letters) - order + 1
        if length <= 0:
            break
        rolling = rolling[:length] * _PRIME + letters[order - 1 :]
        whole = (owner[:length] == owner[order - 1 :]) & ~marker[:length]
        slots[:length, order - 1] = np.where(whole, _mix(rolling, order), -1)
    starts, words = _words(letters)
    slots[starts, ORDERS] = _mix(words, FEATURES)
    return slots


def _words(letters: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
    """Return where words start, and a hash of each whole word."""
    inside = letters > _SPACE
    starts = np.flatnonzero(inside & ~np.concatenate(([False], inside[:-1])))
    if not len(starts):
        return starts, np.zeros(0, np.uint32)
    place = _place(starts, len(letters))
    terms = np.where(inside, letters * _GOLDEN * _POWERS[np.minimum(place, 31)], np.uint32(0))
    return starts, np.add.reduceat(terms, starts, dtype=np.uint32)


def _place(starts: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return each character's place in its word; before the first word, 0."""
    bounds = np.concatenate(([0], starts, [length]))
    place: NDArray[np.intp] = np.arange(length) - np.repeat(bounds[:-1], np.diff(bounds))
    return place


def _mix(hashes: NDArray[np.uint32], salt: int) -> NDArray[np.int32]:
    """Spread hashes over the slots; the salt keeps n-grams of different orders apart."""
    mixed = (hashes ^ np.uint32(salt * 0x85EBCA6B & 0xFFFFFFFF)) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    return (mixed >> np.uint32(32 - SLOT_BITS)).astype(np.int32)
