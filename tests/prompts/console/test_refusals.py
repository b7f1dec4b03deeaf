"""However much was refused, few words say so."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from isogloss.prompts.console.refusals import describe, named, shown


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**7,
        "\x1b[31m" * 10**5,
        [["x" * 10**6] * 100] * 1000,
        {f"key{at}": "x" * 1000 for at in range(10**5)},
        {"x" * 10**6: 1},
        10**10**5,
        [[[[[[[[1]]]]]]]],
        {"a": {"b": {"c": {"d": [1]}}}},
    ],
    ids=["text", "escapes", "lists", "keys", "key", "number", "depth", "objects"],
)
def test_a_value_is_shown_in_a_few_printable_characters(value: Any) -> None:
    assert len(shown(value)) < 500
    assert shown(value).isprintable()


@pytest.mark.parametrize(
    ("value", "said"),
    [(5, "5"), ("many", "'many'"), (["a"], "['a']"), (None, "None"), ({"a": 1}, "{'a': 1}")],
)
def test_a_short_value_is_shown_whole(value: Any, said: str) -> None:
    assert shown(value) == said


def test_where_it_is_is_named_shortly_and_without_control_characters() -> None:
    assert named(("routes", 0, "clades"), "body") == "routes.0.clades"
    assert named((), "body") == "body"
    assert len(named(("k" * 10**6,) * 100, "body")) < 500
    assert named(("a\nb\x1b",), "body").isprintable()


def test_the_first_problem_is_described() -> None:
    class Model(BaseModel):
        model_config = ConfigDict(extra="forbid")
        count: int

    with pytest.raises(ValidationError) as refused:
        Model.model_validate({"count": "x" * 10**6, "other": 1})
    said = describe(refused.value)
    assert said.startswith("count: ")
    assert len(said) < 400
