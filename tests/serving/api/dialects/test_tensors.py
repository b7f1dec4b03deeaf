"""Binary tensors, as Triton's clients send and read them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.prompts.errors import InvalidInput, MalformedInput
from isogloss.serving.api.dialects.tensors import (
    InferRequest,
    Input,
    Tensor,
    floats,
    split,
    strings,
    texts_of,
    written,
)


def of(count: int, size: int | None = None, data: Any = None) -> Input:
    parameters = None if size is None else {"binary_data_size": size}
    return Input.model_validate(
        {"name": "text", "shape": [count], "datatype": "BYTES", "data": data}
        | {"parameters": parameters}
    )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts_come_back_as_they_went(texts: list[str]) -> None:
    packed = strings(texts)
    assert texts_of(of(len(texts), len(packed)), packed, 500) == texts


def test_bytes_are_a_length_and_the_text() -> None:
    assert strings(["é", ""]) == b"\x02\x00\x00\x00\xc3\xa9\x00\x00\x00\x00"
    assert floats([1.0, -2.5]) == struct.pack("<2f", 1.0, -2.5)


@pytest.mark.parametrize(
    ("packed", "count", "said"),
    [
        (b"\x01\x00\x00", 1, "ends within a length, at byte 0"),
        (b"\x05\x00\x00\x00abc", 1, "an element of 5 bytes at byte 4 goes beyond the end"),
        (b"\xff\xff\xff\xffabc", 1, "an element of 4294967295 bytes"),
        (b"\x01\x00\x00\x00\xff", 1, "text 0 is not UTF-8"),
        (strings(["a", "b"]), 1, "its shape says 1 texts, and there are more"),
        (strings(["a"]), 2, "its shape says 2 texts, and there are 1"),
        (b"", 1, "there are 0"),
    ],
)
def test_what_is_no_tensor_of_texts_is_named(packed: bytes, count: int, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        texts_of(of(count, len(packed)), packed, 500)


def test_no_more_is_decoded_than_a_request_may_have() -> None:
    many = bytes(4 * 100_000)
    with pytest.raises(InvalidInput, match="100000 texts are more than one request may have"):
        texts_of(of(100_000, len(many)), many, 256)
    with pytest.raises(InvalidInput, match="its shape says 2 texts, and there are more"):
        texts_of(of(2, len(many)), many, 256)


def test_a_size_must_be_that_of_the_bytes() -> None:
    with pytest.raises(MalformedInput, match="binary_data_size: 9, and 5 bytes stand behind"):
        texts_of(of(1, 9), strings(["a"]), 500)
    with pytest.raises(MalformedInput, match="that no input asks for"):
        texts_of(of(1, data=["a"]), b"more", 500)


def test_texts_may_stand_in_the_json_flat_or_in_rows() -> None:
    assert texts_of(of(2, data=["a", "b"]), b"", 500) == ["a", "b"]
    assert texts_of(of(2, data=[["a"], ["b"]]), b"", 500) == ["a", "b"]


@pytest.mark.parametrize("header", ["", "x", "-1", "²", "9" * 30, "8"])
def test_a_length_beyond_the_body_is_refused(header: str) -> None:
    with pytest.raises(MalformedInput, match="inference-header-content-length"):
        split(b"1234567", header)


def test_a_body_is_cut_where_its_header_says() -> None:
    assert split(b"1234567", "3") == (b"123", b"4567")
    assert split(b"1234567", None) == (b"1234567", b"")


@pytest.mark.parametrize(
    ("given_input", "said"),
    [
        ({"datatype": "FP32"}, "'FP32' is no text"),
        ({"shape": [1, 2]}, r"\[1, 2\] is none of texts"),
        ({"shape": []}, r"\[\] is none of texts"),
    ],
)
def test_a_tensor_of_something_else_is_refused(given_input: dict[str, Any], said: str) -> None:
    about = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]} | given_input
    with pytest.raises(InvalidInput, match=said):
        _ = InferRequest.model_validate({"inputs": [about]}).texts_input


def test_several_inputs_are_refused_by_name() -> None:
    about = {"shape": [1], "datatype": "BYTES", "data": ["a"]}
    body = {"inputs": [{"name": "text", **about}, {"name": "mask", **about}]}
    with pytest.raises(InvalidInput, match="text, mask are more than one"):
        _ = InferRequest.model_validate(body).texts_input


def test_an_answer_may_mix_json_and_bytes() -> None:
    label, score = Tensor("label", [2], ["a", "bc"]), Tensor("score", [2], [0.5, 0.25])
    body, length = written({"id": "1"}, [label, score], [False, True])
    assert length is not None
    assert body[length:] == struct.pack("<2f", 0.5, 0.25)
    assert b'"data":["a","bc"]' in body[:length]
    assert b'"binary_data_size":8' in body[:length]
    assert written({}, [label], [False])[1] is None
