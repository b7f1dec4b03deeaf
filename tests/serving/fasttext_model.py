"""A fastText classifier of a few words, written byte by byte in fastText's own format."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

_MAGIC, _VERSION = 793712314, 12
_SOFTMAX, _SUPERVISED = 3, 3
_END = "</s>"  # which fastText adds to every line, and so to every vocabulary
_STRENGTH = 20.0  # a line's vectors are averaged: alone with the end, a word counts half


def write_fasttext(
    path: Path, words: Mapping[str, str], labels: Sequence[str], strength: float = _STRENGTH
) -> Path:
    """Write a model in which a word alone gives the label it speaks for a logit, others 0.

    The logit is half the strength: 10.
    """
    dim = len(labels)
    words = {_END: "", **words}
    arguments = [dim, 5, 5, 1, 5, 1, _SOFTMAX, _SUPERVISED, 0, 0, 0, 100]
    entries = [(word, 0) for word in words] + [(label, 1) for label in labels]
    data = struct.pack("<ii", _MAGIC, _VERSION)
    data += struct.pack("<12id", *arguments, 1e-4)
    data += struct.pack("<iiiqq", len(entries), len(words), dim, len(entries), -1)
    for text, kind in entries:
        data += text.encode() + b"\0" + struct.pack("<qb", 1, kind)
    inputs = [[strength * (label == spoken) for label in labels] for spoken in words.values()]
    outputs = [[float(row == column) for column in range(dim)] for row in range(dim)]
    for rows in (inputs, outputs):
        data += struct.pack("<?qq", False, len(rows), dim)
        data += b"".join(struct.pack(f"<{dim}f", *row) for row in rows)
    path.write_bytes(data)
    return path
