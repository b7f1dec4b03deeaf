"""What tests of files share: a server that answers at once, and the command as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
import uvicorn
from typer.testing import CliRunner, Result

from isogloss.prompts.console.console import ReportingGroup
from isogloss.serving.cli import commands
from tests.serving.files.stub_server import application
from tests.sockets import served

app = typer.Typer(cls=ReportingGroup)
commands.register(app)
Classify = Callable[..., Result]


@pytest.fixture(scope="session")
def stub() -> Iterator[str]:
    with served(uvicorn.Config(application(), log_config=None)) as url:
        yield url


@pytest.fixture
def classify(stub: str) -> Classify:
    """`isogloss classify FILE --column text --out OUT --url STUB`."""

    def run(path: Path, out: Path, *options: str) -> Result:
        arguments = ["classify", str(path), "--out", str(out), "--url", stub, *options]
        if "--column" not in options:
            arguments += ["--column", "text"]
        return CliRunner().invoke(app, arguments)

    return run
