"""The `isogloss` command: every package's commands under one name.

Each package registers its own in `<package>/commands.py`; heavy libraries are imported only by the
command that needs them, so `isogloss --help` answers at once.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from isogloss.deploy.bench import commands as bench
from isogloss.prompts.cli import commands as prompts
from isogloss.prompts.cluster.import_path import leave_working_folder
from isogloss.prompts.console.console import ReportingGroup, say
from isogloss.serving.cli import commands as serving
from isogloss.training.cli import commands as training

app = typer.Typer(
    name="isogloss",
    cls=ReportingGroup,
    help="Language-tailored soft prompts: train them, route them by language family, serve them.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
for package in (serving, training, prompts, bench):
    package.register(app)


def _show_version(asked: bool) -> None:
    if asked:
        say(f"isogloss {version('isogloss')}")
        raise typer.Exit


@app.callback()
def isogloss(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Language-tailored soft prompts: train them, route them by language family, serve them."""


def main() -> None:
    """Entry point of the `isogloss` command."""
    leave_working_folder()  # where it was started with `python -m` or `-c`
    app()
