"""Text as people's tools write it: one reader for every file of text, and for standard input.

Text is UTF-8. A byte order mark is no part of it, at the head of any line: joined files have one in
the middle. A line ends with LF or CR LF, or with CR where nothing has an LF. What is not UTF-8 is
refused by what it is (UTF-16, gzip, a spreadsheet, an older encoding), with its line and a remedy.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from isogloss.prompts.errors import InvalidData

MAX_LINE_BYTES = 64 * 2**20
"""A longer line is no text: it would only fill the memory."""

_HEAD_BYTES = 2**16
_MARK = "\ufeff"
_BEGINNINGS = {  # the longer first: UTF-32's mark begins with UTF-16's
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_CONTAINERS = {
    b"\x1f\x8b": "compressed with gzip; unpack it first, e.g. with gunzip",
    b"BZh": "compressed with bzip2; unpack it first, e.g. with bunzip2",
    b"\xfd7zXZ\x00": "compressed with xz; unpack it first, e.g. with unxz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first, e.g. with unzstd",
    b"PK\x03\x04": "a ZIP archive, as spreadsheets (.xlsx, .ods) are; unpack it, or save the sheet "
    "as text in UTF-8",
    b"PAR1": "a Parquet file; write it out as text in UTF-8",
}
_FEWEST_NULS = 3  # in a head of UTF-16: fewer may be accidents in UTF-8


def read_lines(path: Path, *, missing: str = "check the path") -> Iterator[str]:
    """Yield the lines of a file or a pipe, each with its end.

    Args:
        path: of the file.
        missing: the remedy where there is none.

    Raises:
        InvalidData: it is not there, cannot be read, or is no text in UTF-8.
    """
    with _opened(path, missing) as file:
        yield from lines_of(file, str(path))


def decode(data: bytes, name: str) -> str:
    """Return bytes as text, without byte order marks.

    Raises:
        InvalidData: they are no text in UTF-8.
    """
    return "".join(lines_of(io.BytesIO(data), name))


def lines_of(stream: IO[bytes], name: str) -> Iterator[str]:
    """Yield the lines of a stream, each with its end; `name` is for refusals.

    Raises:
        InvalidData: they are no text in UTF-8.
    """
    head = stream.read(_HEAD_BYTES)
    check_head(head, name)
    for number, line in enumerate(_raw_lines(head, stream), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise InvalidData(
                f"{name}, line {number}: longer than {MAX_LINE_BYTES >> 20} MiB; break it up"
            )
        if text := _decoded(line, number, name):  # nothing: a mark was all there is
            yield text


def without_ends(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines without LF, CR LF or CR."""
    for line in lines:
        yield line.removesuffix("\n").removesuffix("\r")


def pattern_hint(path: Path | str) -> str:
    """What to add of a path that is not there: a shell passes a pattern on if nothing matches."""
    return "; the pattern matches no file" if re.search(r"[*?\[]", str(path)) else ""


@contextlib.contextmanager
def _opened(path: Path, missing: str) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise InvalidData(f"{path}: no such file; {missing}{_packed_hint(path)}") from None
    except IsADirectoryError:
        raise InvalidData(f"{path}: a folder, where a file is wanted; name a file in it") from None
    except OSError as error:
        raise InvalidData(f"{path}: cannot be read ({error.strerror or error})") from None


def _packed_hint(path: Path) -> str:
    packed = path.with_name(f"{path.name}.gz")
    with contextlib.suppress(OSError):
        if packed.is_file():
            return f"; {packed.name} is there: unpack it with gunzip"
    return pattern_hint(path)


def check_head(head: bytes, name: str) -> None:
    """Refuse what is known by how it begins.

    Raises:
        InvalidData: it is packed, or in another encoding than UTF-8; `name` is what it is called.
    """
    for beginning, said in _CONTAINERS.items():
        if head.startswith(beginning):
            raise InvalidData(f"{name}: {said}")
    marked = next((kind for mark, kind in _BEGINNINGS.items() if head.startswith(mark)), None)
    if kind := marked or _unmarked(head):
        raise InvalidData(
            f"{name}: text in {kind}{'' if marked else ' without a byte order mark'}; save it as "
            f"UTF-8, e.g. with iconv -f {kind} -t UTF-8"
        )


def _unmarked(head: bytes) -> str | None:
    """The encoding of text whose every ASCII character has a NUL beside it, on the same side."""
    first, second = head[::2].count(0), head[1::2].count(0)
    often, seldom = max(first, second), min(first, second)
    if often < max(_FEWEST_NULS, len(head) // 500) or often < 4 * seldom:
        return None
    codec = "UTF-16LE" if second > first else "UTF-16BE"
    try:
        head[: len(head) // 4 * 4].decode(codec)
    except UnicodeDecodeError as error:
        # Half of a character at the end of the head is no fault.
        return codec if error.start >= len(head) - 4 else None
    return codec


def _raw_lines(head: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    """Lines with their ends; those of CR alone have to be in the memory as a whole."""
    if b"\r" in head and b"\n" not in head:
        yield from _split(head + stream.read())
        return
    yield from io.BytesIO(head + stream.readline(MAX_LINE_BYTES + 1))
    yield from iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b"")


def _split(data: bytes) -> Iterator[bytes]:
    return iter(data.splitlines(True) if b"\n" not in data else io.BytesIO(data))


def _decoded(line: bytes, number: int, name: str) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidData(
            f"{name}, line {number}: byte 0x{line[error.start]:02x} is not UTF-8; save it as "
            "UTF-8, e.g. with iconv -f WINDOWS-1252 -t UTF-8 if that is what it is in"
        ) from None
    if "\0" in text:
        raise InvalidData(f"{name}, line {number}: holds a NUL character; remove it")
    return text.removeprefix(_MARK)
