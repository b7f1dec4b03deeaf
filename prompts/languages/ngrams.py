"""Texts to hashed n-grams, a whole batch at a time.

Every text becomes lower-case letters with one space for anything between them. From each character
on, its 1- to 5-grams (and, where a word starts, the word) are hashed into 2^22 slots. All texts lie
in one array behind markers, so numpy runs over the batch once instead of once per character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.languages import cleaning
from isogloss.prompts.languages import scripts as writing

SLOT_BITS = 22
ORDERS = 5
FEATURES = ORDERS + 1  # per character: five n-grams, and the word that starts there
_SPACE = 32
_PRIME, _GOLDEN = np.uint32(0x01000193), np.uint32(0x9E3779B1)
_SALTS = np.array(
    [[k * 0x85EBCA6B & 0xFFFFFFFF] for k in range(1, FEATURES + 1)], np.uint32
)  # keep n-grams of different orders apart
_LEAST_ROOM = np.arange(1, FEATURES + 1)[:, None]
_POWERS = np.array([pow(0x01000193, k + 1, 2**32) for k in range(32)], np.uint32)


@dataclass(frozen=True, slots=True)
class Features:
    """A batch's hashed n-grams, text after text.

    `slots`: (characters, FEATURES) in 0..2^SLOT_BITS-1, -1 for none. `starts`: (texts + 1,), where
    each text's characters begin. `scripts`: (texts,), index into writing.NAMES.
    """

    slots: NDArray[np.int32]
    starts: NDArray[np.intp]
    scripts: NDArray[np.intp]


def extract(texts: Sequence[str]) -> Features:
    """Hash the n-grams of every text. Never fails: a text without letters has no features."""
    read = cleaning.read(texts)
    return Features(
        slots=_slots(read.points, read.bounds),
        starts=read.bounds,
        scripts=writing.dominant(read.scripts, read.bounds),
    )


def _slots(letters: NDArray[np.uint32], bounds: NDArray[np.intp]) -> NDArray[np.int32]:
    """Return (characters, FEATURES); `bounds` are where texts start, and the end of the last."""
    size = len(letters)
    hashes = np.zeros((FEATURES, size), np.uint32)
    hashes[0] = letters
    for order in range(1, min(ORDERS, size)):
        hashes[order, :-order] = hashes[order - 1, :-order] * _PRIME + letters[order:]
    # How far each character is from its text's end; an n-gram needs room for n.
    room = np.repeat(bounds[1:], bounds[1:] - bounds[:-1]) - np.arange(size)
    room[bounds[:-1]] = 0  # markers
    whole = room >= _LEAST_ROOM
    starts, words = _words(letters)
    hashes[ORDERS, starts] = words
    whole[ORDERS] = False
    whole[ORDERS, starts] = True
    return np.where(whole, _mix(hashes), np.int32(-1)).T.copy()


def _words(letters: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
    """Return where words start, and a hash of each whole word."""
    inside = letters > _SPACE
    starts = np.flatnonzero(inside[1:] > inside[:-1]) + 1  # before the first word is a marker
    if not len(starts):
        return starts, np.zeros(0, np.uint32)
    offset = np.minimum(_offset(starts, len(letters)), len(_POWERS) - 1)
    terms = np.where(inside, letters * _GOLDEN * _POWERS[offset], np.uint32(0))
    return starts, np.add.reduceat(terms, starts, dtype=np.uint32)


def _offset(starts: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return each character's offset in its word; before the first word, from the beginning."""
    begins = np.zeros(length, np.intp)
    begins[starts] = starts
    offset: NDArray[np.intp] = np.arange(length) - np.maximum.accumulate(begins)
    return offset


def _mix(hashes: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Spread hashes (FEATURES, characters) over the slots, those of each order differently."""
    mixed = (hashes ^ _SALTS) * _GOLDEN
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x2C1B3C6D)
    mixed >>= np.uint32(32 - SLOT_BITS)
    return mixed.view(np.int32)
