"""Our lines of HAProxy's configuration, and its own errors in the contract's shape.

What is wrong with a request whose head has been read, HAProxy says as its configuration tells it.
What is wrong before that (it is no HTTP, it does not arrive) it answers with pages that no setting
changes: `errorfile` and `http-error` are for what comes later. So a copy of the program is run in
which those constant texts are ours, byte for byte as long (see `guard.HAPROXY_PAGES`).
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from isogloss.serving.ray.hooks.guard import REPLACED_LINES

logger = logging.getLogger(__name__)

HOST_VARIABLE = "ISOGLOSS_HTTP_HOST"
"""Where HAProxy listens, where the replicas behind it do not listen there as well."""
LOOPBACK = "127.0.0.1"

_PAGE = re.compile(
    rb"HTTP/1\.1 (?P<status>\d{3}) (?P<reason>[^\r\n\0]+)\r\n(?P<headers>[^\0]*?)\r\n\r\n"
    rb"<html>[^\0]*</html>\n(?=\0)"
)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The body of one error."""

    error: str
    error_type: str

    def json(self) -> str:
        """The body."""
        return json.dumps({"error": self.error, "error_type": self.error_type})


_NO_REPLICA = ErrorBody("no replica can be reached; try again in a moment", "unavailable")
ERRORS = {
    400: ErrorBody("this is not valid HTTP/1.1; check the request", "validation"),
    408: ErrorBody("the request did not arrive in time; send it at once", "validation"),
    413: ErrorBody("the request is too large; send less at a time", "too_large"),
    500: ErrorBody("the front failed; try again", "internal"),
    501: ErrorBody("this way of sending a body is not supported; use content-length", "validation"),
    502: _NO_REPLICA,
    503: _NO_REPLICA,
    504: _NO_REPLICA,
}
"""HTTP status -> its body; the configuration answers with no other."""


def quoted(status: int) -> str:
    """The body of an error as a string of HAProxy's configuration."""
    return '"' + ERRORS[status].json().replace('"', r"\"") + '"'


OUR_LINES = (
    f"    bind {LOOPBACK}:{{{{ config.metrics_port }}}}",
    f"  bind {LOOPBACK}:{{{{ config.stats_port }}}}",
    f"    http-request return status 503 content-type application/json string {quoted(503)}",
)
"""In place of `REPLACED_LINES`, in their order. The last one: nothing is deployed, or not yet."""


def template(of_ray: str) -> str:
    """Return the template of HAProxy's configuration with our lines."""
    for theirs, ours in zip(REPLACED_LINES, OUR_LINES, strict=True):
        of_ray = of_ray.replace(theirs, ours)
    return of_ray


def patched_program(program: Path, folder: Path) -> Path:
    """Return a copy of HAProxy whose pages are ours; the program itself where none can be run.

    Args:
        program: HAProxy.
        folder: where the copy is written.

    Raises:
        OSError: the folder cannot be written.
    """
    patched = with_our_pages(data := program.read_bytes())
    if patched == data:
        logger.warning("%s has none of the pages that are replaced: it answers in HTML", program)
        return program
    copy, new = folder / program.name, folder / f"{program.name}.new"
    new.write_bytes(patched)
    shutil.copymode(program, new)
    if not os.access(new, os.X_OK):  # the folder is on a file system that programs may not be on
        return program
    new.replace(copy)  # one that runs cannot be written to
    libraries = program.parent / "lib"  # it looks for them beside itself
    if libraries.is_dir() and not (folder / "lib").exists():
        (folder / "lib").symlink_to(libraries)
    return copy


def with_our_pages(program: bytes) -> bytes:
    """Return HAProxy's program with our errors in place of its pages; of the same length."""
    return _PAGE.sub(_page, program)


def _page(page: re.Match[bytes]) -> bytes:
    """Ours in place of one of HAProxy's; its own where ours does not fit."""
    error = ERRORS.get(int(page["status"]))
    if error is None:
        return page[0]
    head = [b"HTTP/1.1 %s %s" % (page["status"], page["reason"])]
    head += [b"Content-Type: application/json"]
    head += [line for line in page["headers"].split(b"\r\n") if line == b"Connection: close"]
    body = error.json().encode()
    # Blanks behind the body make up for what is shorter; the length is three digits in any case.
    room = len(page[0]) - len(b"\r\n".join([*head, b"Content-length: 000", b"", b""]))
    if room < len(body) or room > 999:
        return page[0]
    head += [b"Content-length: %03d" % room, b"", b""]
    return b"\r\n".join(head) + body.ljust(room)
