"""Tables as people's tools write them, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.tables import Layout, read_table, record_bytes, table_bytes

LAYOUT = Layout(("index_id", "category", "text"))
HEAD = b"index_id\tcategory\ttext\n"


def rows(
    tmp_path: Path, content: bytes, layout: Layout = LAYOUT
) -> list[tuple[int, dict[str, str]]]:
    path = tmp_path / "train.tsv"
    path.write_bytes(content)
    return [(row.line, row.cells) for row in read_table(path, layout)]


def cells(number: str, category: str, text: str) -> dict[str, str]:
    return {"index_id": number, "category": category, "text": text}


@pytest.mark.parametrize(
    "content",
    [
        HEAD + b"7\tmusic\ta choir\n",
        HEAD + b"7\tmusic\ta choir",
        HEAD + b"7\tmusic\ta choir\n\n\n",
        HEAD + b"7\tmusic\ta choir\n\t\t\n \t \t \n",
        HEAD.replace(b"\n", b"\r\n") + b"7\tmusic\ta choir\r\n",
        HEAD.replace(b"\n", b"\r") + b"7\tmusic\ta choir\r",
        b"\xef\xbb\xbf" + HEAD + b"7\tmusic\ta choir\n",
        b'\xef\xbb\xbf"index_id"\t"category"\t"text"\n"7"\t"music"\t"a choir"\n',
        b" Index_ID \tCATEGORY\tText \n7\tmusic\ta choir\n",
    ],
)
def test_what_tools_write_is_one_table(tmp_path: Path, content: bytes) -> None:
    assert [own for _, own in rows(tmp_path, content)] == [cells("7", "music", "a choir")]


def test_a_text_of_any_length_is_read(tmp_path: Path) -> None:
    long = "word " * 200_000
    found = rows(tmp_path, HEAD + f"1\ta\tshort\n2\tb\t{long}\n".encode())
    assert [len(own["text"]) for _, own in found] == [5, 1_000_000]


def test_rows_have_the_line_where_they_begin(tmp_path: Path) -> None:
    content = HEAD + b'\n1\ta\t"one\ntwo\n\nthree"\n2\tb\t"a\tb"\n'
    assert rows(tmp_path, content) == [
        (3, cells("1", "a", "one\ntwo\n\nthree")),
        (7, cells("2", "b", "a\tb")),
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'1\ta\tx\n2\ta\t"open\n3\ta\ty\n', "line 3: the quote that opens here never closes"),
        (b'1\ta\t"x\ny"\n2\t"b\nc"\t"open\n3\ta\ty\n', "line 5: the quote that opens here"),
        (b'1\ta\tx\n2\ta\t"in ""two"" parts\n', "line 3: the quote that opens here never"),
        (b'1\ta\t"x" y\n', "line 2: the quoted text that begins here ends before other"),
        (b'1\ta\t"x\n2\ta\t"y"\n', "line 2: the quoted text that begins here ends, in line 3,"),
        (b'1\ta\t"x\n2\tb\tsix\n3\tc\t7"\n', "line 2: .* holds whole rows; close its quote"),
        (b"1\ta\tx\ry\n", "line 2: a carriage return inside the line"),
        (b"1\ta\tx\n2\ta\n", "line 3: 2 columns where the header has 3; .*one of the tabs"),
        (b"1\ta\tx\n2\t \ty\n", "line 3: column category is empty"),
    ],
)
def test_every_complaint_has_its_own_line_and_remedy(
    tmp_path: Path, body: bytes, said: str
) -> None:
    with pytest.raises(InvalidData, match=rf"train\.tsv, {said}"):
        rows(tmp_path, HEAD + body)


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_quotes_are_found_whatever_ends_a_line(tmp_path: Path, end: bytes) -> None:
    content = (HEAD + b'1\ta\tx\n2\ta\t"open\n3\ta\ty\n').replace(b"\n", end)
    with pytest.raises(InvalidData, match="line 3: the quote that opens here never closes"):
        rows(tmp_path, content)


def test_a_quote_that_never_closes_costs_no_more_than_reading(tmp_path: Path) -> None:
    body = b'1\ta\t"open\n' + b'2\ta\tsaid ""so""\n' * 300_000
    with pytest.raises(InvalidData, match="line 2: the quote that opens here never closes"):
        rows(tmp_path, HEAD + body)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"index_id;category;text\n", "separated by semicolons; save it with tabs"),
        (b'"index_id","category","text"\n', "separated by commas; save it with tabs"),
        (b"index_id\tcategory\n", r"no column text; the first line must be index_id<tab>cat"),
        (b"index_id\tcategory\ttext\tText\n", "column text is there twice; keep one"),
    ],
)
def test_a_header_of_another_kind(tmp_path: Path, header: bytes, said: str) -> None:
    with pytest.raises(InvalidData, match=f"line 1: .*{said}"):
        rows(tmp_path, header + b"1\ta\tx\n")


def test_prefixed_columns_keep_their_labels_as_they_stand(tmp_path: Path) -> None:
    layout = Layout(("model",), ",", prefixes=("log_prob.",))
    content = b"Model , Log_Prob.Price=High ,LOG_PROB.a\nx,1,2\n"
    assert rows(tmp_path, content, layout) == [
        (2, {"model": "x", "log_prob.Price=High": "1", "log_prob.a": "2"})
    ]


@dataclass
class Record:
    name: str
    share: float | None
    texts: int


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    odd = 'a, "b"\nc'
    path = tmp_path / "table.csv"
    path.write_bytes(table_bytes(("name", "share"), [(odd, 0.25), ("", None)]))
    found = [row.cells for row in read_table(path, Layout(("name", "share"), ",", filled=False))]
    assert found == [{"name": odd, "share": "0.25"}]  # a row of blanks is none
    assert path.read_bytes().startswith(b'name,share\n"a, ""b""\nc",0.25\n')


def test_records_are_a_column_a_field() -> None:
    records = [Record("a", 1 / 3, 2), Record("b", -0.0, 3), Record("c", None, 4)]
    assert record_bytes(records) == b"name,share,texts\na,0.333333,2\nb,0,3\nc,,4\n"
    assert record_bytes(records[:1], ".2f") == b"name,share,texts\na,0.33,2\n"
