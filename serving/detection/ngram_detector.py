"""The project's own detector: a linear classifier over hashed n-grams.

Only the languages of the text's script compete. `training/recipes/detector.py` makes the weights;
running it takes numpy and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.languages import cleaning, ngrams
from isogloss.prompts.languages import scripts as writing
from isogloss.prompts.languages.languages import language
from isogloss.serving.detection.detection import NOTHING, TOP, Detection

_CHUNK = 32  # texts at a time: bounds memory, whatever the batch
# As many as a text has n-grams at most.
_ONES = np.ones(cleaning.LONGEST * ngrams.FEATURES, np.float32)


@dataclass(frozen=True, slots=True)
class DetectorWeights:
    """What `detector.npz` holds, ready to use: R kept n-grams, vectors of width D, L languages.

    `row_of`: (2^SLOT_BITS + 1,), a hashed n-gram's row, 0 if it was not kept; the last entry is
    for slot -1. `vectors`: (R + 1, D), quantised to int8, so that their sums are exact; `output`:
    (D, L), which undoes the quantisation. `bias`: (L,). `damping`: as many n-grams more than a
    text has, that say nothing, make short texts less sure.
    """

    codes: tuple[str, ...]
    row_of: NDArray[np.uint16]
    vectors: NDArray[np.int8]
    output: NDArray[np.float32]
    bias: NDArray[np.float32]
    damping: float

    @classmethod
    def load(cls, path: Path) -> DetectorWeights:
        """Read the file that training wrote."""
        with np.load(path, allow_pickle=False) as file:
            slots, vectors = file["slots"], file["vectors"]
            row_of = np.zeros((1 << ngrams.SLOT_BITS) + 1, np.uint16)
            row_of[slots] = np.arange(1, len(slots) + 1)
            return cls(
                codes=tuple(file["codes"].tolist()),
                row_of=row_of,
                vectors=np.concatenate((np.zeros_like(vectors[:1]), vectors)),
                output=file["output"],
                bias=file["bias"],
                damping=float(file["damping"]),
            )


class NgramDetector:
    """The project's own detector. Immutable, so any number of threads may share it."""

    def __init__(self, weights: DetectorWeights) -> None:
        self._weights = weights
        self._languages = [language(code) for code in weights.codes]
        # (NAMES, L): what keeps languages of other scripts out of the softmax
        allowed = writing.candidates([entry.script for entry in self._languages])
        self._barred = np.where(allowed, np.float32(0), np.float32(-np.inf))
        self._barred[writing.NONE] = 0  # no letters: any finite row will do, it is not read

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order. Never raises for any string."""
        detections: list[Detection] = []
        for at in range(0, len(texts), _CHUNK):
            features = ngrams.extract(texts[at : at + _CHUNK])
            detections += self._read_off(features.scripts, self._softmax(features))
        return detections

    def posteriors(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """Return each text's posterior over the languages of its script, by code, in order."""
        posteriors: list[Mapping[str, float]] = []
        for at in range(0, len(texts), _CHUNK):
            features = ngrams.extract(texts[at : at + _CHUNK])
            rows = zip(features.scripts.tolist(), self._softmax(features), strict=True)
            posteriors += [self._by_code(row) if script else {} for script, row in rows]
        return posteriors

    def _by_code(self, row: NDArray[np.float32]) -> dict[str, float]:
        held = np.flatnonzero(row)
        codes = [self._weights.codes[k] for k in held.tolist()]
        return dict(zip(codes, row[held].tolist(), strict=True))

    def _softmax(self, features: ngrams.Features) -> NDArray[np.float32]:
        """Return (texts, L) probabilities over the languages of each text's script."""
        logits = self._logits(features) + self._barred[features.scripts]
        odds: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        return odds

    def _logits(self, features: ngrams.Features) -> NDArray[np.float32]:
        """Score each text on its own, so that its answer never depends on its neighbours."""
        weights = self._weights
        rows = weights.row_of.take(features.slots, mode="wrap")  # (characters, FEATURES)
        logits = np.empty((len(features.scripts), len(weights.codes)), np.float32)
        for k, (start, stop) in enumerate(pairwise(features.starts.tolist())):
            kept = rows[start:stop].ravel()
            kept = kept[kept > 0]
            # A product with ones adds up faster than a sum, and as exactly: these are integers.
            summed = _ONES[: len(kept)] @ weights.vectors.take(kept, axis=0).astype(np.float32)
            pooled = summed / math.sqrt(max(len(kept), 1) + weights.damping)  # (D,)
            logits[k] = pooled @ weights.output + weights.bias
        return logits

    def _read_off(
        self, scripts: NDArray[np.intp], posteriors: NDArray[np.float32]
    ) -> list[Detection]:
        best = np.argpartition(posteriors, -TOP, axis=1)[:, -TOP:]
        best.sort(axis=1)  # of equals, the table's first
        chances = np.take_along_axis(posteriors, best, axis=1)
        ranks = np.argsort(-chances, axis=1, kind="stable")
        best = np.take_along_axis(best, ranks, axis=1)
        chances = np.take_along_axis(chances, ranks, axis=1)
        return [
            self._detection(ranks, odds) if script != writing.NONE else NOTHING
            for script, ranks, odds in zip(
                scripts.tolist(), best.tolist(), chances.tolist(), strict=True
            )
        ]

    def _detection(self, ranks: list[int], chances: list[float]) -> Detection:
        codes = self._weights.codes
        candidates = [(codes[k], chance) for k, chance in zip(ranks, chances, strict=True)]
        return Detection(
            self._languages[ranks[0]], chances[0], tuple(pair for pair in candidates if pair[1] > 0)
        )
