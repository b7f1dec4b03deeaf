"""Bodies that cost a server as much as a body of their size can, shape by shape.

Each is as large as it may be, and most are small things without number: whoever builds an object,
or an error, for each of them is busy for a long time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shape = Callable[[int], bytes]

FIELDS_OF_NO_ROUTE = ("parameters", "__class__")
MOST_HEADER_BYTES = 1 << 20
"""Of a prompt file; a larger one is refused by its length alone."""
_FRAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    method: str
    path: str
    fields: tuple[str, ...] = ()
    """Of its JSON body."""
    takes_file: bool = False

    @property
    def takes_body(self) -> bool:
        """Whether anybody looks at one."""
        return bool(self.fields) or self.takes_file


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


def hostile_body(number: int, size: int, fields: Sequence[str]) -> bytes:
    """One body of at most a size: by and by every value, alone and as that of every field."""
    value = number % len(VALUES)
    targets = (*fields, *FIELDS_OF_NO_ROUTE, None)
    field = targets[(value + number // len(VALUES)) % len(targets)]
    made = list(VALUES.values())[value](size - _FRAME_BYTES)
    return made if field is None else _in_field(field, made)


def hostile_file(number: int, size: int) -> bytes:
    """One prompt file of a size, whose header or card is hostile: by and by all of them."""
    header = _HEADERS[number % len(_HEADERS)](min(size, MOST_HEADER_BYTES) - _FRAME_BYTES)
    return (len(header).to_bytes(8, "little") + header).ljust(size, b"\0")[:size]


def hostile(number: int, operation: Operation, size: int) -> bytes:
    """One body for an operation."""
    if operation.takes_file:
        return hostile_file(number, size)
    return hostile_body(number, size, operation.fields)


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """What an OpenAPI document offers."""
    schemas = document["components"]["schemas"]
    known = []
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            content = about.get("requestBody", {}).get("content", {})
            reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
            model = schemas.get(reference.rpartition("/")[2], {})
            known.append(
                Operation(
                    method=method.upper(),
                    path=path,
                    fields=tuple(model.get("properties", ())),
                    takes_file="application/octet-stream" in content,
                )
            )
    return known


def _in_field(field: str, value: bytes) -> bytes:
    """A request whose other fields are as they should be, for some route."""
    good = {"inputs": "one text", "trial": "some-prompt"}
    rest = "".join(f",{json.dumps(name)}:{json.dumps(own)}" for name, own in good.items())
    return b"{" + json.dumps(field).encode() + b":" + value + rest.encode() + b"}"


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
