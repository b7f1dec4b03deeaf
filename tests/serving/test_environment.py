"""Settings out of the environment: which wins, what is refused, and what nobody reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from docs.from_code import settings_page
from isogloss.prompts.errors import InvalidInput
from isogloss.serving import environment
from isogloss.serving.config import ServingSettings
from isogloss.serving.environment import (
    known_variables,
    settings_from,
    unknown_variables,
    variable_of,
    warn_of_unknown,
)
from tests.docs.blocks import ROOT
from tests.some import some

FIELDS = ServingSettings.model_fields
OF_DEVELOPERS = {
    "ISOGLOSS_BENCH_SERVER", "ISOGLOSS_COMPILE", "ISOGLOSS_HTTP_HOST", "ISOGLOSS_SERVER",
    "ISOGLOSS_SHOTS", "ISOGLOSS_SOAK_OUT", "ISOGLOSS_SOAK_SHARE", "ISOGLOSS_URL",
}  # fmt: skip
# Setting -> three values unlike its default: a variable's text, its value, `serve.yaml`'s and the
# command line's.
VALUES: dict[str, tuple[str, Any, Any, Any]] = {
    "models": ("pocket-xglm, other", ("pocket-xglm", "other"), ("a",), ("b",)),
    "device": ("cpu", "cpu", "cuda", "auto"),
    "dtype": ("int8", "int8", "float32", "bfloat16"),
    "detector": ("py3langid", "py3langid", "fasttext:a", "fasttext:b"),
    "mixture_threshold": ("0.5", 0.5, 0.1, 0.2),
    "host": ("0.0.0.0", "0.0.0.0", "10.0.0.1", "10.0.0.2"),
    "port": ("8080", 8080, 81, 0),
    "traces": ("true", True, False, False),
    "log_format": ("text", "text", "json", "json"),
    "log_requests": ("all", "all", "none", "failed"),
    "log_texts": ("1", True, False, False),
    "api_keys_file": ("/run/keys", Path("/run/keys"), Path("/a"), Path("/b")),
    "cors_origins": (
        "https://a.example,,http://b.example:81 ,*",
        ("https://a.example", "http://b.example:81", "*"),
        ("https://c.example",),
        ("https://d.example",),
    ),
}


def values(field: str) -> tuple[str, Any, Any, Any]:
    if field in VALUES:
        return VALUES[field]
    of = float if "float" in str(FIELDS[field].annotation) else int
    return "7", of(7), of(8), of(9)


@pytest.mark.parametrize("field", sorted(set(FIELDS) - {"store"}))
def test_the_command_line_wins_over_the_environment_and_that_over_the_file(field: str) -> None:
    text, told, of_file, given = values(field)
    variable = {variable_of(field): f" '{text}' "}
    default = FIELDS[field].get_default()

    def found(*args: Any, **kwargs: Any) -> Any:
        return getattr(settings_from(*args, **kwargs), field)

    assert found({}, environ={}) == default
    assert found({}, {field: of_file}, {}) == of_file
    assert found({}, {field: of_file}, variable) == told != default
    assert found({field: given}, {field: of_file}, variable) == given != told
    assert found({field: None}, {field: of_file}, variable) == told
    assert found({}, {field: of_file}, {variable_of(field): " "}) == of_file


def test_the_store_of_the_environment_is_looked_up_where_it_is_opened() -> None:
    """A container's image sets it, and `serve.yaml` may still name another."""
    variable = {"ISOGLOSS_STORE": "/image/store"}
    assert settings_from({}, environ=variable).store is None
    assert settings_from({}, {"store": "/a"}, variable).store == Path("/a")
    assert settings_from({"store": Path("/b")}, {"store": "/a"}, variable).store == Path("/b")


@pytest.mark.parametrize("field", ["replicas", "threads", "budget_tokens", "traces"])
def test_auto_is_what_stands_for_nothing(field: str) -> None:
    given = {field: True if field == "traces" else 3}
    assert getattr(settings_from({}, given, {variable_of(field): "AUTO"}), field) is None


