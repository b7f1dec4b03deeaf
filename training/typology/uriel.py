"""URIEL's own table of language distances, where a user has a copy.

lang2vec's repository carries it as `lang2vec/data/distances2.zip`; PyPI's lang2vec does not. Two
layouts exist, and both name the languages, in order, in `distances_languages.txt`:

    distances2.zip  one scipy.sparse matrix a metric, upper triangle: `genetic_upper_sparse.npz`,
                    `syntactic_upper_round2_sparse.npz`, `geographic_upper_round1_sparse.npz`, ...
    distances.zip   one CSV a metric (`GENETIC.csv`, ...), with a header row and a name column

In the first, as `round1` and `round2` say, geographic and featural distances are rounded to one
digit, syntactic ones to two. Languages that URIEL knows nothing about stand at distance 1 from all
others, which the file does not tell apart from a real 1.
"""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files.given_paths import from_environment
from isogloss.training.typology.lang2vec_vectors import data_folder

ENVIRONMENT = "ISOGLOSS_URIEL_DISTANCES"
FILES = ("distances2.zip", "distances.zip")
LANGUAGES = "distances_languages.txt"
_MISSING = -1.0
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    csv.Error,
    EOFError,
    OSError,
    ValueError,
    KeyError,
)


def find_copy(given: Path | None = None) -> Path | None:
    """The file to read: the given path, else the environment's, else one in lang2vec's own folder.

    A folder means one of `FILES` in it. Raises InvalidInput where a path that somebody named leads
    nowhere; None where nobody named one and lang2vec has none.
    """
    chosen = given or from_environment(ENVIRONMENT)
    if chosen is None:
        return _in_folder(data_folder())
    named = Path(chosen)
    if copy := named if named.is_file() else _in_folder(named):
        return copy
    raise InvalidInput(
        f"URIEL's distances {str(named)!r}: no such file, nor a folder with {' or '.join(FILES)}; "
        f"name one, or none to compute distances from lang2vec's vectors (also unset {ENVIRONMENT})"
    )


def read_copy(
    path: Path, kinds: Sequence[str], source: str, targets: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Distances from one language: kind ("genetic") -> ISO code -> distance between 0 and 1.

    A kind that the file lacks and a language that its list lacks are left out.

    Raises InvalidInput where the file is not in one of the two layouts.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            order = _languages(path, archive)
            asked = {code: order[code] for code in targets if code in order}
            if source not in order:
                return {}
            members = _members(archive, kinds)
            return {
                kind: _row(archive, member, order[source], asked, len(order))
                for kind, member in members.items()
            }
    except _UNREADABLE as error:
        raise InvalidInput(
            f"URIEL's distances {str(path)!r} cannot be read ({error}); "
            "give lang2vec's distances2.zip as its repository has it"
        ) from error


def _in_folder(folder: Path) -> Path | None:
    """The repository also has an empty `distances.zip`, which says nothing."""
    paths = [folder / name for name in FILES]
    return next((p for p in paths if p.is_file() and p.stat().st_size), None)


def _languages(path: Path, archive: zipfile.ZipFile) -> Mapping[str, int]:
    """Code -> row. The list lies in the archive, beside it, or in lang2vec's folder."""
    if LANGUAGES in archive.namelist():
        text = archive.read(LANGUAGES).decode("utf-8")
    else:
        lists = [path.parent / LANGUAGES, data_folder() / LANGUAGES]
        listed = next((candidate for candidate in lists if candidate.is_file()), None)
        if listed is None:
            raise ValueError(f"{LANGUAGES} must lie beside it, to say which row is which language")
        text = listed.read_text(encoding="utf-8")
    return {code: row for row, code in enumerate(text.strip().split(","))}


def _members(archive: zipfile.ZipFile, kinds: Sequence[str]) -> dict[str, str]:
    """Kind -> name in the archive, of those that are there."""
    members = {}
    for kind in kinds:
        pattern = re.compile(rf"(.*/)?{kind}(_.*\.npz|\.csv)", re.IGNORECASE)
        if named := [name for name in archive.namelist() if pattern.fullmatch(name)]:
            members[kind] = named[0]
    if not members:
        raise ValueError(f"it holds none of {', '.join(kinds)}")
    return members


def _row(
    archive: zipfile.ZipFile, member: str, source: int, asked: Mapping[str, int], size: int
) -> dict[str, float]:
    """One language's distances to those asked for, without those that the file says it lacks."""
    read = _matrix_row if member.endswith(".npz") else _csv_row
    values = read(archive, member, source, asked, size)
    known = {code: v for code, v in values.items() if not math.isnan(v) and v != _MISSING}
    for code, value in known.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{member} has {value} for {code}, which is not between 0 and 1")
    return known


def _matrix_row(
    archive: zipfile.ZipFile, member: str, source: int, asked: Mapping[str, int], size: int
) -> dict[str, float]:
    from scipy import sparse

    with archive.open(member) as stream:
        matrix = sparse.load_npz(io.BytesIO(stream.read())).tocsr()
    if matrix.shape != (size, size):
        raise ValueError(f"{member} is {matrix.shape}, its language list has {size} codes")
    return {code: float(matrix[min(source, row), max(source, row)]) for code, row in asked.items()}


def _csv_row(
    archive: zipfile.ZipFile, member: str, source: int, asked: Mapping[str, int], size: int
) -> dict[str, float]:
    with archive.open(member) as stream:
        lines = csv.reader(io.TextIOWrapper(stream, encoding="utf-8", newline=""))
        cells = next((line for number, line in enumerate(lines) if number == source + 1), [])
    if len(cells) != size + 1:
        raise ValueError(f"{member} has {len(cells)} cells where {size} codes and a name are due")
    return {code: float(cells[row + 1]) for code, row in asked.items()}
