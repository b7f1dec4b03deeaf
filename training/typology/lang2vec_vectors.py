"""What lang2vec ships about each language: features, place in the family tree, place on earth.

lang2vec's files are read where the package lies, without importing it: importing takes seconds and
warns about `pkg_resources`, `get_features` takes seconds more for every language, and a command in
`.venv/bin` that says `import lang2vec` gets the script of that name which lies beside it.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.errors import Unavailable

FeatureSet = Literal["syntax", "inventory", "phonology"]
_PREFIXES: Mapping[FeatureSet, str] = {"syntax": "S_", "inventory": "INV_", "phonology": "P_"}
_FIT_ROUNDS = 8  # after three the worst misfit is below lang2vec's own rounding, 0.0001
_MAX_MISFIT = 0.01  # a language's distances to the fixed points fit no place on earth


@dataclass(frozen=True, eq=False)
class Vectors:
    """lang2vec's tables; a language is a row, the same in all of them."""

    rows: Mapping[str, int]  # ISO 639-3 code -> row
    features: Mapping[FeatureSet, NDArray[np.float64]]  # lang2vec's `*_knn`: (languages, features)
    clades: NDArray[np.bool_]  # `fam`, clades that a language lies under: (languages, clades)
    to_points: NDArray[np.float64]  # `geo`, shares of half the earth's girth: (languages, points)
    places: NDArray[np.float64]  # unit vectors, NaN where unknown: (languages, 3)


def data_folder() -> Path:
    """Where lang2vec keeps its files.

    Raises Unavailable where lang2vec is not installed.
    """
    try:
        package = importlib.metadata.distribution("lang2vec")
    except importlib.metadata.PackageNotFoundError as error:
        remedy = "language distances need lang2vec's vectors: pip install 'isogloss[study]'"
        raise Unavailable(remedy) from error
    return Path(str(package.locate_file("lang2vec"))) / "data"


@functools.cache
def vectors() -> Vectors:
    """Read lang2vec's tables; about two seconds, once."""
    codes, names, predicted = _table("feature_predictions.npz")
    tree = _in_order(codes, *_table("family_features.npz"))
    points, to_points = _points(codes)
    return Vectors(
        rows={code: row for row, code in enumerate(codes)},
        features={
            kind: predicted[:, [name.startswith(prefix) for name in names]].astype(np.float64)
            for kind, prefix in _PREFIXES.items()
        },
        clades=tree == 1,
        to_points=to_points,
        places=locate(to_points, points),
    )


def locate(to_points: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find places from their great-circle distances to fixed points.

    `to_points`: (languages, points), shares of half the girth; `points`: (points, 3), unit vectors,
    roughly: lang2vec names them by whole degrees though it measured from unrounded places. The
    cosine of an angle between two unit vectors is their product, so places and points are found in
    turns by least squares. With lang2vec's table the misfit ends at 0.00006, what rounding to four
    digits leaves. Returns (languages, 3); NaN for rows that fit no place, such as those of the
    codes `und` and `mul`.
    """
    cosines = np.cos(np.pi * to_points)
    places = _unit(np.linalg.lstsq(points, cosines.T, rcond=None)[0].T)
    known = _misfit(places, points, to_points) < _MAX_MISFIT
    for _ in range(_FIT_ROUNDS if known.sum() >= len(points.T) else 0):
        points = _unit(np.linalg.lstsq(places[known], cosines[known], rcond=None)[0].T)
        places = _unit(np.linalg.lstsq(points, cosines.T, rcond=None)[0].T)
    places[_misfit(places, points, to_points) >= _MAX_MISFIT] = np.nan
    return places


def _table(name: str) -> tuple[list[str], list[str], NDArray[np.float32]]:
    """Codes, names of features, and values (languages, features) of one of lang2vec's files."""
    with np.load(data_folder() / name) as table:
        return table["langs"].tolist(), table["feats"].tolist(), table["data"][:, :, 0]


def _in_order(
    wanted: list[str], codes: list[str], _: list[str], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The same rows in another file's order of languages."""
    if sorted(wanted) != sorted(codes):
        raise Unavailable("lang2vec's files list different languages; reinstall lang2vec==1.1.2")
    place = {code: row for row, code in enumerate(codes)}
    return values[[place[code] for code in wanted]]


def _points(codes: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The fixed points (points, 3) and every language's distances to them (languages, points)."""
    listed, names, values = _table("geocoord_features.npz")
    return _fixed_points(names), _in_order(codes, listed, names, values).astype(np.float64)


def _fixed_points(names: list[str]) -> NDArray[np.float64]:
    """Unit vectors (points, 3) of places named like `GC_-83_42`: latitude and longitude."""
    degrees = np.array([[float(part) for part in re.findall(r"-?\d+", name)] for name in names])
    latitude, longitude = np.radians(degrees).T
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1)


def _unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, np.finfo(np.float64).tiny)


def _misfit(
    places: NDArray[np.float64], points: NDArray[np.float64], to_points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each language's largest error, (languages,)."""
    found = np.arccos(np.clip(places @ points.T, -1, 1)) / np.pi
    worst: NDArray[np.float64] = np.abs(found - to_points).max(axis=1)
    return worst
