"""The `isogloss` command itself: help and versions of everything, and the environment it heeds."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from docs.from_code import commands as command_line
from isogloss.deploy.cli import app
from isogloss.serving.config import ServingSettings
from isogloss.serving.ray import launch

COMMANDS = sorted(command_line())


def invoke(*arguments: str, **variables: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env=variables)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_help_under_both_names(words: str) -> None:
    short, long = (invoke(*words.split()[1:], name) for name in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0
    assert short.stdout == long.stdout
    assert "Usage:" in short.stdout


@pytest.mark.parametrize("name", ["-V", "--version"])
def test_versions_are_told_without_an_import_of_torch(name: str) -> None:
    code = "import sys; from isogloss.deploy.cli import main; sys.argv[1:] = sys.argv[1:]\n"
    code += "try: main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        f"isogloss {metadata.version('isogloss')}",
        f"python {platform.python_version()}",
        f"torch {metadata.version('torch')}",
        "False",
    ]


def served(monkeypatch: pytest.MonkeyPatch, *arguments: str, **variables: str) -> ServingSettings:
    """The settings with which `isogloss serve` would run."""
    seen: list[ServingSettings] = []

    def run(settings: ServingSettings, say: Any, *, haproxy: bool | None) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr(launch, "run", run)
    done = invoke("serve", *arguments, **variables)
    assert done.exit_code == 0, done.output
    return seen[0]


def test_serve_heeds_the_environment_and_its_options_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = served(monkeypatch)
    assert plain == ServingSettings()
    variables = {
        "ISOGLOSS_PORT": "8081", "ISOGLOSS_LOG_FORMAT": "text", "ISOGLOSS_DEVICE": "cpu",
        "ISOGLOSS_CORS_ORIGINS": "https://a.example", "ISOGLOSS_MODELS": "pocket-xglm",
    }  # fmt: skip
    told = served(monkeypatch, **variables)
    assert (told.port, told.log_format, told.device) == (8081, "text", "cpu")
    assert (told.cors_origins, told.models) == (("https://a.example",), ("pocket-xglm",))
    monkeypatch.chdir(tmp_path)
    options = ["--port", "82", "--device", "auto", "--model", "pocket-bloom", "--api-keys", "keys"]
    options += ["--cors-origin", "https://b.example", "--cors-origin", "https://c.example"]
    given = served(monkeypatch, *options, **variables)
    assert (given.port, given.log_format, given.device) == (82, "text", "auto")
    assert given.cors_origins == ("https://b.example", "https://c.example")
    assert given.models == ("pocket-bloom",)
    assert given.api_keys_file == tmp_path / "keys"


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ((), {"ISOGLOSS_PORT": "eighty"}, "error: ISOGLOSS_PORT: "),
        (("--cors-origin", "a"), {}, "error: --cors-origin: "),
        (("--model", "a", "--model", "a"), {}, "error: --model: "),
    ],
)
def test_a_wrong_value_is_one_line(
    arguments: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    done = invoke("serve", *arguments, **variables)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_an_unknown_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isogloss.serving.environment._told", set())
    monkeypatch.setattr(launch, "run", lambda *_, **__: 0)
    done = invoke("serve", ISOGLOSS_PROT="81")
    assert "ISOGLOSS_PROT is no variable of Isogloss" in done.stderr
    assert "is ISOGLOSS_PORT meant?" in done.stderr


def test_a_doctor_is_called_as_a_command(tmp_path: Path) -> None:
    """As a person does: in a process of its own, with a store that is none."""
    variables = {**os.environ, "ISOGLOSS_PORT": "0", "HF_HUB_OFFLINE": "1"}
    code = "from isogloss.deploy.cli import main; main()"
    command = [sys.executable, "-c", code, "doctor", "--store", str(tmp_path / "none"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=120)
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["healthy"] is False
    failed = {each["check"]: each for each in answer["findings"] if each["level"] == "fail"}
    assert set(failed) == {"store"}
    assert "no prompt store at" in failed["store"]["said"]
    assert failed["store"]["remedy"]
