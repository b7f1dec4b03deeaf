"""From settings to options: a command takes its settings as frozen dataclasses.

A field annotated with a `typer.Option` is an option: its name, type, default, limits and help are
written once, where the settings are. A field that holds settings itself contributes its own
options.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

from typer.models import OptionInfo

from isogloss.prompts.errors import InvalidInput


@dataclass(frozen=True)
class Read:
    """Beside an option: what typer reads where that is not the field's type."""

    typed: Any
    convert: Callable[[Any, str], Any]
    """From what typer read, and the option's name, to the field's value."""


def as_command(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer call a function that takes dataclasses of settings among its options."""
    asked = inspect.signature(command, eval_str=True).parameters.values()
    settings: dict[str, Any] = {
        each.name: each.annotation for each in asked if is_dataclass(each.annotation)
    }

    @functools.wraps(command)
    def called(**given: Any) -> None:
        made = {name: _made(kind, given) for name, kind in settings.items()}
        command(**made, **given)

    parameters: list[inspect.Parameter] = []
    for each in asked:
        parameters += _parameters(each.annotation()) if each.name in settings else [each]
    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    called.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    return called


def check_limits(settings: Any) -> None:
    """Hold settings to the limits of their options, wherever they were made.

    Raises:
        InvalidInput: naming the first field that is below its limit, or empty.
    """
    for field, annotation in _annotated(type(settings)):
        value, option = getattr(settings, field.name), _option(annotation)
        if option is None or value is None:
            continue
        if option.min is not None:
            least = min(value, default=0) if isinstance(value, tuple) else value
            if least < option.min:
                raise InvalidInput(f"{field.name}: must be at least {option.min}, not {least}")
        elif value == ():
            raise InvalidInput(f"{field.name}: name at least one")


def _annotated(settings: type) -> list[tuple[Field[Any], Any]]:
    hints = get_type_hints(settings, include_extras=True)
    return [(field, hints[field.name]) for field in fields(settings)]


def _metadata(annotation: Any, kind: type) -> Any:
    return next((m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, kind)), None)


def _option(annotation: Any) -> OptionInfo | None:
    option: OptionInfo | None = _metadata(annotation, OptionInfo)
    return option


def _parameters(settings: Any) -> Iterator[inspect.Parameter]:
    """One for each option, as typer reads it; defaults are those of these settings."""
    for field, annotation in _annotated(type(settings)):
        default = getattr(settings, field.name)
        if is_dataclass(annotation):
            yield from _parameters(default)
        elif option := _option(annotation):
            if read := _metadata(annotation, Read):
                option = copy.copy(option)
                option.min = None  # of each value: `check_limits` sees to it
                if read.typed is str and default is not None:
                    option.show_default = ",".join(map(str, default))
                annotation, default = Annotated[read.typed | None, option], None
            yield inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )


def _made(settings: type, given: dict[str, Any]) -> Any:
    """Settings of what was given; takes out of it what they need."""
    values = {}
    for field, annotation in _annotated(settings):
        if is_dataclass(annotation):
            values[field.name] = _made(annotation, given)  # type: ignore[arg-type]
        elif option := _option(annotation):
            value, read = given.pop(field.name), _metadata(annotation, Read)
            if read is None:
                values[field.name] = value
            elif value not in (None, []):
                name = option.default  # where typer keeps a name, if one is given
                flag = name if isinstance(name, str) else f"--{field.name.replace('_', '-')}"
                values[field.name] = read.convert(value, flag)
    return settings(**values)
