"""Reads a safetensors header with suspicion, before any tensor is allocated.

A safetensors file is eight bytes of header length, the header (JSON: name -> dtype, shape, byte
range, plus string metadata) and the tensors' bytes. A file of 1.5 KB may claim terabytes; here its
claims are compared with the bytes that are really there.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isogloss.prompts.console.refusals import describe, shown
from isogloss.prompts.errors import InvalidPrompt, NotFound
from isogloss.prompts.files import durable
from isogloss.prompts.files.json_bounds import holds_more_values
from isogloss.prompts.files.texts import pattern_hint

MAX_FILE_BYTES = 64 * 2**20
"""No prompt file is larger: 64 MiB holds 4,096 vectors of 4,096 numbers."""

_MAX_HEADER_BYTES = 2**20
_MAX_HEADER_VALUES = 1024  # eight tensors have a hundred
_LENGTH_BYTES = 8
_BYTES_PER_NUMBER = {"F32": 4, "F16": 2, "BF16": 2}

Array = NDArray[Any]

_Count = Annotated[int, Field(ge=0, le=2**48, strict=True)]


class TensorSpec(BaseModel):
    """What the header says of one tensor; byte offsets count from the end of the header."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: str = Field(max_length=16)  # refusals quote it
    shape: tuple[_Count, ...] = Field(max_length=4)
    data_offsets: tuple[_Count, _Count]


class Header(BaseModel):
    """A safetensors header: string metadata and the declared tensors."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, TensorSpec]

    metadata: dict[str, str] = Field(default_factory=dict, alias="__metadata__")

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """Declared tensors by name."""
        return self.__pydantic_extra__


def read_file(path: Path) -> bytes:
    """Read a whole file of at most MAX_FILE_BYTES; its size is checked before it is read.

    Raises:
        NotFound: there is no such file.
        InvalidPrompt: it is not a regular file, too large, or cannot be read.
    """
    try:
        return durable.read_limited(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise NotFound(f"no prompt file at {path}; check the path{pattern_hint(path)}") from error
    except OSError as error:
        if path.is_dir():
            raise InvalidPrompt(f"{path} is a folder; name the prompt files in it") from None
        raise InvalidPrompt(
            f"prompt file {path} cannot be read: {error.strerror or error}"
        ) from error


def read_header(data: bytes) -> Header:
    """Parse and check the header of a whole safetensors file.

    Raises:
        InvalidPrompt: the file is truncated, too large or no safetensors file, or the declared
            shapes, dtypes and byte ranges do not describe exactly the bytes that follow.
    """
    if len(data) > MAX_FILE_BYTES:
        raise InvalidPrompt(
            f"the prompt file is oversized: {len(data)} bytes, at most {MAX_FILE_BYTES} are "
            "accepted"
        )
    header_bytes = _header_bytes(data)
    if holds_more_values(header_bytes, _MAX_HEADER_VALUES):
        raise InvalidPrompt(
            "the prompt file is not a safetensors file of ours: its header has more than "
            f"{_MAX_HEADER_VALUES} values"
        )
    try:
        header = Header.model_validate_json(header_bytes)
    except ValidationError as error:
        raise InvalidPrompt(
            f"the prompt file is not a safetensors file: {describe(error)}"
        ) from error
    _check_ranges(header, len(data) - _LENGTH_BYTES - len(header_bytes))
    return header


def read_arrays(data: bytes) -> dict[str, Array]:
    """Tensors of a file whose header `read_header` has accepted; bfloat16 becomes float32.

    Raises:
        InvalidPrompt: the safetensors library refuses the file.
    """
    try:
        views = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise InvalidPrompt(
            f"the prompt file is not a safetensors file: {str(error)[:200]}"
        ) from error
    return {name: _numbers(**view) for name, view in views}


def _numbers(dtype: str, shape: Sequence[int], data: bytes) -> Array:
    if dtype == "BF16":  # the upper half of a float32, which NumPy does not know
        halves = np.frombuffer(data, "<u2").astype("<u4")
        return (halves << 16).view("<f4").reshape(shape)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).reshape(shape)


def _header_bytes(data: bytes) -> bytes:
    if len(data) < _LENGTH_BYTES:
        raise InvalidPrompt(
            f"the prompt file is truncated: {len(data)} bytes are no safetensors header"
        )
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if length > _MAX_HEADER_BYTES:
        raise InvalidPrompt(
            f"the prompt file is not a safetensors file: it declares a header of {length} bytes, "
            f"at most {_MAX_HEADER_BYTES} are accepted"
        )
    if _LENGTH_BYTES + length > len(data):
        raise InvalidPrompt(
            f"the prompt file is truncated: its header needs {_LENGTH_BYTES + length} bytes, "
            f"the file has {len(data)}"
        )
    return data[_LENGTH_BYTES : _LENGTH_BYTES + length]


def _check_ranges(header: Header, present_bytes: int) -> None:
    """Require that the declared tensors tile the file's bytes: no hole, no overlap, no rest."""
    position = 0
    for name, spec in sorted(header.tensors.items(), key=lambda item: item[1].data_offsets):
        begin, end = spec.data_offsets
        declared = _declared_bytes(name, spec)
        if (begin, end) != (position, position + declared):
            raise InvalidPrompt(
                f"tensor {shown(name, 80)}: shape {list(spec.shape)} of {spec.dtype} at byte "
                f"{position} does not match its declared byte range [{begin}, {end}]"
            )
        position = end
    if position != present_bytes:
        what = "truncated" if position > present_bytes else "oversized"
        raise InvalidPrompt(
            f"the prompt file is {what}: its tensors need {position} bytes, {present_bytes} follow "
            "the header"
        )


def _declared_bytes(name: str, spec: TensorSpec) -> int:
    if spec.dtype not in _BYTES_PER_NUMBER:
        raise InvalidPrompt(
            f"tensor {shown(name, 80)} has dtype {spec.dtype}; known are "
            f"{', '.join(_BYTES_PER_NUMBER)}"
        )
    return math.prod(spec.shape) * _BYTES_PER_NUMBER[spec.dtype]
