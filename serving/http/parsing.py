"""JSON bytes to requests; what is wrong with them is said in one sentence, however large it is."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from isogloss.prompts.console.refusals import named, problems, shown
from isogloss.prompts.errors import InvalidInput, MalformedInput
from isogloss.prompts.files.json_bounds import holds_more_values

Body = TypeVar("Body", bound=BaseModel)

MOST_VALUES = 4096
"""Of a body: some times those of a request with every field and the most texts."""

_LOOKED_AT_BYTES = 32 << 10
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]{1,40})", re.IGNORECASE)
_UTF_8 = ("utf-8", "utf8", "us-ascii", "ascii")
_LONE_SURROGATE = "hex escape"  # in the parser's own words, of which there are two
_BRANCHES = re.compile(r"(constrained-)?(str|int|float)|(list|dict)\[.*\]")
"""How pydantic names the branches of a union: no part of the body's."""


def parse(
    model: type[Body], body: bytes, most_values: int = MOST_VALUES, content_type: str = ""
) -> Body:
    """JSON bytes -> a validated request.

    Args:
        model: of the request.
        body: in UTF-8, with a byte order mark or without.
        most_values: that it may hold, of texts, numbers, fields and so on.
        content_type: the header's; named where the bytes are not UTF-8.

    Raises:
        MalformedInput: the bytes are not JSON or not UTF-8.
        InvalidInput: a field is missing, unknown or has a value of the wrong kind, or the body
            holds too many values to look at.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    _check_encoding(body)
    # A value takes a byte at least: a short body need not be counted.
    if len(body) > most_values and holds_more_values(body, most_values):
        raise _too_many_values(body, most_values, content_type)
    try:
        return model.model_validate_json(body)
    except ValidationError as invalid:
        found = problems(invalid)
    if found[0]["type"] == "json_invalid":
        raise _not_json(found[0]["msg"], content_type)
    raise explain(found, model)


def built(model: type[Body], fields: Mapping[str, Any]) -> Body:
    """Fields that are no JSON, such as a command's options -> a validated request.

    Raises:
        InvalidInput: as `parse`.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as invalid:
        found = problems(invalid)
    raise explain(found, model)


def explain(found: Sequence[ErrorDetails], model: type[BaseModel]) -> InvalidInput:
    """A validation's problems as one sentence naming the field, the value and the remedy."""
    # Of a union's complaints the deepest one is about the branch that was meant.
    problem = max(found, key=lambda each: len(each["loc"]))
    kind, message = problem["type"], problem["msg"][:200]
    path = [part for part in problem["loc"] if not _BRANCHES.fullmatch(str(part))]
    field = named(path, "body")
    if kind == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return InvalidInput(f"{field}: unknown field; the fields are {known}")
    if kind == "missing":
        return InvalidInput(f"{field}: required but missing; add it to the JSON object")
    reason = message[:1].lower() + message[1:]
    remedy = _remedy(path, model)
    return InvalidInput(f"{field}: {reason}, not {shown(problem['input'])}{remedy}")


def _check_encoding(body: bytes) -> None:
    """Tell other encodings of Unicode, in which JSON once might be, from what is no JSON."""
    coding = json.detect_encoding(body)
    if coding != "utf-8":
        raise MalformedInput(
            f"body: it seems to be in {coding.upper()}; send a JSON object in UTF-8"
        )


def _too_many_values(body: bytes, most: int, content_type: str) -> InvalidInput:
    """Say so, or where it is no JSON long before it has too many values."""
    begin = body[:_LOOKED_AT_BYTES]
    end = max(map(begin.rfind, (b",", b"[", b"{")))  # not within a character or a number
    try:
        from_json(begin[: end + 1])
    except ValueError as problem:
        if not str(problem).startswith("EOF"):
            return _not_json(str(problem), content_type)
    return InvalidInput(
        f"body: it holds more than {most} values, counting fields and items; send fewer at a time"
    )


def _not_json(message: str, content_type: str) -> InvalidInput:
    """Tell malformed JSON from well-formed JSON whose text is not Unicode."""
    if _LONE_SURROGATE in message:
        return InvalidInput(
            "body: it has a lone surrogate (a \\ud800 to \\udfff escape without its other half); "
            "send whole characters"
        )
    reason = message.removeprefix("Invalid JSON: ")
    declared = _CHARSET.search(content_type)
    if declared is None or declared[1].lower() in _UTF_8:
        return MalformedInput(f"body: not valid JSON in UTF-8 ({reason}); send a JSON object")
    return MalformedInput(
        f"body: not valid JSON in UTF-8 ({reason}), and content-type says {declared[1]}; send a "
        "JSON object in UTF-8"
    )


def _remedy(path: Sequence[int | str], model: type[BaseModel]) -> str:
    known = model.model_fields.get(str(path[0])) if path else None
    if known is None or not known.description:
        return ""
    return f"; it is {known.description[:1].lower()}{known.description[1:].rstrip('.')}"
