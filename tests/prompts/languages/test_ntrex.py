"""Reading NTREX: documents, headlines, and what is kept from training."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.languages import ntrex

DOCUMENTS = ["a", "a", "b", "c", "c", "c", "d", "e", "e"]  # the 1st and the 5th are for measuring


def _write(folder: Path, name: str, prefix: str, lines: int = len(DOCUMENTS)) -> None:
    text = "\n".join(f"{prefix} {number}" for number in range(lines))
    (folder / f"newstest2019-{name}.txt").write_text(text + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "DOCUMENT_IDS.tsv").write_text("\n".join(DOCUMENTS) + "\n", encoding="utf-8")
    _write(tmp_path, "src.eng", "bakery")
    _write(tmp_path, "ref.eng-US", "store")
    _write(tmp_path, "ref.fra", "boulangerie")
    _write(tmp_path, "ref.zho-CN", "面包店")
    _write(tmp_path, "ref.xyz", "unknown")
    return tmp_path


def test_every_fourth_document_is_for_measuring_in_every_language(folder: Path) -> None:
    found = list(ntrex.lines(folder))
    assert {line.code for line in found} == {"eng_Latn", "fra_Latn", "zho_Hans"}
    assert len(found) == 4 * len(DOCUMENTS)
    assert {line.number for line in found if line.measured} == {0, 1, 7, 8}
    assert {line.number for line in found if line.headline} == {0, 2, 3, 6, 7}


def test_headlines_are_first_lines_kept_from_training(folder: Path) -> None:
    assert ntrex.headlines(folder) == {
        "eng_Latn": {0: "store 0", 7: "store 7"},
        "fra_Latn": {0: "boulangerie 0", 7: "boulangerie 7"},
        "zho_Hans": {0: "面包店 0", 7: "面包店 7"},
    }


def test_a_file_of_another_release_is_refused(folder: Path) -> None:
    _write(folder, "ref.deu", "bäckerei", lines=3)
    with pytest.raises(
        InvalidData, match=r"ref\.deu\.txt has 3 lines where DOCUMENT_IDS.tsv has 9"
    ):
        list(ntrex.lines(folder))


def test_marks_line_ends_and_blank_last_lines_change_nothing(folder: Path) -> None:
    found = list(ntrex.lines(folder))
    for path in folder.iterdir():
        changed = path.read_bytes().replace(b"\n", b"\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + changed + b"\r\n \r\n")
    assert list(ntrex.lines(folder)) == found


def test_characters_that_only_look_like_line_ends_are_text(folder: Path) -> None:
    path = folder / "newstest2019-ref.fra.txt"
    path.write_bytes(path.read_bytes().replace(b"boulangerie 0", "a\u2028b\x0bc\x85d".encode()))
    assert ntrex.headlines(folder)["fra_Latn"][0] == "a\u2028b\x0bc\x85d"


def test_missing_documents_are_named(folder: Path) -> None:
    (folder / "DOCUMENT_IDS.tsv").unlink()
    with pytest.raises(InvalidData, match=r"DOCUMENT_IDS\.tsv: no such file; .*headlines"):
        ntrex.headlines(folder)


def test_an_empty_folder_has_no_lines(tmp_path: Path) -> None:
    assert list(ntrex.lines(tmp_path)) == []
