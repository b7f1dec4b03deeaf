"""The six distances between languages of the paper's Appendix B.

Each lies between 0 (the same) and 1, and comes from one of two places:

- **a user's copy of URIEL's distance file** (see `uriel.py`), which the paper used; or
- **lang2vec's vectors**, where there is none (PyPI's lang2vec ships no distances):
  GEN: 1 minus the clades that two languages share, over the longer lineage, the language itself
  counted; GEO: the great circle between them over half the earth's girth; SYN, INV, PHON: cosine
  distance between lang2vec's `*_knn` features; FEA: cosine distance between all five together, the
  three feature sets, the clades (`fam`) and the distances to 299 places on earth (`geo`).

GEN and GEO give URIEL's published values to every digit published. The others do not: URIEL
computed them from another release of the features, so cosine over lang2vec's gives 0.19 for
English-French syntax, published as 0.4569 (`published_differences`). They order languages much as
URIEL does; their absolute values mean little.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isogloss.training.typology.lang2vec_vectors import FeatureSet, Vectors, vectors
from isogloss.training.typology.language_sources import Source, read_sources
from isogloss.training.typology.uriel import find_copy, read_copy

Metric = Literal["SYN", "GEO", "INV", "GEN", "PHON", "FEA"]
METRICS: tuple[Metric, ...] = ("SYN", "GEO", "INV", "GEN", "PHON", "FEA")
KINDS: Mapping[Metric, str] = {
    "SYN": "syntactic",
    "GEO": "geographic",
    "INV": "inventory",
    "GEN": "genetic",
    "PHON": "phonological",
    "FEA": "featural",
}
FROM_VECTORS = "lang2vec 1.1.2, vectors"
_FEATURES: Mapping[Metric, FeatureSet] = {"SYN": "syntax", "INV": "inventory", "PHON": "phonology"}

# Values that lang2vec's README and its distance file publish, by ISO 639-3 codes.
PUBLISHED: Mapping[tuple[Metric, str, str], float] = {
    ("SYN", "eng", "fra"): 0.4569,
    ("SYN", "frr", "dan"): 0.6629,
    ("SYN", "frr", "deu"): 0.5788,
    ("SYN", "dan", "deu"): 0.4852,
    ("GEO", "frr", "dan"): 0.0028,
    ("GEO", "frr", "deu"): 0.0359,
    ("GEO", "dan", "deu"): 0.0361,
    ("INV", "frr", "dan"): 0.6196,
    ("GEN", "frr", "dan"): 0.625,
    ("PHON", "frr", "dan"): 0.0002,
    ("FEA", "frr", "dan"): 1.0,
}


@dataclass(frozen=True, slots=True)
class Distances:
    """Distances from one language to others, by metric and language code.

    None where lang2vec has no such language or says nothing about it.
    """

    source: str
    values: Mapping[Metric, Mapping[str, float | None]]
    origin: Mapping[Metric, str]  # where each metric came from

    def __getitem__(self, metric: Metric) -> Mapping[str, float | None]:
        """One metric's distances by code."""
        return self.values[metric]


@dataclass(frozen=True, slots=True)
class PublishedDifference:
    """One of URIEL's published distances beside ours from lang2vec's vectors."""

    metric: Metric
    first: str  # ISO 639-3
    second: str
    published: float
    ours: float
    difference: float  # ours minus published


@dataclass(frozen=True, slots=True)
class _Filed:
    """Under which codes lang2vec files a language; None: nowhere."""

    features: str | None
    lineage: str | None


def distances(source: str, codes: Sequence[str], uriel: Path | None = None) -> Distances:
    """Measure how far other languages are from `source`, in all six metrics.

    Codes are like "fra_Latn". `uriel` is a copy of URIEL's distance file or its folder; without
    one, `$ISOGLOSS_URIEL_DISTANCES` and lang2vec's own data folder are looked into.

    Raises:
        InvalidInput: the named copy is not there or cannot be read.
        Unavailable: lang2vec is not installed.
    """
    copy = find_copy(uriel)
    published = _published(copy, source, codes) if copy else {}
    values: dict[Metric, Mapping[str, float | None]] = {}
    origin: dict[Metric, str] = {}
    for metric in METRICS:
        if metric in published:
            values[metric], origin[metric] = published[metric], f"URIEL, {copy}"
        else:
            values[metric] = {c: _between(metric, _filed(source), _filed(c)) for c in codes}
            origin[metric] = FROM_VECTORS
    return Distances(source, values, origin)


