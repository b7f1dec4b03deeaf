"""Requests are parsed once; what is wrong with them is said in one sentence."""

from __future__ import annotations

import pytest

from isogloss.prompts.errors import InvalidInput, MalformedInput
from isogloss.serving.http.parsing import parse
from isogloss.serving.schemas import ClassifyRequest, RollbackRequest


def test_absent_and_null_fields_mean_the_same() -> None:
    absent = parse(ClassifyRequest, b'{"inputs": "a"}')
    null = parse(
        ClassifyRequest,
        b'{"inputs": "a", "model": null, "task": null, "language": null, "prompt": null,'
        b' "top_k": null, "abstain": null}',
    )
    assert absent == null


def test_one_text_and_a_list_of_one_are_the_same_texts() -> None:
    assert parse(ClassifyRequest, b'{"inputs": "a"}').texts == ["a"]
    assert parse(ClassifyRequest, b'{"inputs": ["a"]}').texts == ["a"]


@pytest.mark.parametrize("body", [b"", b"{", b"inputs=a", b'{"inputs": "\xff"}', b"\xff\xfe{"])
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedInput, match="send a JSON object"):
        parse(ClassifyRequest, body)


@pytest.mark.parametrize(
    ("body", "field", "remedy"),
    [
        (b"[]", "body", "object"),
        (b"{}", "inputs", "add it"),
        (b'{"inputs": 5}', "inputs", "a text, or a list of 1 to 256 texts"),
        (b'{"inputs": null}', "inputs", "a text, or a list of 1 to 256 texts"),
        (b'{"inputs": ["a", 5]}', "inputs.1", "not 5"),
        (b'{"inputs": [["a"], ["b"]]}', "inputs.0", "not \\['a'\\]"),
        (b'{"inputs": "a", "topk": 3}', "topk", "the fields are inputs, model, task"),
        (b'{"inputs": "a", "top_k": 0}', "top_k", "not 0"),
        (b'{"inputs": "a", "top_k": "many"}', "top_k", "not 'many'"),
        (b'{"inputs": "a", "top_k": true}', "top_k", "not True"),
        (b'{"inputs": "a", "language": 3}', "language", "fra_Latn"),
        (b'{"inputs": "a", "abstain": 1.5}', "abstain", "not 1.5; it is a score from 0 to 1"),
        (b'{"inputs": "a", "abstain": -0.1}', "abstain", "not -0.1"),
        (b'{"inputs": "a", "abstain": NaN}', "abstain", "not nan"),
        (b'{"inputs": "a", "abstain": "0.5"}', "abstain", "valid number, not '0.5'"),
        (b'{"inputs": "a", "abstain": true}', "abstain", "not True"),
        (b'{"inputs": "\\ud800"}', "body", "send whole characters"),
        (b'{"inputs": "\\udc00!"}', "body", "send whole characters"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, field: str, remedy: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^{field}: .*{remedy}") as refused:
        parse(ClassifyRequest, body)
    assert refused.value.status == 422
    assert "\n" not in str(refused.value)


def test_a_long_value_is_shown_shortened() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(ClassifyRequest, b'{"inputs": "a", "top_k": "' + b"x" * 10_000 + b'"}')
    assert len(str(refused.value)) < 300


def test_an_astral_character_may_be_escaped_as_a_pair() -> None:
    assert parse(ClassifyRequest, b'{"inputs": "\\ud83d\\ude00"}').texts == ["\U0001f600"]


def test_a_rollback_counts_from_one() -> None:
    assert parse(RollbackRequest, b"{}").to is None
    with pytest.raises(InvalidInput, match=r"^to: "):
        parse(RollbackRequest, b'{"to": 0}')
    with pytest.raises(InvalidInput, match=r"^to: "):
        parse(RollbackRequest, b'{"to": true}')
    with pytest.raises(InvalidInput, match="exclude each other"):
        parse(RollbackRequest, b'{"to": 1, "trial": "romance"}')