@pytest.mark.parametrize(
    ("field", "text", "why"),
    [
        ("port", "99999", "less than or equal to 65535, got '99999'; give another value, or unset"),
        ("port", "eighty", "valid integer.*, got 'eighty'"),
        ("dtype", "float8", "'auto', 'float32'.*, got 'float8'"),
        ("dtype", "fp8", "'auto', 'float32'.*'int8', got 'fp8'"),
        ("log_texts", "perhaps", "valid boolean.*, got 'perhaps'"),
        ("models", "a,a", "a is named twice"),
        ("cors_origins", "https://a.example/", "'https://a.example/' is no origin; write "),
        ("cors_origins", "null", "'null' is no origin"),
        ("cors_origins", "https://*.example", "is no origin"),
        ("cors_origins", "https://A.example/x", "is no origin"),
        ("deadline_s", "-1", "greater than or equal to 0"),
        ("replicas", "0", "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_its_variable(field: str, text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{variable_of(field)}: .*{why}"):
        settings_from({}, environ={variable_of(field): text})


def test_a_wrong_value_elsewhere_is_told_as_what_it_is() -> None:
    with pytest.raises(InvalidInput, match=r"^--model: .*a is named twice.*, or leave it out"):
        settings_from({"models": ("a", "a")}, environ={})
    with pytest.raises(InvalidInput, match=r"^--cors-origin: "):
        settings_from({"cors_origins": ("b",)}, environ={})
    with pytest.raises(ValidationError, match="prot"):
        settings_from({}, {"prot": 1}, {"ISOGLOSS_PORT": "8080"})


def test_vertex_names_a_port_where_nobody_else_does() -> None:
    vertex = {"AIP_HTTP_PORT": "8085"}
    assert settings_from({}, environ=vertex).port == 8085
    assert settings_from({}, environ={**vertex, "ISOGLOSS_PORT": "81"}).port == 81
    assert settings_from({"port": 82}, environ=vertex).port == 82
    assert settings_from({}, {"port": 83}, vertex).port == 83
    assert settings_from({}, {"host": "0.0.0.0"}, vertex).port == 8085
    with pytest.raises(InvalidInput, match=r"^AIP_HTTP_PORT: .*got 'http'"):
        settings_from({}, environ={"AIP_HTTP_PORT": "http"})


def test_what_kubernetes_tells_of_a_service_named_isogloss_is_none_of_ours() -> None:
    links = {
        "ISOGLOSS_PORT": "tcp://10.0.0.7:8000",
        "ISOGLOSS_PORT_8000_TCP": "tcp://10.0.0.7:8000",
        "ISOGLOSS_PORT_8000_TCP_ADDR": "10.0.0.7",
        "ISOGLOSS_SERVICE_HOST": "10.0.0.7",
        "ISOGLOSS_SERVICE_PORT": "8000",
        "ISOGLOSS_SERVICE_PORT_HTTP": "8000",
        "ISOGLOSS_HEAD_SVC_SERVICE_HOST": "10.0.0.8",
        "ISOGLOSS_HEAD_SVC_PORT": "tcp://10.0.0.8:6379",
    }
    assert settings_from({}, environ=links).port == 8000
    assert unknown_variables(links) == []
    assert unknown_variables({"ISOGLOSS_PORTS": "1", "ISOGLOSS_PORT_": "1"}) == [
        "ISOGLOSS_PORTS", "ISOGLOSS_PORT_",
    ]  # fmt: skip


def test_an_unknown_variable_is_told_once_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "_told", set())
    told: list[str] = []
    environ = {
        "ISOGLOSS_API_KEY": "secret",
        "ISOGLOSS_ZZZ": "7",
        "ISOGLOSS_HOST": "::",
        "HOME": "/",
    }
    for _ in range(2):
        warn_of_unknown(told.append, environ)
    near, far = told
    assert near.startswith("ISOGLOSS_API_KEY is no variable of Isogloss")
    assert near.endswith("is ISOGLOSS_API_KEYS meant?")
    assert "docs/reference/environment.md" in far
    assert "secret" not in str(told)


def test_every_variable_that_the_code_reads_is_known() -> None:
    rooms = ("prompts", "training", "serving", "deploy", "tests")
    files = [path for room in rooms for path in (ROOT / room).rglob("*")]
    here = Path(__file__)
    texts = [p.read_text() for p in files if p.suffix in (".py", ".yaml", ".env") and p != here]
    named = {name for text in texts for name in re.findall(r"\bISOGLOSS_[A-Z_]*[A-Z]\b", text)}
    assert not set(some(named)) - known_variables() - {"ISOGLOSS_PROT"}  # an example of a mistake


def test_the_reference_shows_the_variable_beside_each_setting() -> None:
    page = settings_page()
    for field in some(FIELDS):
        assert f"| `{field}` | `{variable_of(field)}` |" in page


def test_the_environment_page_names_all_that_are_no_settings() -> None:
    page = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    for name in some(environment.OTHERS - OF_DEVELOPERS):
        assert f"`{name}`" in page
