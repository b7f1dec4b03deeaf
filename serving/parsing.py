"""JSON bytes to requests; what is wrong with them is said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from prompts.errors import InvalidInput, MalformedInput

Body = TypeVar("Body", bound=BaseModel)

_SHOWN_CHARS = 60


def parse(model: type[Body], body: bytes) -> Body:
    """JSON bytes -> a validated request.

    Raises:
        MalformedInput: the bytes are not JSON or not UTF-8.
        InvalidInput: a field is missing, unknown or has a value of the wrong kind.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as invalid:
        if invalid.errors(include_url=False)[0]["type"] == "json_invalid":
            raise _not_json(body, invalid) from None
        raise explain(invalid, model) from None


def explain(invalid: ValidationError, model: type[BaseModel]) -> InvalidInput:
    """A validation error as one sentence naming the field, the value and the remedy."""
    # Of a union's complaints the deepest one is about the branch that was meant.
    problem = max(invalid.errors(include_url=False), key=lambda each: len(each["loc"]))
    kind, message = problem["type"], problem["msg"]
    path = [str(part) for part in problem["loc"] if part not in ("str", "list[str]")]
    field = ".".join(path) or "body"
    if kind == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return InvalidInput(f"{field}: unknown field; the fields are {known}")
    if kind == "missing":
        return InvalidInput(f"{field}: required but missing; add it to the JSON object")
    reason = message[:1].lower() + message[1:]
    return InvalidInput(f"{field}: {reason}, not {_shown(problem['input'])}{_remedy(path, model)}")


def _not_json(body: bytes, invalid: ValidationError) -> InvalidInput:
    """Tell malformed JSON from well-formed JSON whose text is not Unicode."""
    if not _has_lone_surrogate(body):
        reason = invalid.errors(include_url=False)[0]["msg"].removeprefix("Invalid JSON: ")
        return MalformedInput(f"body: not valid JSON in UTF-8 ({reason}); send a JSON object")
    return InvalidInput(
        "body: it has a lone surrogate (a \\ud800 to \\udfff escape without its other half); "
        "send whole characters"
    )


def _has_lone_surrogate(body: bytes) -> bool:
    if b"\\ud" not in body.lower():
        return False
    try:
        json.dumps(json.loads(body.decode()), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):  # not JSON in UTF-8 either
        return False
    return False


def _remedy(path: Sequence[str], model: type[BaseModel]) -> str:
    known = model.model_fields.get(path[0]) if path else None
    if known is None or not known.description:
        return ""
    return f"; it is {known.description[:1].lower()}{known.description[1:].rstrip('.')}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
