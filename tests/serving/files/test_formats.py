"""Files of rows in every format: all columns stay, rows keep their order, bad ones are named."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.serving.files.conftest import Classify

ADDED = ["label", "score", "language", "confidence", "known", "clade", "prompt", "error"]
GOOD = ["eng_Latn", "0.75", "1.0", "Germanic", "stub@1", ""]


def added(text: str) -> list[str]:
    return [f"label {len(text) % 7}", str(round(1 / (1 + len(text) % 11), 6)), *GOOD]


def rows_of(data: bytes, delimiter: str = ",") -> list[list[str]]:
    text = data.decode("utf-8", "surrogateescape")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_quotes_newlines_and_unicode_come_back(tmp_path: Path, classify: Classify) -> None:
    texts = [
        'She said "no".',
        "two\nlines",
        "two\r\nlines",
        "a\rreturn",
        "a, b",
        "Größe 漢字 🙂",
        "end\u2028x",
    ]
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["id", "text", "a column, quoted"])
    writer.writerows([n, text, f'"{n}"\n'] for n, text in enumerate(texts))
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_bytes(table.getvalue().encode())
    done = classify(path, out)
    assert done.exit_code == 0, done.output
    header, *rows = rows_of(out.read_bytes())
    assert header == ["id", "text", "a column, quoted", *ADDED]
    assert rows == [[str(n), t, f'"{n}"\n', *added(t)] for n, t in enumerate(texts)]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.csv", "out.csv"]
    assert done.stdout.startswith("7 rows in ")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_marks_and_line_ends_stay(
    tmp_path: Path, classify: Classify, end: bytes, mark: bytes
) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_bytes(mark + end.join([b"text,n", b"one,1", b"", b"three,3"]))
    assert classify(path, out).exit_code == 0
    data = out.read_bytes()
    assert data.startswith(mark + b"text,n,label,")
    assert data.count(end) == data.count(b"\n") == 3
    assert [row[0] for row in rows_of(data)[1:]] == ["one", "three"]


def test_tabs(tmp_path: Path, classify: Classify) -> None:
    path, out = tmp_path / "in.tsv", tmp_path / "out.tsv"
    path.write_bytes(b"n\ttext\n1\ta, b\n2\tc\n")
    assert classify(path, out).exit_code == 0
    assert rows_of(out.read_bytes(), "\t")[1:] == [
        ["1", "a, b", *added("a, b")],
        ["2", "c", *added("c")],
    ]


def test_bad_rows_are_named_and_the_others_answered(tmp_path: Path, classify: Classify) -> None:
    rows = [
        b"1,good,x",
        b"2,,x",
        b"3,caf\xe9,x",
        b"4," + b"y" * 1001 + b",x",
        b"5,short",
        b"6,too,many,cells",
        b'7,"quoted"badly,x',
        b"8,fine,\xe9",
        b"9,\x20,x",
    ]
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_bytes(b"n,text,more\n" + b"\n".join(rows) + b"\n")
    done = classify(path, out)
    assert done.exit_code == 0, done.output
    answers = rows_of(out.read_bytes())[1:]
    assert [row[0] for row in answers] == [*"123456789"]
    errors = {row[0]: row[-1] for row in answers if row[-1]}
    assert [*errors] == [*"2345679"]
    assert errors["2"] == errors["9"] == "the text is empty; send at least one word"
    assert errors["3"] == "the text is not UTF-8 (byte 0xe9 at character 4)"
    assert errors["4"].startswith("1001 characters are too many")
    assert errors["5"].startswith("2 cells where the header has 3")
    assert errors["6"].startswith("4 cells where the header has 3")
    assert errors["7"].startswith("it cannot be read as a row")
    assert answers[4][:3] == ["5", "short", ""]
    assert answers[5][:3] == ["6", "too", "many,cells"]
    assert answers[7] == ["8", "fine", "\udce9", *added("fine")]
    assert all(not row[3] for row in answers if row[0] in errors)
    said = done.stderr.splitlines()
    assert [line.partition(": row ")[2].partition(":")[0] for line in said] == [
        f"{n} (line {n + 1})" for n in (2, 3, 4, 5, 6, 7, 9)
    ]
    assert "9 rows in" in done.stdout
    assert "7 of them without an answer" in done.stdout


def test_no_more_bad_rows_are_named_than_a_person_reads(tmp_path: Path, classify: Classify) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_bytes(b"n,text\n" + b"1,\n" * 500)
    done = classify(path, out, "--json")
    assert len(done.stderr.splitlines()) == 21
    assert json.loads(done.stdout) == {
        "out": str(out), "rows": 500, "not_answered": 500, "resumed_after": 0,
    }  # fmt: skip


def test_json_lines_keep_their_own_text(tmp_path: Path, classify: Classify) -> None:
    lines = [
        b'{"n": 1.10, "text": "one", "big": 12345678901234567890123}',
        b"",
        b'\xef\xbb\xbf  {"text":"\\u00fcber","n":1e400}  ',
        b'{"text": 5}',
        b'{"n": 1}',
        b"{}",
        b"[1]",
        b"{half",
        b'{"text": "caf\xe9"}',
        b'{"text": "\\ud800"}',
        b'{"text": null}',
        '{"text": "漢字"}'.encode(),
    ]
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(b"\n".join(lines))
    done = classify(path, out)
    assert done.exit_code == 0, done.output
    written = out.read_bytes().splitlines()
    assert written[0].startswith(lines[0][:-1] + b', "isogloss": {"label": "label 3", ')
    assert written[1].startswith(b'{"text":"\\u00fcber","n":1e400, "isogloss": {')
    answers = [json.loads(line)["isogloss"] for line in written]
    assert answers[0] == {
        "label": "label 3", "score": 0.25, "language": "eng_Latn", "confidence": 0.75,
        "known": 1.0, "clade": "Germanic", "prompt": "stub@1", "error": None,
    }  # fmt: skip
    assert [each["label"] is None for each in answers] == [False] * 2 + [True] * 8 + [False]
    assert [str(each["error"])[:24] for each in answers[2:10]] == [
        "field 'text' is a number",
        "field 'text' is missing",
        "field 'text' is missing",
        "the line is no JSON obje",
        "the line is no JSON (Exp",
        "the line is not UTF-8 (b",
        "character 0 is a lone su",
        "field 'text' is null, no",
    ]
    assert [each.get("line") for each in answers[5:8]] == ["[1]", "{half", '{"text": "caf\ufffd"}']
    assert "row 3 (line 4): field 'text' is a number, no text" in done.stderr


def test_parquet(tmp_path: Path, classify: Classify) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts: list[Any] = [f"row {n}" + "!" * (n % 5) for n in range(40_000)]
    texts[5], texts[39_999] = None, ""
    table = arrow.table({"n": range(40_000), "text": texts, "list": [[1, 2]] * 40_000})
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    parquet.write_table(table, path, row_group_size=7000)
    done = classify(path, out)
    assert done.exit_code == 0, done.output
    found = parquet.read_table(out)
    assert found.column_names == ["n", "text", "list", *ADDED]
    assert found.select(["n", "text", "list"]).equals(table)
    labels = found["label"].to_pylist()
    assert labels == [f"label {len(text) % 7}" if text else None for text in texts]
    errors = {n: each for n, each in enumerate(found["error"].to_pylist()) if each}
    assert [*errors] == [5, 39_999]
    assert errors[5] == "column 'text' is null"
    assert found.schema.field("score").type == arrow.float64()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.parquet", "out.parquet"]


def test_abstained_answers_are_marked_where_that_was_asked(
    tmp_path: Path, classify: Classify
) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_bytes(b"text\none\n")
    assert classify(path, out, "--abstain", "0.9").exit_code == 0
    header, row = rows_of(out.read_bytes())
    assert dict(zip(header, row, strict=True))["abstained"] == "false"


def test_other_names_for_what_is_added(tmp_path: Path, classify: Classify) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_bytes(b"text,label\none,a\n")
    done = classify(path, out)
    assert (done.exit_code, out.exists()) == (2, False)
    assert "column label is there already" in done.stderr
    assert "--prefix predicted_" in done.stderr
    assert classify(path, out, "--prefix", "predicted_").exit_code == 0
    assert rows_of(out.read_bytes())[0] == ["text", "label", *(f"predicted_{a}" for a in ADDED)]
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(b'{"text": "one"}\n{"text": "two", "isogloss": 1}\n')
    done = classify(path, out)
    assert done.exit_code == 2
    assert "row 2 (line 2): field isogloss is there already" in done.stderr
    assert classify(path, out, "--prefix", "my_").exit_code == 0
    assert [*json.loads(out.read_bytes().splitlines()[1])] == ["text", "isogloss", "my_isogloss"]


@pytest.mark.parametrize(
    ("name", "data", "options", "said"),
    [
        ("in.csv", b"", [], "the file is empty; begin with the columns' names"),
        ("in.csv", b"txt,b\n", [], "--column 'text': "),
        ("in.csv", b"txt,b\n", [], "did you mean 'txt'?"),
        ("in.csv", b"text,text\n", [], "column text is there twice"),
        ("in.csv", b'text\n"never closed\nand on\n', [], "the row that begins in line 2 never"),
        ("in.csv", "text\nüber\n".encode("utf-16"), [], "text in UTF-16"),
        ("in.csv", b"\x1f\x8b\x08", [], "compressed with gzip"),
        ("in.txt", b"text\n", [], "its name tells no format; give --format"),
        ("in.jsonl", b"", ["--format", "csv"], "the file is empty"),
        ("in.csv", b"text\n", ["--top-k", "3"], "--top-k: a file's rows get their best label"),
        ("in.csv", b"text\n", ["--store", "somewhere"], "--store: a server has its own"),
        ("in.csv", b"text\n", ["--url", "nowhere"], "url 'nowhere': give the server's address"),
        ("in.parquet", b"PAR2", [], "cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_a_remedy(
    tmp_path: Path, classify: Classify, name: str, data: bytes, options: list[str], said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    out = tmp_path / ("out.csv" if name == "in.jsonl" else f"out{path.suffix}")
    done = classify(path, out, *options)
    assert (done.exit_code, out.exists()) == (2, False)
    assert said in " ".join(done.stderr.split())


def test_files_that_are_not_there_or_are_in_the_way(tmp_path: Path, classify: Classify) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    assert "no such file" in classify(path, out).stderr
    path.write_bytes(b"text\none\n")
    assert "this is the file that is read" in classify(path, path).stderr
    assert "name a file in a folder that is there" in classify(path, tmp_path / "no" / "o").stderr
    assert "its name says jsonl; end it in .csv" in classify(path, tmp_path / "o.jsonl").stderr
    out.write_bytes(b"mine")
    assert "the file is there already" in classify(path, out).stderr
    assert out.read_bytes() == b"mine"
    assert classify(path, out, "--restart").exit_code == 0
    assert out.read_bytes().startswith(b"text,label,")


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, classify: Classify, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "isogloss.serving.files.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "in.parquet"
    path.write_bytes(b"PAR1")
    done = classify(path, tmp_path / "out.parquet")
    assert done.exit_code == 2
    assert "pip install 'isogloss[parquet]'" in done.stderr
