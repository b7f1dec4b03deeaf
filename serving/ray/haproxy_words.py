"""What HAProxy answers by itself, in the contract's shape.

What is wrong with a request before its head has been read (it is no HTTP, it does not arrive)
HAProxy answers with pages that no setting changes: `errorfile` and `http-error` are for what comes
later. So a copy of the program speaks instead, in which those constant texts are ours, byte for
byte as long. A program without exactly such texts is left as it is: then those answers are HTML.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_PAGE = re.compile(
    rb"HTTP/1\.1 (?P<status>\d{3}) (?P<reason>[^\r\n\0]+)\r\n(?P<headers>[^\0]*?)\r\n\r\n"
    rb"<html>[^\0]*</html>\n(?=\0)"
)


@dataclass(frozen=True, slots=True)
class Words:
    """One answer."""

    error: str
    error_type: str

    def json(self) -> str:
        """The body."""
        return json.dumps({"error": self.error, "error_type": self.error_type})


_NOBODY = Words("no replica can be reached; try again in a moment", "unavailable")
WORDS = {
    400: Words("this is not valid HTTP/1.1; check the request", "validation"),
    408: Words("the request did not arrive in time; send it at once", "validation"),
    413: Words("the request is too large; send less at a time", "too_large"),
    500: Words("the front failed; try again", "internal"),
    501: Words("this way of sending a body is not supported; use content-length", "validation"),
    502: _NOBODY,
    503: _NOBODY,
    504: _NOBODY,
}
"""Status -> what is said with it; nothing else is ever said by our configuration."""


def speaking_program(program: Path, folder: Path) -> Path:
    """Return a copy of HAProxy in a folder that says our words, or the program where none can be.

    Raises:
        OSError: the folder cannot be written.
    """
    said = reworded(data := program.read_bytes())
    if said == data:
        return program
    copy, new = folder / program.name, folder / f"{program.name}.new"
    new.write_bytes(said)
    shutil.copymode(program, new)
    if not os.access(new, os.X_OK):  # the folder is on a file system that programs may not be on
        return program
    new.replace(copy)  # one that runs cannot be written to
    libraries = program.parent / "lib"  # it looks for them beside itself
    if libraries.is_dir() and not (folder / "lib").exists():
        (folder / "lib").symlink_to(libraries)
    return copy


def reworded(program: bytes) -> bytes:
    """HAProxy's program with our words in place of its pages; of the same length."""
    return _PAGE.sub(_ours, program)


def _ours(page: re.Match[bytes]) -> bytes:
    words = WORDS.get(int(page["status"]))
    if words is None:
        return page[0]
    head = [b"HTTP/1.1 %s %s" % (page["status"], page["reason"])]
    head += [b"Content-Type: application/json"]
    head += [line for line in page["headers"].split(b"\r\n") if line == b"Connection: close"]
    body = words.json().encode()
    # Blanks behind the body make up for what is shorter; the length is three digits in any case.
    room = len(page[0]) - len(b"\r\n".join([*head, b"Content-length: 000", b"", b""]))
    if room < len(body) or room > 999:
        return page[0]
    head += [b"Content-length: %03d" % room, b"", b""]
    return b"\r\n".join(head) + body.ljust(room)
