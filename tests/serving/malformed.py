"""Malformed bodies without end: mutations of good ones, and what parsers are known to choke on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

_GOOD: tuple[dict[str, Any], ...] = (
    {"inputs": "Le match est fini."},
    {"inputs": ["one", "two", "three"], "top_k": 2},
    {"inputs": "Bo?", "language": "fra_Latn", "abstain": 0.5},
    {"inputs": ["x"], "prompt": "romance@1", "task": "topic", "model": "fake-bloom"},
)
_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 1e308, 10**400, "", " ", "\0", "\ufeff", "\u202e", "\ud800", "é" * 50,
    "A" * 3000, "../../x", "a@b@c", [], [[]], {}, {"$ref": "#"}, [None], ["a", 1], {"a": {}},
    "${jndi:ldap://x}", "%s%n", "' OR 1=1 --", "<script>", "NaN", "romance@-1",
    "romance@" + "9" * 99,
)  # fmt: skip
_FIELDS = ("inputs", "model", "task", "language", "prompt", "top_k", "abstain", "", "__class__")
_TOKENS = (
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud83d", b"\x00", b"\xff", b"\xc3",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"NaN", b"Infinity", b"-", b"1e999", b"//", b"'", b"\r\n",
    b"\xef\xbb\xbf", b"[" * 300, b'{"a":' * 300, b"0" * 5000, b"null", b"true",
)  # fmt: skip


def malformed_bodies(seed: int, count: int) -> Iterator[bytes]:
    """Yield bodies, the same ones for a seed; most cannot be answered, some by luck can."""
    draw = random.Random(seed)
    for _ in range(count):
        yield draw.choice(_KINDS)(draw)


def _odd_field(draw: random.Random) -> bytes:
    """A good request with one or two fields of an odd kind."""
    body = dict(draw.choice(_GOOD))
    for _ in range(draw.randint(1, 2)):
        body[draw.choice(_FIELDS)] = draw.choice(_ODD)
    return json.dumps(body).encode()


def _odd_item(draw: random.Random) -> bytes:
    """A list of texts, some of which are odd, or not texts at all."""
    items = [draw.choice((*_ODD, "a word")) for _ in range(draw.randint(1, 8))]
    return json.dumps({"inputs": items}, ensure_ascii=draw.random() < 0.9).encode(
        "utf-8", "surrogatepass"
    )


def _mutated(draw: random.Random) -> bytes:
    """A good request with bytes flipped, removed, doubled or put in."""
    body = bytearray(json.dumps(draw.choice(_GOOD)).encode())
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(body) + 1)
        kind = draw.randrange(4)
        if kind == 0 and at < len(body):
            body[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del body[at : at + draw.randint(1, 5)]
        elif kind == 2:
            body[at:at] = body[at : at + draw.randint(1, 20)]
        else:
            body[at:at] = draw.choice(_TOKENS)
    return bytes(body)


def _noise(draw: random.Random) -> bytes:
    return draw.randbytes(draw.randint(0, 200))


def _tokens(draw: random.Random) -> bytes:
    return b"".join(draw.choice(_TOKENS) for _ in range(draw.randint(1, 12)))


def _other_encoding(draw: random.Random) -> bytes:
    body = json.dumps(draw.choice(_GOOD))
    return body.encode(draw.choice(("utf-16", "utf-32", "utf-16-be", "cp037", "utf-8-sig")))


def _other_root(draw: random.Random) -> bytes:
    return json.dumps(draw.choice((*_ODD, [dict(draw.choice(_GOOD))]))).encode()


def _twice(draw: random.Random) -> bytes:
    """The same field more than once, with different values."""
    values = [json.dumps(draw.choice(_ODD)) for _ in range(draw.randint(2, 4))]
    return ("{" + ",".join(f'"inputs":{value}' for value in values) + "}").encode()


_KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _odd_field, _odd_item, _mutated, _mutated, _noise, _tokens, _other_encoding, _other_root, _twice
)  # fmt: skip