def published_differences() -> list[PublishedDifference]:
    """Every distance of `PUBLISHED` beside the one computed here."""
    rows = []
    for (metric, first, second), value in PUBLISHED.items():
        ours = _between(metric, _Filed(first, first), _Filed(second, second))
        if ours is not None:
            rows.append(PublishedDifference(metric, first, second, value, ours, ours - value))
    return rows


def _between(metric: Metric, first: _Filed, second: _Filed) -> float | None:
    """One distance from lang2vec's vectors, None where they lack it."""
    if metric == "GEN":
        return _genetic(first, second)
    if metric == "GEO":
        return _geographic(first, second)
    a, b = _vector(metric, first), _vector(metric, second)
    return None if a is None or b is None else _cosine_distance(a, b)


@functools.cache
def _filed(code: str) -> _Filed:
    """Look a code up: under its own ISO code if lang2vec has data there, else as the table says.

    `language_sources.csv` names a macrolanguage or an older code (Twi under Akan), which serves as
    well, or only a close relative (Norwegian for Bokmål), which does not.
    """
    known, own = vectors(), code.split("_")[0]
    row = _sources().get(code)
    other = row["lang2vec_code"] if row and not row["last_shared_clade"] else None
    listed = [name for name in (own, other) if name is not None and name in known.rows]
    described = [name for name in listed if known.clades[known.rows[name]].any()]
    # An isolate has no clades; a language that lang2vec's tree lacks has none either.
    isolate = own if row and row["lang2vec_code"] == own and own in known.rows else None
    return _Filed(listed[0] if listed else None, described[0] if described else isolate)


@functools.cache
def _sources() -> Mapping[str, Source]:
    return {row["code"]: row for row in read_sources()}


def _genetic(first: _Filed, second: _Filed) -> float | None:
    if first.lineage is None or second.lineage is None:
        return None
    if first == second:
        return 0.0
    known = vectors()
    a, b = (known.clades[known.rows[filed]] for filed in (first.lineage, second.lineage))
    return 1 - int((a & b).sum()) / (1 + max(int(a.sum()), int(b.sum())))


def _geographic(first: _Filed, second: _Filed) -> float | None:
    if first.features is None or second.features is None:
        return None
    known = vectors()
    a, b = (known.places[known.rows[code]] for code in (first.features, second.features))
    share = np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b) / np.pi  # exact for neighbours too
    return None if np.isnan(share) else float(share)


def _vector(metric: Metric, filed: _Filed) -> NDArray[np.float64] | None:
    """Features of one language, None where some are missing."""
    if filed.features is None:
        return None
    known, row = vectors(), vectors().rows[filed.features]
    if metric in _FEATURES:
        return _complete(known.features[_FEATURES[metric]][row])
    if filed.lineage is None:
        return None
    return _complete(_all_five(known, row, known.rows[filed.lineage]))


def _all_five(known: Vectors, row: int, lineage: int) -> NDArray[np.float64]:
    sets = [features[row] for features in known.features.values()]
    return np.concatenate([*sets, known.clades[lineage].astype(np.float64), known.to_points[row]])


def _complete(vector: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """lang2vec writes -1 for a missing value."""
    return vector if (vector >= 0).all() and vector.any() else None


def _cosine_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return max(0.0, 1 - float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b)))


def _published(
    copy: Path, source: str, codes: Sequence[str]
) -> dict[Metric, dict[str, float | None]]:
    """URIEL's distances by metric and our codes; metrics that the copy lacks are left out."""
    iso = {code: _filed(code).features or code.split("_")[0] for code in (source, *codes)}
    found = read_copy(copy, tuple(KINDS.values()), iso[source], [iso[code] for code in codes])
    return {
        metric: {code: found[kind].get(iso[code]) for code in codes}
        for metric, kind in KINDS.items()
        if kind in found
    }
