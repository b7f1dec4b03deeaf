"""Tensors of KServe's second protocol, as JSON and as bytes.

A binary body is the JSON, of the length that a header tells, then the tensors in their order: BYTES
as a little-endian uint32 of length before each element, FP32 as little-endian floats.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import to_json

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidInput, MalformedInput
from isogloss.serving.api.dialects.served import Lenient

HEADER_LENGTH = "inference-header-content-length"
_LENGTH = struct.Struct("<I")
_MOST_DIMENSIONS = 8


class InputParameters(Lenient):
    """Of one input."""

    binary_data_size: Annotated[int, Field(ge=0, strict=True)] | None = None


class Input(Lenient):
    """One tensor of texts."""

    name: str = Field(max_length=256)
    shape: list[Annotated[int, Field(ge=0, strict=True)]] = Field(max_length=_MOST_DIMENSIONS)
    datatype: str = Field(max_length=32)
    parameters: InputParameters | None = None
    data: Annotated[list[str | list[str]], Field(fail_fast=True)] | None = None

    @property
    def count(self) -> int:
        """How many texts the shape says; a second dimension may only be 1."""
        return self.shape[0] if self.shape else 1

    @property
    def size(self) -> int | None:
        """Bytes behind the JSON; None: the JSON has the texts."""
        return self.parameters.binary_data_size if self.parameters else None


class OutputParameters(Lenient):
    """Of one output."""

    binary_data: bool | None = None


class Output(Lenient):
    """One tensor that is asked for."""

    name: str = Field(max_length=256)
    parameters: OutputParameters | None = None


class InferParameters(Lenient):
    """Of the request."""

    binary_data_output: bool | None = None


class InferRequest(Lenient):
    """Texts as a tensor, and the tensors that are wanted of them."""

    id: str = Field(default="", max_length=256)
    parameters: InferParameters | None = None
    inputs: list[Input] = Field(
        min_length=1, max_length=16, description="One tensor of BYTES, [N] or [N, 1]: the texts."
    )
    outputs: list[Output] | None = Field(
        default=None, max_length=16, description="Of label, score and probabilities; null is all."
    )

    @property
    def texts_input(self) -> Input:
        """The one tensor of texts.

        Raises:
            InvalidInput: there is another, or its shape or type is none of texts'.
        """
        if len(self.inputs) > 1:
            names = ", ".join(each.name[:40] for each in self.inputs)
            raise InvalidInput(f"inputs: {names} are more than one; send texts alone, as BYTES")
        (given,) = self.inputs
        if given.datatype != "BYTES":
            raise InvalidInput(f"inputs[0].datatype: {given.datatype!r} is no text; send BYTES")
        if not 1 <= len(given.shape) <= 2 or given.shape[1:] not in ([], [1]):
            raise InvalidInput(
                f"inputs[0].shape: {shown(given.shape)} is none of texts; send [N] or [N, 1]"
            )
        return given


def split(body: bytes, header: str | None) -> tuple[bytes, bytes]:
    """A body's JSON, and the tensors behind it.

    Args:
        body: of the request.
        header: the length of the JSON, as the header of that name tells it; None: all of it.

    Raises:
        MalformedInput: the header is no length within the body.
    """
    if header is None:
        return body, b""
    told = header.strip()
    digits = told.isascii() and told.isdigit() and len(told) < 12
    if not digits or int(told) > len(body):
        raise MalformedInput(
            f"{HEADER_LENGTH}: {told[:40]!r} is no length within a body of {len(body)} bytes; send "
            "that of the JSON"
        )
    return body[: int(told)], body[int(told) :]


def texts_of(given: Input, behind: bytes, most: int) -> list[str]:
    """The texts of a tensor.

    Args:
        given: the tensor.
        behind: what stands behind the JSON.
        most: texts that a request may have.

    Raises:
        InvalidInput: not as many as the shape says.
        MalformedInput: the bytes are none of texts in UTF-8.
    """
    if given.count > most:
        raise InvalidInput(
            f"inputs[0].shape: {shown(given.count)} texts are more than one request may have; send "
            f"at most {most}"
        )
    if given.size is None:
        if behind:
            raise MalformedInput("body: bytes stand behind the JSON that no input asks for")
        texts = [text for each in given.data or () for text in _row(each)]
    else:
        if given.size != len(behind):
            raise MalformedInput(
                f"inputs[0].parameters.binary_data_size: {shown(given.size)}, and {len(behind)} "
                "bytes stand behind the JSON; send as many as it says"
            )
        elements = islice(_elements(behind), given.count + 1)
        texts = [_decoded(place, each) for place, each in enumerate(elements)]
    if len(texts) != given.count:
        raise InvalidInput(
            f"inputs[0]: its shape says {given.count} texts, and there are "
            f"{_counted(texts, given)}; send as many as it says"
        )
    return texts


def strings(values: Iterable[str]) -> bytes:
    """BYTES [N] as bytes."""
    encoded = [value.encode() for value in values]
    return b"".join(part for each in encoded for part in (_LENGTH.pack(len(each)), each))


def floats(values: Iterable[float]) -> bytes:
    """FP32 as bytes."""
    packed = array("f", values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


class Tensor:
    """One tensor of an answer: (rows, ...) of strings or of floats."""

    def __init__(self, name: str, shape: Sequence[int], values: Sequence[str] | Sequence[float]):
        self.name = name
        self._about = {
            "name": name,
            "shape": list(shape),
            "datatype": "BYTES" if values and isinstance(values[0], str) else "FP32",
        }
        self._values = values

    def as_json(self) -> dict[str, Any]:
        """With its data."""
        return {**self._about, "data": self._values}

    def as_bytes(self) -> tuple[dict[str, Any], bytes]:
        """Its description, and its data."""
        is_text = self._about["datatype"] == "BYTES"
        data = strings(self._values) if is_text else floats(self._values)  # type: ignore[arg-type]
        return {**self._about, "parameters": {"binary_data_size": len(data)}}, data


def written(
    answer: dict[str, Any], tensors: Sequence[Tensor], binary: Sequence[bool]
) -> tuple[bytes, int | None]:
    """An answer's body, and the length of its JSON where bytes stand behind it."""
    outputs, behind = [], []
    for tensor, as_bytes in zip(tensors, binary, strict=True):
        if as_bytes:
            about, data = tensor.as_bytes()
            behind.append(data)
        else:
            about = tensor.as_json()
        outputs.append(about)
    head = to_json({**answer, "outputs": outputs})
    return head + b"".join(behind), len(head) if behind else None


def _counted(texts: Sequence[str], given: Input) -> str:
    """How many there are, as far as they were looked at."""
    return "more" if given.size is not None and len(texts) > given.count else str(len(texts))


def _row(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


def _elements(data: bytes) -> Iterable[bytes]:
    view, place = memoryview(data), 0
    while place < len(view):
        begin = place + _LENGTH.size
        if begin > len(view):
            raise MalformedInput(f"inputs[0]: it ends within a length, at byte {place}")
        (size,) = _LENGTH.unpack_from(view, place)
        place = begin + size
        if place > len(view):
            raise MalformedInput(
                f"inputs[0]: an element of {size} bytes at byte {begin} goes beyond the end"
            )
        yield bytes(view[begin:place])


def _decoded(place: int, element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError as problem:
        raise MalformedInput(
            f"inputs[0]: text {place} is not UTF-8 (byte {problem.start}); send text in UTF-8"
        ) from None
