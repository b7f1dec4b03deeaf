"""Malformed bodies without end: mutations of good ones, and what parsers are known to choke on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_GOOD: tuple[dict[str, Any], ...] = (
    {"inputs": "Le match est fini."},
    {"inputs": ["one", "two", "three"], "top_k": 2},
    {"inputs": "Bo?", "language": "fra_Latn", "abstain": 0.5},
    {"inputs": "Bo?", "languages": ["sw", "rw"]},
    {"inputs": "Bo?", "languages": {"sw": 2.0, "rw": 1}},
    {"inputs": ["x"], "prompt": "romance@1", "task": "topic", "model": "fake-bloom"},
)
_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 1e308, 10**400, "", " ", "\0", "\ufeff", "\u202e", "\ud800", "é" * 50,
    "A" * 3000, "../../x", "a@b@c", [], [[]], {}, {"$ref": "#"}, [None], ["a", 1], {"a": {}},
    "${jndi:ldap://x}", "%s%n", "' OR 1=1 --", "<script>", "NaN", "romance@-1",
    "romance@" + "9" * 99,
)  # fmt: skip
_LITERALS = (
    b"NaN", b"-Infinity", b"Infinity", b"1e999", b"-1e-999", b"0x10", b"01", b"1.", b".5", b"+1",
    b"undefined", b"None", b"'a'", b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xed\xa0\x80"', b'"\xff"',
    b'"\xc0\xaf"', b'"\xf8\x88\x80\x80\x80"', b'"a\x00b"', b'"a\nb"', b'"\\x41"', b'"\\u12"',
    b'"open', b"1" * 5000, b"-" + b"9" * 400, b"1e" + b"9" * 50, b"[" * 130 + b"]" * 130,
    b'{"a":' * 130 + b"1" + b"}" * 130, b"[" * 5000, b'{"":' * 5000, b"{}{}", b"", b"[,]", b"[1,]",
)  # fmt: skip
_FIELDS = (
    *("inputs", "model", "task", "language", "languages", "prompt", "top_k", "abstain"),
    *("", "__class__"),
)
_TOKENS = (
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud83d", b"\x00", b"\xff", b"\xc3",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"NaN", b"Infinity", b"-", b"1e999", b"//", b"'", b"\r\n",
    b"\xef\xbb\xbf", b"[" * 300, b'{"a":' * 300, b"0" * 5000, b"null", b"true",
)  # fmt: skip


def malformed_bodies(seed: int, count: int) -> Iterator[bytes]:
    """Yield distinct bodies, the same for a seed; most cannot be answered, some by luck can."""
    return _distinct(seed, count, _KINDS)


def malformed_tables(seed: int, count: int) -> Iterator[bytes]:
    """Yield distinct bodies for PUT /v1/routes; none is a whole table that could be published."""
    return _distinct(seed, count, _TABLE_KINDS)


def malformed_rollbacks(seed: int, count: int) -> Iterator[bytes]:
    """Yield distinct bodies for POST /v1/rollback; none names a generation of a fresh store."""
    return _distinct(seed, count, _ROLLBACK_KINDS)


def malformed_of(seed: int, count: int, good: Sequence[Any]) -> Iterator[bytes]:
    """Yield distinct bodies made of good ones: odd values anywhere in them, or bytes changed."""

    def odd_somewhere(draw: random.Random) -> bytes:
        body = json.loads(json.dumps(draw.choice(good)))
        place = body
        while isinstance(place, dict | list) and place:
            key = draw.choice([*place]) if isinstance(place, dict) else draw.randrange(len(place))
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or draw.random() < 0.3:
                place[key] = draw.choice(_ODD)
                break
            place = inner
        return json.dumps(body).encode()

    def mutated(draw: random.Random) -> bytes:
        return _with_bytes_changed(draw, json.dumps(draw.choice(good)).encode())

    def cut(draw: random.Random) -> bytes:
        whole = json.dumps(draw.choice(good)).encode()
        return whole[: draw.randrange(len(whole))]

    return _distinct(seed, count, (odd_somewhere, odd_somewhere, mutated, mutated, cut, _tokens))


def malformed_bytes(seed: int, count: int, good: Sequence[bytes]) -> Iterator[bytes]:
    """Yield distinct bodies made of good ones that are no JSON, by changing bytes."""
    return _distinct(seed, count, (lambda draw: _with_bytes_changed(draw, draw.choice(good)),))


def _distinct(
    seed: int, count: int, kinds: Sequence[Callable[[random.Random], bytes]]
) -> Iterator[bytes]:
    draw, seen = random.Random(seed), set[bytes]()
    while len(seen) < count:
        body = draw.choice(kinds)(draw)
        if body not in seen:
            seen.add(body)
            yield body


def every_field_with_every_odd_value() -> Iterator[bytes]:
    """Yield good requests with one field replaced, by what JSON has and by what it has not."""
    for name in _FIELDS:
        for good in _GOOD:
            for odd in _ODD:
                yield json.dumps({**good, name: odd}).encode()
            for literal in _LITERALS:
                rest = json.dumps(good)[1:].encode()
                yield b"{" + json.dumps(name).encode() + b":" + literal + b"," + rest


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
    return _with_bytes_changed(draw, json.dumps(draw.choice(_GOOD)).encode())


def _with_bytes_changed(draw: random.Random, good: bytes) -> bytes:
    """A good request with bytes flipped, removed, doubled or put in."""
    body = bytearray(good)
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


def _cut(draw: random.Random) -> bytes:
    """A good request that ends early, or goes on after its end."""
    body = json.dumps(draw.choice(_GOOD)).encode()
    if draw.random() < 0.2:
        return body + draw.choice(_TOKENS) * draw.randint(1, 3)
    return body[: draw.randrange(len(body))] + draw.choice((b"", b"", b"\x00", b"\xe2\x82"))


def _odd_literal(draw: random.Random) -> bytes:
    """Literals that are no JSON, or JSON that no field takes, for any number of fields."""
    pairs = [
        json.dumps(draw.choice(_FIELDS)).encode() + b":" + draw.choice(_LITERALS)
        for _ in range(draw.randint(1, 5))
    ]
    return b"{" + b",".join(pairs) + b"}"


def _long(draw: random.Random) -> bytes:
    """Many fields, items or levels, none of them wrong by itself."""
    size = draw.randint(200, 3000)
    kind = draw.randrange(4)
    if kind == 0:
        return json.dumps({"inputs": "a"} | {f"field{n}": n for n in range(size)}).encode()
    if kind == 1:
        return json.dumps({"inputs": ["a"] * (size + 100)}).encode()
    if kind == 2:
        return b'{"inputs":' + b"[" * size + b'"a"' + b"]" * size + b"}"
    return b'{"inputs":"a"' + b" " * size + draw.choice((b"", b",", b"}}", b",}"))


def _odd_table(draw: random.Random) -> bytes:
    """A route table with a field of an odd kind; its model is never one that is served."""
    table: dict[str, Any] = {
        "model": {"id": "nobody's", "fingerprint": f"sha256:{draw.randrange(10**9)}"},
        "task": "topic",
        "universal": "everywhere",
        "clades": {"Romance": "romance"},
        "temperatures": {"universal": 1.5},
        "evidence": [{"clade": None, "prompt": "everywhere", "gain": 0.5, "interval": [0, 1]}],
    }
    place = draw.choice((table, table, table["model"], table["clades"], table["evidence"][0]))
    place[draw.choice((*place, "", "../x", "A" * 200))] = draw.choice(_ODD)
    routes = [table] * draw.choice((0, 1, 1, 1, 2))
    return json.dumps(draw.choice(({"routes": routes}, routes, {"routes": table}))).encode()


def _odd_rollback(draw: random.Random) -> bytes:
    to = draw.choice((*_ODD[2:], draw.randint(2, 10**12), -draw.randint(1, 10**12)))
    return json.dumps({draw.choice(("to", "to", "generation", "")): to}).encode()


_KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _odd_field, _odd_item, _mutated, _mutated, _noise, _tokens, _other_encoding, _other_root,
    _twice, _cut, _odd_literal, _long,
)  # fmt: skip
_TABLE_KINDS = (_odd_table, _odd_table, _odd_table, _noise, _tokens, _odd_literal, _mutated)
_ROLLBACK_KINDS = (_odd_rollback, _odd_rollback, _noise, _tokens)
