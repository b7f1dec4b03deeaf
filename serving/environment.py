"""Settings out of the environment: every field of `ServingSettings` is `ISOGLOSS_<FIELD>` there.

The command line wins over the environment, the environment over `serve.yaml`, and that over the
defaults. The store alone is looked up where it is opened, for each machine may have its own: there
`serve.yaml` wins over $ISOGLOSS_STORE, which a container's image sets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from isogloss.prompts.console.refusals import problems, shown, spelled_like
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files.given_paths import CACHE_VARIABLE, unquoted
from isogloss.serving.config import ADMIN_TOKEN_VARIABLE, API_KEYS_VARIABLE, ServingSettings

PREFIX = "ISOGLOSS_"
VERTEX_PORT = "AIP_HTTP_PORT"
"""Where Vertex AI sends requests; the port where nobody names one."""
CLIENT_KEY_VARIABLE = "ISOGLOSS_CLIENT_KEY"
"""The API key that commands which ask a server send along."""
OTHERS = frozenset(
    {
        ADMIN_TOKEN_VARIABLE,
        API_KEYS_VARIABLE,
        CACHE_VARIABLE,
        CLIENT_KEY_VARIABLE,
        "ISOGLOSS_BENCH_SERVER",
        "ISOGLOSS_COMPILE",
        "ISOGLOSS_FULL_CHECK",
        "ISOGLOSS_HTTP_HOST",
        "ISOGLOSS_NATIVE",
        "ISOGLOSS_SERVER",
        "ISOGLOSS_SHOTS",
        "ISOGLOSS_SOAK_OUT",
        "ISOGLOSS_SOAK_SHARE",
        "ISOGLOSS_URIEL_DISTANCES",
        "ISOGLOSS_URL",
    }
)
"""Variables of ours that are no settings of a server."""

_ELSEWHERE = ("store",)
_OPTIONS = {"models": "model", "cors_origins": "cors-origin", "api_keys_file": "api-keys"}
_AUTO = "auto"
# Kubernetes tells every container of a service named isogloss by variables that begin as ours do.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
_told: set[str] = set()


def variable_of(field: str) -> str:
    """The variable of a setting."""
    return PREFIX + field.upper()


def settings_from(
    given: Mapping[str, Any],
    beneath: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> ServingSettings:
    """Put settings together.

    Args:
        given: by the command line; None is nothing given.
        beneath: by `serve.yaml`.
        environ: variables; this process' where left out.

    Raises:
        InvalidInput: a variable or an option has a wrong value.
        pydantic.ValidationError: `serve.yaml` has one, or an unknown setting.
    """
    environ = os.environ if environ is None else environ
    chosen = {name: value for name, value in given.items() if value is not None}
    beneath = beneath or {}
    variables = _read(environ)
    if (port := unquoted(environ.get(VERTEX_PORT, ""))) and "port" not in beneath:
        variables.setdefault("port", (VERTEX_PORT, port))
    values = {name: value for name, (_, value) in variables.items()}
    try:
        return ServingSettings.model_validate({**beneath, **values, **chosen})
    except ValidationError as error:
        names = {name: variable for name, (variable, _) in variables.items()}
        names |= {name: f"--{_OPTIONS.get(name, name).replace('_', '-')}" for name in chosen}
        if sentence := _refusal(error, names):
            raise InvalidInput(sentence) from error
        raise


def warn_of_unknown(say: Callable[[str], None], environ: Mapping[str, str] | None = None) -> None:
    """Say once of each variable that begins as ours do, and is none, what it may have meant."""
    for name in unknown_variables(os.environ if environ is None else environ):
        if name not in _told:
            _told.add(name)
            say(f"{name} is no variable of Isogloss and is not read; {_advice(name)}")


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that begin as ours do, and are none; those of Kubernetes aside."""
    known = known_variables()
    return sorted(
        name
        for name in environ
        if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.search(name)
    )


def known_variables() -> frozenset[str]:
    """Every variable of ours."""
    return OTHERS | {variable_of(field) for field in ServingSettings.model_fields}


def _read(environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Setting -> its variable, and what that says."""
    found: dict[str, tuple[str, Any]] = {}
    for field, about in ServingSettings.model_fields.items():
        name = variable_of(field)
        text = unquoted(environ.get(name, ""))
        if not text or field in _ELSEWHERE or _is_service(name, text):
            continue
        found[field] = (name, _value(text, about.get_default()))
    return found


def _is_service(name: str, text: str) -> bool:
    return name.endswith("_PORT") and _SERVICE_ADDRESS.match(text) is not None


def _value(text: str, default: Any) -> Any:
    if isinstance(default, tuple):
        return tuple(filter(None, map(str.strip, text.split(","))))
    return None if default is None and text.lower() == _AUTO else text


def _refusal(error: ValidationError, names: Mapping[str, str]) -> str:
    """What is wrong, in the words of whoever gave the value; empty where that was `serve.yaml`."""
    for problem in problems(error):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        if name := names.get(field):
            wrong = f"{name}: {problem['msg'][:300]}, got {shown(problem['input'])}"
            unset = "leave it out" if name.startswith("--") else "unset it"
            return f"{wrong}; give another value, or {unset}"
    return ""


def _advice(name: str) -> str:
    ends = sorted(known.removeprefix(PREFIX) for known in known_variables())
    near = spelled_like(name.removeprefix(PREFIX), ends)
    return (
        f"is {PREFIX}{near[0]} meant?"
        if near
        else "docs/reference/environment.md lists those that are"
    )
