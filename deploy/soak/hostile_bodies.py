"""Bodies that cost a server as much as a body of their size can, shape by shape.

Each is as large as it may be, and most are small things without number: whoever builds an object,
or an error, for each of them is busy for a long time.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Shape = Callable[[int], bytes]

FIELDS_OF_NO_ROUTE = ("parameters", "__class__")


def _repeated(item: bytes, opening: bytes = b"[", closing: bytes = b"]") -> Shape:
    """As many items as fit, between commas."""
    return lambda size: opening + b",".join([item] * (size // (len(item) + 1))) + closing


def _text(part: bytes) -> Shape:
    """One string of as many of these parts as fit."""
    return lambda size: b'"' + part * (size // len(part)) + b'"'


def _keys(size: int) -> bytes:
    return b"{" + b",".join(b'"%x":1' % number for number in range(size // 10)) + b"}"


def _nested(part: bytes) -> Shape:
    return lambda size: part * (size // len(part))


VALUES: Mapping[str, Shape] = {
    "integers": _repeated(b"1"),
    "fractions": _repeated(b"0.1"),
    "long integers": _repeated(b"9" * 400),
    "nulls": _repeated(b"null"),
    "truths": _repeated(b"true"),
    "no numbers": _repeated(b"NaN"),
    "empty lists": _repeated(b"[]"),
    "empty objects": _repeated(b"{}"),
    "empty texts": _repeated(b'""'),
    "texts of one character": _repeated(b'"a"'),
    "texts of one wide character": _repeated('"国"'.encode()),
    "texts of one escape": _repeated(rb'"\""'),
    "texts of one backslash": _repeated(rb'"\\"'),
    "lists of lists": _repeated(b"[" * 60 + b"]" * 60),
    "objects in a list": _repeated(b'{"a":1}'),
    "one key very often": _repeated(b'"a":1', b"{", b"}"),
    "very many keys": _keys,
    "a long key": lambda size: b'{"' + b"k" * size + b'":1}',
    "deep lists": _nested(b"["),
    "deep objects": _nested(b'{"a":'),
    "a long text": _text(b"a"),
    "a long wide text": _text("国".encode()),
    "a long astral text": _text("😀".encode()),
    "combining marks": _text("á̂̃".encode()),
    "a character that unfolds": _text("ﷺ".encode()),
    "blanks": _text(b" "),
    "commas": _text(b",[{"),
    "escaped letters": _text(rb"\u00e9"),
    "escaped quotes": _text(rb"\""),
    "backslashes": _text(rb"\\"),
    "nulls in a text": _text(rb"\u0000"),
    "a lone surrogate at the end": lambda size: b'"' + b"a" * size + rb'\ud800"',
    "no UTF-8 at the end": lambda size: b'"' + b"a" * size + b'\xff"',
    "a line break at the end": lambda size: b'"' + b"a" * size + b'\n"',
    "no end": lambda size: b'"' + b"a" * size,
    "a long integer": lambda size: b"1" * size,
    "a long fraction": lambda size: b"1." + b"1" * size,
    "a long exponent": lambda size: b"1e" + b"1" * size,
    "white space": lambda size: b" " * size + b"1",
    "noise": lambda size: random.Random(0).randbytes(size),
}
"""JSON values, and what is none, of about a size."""


def hostile_bodies(size: int, fields: Sequence[str], count: int = 100) -> Iterator[bytes]:
    """Bodies of at most a size: every value alone and, in turn, as that of every field."""
    room = size - 200
    fields = (*fields, *FIELDS_OF_NO_ROUTE)
    alone = (make(room) for make in VALUES.values())
    pairs = [(field, value) for value in VALUES for field in fields]
    random.Random(0).shuffle(pairs)
    inside = (_in_field(field, VALUES[value](room)) for field, value in pairs)
    return itertools.islice(itertools.chain(inside, alone), count)


def _in_field(field: str, value: bytes) -> bytes:
    """A request whose other fields are as they should be, for some route."""
    good = {"inputs": "one text", "trial": "some-prompt"}
    rest = "".join(f",{json.dumps(name)}:{json.dumps(own)}" for name, own in good.items())
    return b"{" + json.dumps(field).encode() + b":" + value + rest.encode() + b"}"


def hostile_files(size: int, header_size: int, count: int = 100) -> Iterator[bytes]:
    """Prompt files of at most a size, whose headers or cards are hostile."""
    for make in itertools.islice(itertools.cycle(_HEADERS), count):
        header = make(header_size)
        yield (len(header).to_bytes(8, "little") + header).ljust(size, b"\0")[:size]


def _card_with(value: Shape) -> Shape:
    """A header whose card, JSON within JSON, holds a value of about a size."""
    tensor: dict[str, Any] = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}

    def header(size: int) -> bytes:
        card = b'{"labels":' + value(size // 3) + b',"training":' + value(size // 3) + b"}"
        text = card.decode("utf-8", "replace")
        return json.dumps({"__metadata__": {"card": text}, "prompt": tensor}).encode()[:size]

    return header


def _tensors(value: bytes) -> Shape:
    """A header that declares as many tensors as fit."""
    return lambda size: (
        b"{" + b",".join(b'"%x":%b' % (at, value) for at in range(size // (9 + len(value)))) + b"}"
    )


_HEADERS: tuple[Shape, ...] = (
    _tensors(b"1"),
    _tensors(b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'),
    _tensors(b"{}"),
    *(_card_with(value) for value in VALUES.values()),
    *VALUES.values(),
)
