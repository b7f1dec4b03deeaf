"""Values of JSON documents are counted without being built, strings and escapes and all."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from isogloss.prompts.files.json_bounds import holds_more_values

TEXTS = ("", "a", ",", "[{", '"', '\\"', "\\", "\\\\", '\\\\"', "\n", "国", "😀", ',"a":[1,2]')


def document(draw: random.Random, depth: int) -> Any:
    kind = draw.randrange(4 if depth else 2)
    if kind == 0:
        return draw.choice((1, None, True, -0.5))
    if kind == 1:
        return draw.choice(TEXTS) + draw.choice(TEXTS)
    items = [document(draw, depth - 1) for _ in range(draw.randrange(5))]
    if kind == 2:
        return items
    return {draw.choice(TEXTS) + str(at): item for at, item in enumerate(items)}


def counted(value: Any) -> tuple[int, int]:
    """Openings and commas, and strings, of a document."""
    if isinstance(value, str):
        return 0, 1
    if not isinstance(value, list | dict):
        return 0, 0
    below = [counted(item) for item in (value.values() if isinstance(value, dict) else value)]
    own = 1 + max(0, len(value) - 1)
    keys = len(value) if isinstance(value, dict) else 0
    return own + sum(one for one, _ in below), keys + sum(two for _, two in below)


@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_count_is_exact(ascii_only: bool) -> None:
    draw = random.Random(0)
    sizes = set()
    for _ in range(2000):
        value = document(draw, 4)
        most = max(counted(value))
        text = json.dumps(value, ensure_ascii=ascii_only, indent=draw.choice((None, 1))).encode()
        assert not holds_more_values(text, most), text
        assert most == 0 or holds_more_values(text, most - 1), text
        sizes.add(most)
    assert len(sizes) > 20


@pytest.mark.parametrize("text", ['"' * 9, "\\" * 9, ",,,,,,,,,", '\\"\\"\\"\\"', '"\\'])
def test_what_is_no_json_is_counted_somehow(text: str) -> None:
    assert not holds_more_values(text.encode(), 100)
