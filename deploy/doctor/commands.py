"""`isogloss doctor`. Heavy imports wait until it runs."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.prompts.console.console import report

if TYPE_CHECKING:
    from isogloss.deploy.doctor.finding import Asked, Finding
    from isogloss.prompts.console.plain_table import PlainTable


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(doctor)


def doctor(
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model to look at; may be given several times. (default: pocket-bloom)"),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Prompt store. (default: the user's)")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
) -> None:
    """Look at what a server would meet on this machine, and say what to do.

    Exit code 1 says that a server would not start or not answer, or that the store or a model
    could not be looked at in time.
    """
    from isogloss.deploy.doctor.examine import examine, is_anything_left

    asked, findings = _asked(model, store)
    findings += examine(asked)
    failed = any(each.level == "fail" for each in findings)
    answer = {"healthy": not failed, "findings": [dataclasses.asdict(each) for each in findings]}
    report(answer, as_json, lambda _: _table(findings))
    if is_anything_left():
        _leave(int(failed))
    raise typer.Exit(int(failed))


def _asked(models: Sequence[str] | None, store: Path | None) -> tuple[Asked, list[Finding]]:
    """The settings that a server would have here; the defaults where those are wrong."""
    from isogloss.deploy.doctor.finding import Asked, fail, ok, warn
    from isogloss.prompts.errors import IsoglossError
    from isogloss.serving.config import ServingSettings
    from isogloss.serving.environment import settings_from, unknown_variables
    from isogloss.serving.http.keys import api_keys

    given = {"models": tuple(models) if models else None, "store": store}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        settings = settings_from(chosen)
        keys = api_keys(settings)
    except IsoglossError as error:
        said, _, remedy = str(error).partition("; ")
        settings = ServingSettings.model_validate(chosen)
        return Asked(settings), [fail("settings", said, remedy)]
    findings = [ok("settings", f"they can be used, {'with' if keys else 'without'} API keys")]
    if unknown := unknown_variables(os.environ):
        said = f"{', '.join(unknown[:5])} in the environment mean nothing to Isogloss"
        findings.append(warn("variables", said, "correct their names, or unset them"))
    return Asked(settings), findings


def _table(findings: Sequence[Finding]) -> PlainTable:
    from isogloss.prompts.console.plain_table import table_of

    return table_of(
        findings,
        {
            "check": lambda each: each.check,
            "": lambda each: each.level,
            "found": lambda each: each.said,
            "what to do": lambda each: each.remedy,
        },
    )


def _leave(code: int) -> None:
    """End at once: a check that hangs is not waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
