"""Prompt files with something wrong: a seed gives the same file every time."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

import torch

from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.soft_prompt import SoftPrompt
from tests.prompts import samples

Mutation = Callable[[random.Random, bytes], bytes]

# Values that a header may hold where a shape, an offset, a dtype or a name should be.
STRANGE: tuple[Any, ...] = (
    -1, 0, 1, 2**31, 2**40, 2**53, 2**63 - 1, 2**64, 10**40, 1.5, 1e308, True, None, "", "F32",
    "F64", "I64", "BOOL", "\ud800", "é" * 300, [], [0], [2**40, 2**40], [[]], {}, {"dtype": "F32"},
    [1] * 50, "x" * 5000,
)  # fmt: skip


def residual() -> bytes:
    """A whole prompt file with training state."""
    zeros = {"state.w_down": (4, 8), "state.w_up": (8, 4), "state.norm_bias": (8,)}
    state = {name: torch.zeros(shape) for name, shape in zeros.items()}
    prompt = samples.prompt(1)
    return SoftPrompt(prompt.card, prompt.vectors, state).to_bytes(with_state=True)


def classifier() -> bytes:
    """A whole file of a prompt from PEFT with a template and a head of its own."""
    fields = samples.card(position="prefix").model_dump(exclude={"format_version"})
    more = {"template": "Heard: {text} About:", "head": "prompt"}
    labels = [
        {"label": each, "word": each, "token": "", "token_id": n} for n, each in enumerate("ab")
    ]
    card = PromptCard.model_validate({**fields, **more, "labels": labels})
    vectors = samples.prompt(1).vectors
    return SoftPrompt(card, vectors, label_rows=vectors[:2]).to_bytes()


def ensemble() -> bytes:
    """A whole file of two prompts that answer together, one of which stands before the text."""
    prefix = samples.prompt(2, length=2, of_card=samples.card(position="prefix"))
    return samples.ensemble(samples.prompt(1), prefix).to_bytes()


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header, data[8 + length :]


def joined(header: object, body: bytes) -> bytes:
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


def flip_bits(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 20)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def flip_header_bits(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    end = 8 + struct.unpack("<Q", data[:8])[0]
    for _ in range(chance.randrange(1, 4)):
        changed[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def lengthen(chance: random.Random, data: bytes) -> bytes:
    return data + chance.randbytes(chance.randrange(1, 2000))


def splice(chance: random.Random, data: bytes) -> bytes:
    first, second = sorted(chance.randrange(len(data)) for _ in range(2))
    return data[:first] + chance.randbytes(chance.randrange(64)) + data[second:]


def lie_about_the_header(chance: random.Random, data: bytes) -> bytes:
    claims = (0, 1, 7, len(data), 2**20, 2**20 + 1, 2**32, 2**40, 2**63, 2**64 - 1)
    length = chance.choice([*claims, chance.randrange(len(data) * 2)])
    return struct.pack("<Q", length) + data[8:]


def lie_about_a_tensor(chance: random.Random, data: bytes) -> bytes:
    header, body = split(data)
    spec = header[chance.choice([name for name in header if name != "__metadata__"])]
    field = chance.choice(["dtype", "shape", "data_offsets"])
    if field != "dtype" and chance.random() < 0.7:
        spec[field][chance.randrange(len(spec[field]))] = chance.choice(STRANGE)
    else:
        spec[field] = chance.choice(STRANGE)
    return joined(header, body)


def claim_terabytes(chance: random.Random, data: bytes) -> bytes:
    header, body = split(data)
    rows, columns = (2 ** chance.randrange(20, 48) for _ in range(2))
    spec = header[next(name for name in header if name.startswith("prompt"))]
    spec["shape"] = [rows, columns]
    spec["data_offsets"] = [0, chance.choice([4 * rows * columns, len(body), 2**43])]
    return joined(header, body)


def change_the_tensors(chance: random.Random, data: bytes) -> bytes:
    header, body = split(data)
    name = chance.choice([name for name in header if name != "__metadata__"])
    other = chance.choice(
        ["prompt", "prompt.0", "prompt.7", "state.w_up", "", "__metadata__", "../x", "y" * 5000]
    )
    header[other] = header.pop(name) if chance.random() < 0.5 else dict(header[name])
    return joined(header, body)


def change_the_card(chance: random.Random, data: bytes) -> bytes:
    header, body = split(data)
    card = json.loads(header["__metadata__"]["card"])
    place: Any = card
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not (isinstance(place[key], dict | list) and place[key]) or chance.random() < 0.3:
            break
        place = place[key]
    if chance.random() < 0.3:
        del place[key]
    else:
        place[key] = chance.choice(STRANGE)
    header["__metadata__"]["card"] = json.dumps(card)
    return joined(header, body)


def nest_deeply(chance: random.Random, data: bytes) -> bytes:
    header, body = split(data)
    deep = "[" * chance.randrange(100, 100_000)
    if chance.random() < 0.5:
        return struct.pack("<Q", len(deep)) + deep.encode() + body
    header["__metadata__"]["card"] = deep
    return joined(header, body)


def poison_a_number(chance: random.Random, data: bytes) -> bytes:
    header, body = split(data)
    changed = bytearray(body)
    value = chance.choice([float("nan"), float("inf"), float("-inf")])
    struct.pack_into("<f", changed, 4 * chance.randrange(len(body) // 4), value)
    return joined(header, bytes(changed))


def say_it_twice(chance: random.Random, data: bytes) -> bytes:
    header, body = split(data)
    text = json.dumps(header)
    again = json.dumps({"prompt": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    both = text[:-1] + ", " + again[1:] if chance.random() < 0.5 else again[:-1] + ", " + text[1:]
    return struct.pack("<Q", len(both)) + both.encode() + body


def noise(chance: random.Random, data: bytes) -> bytes:
    return chance.randbytes(chance.randrange(len(data)))


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, flip_header_bits, cut, lengthen, splice, lie_about_the_header, lie_about_a_tensor,
    claim_terabytes, change_the_tensors, change_the_card, nest_deeply, poison_a_number,
    say_it_twice, noise,
)  # fmt: skip


def damaged(seed: int, whole: tuple[bytes, ...]) -> tuple[str, bytes]:
    """Return what was done to one of some whole files, and the file that came of it."""
    chance = random.Random(seed)
    mutation = MUTATIONS[seed % len(MUTATIONS)]
    data = mutation(chance, chance.choice(whole))
    if chance.random() < 0.1:
        data = flip_bits(chance, data) if data else data
    return mutation.__name__, data
