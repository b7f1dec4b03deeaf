"""Text as people's tools write it, byte for byte."""

from __future__ import annotations

import gzip
import io
import os
import threading
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.texts import decode, lines_of, read_lines, without_ends

MARK = b"\xef\xbb\xbf"
RUSSIAN = "Сборная выиграла матч.\nУчёные открыли планету.\n"


def lines(data: bytes) -> list[str]:
    return list(without_ends(lines_of(io.BytesIO(data), "notes.txt")))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"one\rtwo\r", ["one", "two"]),
        (b"one\rstill one\ntwo\n", ["one\rstill one", "two"]),
        (b"one\n\n\n", ["one", "", ""]),
        (MARK, []),
        (MARK + b"one\n", ["one"]),
        (MARK + b"one\n" + MARK + b"two\n", ["one", "two"]),
        ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),
        ("à 🙂\n".encode(), ["à 🙂"]),
    ],
)
def test_marks_and_line_ends(data: bytes, wanted: list[str]) -> None:
    assert lines(data) == wanted


def test_lines_over_the_head_are_whole() -> None:
    wanted = [f"{n} {'é' * (n % 50)}" for n in range(20_000)]
    for end in ("\n", "\r\n", "\r"):
        assert lines(end.join(wanted).encode()) == wanted


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (RUSSIAN.encode("utf-16"), r"text in UTF-16; .*iconv -f UTF-16 "),
        ("\ufeff".encode("utf-16-be") + RUSSIAN.encode("utf-16-be"), "text in UTF-16;"),
        (RUSSIAN.encode("utf-16-le"), "UTF-16LE without a byte order mark; .*-f UTF-16LE"),
        ("a,b\nc,d\n".encode("utf-16-be"), "UTF-16BE without a byte order mark"),
        ("😀 ok ok\n".encode("utf-16-le"), "UTF-16LE without a byte order mark"),
        (RUSSIAN.encode("utf-32"), "text in UTF-32;"),
        (gzip.compress(b"one\n", mtime=0), "compressed with gzip; .*gunzip"),
        (b"PK\x03\x04rest", "spreadsheets"),
        (b"ok\ncaf\xe9\n", r"line 2: byte 0xe9 is not UTF-8; .*WINDOWS-1252"),
        (b"ok\rok\rcaf\xe9\r", r"line 3: byte 0xe9"),
        (b"ok\n" * 50_000 + b"\x80", "line 50001: byte 0x80"),
        (b"ok\none\0two\n", "line 2: holds a NUL character"),
        (b"\0" * 4096, "line 1: holds a NUL character"),
    ],
)
def test_what_is_no_utf_8_is_named(data: bytes, said: str) -> None:
    with pytest.raises(InvalidData, match=rf"notes\.txt.*{said}"):
        lines(data)


def test_a_long_utf_16_text_is_named_whatever_is_cut_at_the_head() -> None:
    with pytest.raises(InvalidData, match="UTF-16LE"):
        lines(("x🎈" * 60_000).encode("utf-16-le"))


def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isogloss.prompts.files.texts.MAX_LINE_BYTES", 2**20)
    with pytest.raises(InvalidData, match="line 2: longer than 1 MiB"):
        lines(b"ok\n" + b"x" * 2**21)


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(MARK + b"one\r\ntwo",))
    writer.start()
    assert list(read_lines(pipe)) == ["one\r\n", "two"]
    writer.join()


def test_what_is_no_file_is_named_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "train.tsv.gz").write_bytes(gzip.compress(b"one\n"))
    (tmp_path / "plain").write_bytes(b"")
    for name, said in {
        "": "a folder, where a file is wanted",
        "absent.txt": r"absent\.txt: no such file; ask me$",
        "*.txt": "no such file; ask me; the pattern matches no file",
        "train.tsv": r"no such file; ask me; train\.tsv\.gz is there: unpack it",
        "plain/x": "cannot be read",
    }.items():
        with pytest.raises(InvalidData, match=said):
            list(read_lines(tmp_path / name, missing="ask me"))


def test_bytes_are_decoded_whole() -> None:
    assert decode(MARK + b'{\r\n"a": 1}', "x.json") == '{\r\n"a": 1}'
