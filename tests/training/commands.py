"""`isogloss` as people type it, run in this process, and the tables that it leaves."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner, Result

from isogloss.prompts.console.console import ReportingGroup
from isogloss.training.cli.commands import register

app = typer.Typer(cls=ReportingGroup)
register(app)


def isogloss(*args: object, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == exit_code, result.output
    return result


def answer(*args: object, exit_code: int = 0) -> Any:
    """What `--json` prints."""
    return json.loads(isogloss(*args, "--json", exit_code=exit_code).stdout)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
