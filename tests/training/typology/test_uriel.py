"""A user's copy of URIEL's distance file, in both layouts that lang2vec's repository has had."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from isogloss.prompts.errors import InvalidInput
from isogloss.training.typology import uriel
from isogloss.training.typology.distances import FROM_VECTORS, distances
from isogloss.training.typology.uriel import ENVIRONMENT, LANGUAGES, find_copy, read_copy

CODES = ["aka", "eng", "fra", "zho"]
KINDS = ("genetic", "geographic", "syntactic", "inventory", "phonological", "featural")
GENETIC = np.array(
    [[0, 1, 1, 1], [1, 0, 0.9, 1], [1, 0.9, 0, 1], [1, 1, 1, 0]],
    dtype=np.float64,
)
GEOGRAPHIC = np.array(
    [[0, 0.3, 0.2, 0.6], [0.3, 0, 0, 1], [0.2, 0, 0, 1], [0.6, 1, 1, 0]], dtype=np.float64
)
Matrices = Mapping[str, NDArray[np.float64]]
BOTH: Matrices = {"genetic": GENETIC, "geographic": GEOGRAPHIC}


@pytest.fixture(autouse=True)
def _no_other_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    empty = tmp_path / "lang2vec"
    empty.mkdir()
    monkeypatch.setattr(uriel, "data_folder", lambda: empty)


def write_sparse(folder: Path, matrices: Matrices = BOTH) -> Path:
    """The layout of `distances2.zip`: upper triangles, the list of languages beside it."""
    (folder / LANGUAGES).write_text(",".join(CODES) + "\n", encoding="utf-8")
    path = folder / "distances2.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for kind, matrix in matrices.items():
            stream = io.BytesIO()
            sparse.save_npz(stream, sparse.csr_matrix(np.triu(matrix)))
            archive.writestr(f"{kind}_upper_round1_sparse.npz", stream.getvalue())
    return path


def write_csv(folder: Path, matrices: Matrices = BOTH) -> Path:
    """The layout of `distances.zip`: a header, then a name and all distances in each row."""
    (folder / LANGUAGES).write_text(",".join(CODES), encoding="utf-8")
    path = folder / "distances.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for kind, matrix in matrices.items():
            rows = [
                ",".join([code, *map(str, row)]) for code, row in zip(CODES, matrix, strict=True)
            ]
            archive.writestr(f"{kind.upper()}.csv", "\n".join([",".join(["G", *CODES]), *rows]))
    return path


LAYOUTS = pytest.mark.parametrize("write", [write_sparse, write_csv])


@LAYOUTS
@pytest.mark.parametrize("source", CODES)
def test_a_row_is_read_whichever_way_round_the_pair_is_stored(
    tmp_path: Path, write: Callable[[Path], Path], source: str
) -> None:
    found = read_copy(write(tmp_path), KINDS, source, [*CODES, "deu"])
    assert found == {
        kind: dict(zip(CODES, BOTH[kind][CODES.index(source)].tolist(), strict=True))
        for kind in ("genetic", "geographic")
    }


@LAYOUTS
def test_distances_prefer_the_copy_and_say_so(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path)
    found = distances("eng_Latn", ["eng_Latn", "fra_Latn", "zho_Hans", "deu_Latn"], path)
    assert found["GEO"] == {"eng_Latn": 0, "fra_Latn": 0, "zho_Hans": 1, "deu_Latn": None}
    assert found.origin["GEO"] == f"URIEL, {path}"
    assert found.origin["SYN"] == FROM_VECTORS
    assert found["SYN"]["fra_Latn"] == pytest.approx(0.188, abs=0.001)


def test_a_folder_an_environment_and_lang2vecs_own_folder_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_copy() is None
    own, other = tmp_path / "lang2vec", tmp_path / "other"
    other.mkdir()
    (own / "distances.zip").touch()  # empty in lang2vec's repository
    assert find_copy() is None
    in_own, in_other = write_sparse(own), write_csv(other)
    assert find_copy() == in_own
    monkeypatch.setenv(ENVIRONMENT, str(other))
    assert find_copy() == in_other
    assert find_copy(own) == in_own


def test_a_named_copy_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.zip.*distances2\.zip"):
        find_copy(tmp_path / "nowhere.zip")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "gone"))
    with pytest.raises(InvalidInput, match=f"gone.*unset {ENVIRONMENT}"):
        distances("eng_Latn", ["fra_Latn"])


def test_a_language_that_the_copy_marks_as_missing_has_no_distance(tmp_path: Path) -> None:
    missing = GENETIC.copy()
    missing[1, 3] = -1
    found = read_copy(write_csv(tmp_path, {"genetic": missing}), KINDS, "eng", CODES)
    assert found["genetic"] == {"aka": 1.0, "eng": 0.0, "fra": 0.9}


def refused(path: Path, *said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read_copy(path, KINDS, "eng", CODES)
    for words in (path.name, *said):
        assert words in str(error.value)


def test_what_is_no_copy_is_refused(tmp_path: Path) -> None:
    path = write_sparse(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path)
    path.write_bytes(b"GIF89a")
    refused(path, "not a zip file")
    refused(write_sparse(tmp_path, {"beauty": GENETIC}), "holds none of genetic")
    refused(write_sparse(tmp_path, {"genetic": GENETIC[:3, :3]}), "(3, 3)", "4 codes")
    refused(write_sparse(tmp_path, {"genetic": GENETIC * 7}), "not between 0 and 1")
    refused(write_csv(tmp_path, {"genetic": GENETIC[:, :3]}), "4 codes")


def test_a_copy_without_its_list_of_languages_is_refused(tmp_path: Path) -> None:
    path = write_sparse(tmp_path)
    (tmp_path / LANGUAGES).unlink()
    refused(path, LANGUAGES)


def test_the_list_of_languages_may_lie_in_the_archive_or_with_lang2vec(tmp_path: Path) -> None:
    path = write_sparse(tmp_path)
    listed = (tmp_path / LANGUAGES).read_text(encoding="utf-8")
    (tmp_path / LANGUAGES).rename(tmp_path / "lang2vec" / LANGUAGES)
    first = read_copy(path, KINDS, "eng", CODES)
    (tmp_path / "lang2vec" / LANGUAGES).unlink()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(LANGUAGES, listed)
    assert read_copy(path, KINDS, "eng", CODES) == first
