"""Paths as people give them, where no shell stood in between to make them paths.

An env file, a container's settings or `--store=~/store` hand `~` on as it is, env files their
quotes too, and a variable that is set to nothing is a variable that is not set.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from isogloss.prompts.errors import InvalidInput

CACHE_VARIABLE = "ISOGLOSS_CACHE"

_QUOTES = ("'", '"')


def expanded(path: Path | str, where: str = "the path") -> Path:
    """Return a path with a home folder in the place of its `~`.

    Args:
        path: as it was given.
        where: what it is of, for a refusal.

    Raises:
        InvalidInput: nobody knows that home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidInput(
            f"{where} {str(path)!r}: there is no home folder for its '~'; write it in full"
        ) from error


def from_environment(name: str) -> str | None:
    """Return the path or address in a variable, or None where it is unset or blank.

    Raises:
        InvalidInput: its `~` stands for no folder.
    """
    value = os.path.expandvars(unquoted(os.environ.get(name, "")))
    if not value.startswith("~"):
        return value or None
    return str(expanded(value, f"${name}"))


def unquoted(value: str) -> str:
    """A variable's value without blanks around it, and without the quotes of an env file."""
    value = value.strip()
    if len(value) > 1 and value[0] in _QUOTES and value[-1] == value[0]:
        return value[1:-1].strip()
    return value


def user_data() -> Path:
    """The user's folder of our data; nothing is made."""
    return platformdirs.user_data_path("isogloss")


def cache_folder() -> Path:
    """The folder in $ISOGLOSS_CACHE, or the user's, of what can be made again; nothing is made."""
    chosen = from_environment(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("isogloss")
